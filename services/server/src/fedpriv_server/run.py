"""One run, from the plan to its end: admission, centring, training rounds, close, model and statement.

    admission ── round 0: centring ── rounds 1 … T ── close ── model, statement, end
        │                │                 │            ↑
        └────────────────┴── halted, cancelled, failed ─┘

Whatever happens, a run ends once, with `end.json`. A server that stops in between leaves it active: the next start
goes on from the last checkpoint, and sites answer what they were asked before with the bytes of the first time.

Two things would not come out the same when they are repeated, and are in the bucket before anyone is asked or told
what follows from them: a round (or an admission) that closed without a site, which might answer then, and the decision
how the run ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

import numpy as np
from ulid import ULID

from fedpriv_common import keys
from fedpriv_common.errors import ErrorCode, FedprivError, Refusal
from fedpriv_common.plan import Phase
from fedpriv_common.records import (
    Admission,
    EndCause,
    EndState,
    EventKind,
    RoundClosed,
    RunDecision,
    RunEvent,
    RunInfo,
    RunSites,
    RunState,
)
from fedpriv_common.steps import measured, step
from fedpriv_common.wire import OK, Reply, Request, SiteFacts, decode_array
from fedpriv_server.board import Board
from fedpriv_server.checkpoint import CONTENT_TYPE, Checkpoint, encode_checkpoint
from fedpriv_server.ending import CLOSED, Ending
from fedpriv_server.exchange import Answers, Exchange
from fedpriv_server.held_out import IntArray, decode_matrix, held_out_evaluation, planned_evaluation
from fedpriv_server.hub import Hub, Progress
from fedpriv_server.journal import Journal, as_object
from fedpriv_server.outbox import StoredObject
from fedpriv_server.questions import Questions
from fedpriv_server.round_objects import close_of, public_figures, replies_as_objects
from fedpriv_server.statements import PART_BYTES
from fedpriv_server.status import RunStatus
from fedpriv_server.strategy import FloatArray, Iterate, Strategy, make_strategy, reply_bound, reply_size

log = logging.getLogger(__name__)

#: How long an offline site is waited for at admission once the quorum is there, seconds.
_ADMISSION_GRACE_S: Final = 5.0


class HaltedError(Exception):
    """The run cannot go on."""

    def __init__(self, cause: EndCause) -> None:
        super().__init__(cause.value)
        self.cause = cause


class Run:
    """An active run, and its status when it has ended."""

    def __init__(self, info: RunInfo, sites: tuple[str, ...], hub: Hub, progress: Progress | None = None) -> None:
        """`sites`: who is asked to take part."""
        self.info = info
        self._plan = info.plan
        self._hub = hub
        self._progress = progress or Progress()
        self._journal = Journal(hub.archive, self._progress.known)
        self._questions = Questions(info, hub.witness)
        self._sites = sites
        seed = hashlib.sha256(info.run_id.encode()).digest()
        checkpoint = self._progress.checkpoint
        self._iterate = checkpoint.iterate if checkpoint else Iterate.first(self._plan, seed)
        #: Sites that said no in a round and are asked no more, with what they said.
        self._declined = dict(checkpoint.declined) if checkpoint else {}
        self._board = Board(info, sites, hub.postbox, dict(self._progress.metrics), self._iterate.round)
        self._board.held_out = dict(self._progress.held_out)
        self._exchange = Exchange(hub.postbox, self._event, self._board.changed)
        self._board.waiting = self._exchange.waiting
        self._board.behind = self._journal.behind
        self._ending = Ending(
            info, sites, hub, self._journal, self._exchange, self._board, self._note, self._progress.parts
        )
        self._training: asyncio.Task[None] | None = None
        self._cancelled = False
        self._decision = self._progress.decision
        self._decided = asyncio.Event()

    # -- for the operator ------------------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether the run has its terminal state."""
        return self._board.end is not None

    async def cancel(self, timeout_s: float) -> None:
        """End the run as soon as the sites have heard of it. Without effect on one whose end is decided.

        Returns when no crash can undo it, at most after `timeout_s`.
        """
        self._cancelled = True
        if self._training is not None:
            self._training.cancel()
        else:
            self._decide(RunState.CANCELLED, EndCause.OPERATOR)
        with contextlib.suppress(TimeoutError, FedprivError):
            if self._training is not None:
                await asyncio.wait_for(self._decided.wait(), timeout_s)
            else:  # its turn has not come
                await asyncio.wait_for(self._journal.settled(), timeout_s)
                self._board.decided = self._decision.state if self._decision else None

    def status(self) -> RunStatus:
        """The run now."""
        return self._board.status()

    async def wait_for_change(self, version: int, timeout_s: float) -> None:
        """Return when the status is newer than `version`, at most after `timeout_s`."""
        await self._board.wait_for_change(version, timeout_s)

    async def settled(self) -> None:
        """Return when everything that the run wrote is durable."""
        await self._journal.settled()

    # -- the way of the run ----------------------------------------------------------------------------------------

    def write_down(self) -> None:
        """Begin to write what makes it a run: from then on, the next start goes on with it."""
        run_id, asked = self.info.run_id, RunSites(run_id=self.info.run_id, sites=self._sites)
        self._journal.write([as_object(keys.run_info(run_id), self.info), as_object(keys.run_asked(run_id), asked)])

    async def execute(self) -> None:
        """Run to the end, once it is written down. Cancelled from outside (the server stops), it stays active for the
        next start."""
        if self._progress.begun:
            self._take_up()
        async with self._hub.postbox.open(self.info.run_id, self._exchange):
            decision = self._decision or await self._decide_now()
            log.info(
                "run_ends",
                extra={"run_id": self.info.run_id, "state": decision.state, "cause": decision.cause},
            )
            try:
                await self._in_bucket()
                self._board.decided = decision.state
            except FedprivError as error:  # a disk that is full must not keep the sites from being told
                self._board.warning = str(error)
            self._decided.set()
            try:
                await self._ending.close()
            except Exception:  # the end is told whatever the sites say to it
                log.exception("close_failed", extra={"run_id": self.info.run_id})
        await self._ending.publish(self._iterate, decision)

    def _take_up(self) -> None:
        """Go on where an earlier start of the server left off."""
        for site, admission in self._progress.admissions.items():
            self._note(site, admission.code, admission.facts)
        for site, code in self._declined.items():
            self._note(site, code, None)
        self._event(EventKind.RUN_RESUMED, None, self._iterate.round)
        closed = self._progress.checkpoint.closed if self._progress.checkpoint else None
        if closed is not None:  # of the round's objects it comes last, and may not have been written any more
            self._journal.write([as_object(keys.round_closed(self.info.run_id, closed.round), closed)])
        if self._decision is None and self._progress.fault is not None:
            self._decide(RunState.FAILED, EndCause.INTERNAL, self._progress.fault)

    async def _outcome(self) -> tuple[EndState, EndCause, ErrorCode | None]:
        self._training = asyncio.create_task(self._train())
        try:
            await self._training
        except HaltedError as halted:
            if self._cancelled:  # an operator was told that it would be
                return RunState.CANCELLED, EndCause.OPERATOR, None
            return RunState.HALTED, halted.cause, None
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
            return RunState.CANCELLED, EndCause.OPERATOR, None
        except Exception as error:
            log.exception("run_failed", extra={"run_id": self.info.run_id})
            code = error.code if isinstance(error, FedprivError) else ErrorCode.SERVER_FAULT
            return RunState.FAILED, EndCause.INTERNAL, code
        return RunState.FINISHED, EndCause.COMPLETE, None

    async def _decide_now(self) -> RunDecision:
        outcome = await self._outcome()
        if await self._hub.term.is_over():  # the newer server is in the middle of this run
            raise asyncio.CancelledError
        return self._decide(*outcome)

    def _decide(self, state: EndState, cause: EndCause, code: ErrorCode | None = None) -> RunDecision:
        """Begin to write how the run ends. The first decision stays."""
        if self._decision is None:
            self._decision = RunDecision(
                run_id=self.info.run_id, decided_at=datetime.now(UTC), state=state, cause=cause, code=code
            )
            self._journal.write([as_object(keys.run_decision(self.info.run_id), self._decision)])
        return self._decision

    async def _in_bucket(self) -> None:
        """Wait until everything so far will outlast this machine; for a bucket that is away, only a while."""
        await self._journal.settled()
        if not await self._journal.in_bucket():
            self._board.changed()  # whoever watches is told that it is behind

    async def _train(self) -> None:
        await self._in_bucket()  # whom sites hold a budget for must be known whatever happens here
        members = await self._admit()
        if (short := self._progress.short) is not None:
            for site, code in short.refused.items():
                self._note(site, code, None)
            self._require_quorum(len(short.received))
        if self._progress.checkpoint is None:
            self._require_quorum(len(members))
            if self._plan.centre is not None:
                members = await self._round(Phase.CENTRE, 0, members)
            else:
                self._journal.write([self._checkpoint(None)])
        # A resumed run may have asked for its last round's before: sites answer as the first time.
        await self._evaluate(members)
        while self._iterate.round < self._plan.rounds:
            self._require_quorum(len(members))
            number = self._iterate.round + 1
            with measured(log, "round_steps", run_id=self.info.run_id, round=number):
                members = await self._round(Phase.TRAIN, number, members)
            await self._evaluate(members)

    @cached_property
    def _strategy(self) -> Strategy:
        return make_strategy(self._plan)

    @property
    def _quorum(self) -> int:
        return self.info.settings.quorum or self._plan.sites

    async def _admit(self) -> tuple[str, ...]:
        """Show the plan to the sites, unless that is over; returns those that take part."""
        if keys.run_admitted(self.info.run_id) not in self._progress.known:

            def accept(site: str, reply: Reply) -> None:
                self._questions.accept_facts(site, reply)
                self._answered_plan(site, OK, reply.facts)

            def waits(site: str, code: str) -> None:
                self._answered_plan(site, code, None)
                if code == Refusal.APPROVAL_NEEDED:
                    self._event(EventKind.AWAITING_APPROVAL, site, None)

            # Sites that an earlier start noted have answered; one of them may be waited for no longer.
            asked = [site for site in self._sites if site not in self._progress.admissions]
            unclosed = self._hub.unclosed
            # A site that holds the budget of a run that is over might decline this one for it.
            first = {site: [self._questions.close(site, run) for run in unclosed.of(site)] for site in asked}
            answers = await self._exchange.ask(
                {site: self._questions.admit(site) for site in asked},
                accept,
                payload_bytes=PART_BYTES if any(first.values()) else 0,
                deadline_s=self.info.settings.admission_deadline_s,
                quorum=max(0, self._quorum - len(self._board.willing)),
                grace_s=_ADMISSION_GRACE_S,
                first=first,
                heard=lambda site, request, code: unclosed.heard(request.run_id, site) if code in CLOSED else None,
                again=(Refusal.APPROVAL_NEEDED, Refusal.LEDGER_UNAVAILABLE),
                waits=waits,
            )
            objects = []
            for site, code, facts in _told(answers):
                if site not in self._progress.admissions:
                    self._note(site, code, facts)
                    at = datetime.now(UTC)
                    admission = Admission(run_id=self.info.run_id, site=site, at=at, code=code, facts=facts)
                    objects.append(as_object(keys.admission(self.info.run_id, site), admission))
                    if facts is not None:
                        objects.append(self._hub.witness.to_object(site, facts))
            admitted = RunSites(run_id=self.info.run_id, sites=self._board.willing)
            self._journal.write([*objects, as_object(keys.run_admitted(self.info.run_id), admitted)])
            if self._quorum < len(self._sites):
                await self._in_bucket()  # who takes part must not change when the run is resumed
            self._board.changed()
        return self._board.willing

    async def _round(self, phase: Phase, number: int, members: tuple[str, ...]) -> tuple[str, ...]:
        """One round; returns the sites to ask in the next."""
        started = time.perf_counter()
        size, bound = reply_size(self._plan, phase), reply_bound(self._plan, phase)
        arrays: dict[str, FloatArray] = {}

        def accept(site: str, reply: Reply) -> None:
            array = decode_array(reply.payload, size)
            if not np.linalg.norm(array) <= bound:
                raise ValueError(f"a reply longer than {bound:.3g}, which no honest site sends")
            self._questions.accept_facts(site, reply)
            arrays[site] = array

        def question(site: str) -> Request:
            return self._questions.centre(site) if phase is Phase.CENTRE else self._questions.train(site, self._iterate)

        with step("ask"):
            answers = await self._exchange.ask(
                {site: question(site) for site in members},
                accept,
                payload_bytes=8 * size,
                deadline_s=self.info.settings.round_deadline_s,
                quorum=self._quorum,
                again=(Refusal.LEDGER_UNAVAILABLE,),
                waits=self._cannot_yet,
            )
        for site, code, facts in _told(answers):
            self._note(site, code, facts)
        # A disk that is full or a bucket that is away is mended: the site is asked again in the next round.
        declined = {site: code for site, code in answers.refused.items() if code != Refusal.LEDGER_UNAVAILABLE}
        self._declined.update(declined)
        if len(arrays) >= self._quorum:
            replies = [arrays[site] for site in sorted(arrays)]
            with step("aggregate"):
                if phase is Phase.TRAIN:
                    self._iterate = self._iterate.trained(self._plan, self._strategy, replies)
                else:
                    self._iterate = self._iterate.centred(self._plan, replies)
        await self._close_round(phase, number, members, answers, started)
        remaining = tuple(site for site in members if site not in declined)
        self._require_quorum(len(arrays))
        return remaining

    async def _evaluate(self, members: tuple[str, ...]) -> None:
        """Let the sites hold the model to their held-out records, where the plan foresees it.

        Who cannot or does not answer is left out: no run fails for want of figures.
        """
        number = self._iterate.round
        evaluation = planned_evaluation(self._plan, number)
        if evaluation is None or keys.evaluation(self.info.run_id, number) in self._progress.known:
            return
        matrices: dict[str, IntArray | None] = dict.fromkeys(members)

        def accept(site: str, reply: Reply) -> None:
            matrix = decode_matrix(reply.payload, self._plan, evaluation)
            self._questions.accept_facts(site, reply)
            matrices[site] = matrix

        answers = await self._exchange.ask(
            {site: self._questions.evaluate(site, self._iterate) for site in members},
            accept,
            payload_bytes=8 * self._plan.model.n_classes**2,
            deadline_s=self.info.settings.round_deadline_s,
            quorum=0,
        )
        for site, reply in answers.replies.items():
            self._note(site, OK, reply.facts)
        released = await asyncio.to_thread(held_out_evaluation, self.info.run_id, number, evaluation, matrices)
        self._board.held_out = released.figures
        self._journal.write(
            [
                *replies_as_objects(self.info.run_id, Phase.EVALUATE, number, answers),
                as_object(keys.evaluation(self.info.run_id, number), released),
            ]
        )
        self._board.changed()

    async def _close_round(
        self, phase: Phase, number: int, members: tuple[str, ...], answers: Answers, started: float
    ) -> None:
        complete = len(answers.replies) >= self._quorum
        if complete and phase is Phase.TRAIN and self._hub.public is not None:
            with step("evaluate"):
                self._board.metrics = evaluated = self._hub.public.metrics(self._plan, self._iterate)
        else:
            evaluated = None
        duration_s = time.perf_counter() - started
        run_id = self.info.run_id
        with step("encode"):
            closed = close_of(run_id, phase, number, members, answers, duration_s)
            # The checkpoint decides: of a round that is in a bucket without it, all comes again; with it, the rest.
            objects = replies_as_objects(run_id, phase, number, answers)
            if evaluated is not None:
                objects.append(public_figures(run_id, number, evaluated))
            if complete:
                objects.append(self._checkpoint(closed))
            objects.append(as_object(keys.round_closed(run_id, number), closed))
        # One bundle at most is on its way to the disk, so that memory stays bounded.
        with step("journal"):
            await self._journal.settled()
        self._journal.write(objects)
        if self._quorum < len(members) or not complete:
            # Asked again after a crash, other sites might answer, and the next request would be another one than the
            # sites have charged for. Where every answer is needed, the repetition is the same and not waited for.
            await self._in_bucket()
        self._hub.prometheus.round_closed(self.info.run_id, number, duration_s)
        self._board.round_closed(self._iterate.round, duration_s)

    # -- parts -----------------------------------------------------------------------------------------------------

    def _note(self, site: str, code: str, facts: SiteFacts | None) -> None:
        self._board.note(site, code, facts)
        if facts is not None:
            self._hub.prometheus.budget(self.info.run_id, site, facts)

    def _answered_plan(self, site: str, code: str, facts: SiteFacts | None) -> None:
        """Show a site's answer while others are still waited for; a resumed run goes by what it wrote down."""
        if site not in self._progress.admissions:
            self._note(site, code, facts)
            self._board.changed()

    def _cannot_yet(self, site: str, code: str) -> None:
        """Show why a site is waited for."""
        self._note(site, code, None)
        self._board.changed()

    def _require_quorum(self, count: int) -> None:
        """Halt when too few sites are left, for the reason that weighs most."""
        if count >= self._quorum:
            return
        codes = {code for code in self._board.codes.values() if code != OK}
        if codes == {Refusal.APPROVAL_NEEDED}:
            raise HaltedError(EndCause.DEADLINE)
        if Refusal.BUDGET_EXHAUSTED in codes:
            raise HaltedError(EndCause.BUDGET)
        raise HaltedError(EndCause.REFUSED if codes else EndCause.QUORUM)

    def _checkpoint(self, closed: RoundClosed | None) -> StoredObject:
        key = keys.checkpoint(self.info.run_id, self._iterate.round)
        checkpoint = Checkpoint(self._iterate, closed, dict(self._declined))
        return StoredObject(key, encode_checkpoint(self.info, checkpoint), CONTENT_TYPE)

    def _event(self, kind: EventKind, site: str | None, round_number: int | None) -> None:
        if site is not None and site not in self._sites:
            return
        log.info("event", extra={"run_id": self.info.run_id, "kind": kind, "site": site, "round": round_number})
        self._hub.prometheus.event(kind)
        event_id = str(ULID())
        event = RunEvent(
            run_id=self.info.run_id, event_id=event_id, at=datetime.now(UTC), kind=kind, site=site, round=round_number
        )
        self._journal.write([as_object(keys.event(self.info.run_id, event_id), event)])
        if kind is EventKind.STOCK_NODE and site is not None:
            self._board.stock.add(site)
        self._board.changed()


def _told(answers: Answers) -> list[tuple[str, str, SiteFacts | None]]:
    """Site, code and facts of everyone who answered in the agreed form, in order."""
    told: list[tuple[str, str, SiteFacts | None]] = [(site, OK, reply.facts) for site, reply in answers.replies.items()]
    told += [(site, code, None) for site, code in answers.refused.items()]
    return sorted(told, key=lambda entry: entry[0])
