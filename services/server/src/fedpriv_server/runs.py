"""The runs of this server: at most one is active; those that a stop interrupted come first."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from ulid import ULID

from fedpriv_common import keys
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.plan import RunSettings, make_plan
from fedpriv_common.records import EndCause, RunEnd, RunInfo, RunState
from fedpriv_server.history import History, find_named, read_history
from fedpriv_server.hub import Hub
from fedpriv_server.journal import as_object
from fedpriv_server.postbox import Postbox
from fedpriv_server.run import Run
from fedpriv_server.status import RunStatus
from fedpriv_server.strategy import make_strategy
from fedpriv_server.term import LOOK_S, TakenOverError
from fedpriv_server.witness import Witness

log = logging.getLogger(__name__)

#: Ended runs whose status is kept in memory; the metrics API has all of them.
_REMEMBERED: Final = 50
#: How long an interrupted run may take to hand what it has to the disk when the server stops, seconds.
_STOP_DEADLINE_S: Final = 5.0
#: How long an operator waits for what they want to be written, seconds; it is acted on in any case.
_OPERATOR_PATIENCE_S: Final = 8.0


class BusyError(FedprivError):
    """Another run is active, or the server does not know yet whether one is."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(ErrorCode.RUN_REFUSED, message, remedy)


class UnreadError(FedprivError):
    """The server does not know its earlier runs yet."""

    def __init__(self) -> None:
        super().__init__(
            ErrorCode.STORE_UNAVAILABLE,
            "The server has not read from S3 yet which runs there are.",
            "Try again in a moment; if it stays so, the server's log says why S3 does not answer.",
        )


class Runs:
    """Starts, resumes, cancels and remembers runs, on the event loop."""

    def __init__(self, hub: Hub) -> None:
        """`hub.witness` is replaced by the stored one when `recover` has read it."""
        self._hub = hub
        self._active: Run | None = None
        #: Interrupted runs whose turn has not come.
        self._interrupted: dict[str, Run] = {}
        self._ended: OrderedDict[str, RunStatus] = OrderedDict()
        self._history_read = asyncio.Event()
        self._ready = False
        self._starting = False
        self._task: asyncio.Task[None] | None = None

    @property
    def postbox(self) -> Postbox:
        """The sites."""
        return self._hub.postbox

    def read_heads(self, site: str) -> None:
        """Learn the last ledger head ever seen of a site that comes onto the allow-list; raises STORE_UNAVAILABLE.

        Blocks. Without it, a site that was away could come back with an older ledger and nobody would notice.
        """
        hub = self._hub
        hub.witness.learn(Witness.load(hub.archive, hub.contract.dataset, (site,)))

    # -- for the operator ------------------------------------------------------------------------------------------

    async def start(self, settings: RunSettings) -> str:
        """Plan and start a run; returns its id. Raises BusyError, RUN_REFUSED for settings that do not fit, or
        TakenOverError."""
        self._require_idle()
        self._starting = True
        try:
            if await self._hub.term.is_over():  # the newer server would not know of the run
                self._hub.term.check()
            info = await self._plan(settings)
            self._require_enough_sites(info)
            sites = self._choose_sites(info)
            run = Run(info, sites, self._hub)
            self._run(run)
            with contextlib.suppress(TimeoutError, FedprivError):  # on a full disk, the run fails and tells so
                await asyncio.wait_for(run.settled(), _OPERATOR_PATIENCE_S)
        finally:
            self._starting = False
        return info.run_id

    def list(self) -> tuple[RunStatus, ...]:
        """Runs, newest first. Raises UnreadError: a list without the earlier ones would be taken for all."""
        if not self._history_read.is_set():
            raise UnreadError
        known = dict(self._ended)
        for run in (*self._interrupted.values(), *([self._active] if self._active else [])):
            known[run.info.run_id] = run.status()
        return tuple(known[run_id] for run_id in sorted(known, reverse=True))

    async def named(self, name: str) -> RunStatus | None:
        """The newest run of this name, whenever it was. Raises UnreadError, STORE_UNAVAILABLE."""
        remembered = next((run for run in self.list() if run.name == name), None)
        return remembered or await asyncio.to_thread(find_named, self._hub.archive, name)

    async def status(self, run_id: str, version: int, wait_s: float) -> RunStatus | None:
        """A run's status, once it is newer than `version` or after `wait_s`; None for a run that is not known.

        Raises UnreadError when it is not known yet whether there is such a run.
        """
        run = await self._find(run_id, wait_s)
        if run is not None:
            await run.wait_for_change(version, wait_s)
            return run.status()
        return self._ended.get(run_id)

    async def cancel(self, run_id: str) -> RunStatus | None:
        """Begin to end a run, for good: no crash undoes it. Of one whose end is decided, nothing changes.

        Returns its status, None for one that is not known. Raises UnreadError.
        """
        run = await self._find(run_id, 0.0)
        if run is not None:
            await run.cancel(_OPERATOR_PATIENCE_S)
            return run.status()
        return self._ended.get(run_id)

    async def _find(self, run_id: str, wait_s: float) -> Run | None:
        """The run if it has not ended."""
        if self._active is not None and self._active.info.run_id == run_id:
            return self._active
        try:
            await asyncio.wait_for(self._history_read.wait(), max(wait_s, 0.001))
        except TimeoutError:
            raise UnreadError from None
        if self._active is not None and self._active.info.run_id == run_id:
            return self._active
        return self._interrupted.get(run_id)

    def _require_idle(self) -> None:
        if self._active is not None:
            raise BusyError(
                f"Run {self._active.info.run_id} is active.",
                f"Wait for its end (`fedpriv runs`), or `fedpriv cancel {self._active.info.run_id}`.",
            )
        if self._starting:
            raise BusyError("Another run is being planned.", "Wait for its end.")
        if self._interrupted:
            raise BusyError(
                f"Run {next(iter(self._interrupted))} was interrupted and comes first.", "Wait for its end."
            )
        if not self._ready:
            raise BusyError(
                "The server has not read from S3 yet whether a run was interrupted.",
                "Try again in a moment; if it stays so, the server's log says why S3 does not answer.",
            )

    async def _plan(self, settings: RunSettings) -> RunInfo:
        try:
            # In a thread: calibrating a plan with q < 1 takes seconds, and sites want answers meanwhile.
            plan = await asyncio.to_thread(make_plan, settings, self._hub.contract)
            make_strategy(plan)
        except ValueError as error:
            raise FedprivError(
                ErrorCode.RUN_REFUSED, f"These settings give no plan: {error}.", "Change the settings."
            ) from None
        public = self._hub.public
        return RunInfo(
            run_id=str(ULID()),
            created_at=datetime.now(UTC),
            settings=settings,
            plan=plan,
            plan_digest=plan.digest(),
            public_validation=public.describe() if public else None,
        )

    def _require_enough_sites(self, info: RunInfo) -> None:
        if len(self._hub.postbox.sites) < info.plan.sites:
            raise FedprivError(
                ErrorCode.RUN_REFUSED,
                f"The run wants {info.plan.sites} sites, the allow-list has {len(self._hub.postbox.sites)}.",
                "Ask for fewer sites, or add public keys to FEDPRIV_SITES_DIR.",
            )

    def _choose_sites(self, info: RunInfo, asked: tuple[str, ...] = ()) -> tuple[str, ...]:
        """As many sites as the plan says: first those online, then by name. Of a run that has begun, those `asked`.

        Fewer when the allow-list has become shorter since the run began: it goes on as if the others were away.
        """
        postbox = self._hub.postbox
        if asked:
            return tuple(site for site in asked if site in postbox.sites)
        ordered = sorted(postbox.sites, key=lambda site: (not postbox.online(site), site))
        return tuple(sorted(ordered[: info.plan.sites]))

    # -- running ---------------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Read what earlier starts left and finish their runs, one after another. Keeps trying while S3 is away."""
        history = await self._read()
        for status in history.ended:
            self._remember(status)
        for info, progress in history.unfinished:
            sites = self._choose_sites(info, progress.asked)
            self._interrupted[info.run_id] = Run(info, sites, self._hub, progress)
        self._history_read.set()
        for run_id, told in history.unreadable.items():
            await self._write_off(run_id, told)
        while self._interrupted and self._hub.term.over is None:
            run_id = next(iter(self._interrupted))
            run = self._interrupted.pop(run_id)
            log.info("run_resumed", extra={"run_id": run_id, "round": run.status().round})
            await asyncio.wait({self._run(run)})
        self._ready = True

    async def _write_off(self, run_id: str, sites: Sequence[str]) -> None:
        """End a run that cannot be read, so that it is not taken for active for ever; its sites will hear of it."""
        for site in set(sites).intersection(self._hub.postbox.sites):
            self._hub.unclosed.add(run_id, site)
        end = RunEnd(
            run_id=run_id,
            ended_at=datetime.now(UTC),
            state=RunState.FAILED,
            cause=EndCause.INTERNAL,
            code=ErrorCode.RUN_DAMAGED,
            rounds=0,
            duration_s=0.0,
            model_digest=None,
            metrics={},
        )
        log.error("run_written_off", extra={"run_id": run_id, "code": end.code})
        await asyncio.to_thread(self._hub.archive.put, [as_object(keys.run_end(run_id), end)])

    async def watch_term(self) -> None:
        """Stand down once another server has taken over. Looks every few seconds while there is a run to lose."""
        term, pause_s = self._hub.term, LOOK_S
        while True:
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.0))  # noqa: S311
            try:
                if term.over is not None or self._active is not None:
                    await asyncio.to_thread(term.check)
                pause_s = LOOK_S
            except TakenOverError:
                break
            except FedprivError as error:
                pause_s = min(2 * pause_s, 60.0)
                log.warning(str(error), extra={"code": error.code, "retry_in_s": pause_s})
        self._interrupted.clear()
        self._hub.postbox.release()
        await self.stop()

    async def stop(self) -> None:
        """Interrupt the active run, which goes on at the next start."""
        self._ready = False
        run, task = self._active, self._task
        if task is not None:
            task.cancel()
            await asyncio.wait({task}, timeout=_STOP_DEADLINE_S)
        if run is not None:
            with contextlib.suppress(TimeoutError, FedprivError):
                await asyncio.wait_for(run.settled(), _STOP_DEADLINE_S)

    async def _read(self) -> History:
        pause_s = 0.2
        while True:
            try:
                await asyncio.to_thread(self._hub.term.take)
                history = await asyncio.to_thread(read_history, self._hub.archive, self._hub.statements.take_part)
                witness = await asyncio.to_thread(
                    Witness.load, self._hub.archive, self._hub.contract.dataset, self._hub.postbox.sites
                )
            except FedprivError as error:
                log.warning(str(error), extra={"code": error.code, "retry_in_s": round(pause_s, 1)})
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311
                pause_s = min(2 * pause_s, 10.0)
            else:
                witness.learn(self._hub.witness)  # of sites that were put on the allow-list meanwhile
                self._hub = replace(self._hub, witness=witness)
                return history

    def _run(self, run: Run) -> asyncio.Task[None]:
        self._active = run
        run.write_down()
        self._task = asyncio.create_task(self._execute(run))
        return self._task

    async def _execute(self, run: Run) -> None:
        try:
            await run.execute()
        except asyncio.CancelledError:
            log.info("run_interrupted", extra={"run_id": run.info.run_id, "round": run.status().round})
            raise
        except Exception:
            log.exception("run_broken", extra={"run_id": run.info.run_id})
            raise
        finally:
            if run.ended:
                self._remember(run.status())
            self._active = None

    def _remember(self, status: RunStatus) -> None:
        self._ended[status.run_id] = status
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
