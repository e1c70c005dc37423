"""One run, from the plan to its end: admission, centring, training rounds, close, model and statement.

    admission ── round 0: centring ── rounds 1 … T ── close ── model, statement, end
        │                │                 │            ↑
        └────────────────┴── halted, cancelled, failed ─┘

Whatever happens, a run ends once, with `end.json`. A server that stops in between leaves it active: the next start
goes on from the last checkpoint, and sites answer what they were asked before with the bytes of the first time.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from datetime import UTC, datetime
from typing import Final

import numpy as np
from ulid import ULID

from fedpriv_common import keys
from fedpriv_common.canonical import canonical_json, sha256_hex
from fedpriv_common.errors import FedprivError, Refusal
from fedpriv_common.plan import Phase
from fedpriv_common.records import (
    Admission,
    EndCause,
    EventKind,
    RunEnd,
    RunEvent,
    RunInfo,
    RunState,
)
from fedpriv_common.statement.schema import Outcome
from fedpriv_common.wire import OK, Operation, Reply, Request, SiteFacts, decode_array, encode_array
from fedpriv_server.board import Board
from fedpriv_server.checkpoint import CONTENT_TYPE, encode_checkpoint, encode_model
from fedpriv_server.exchange import Answers, Exchange
from fedpriv_server.held_out import IntArray, decode_matrix, held_out_evaluation, planned_evaluation
from fedpriv_server.hub import Hub, Progress
from fedpriv_server.journal import Journal, as_object
from fedpriv_server.outbox import StoredObject
from fedpriv_server.round_objects import replies_as_objects, round_objects
from fedpriv_server.statement import make_statement
from fedpriv_server.statements import PART_BYTES
from fedpriv_server.status import RunStatus
from fedpriv_server.strategy import FloatArray, Iterate, make_strategy, reply_bound, reply_size

log = logging.getLogger(__name__)

#: How long an offline site is waited for at admission once the quorum is there, seconds.
_ADMISSION_GRACE_S: Final = 5.0
#: How long sites may take to close a run, seconds; one that does not hear of it is told before its next run.
_CLOSE_DEADLINE_S: Final = 10.0
#: Answers to a close after which a site holds nothing of the run.
_CLOSED: Final = (OK, Refusal.RUN_CLOSED, Refusal.NOT_ADMITTED)
#: How long the bucket is waited for before a run is reported as ended, seconds.
_FLUSH_DEADLINE_S: Final = 5.0


class HaltedError(Exception):
    """The run cannot go on."""

    def __init__(self, cause: EndCause) -> None:
        super().__init__(cause.value)
        self.cause = cause


class Run:
    """An active run, and its status when it has ended."""

    def __init__(self, info: RunInfo, sites: tuple[str, ...], hub: Hub, progress: Progress | None = None) -> None:
        """`sites`: who is asked to take part. Raises ValueError when the plan names a strategy that does not fit."""
        self.info = info
        self._plan = info.plan
        self._hub = hub
        self._strategy = make_strategy(info.plan)
        self._progress = progress or Progress()
        self._journal = Journal(hub.archive, self._progress.known)
        self._exchange = Exchange(hub.postbox, self._event)
        self._sites = sites
        seed = hashlib.sha256(info.run_id.encode()).digest()
        self._iterate = self._progress.iterate or Iterate.first(self._plan, seed)
        self._board = Board(info, sites, hub.postbox, dict(self._progress.metrics), self._iterate.round)
        self._parts = dict(self._progress.parts)
        self._training: asyncio.Task[None] | None = None
        self._cancelled = False

    # -- for the operator ------------------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether the run has its terminal state."""
        return self._board.end is not None

    def cancel(self) -> None:
        """End the run as soon as the sites have heard of it. Without effect on one that has ended."""
        self._cancelled = True
        if self._training is not None:
            self._training.cancel()

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

    async def execute(self) -> None:
        """Run to the end. Cancelled from outside (the server stops), it stays active for the next start."""
        self._journal.write([as_object(keys.run_info(self.info.run_id), self.info)])
        if self._progress.begun:
            self._event(EventKind.RUN_RESUMED, None, self._iterate.round)
        async with self._hub.postbox.open(self.info.run_id, self._exchange):
            state, cause = await self._outcome()
            log.info("run_ends", extra={"run_id": self.info.run_id, "state": state, "cause": cause})
            try:
                await self._close()
            except Exception:  # the end is told whatever the sites say to it
                log.exception("close_failed", extra={"run_id": self.info.run_id})
        await self._publish(state, cause)

    async def _outcome(self) -> tuple[RunState, EndCause]:
        self._training = asyncio.create_task(self._train())
        if self._cancelled:
            self._training.cancel()
        try:
            await self._training
        except HaltedError as halted:
            return RunState.HALTED, halted.cause
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
            return RunState.CANCELLED, EndCause.OPERATOR
        except Exception:
            log.exception("run_failed", extra={"run_id": self.info.run_id})
            return RunState.FAILED, EndCause.INTERNAL
        return RunState.FINISHED, EndCause.COMPLETE

    async def _train(self) -> None:
        members = await self._admit()
        if self._plan.centre is not None and self._progress.iterate is None:
            members = await self._round(Phase.CENTRE, 0, members)
        elif self._progress.iterate is None:
            self._journal.write([self._checkpoint()])
        # A resumed run may have evaluated its last round before: asked again, sites answer as the first time.
        await self._evaluate(members)
        while self._iterate.round < self._plan.rounds:
            members = await self._round(Phase.TRAIN, self._iterate.round + 1, members)
            await self._evaluate(members)

    @property
    def _quorum(self) -> int:
        return self.info.settings.quorum or self._plan.sites

    async def _admit(self) -> tuple[str, ...]:
        """Show the plan to the sites; returns those that take part."""
        for site, admission in self._progress.admissions.items():
            self._note(site, admission.code, admission.facts)
        if self._progress.iterate is None:

            def accept(site: str, reply: Reply) -> None:
                self._accept_facts(site, reply)
                self._answered_plan(site, OK, reply.facts)

            def waits(site: str, code: str) -> None:
                self._answered_plan(site, code, None)
                self._event(EventKind.AWAITING_APPROVAL, site, None)

            plan, unclosed = canonical_json(self._plan.model_dump(mode="json")).decode(), self._hub.unclosed
            # A site that holds the budget of a run that is over might decline this one for it.
            first = {site: [self._close_request(site, run) for run in unclosed.of(site)] for site in self._sites}
            answers = await self._exchange.ask(
                {site: self._request(site, Operation.ADMIT, plan=plan) for site in self._sites},
                accept,
                payload_bytes=PART_BYTES if any(first.values()) else 0,
                deadline_s=self.info.settings.admission_deadline_s,
                quorum=self._quorum,
                grace_s=_ADMISSION_GRACE_S,
                first=first,
                heard=lambda site, request, code: unclosed.heard(request.run_id, site) if code in _CLOSED else None,
                again=(Refusal.APPROVAL_NEEDED,),
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
            self._journal.write(objects)
            await self._journal.settled()  # who takes part must not change when the run is resumed
            self._board.changed()
        members = self._board.willing
        self._require_quorum(len(members))
        return members

    async def _round(self, phase: Phase, number: int, members: tuple[str, ...]) -> tuple[str, ...]:
        """One round; returns the sites to ask in the next."""
        started = time.perf_counter()
        size, bound = reply_size(self._plan, phase), reply_bound(self._plan, phase)
        arrays: dict[str, FloatArray] = {}

        def accept(site: str, reply: Reply) -> None:
            array = decode_array(reply.payload, size)
            if not np.linalg.norm(array) <= bound:
                raise ValueError(f"a reply longer than {bound:.3g}, which no honest site sends")
            self._accept_facts(site, reply)
            arrays[site] = array

        in_training = phase is Phase.TRAIN
        parameters = encode_array(self._iterate.parameters) if in_training else b""
        centre = self._centre() if in_training else b""
        answers = await self._exchange.ask(
            {
                site: self._request(
                    site, Operation.RELEASE, round=number, phase=phase, parameters=parameters, centre=centre
                )
                for site in members
            },
            accept,
            payload_bytes=8 * size,
            deadline_s=self.info.settings.round_deadline_s,
            quorum=self._quorum,
        )
        for site, code, facts in _told(answers):
            self._note(site, code, facts)
        if len(arrays) >= self._quorum:
            replies = [arrays[site] for site in sorted(arrays)]
            if in_training:
                self._iterate = self._iterate.trained(self._plan, self._strategy, replies)
            else:
                self._iterate = self._iterate.centred(self._plan, replies)
        await self._close_round(phase, number, members, answers, started)
        remaining = tuple(site for site in members if site not in answers.refused)
        self._require_quorum(len(arrays))
        return remaining

    async def _evaluate(self, members: tuple[str, ...]) -> None:
        """Let the sites hold the model to their held-out records, where the plan foresees it.

        Who cannot or does not answer is left out: no run fails for want of figures.
        """
        number = self._iterate.round
        evaluation = planned_evaluation(self._plan, number)
        if evaluation is None:
            return
        matrices: dict[str, IntArray | None] = dict.fromkeys(members)

        def accept(site: str, reply: Reply) -> None:
            matrix = decode_matrix(reply.payload, self._plan, evaluation)
            self._accept_facts(site, reply)
            matrices[site] = matrix

        parameters, centre = encode_array(self._iterate.published()), self._centre()
        answers = await self._exchange.ask(
            {
                site: self._request(
                    site, Operation.RELEASE, round=number, phase=Phase.EVALUATE, parameters=parameters, centre=centre
                )
                for site in members
            },
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
            self._board.metrics = evaluated = self._hub.public.metrics(self._plan, self._iterate)
        else:
            evaluated = None
        duration_s = time.perf_counter() - started
        objects = round_objects(self.info.run_id, phase, number, members, answers, evaluated, duration_s)
        if complete:
            objects.append(self._checkpoint())
        # One bundle at most is on its way to the disk, so that memory stays bounded.
        await self._journal.settled()
        self._journal.write(objects)
        if len(answers.replies) < len(self._sites):
            # Asked again after a crash, more sites might answer, and the next request would be another one than the
            # sites have charged for. With every answer in, the repetition is the same and need not be waited for.
            await self._journal.settled()
        self._hub.prometheus.round_closed(self.info.run_id, number, duration_s)
        self._board.round_closed(self._iterate.round, duration_s)

    async def _close(self) -> None:
        """Let the sites free what was planned and not used. Those that declined have nothing to free."""
        codes = self._board.codes
        asked = [
            site
            for site in self._sites
            if site in self._board.facts or codes.get(site, Refusal.APPROVAL_NEEDED) == Refusal.APPROVAL_NEEDED
        ]
        answers = await self._exchange.ask(
            {site: self._close_request(site, self.info.run_id) for site in asked},
            self._accept_close,
            payload_bytes=PART_BYTES,
            deadline_s=_CLOSE_DEADLINE_S,
            quorum=0,
        )
        objects = []
        for site, reply in answers.replies.items():
            if reply.facts is not None:
                self._note(site, OK, reply.facts)
                objects.append(self._hub.witness.to_object(site, reply.facts))
            if reply.part:
                objects.append(as_object(keys.part(self.info.run_id, site), self._parts[site]))
        self._journal.write(objects)
        unheard = [site for site in asked if site not in answers.replies and answers.refused.get(site) not in _CLOSED]
        if unheard:
            log.warning("close_unheard", extra={"run_id": self.info.run_id, "sites": unheard})
        for site in unheard:
            self._hub.unclosed.add(self.info.run_id, site)

    async def _publish(self, state: RunState, cause: EndCause) -> None:
        """Write model, statement and end, and wait a while for the bucket to have them."""
        run_id, objects, model_digest = self.info.run_id, [], None
        if self._iterate.round > 0:
            model = encode_model(self.info, self._iterate, self._hub.contract)
            model_digest = sha256_hex(model)
            objects.append(StoredObject(keys.model(run_id), model, CONTENT_TYPE))
            objects += await self._statement(
                model_digest, Outcome(state=state, cause=cause, rounds=self._iterate.round)
            )
        end = RunEnd(
            run_id=run_id,
            ended_at=datetime.now(UTC),
            state=state,
            cause=cause,
            rounds=self._iterate.round,
            duration_s=self._board.elapsed_s,
            model_digest=model_digest,
            metrics=self._board.metrics,
            held_out=self._board.held_out,
        )
        self._journal.write([*objects, as_object(keys.run_end(run_id), end)])
        try:
            await self._journal.settled()
            if not await asyncio.to_thread(self._hub.outbox.wait_until_empty, _FLUSH_DEADLINE_S):
                self._board.warning = (
                    "S3 does not have everything yet: the rest is kept on the server's disk and sent later"
                )
        except FedprivError as error:
            self._board.warning = str(error)
        self._board.end = end
        self._hub.prometheus.run_ended(run_id, state)
        self._board.changed()

    async def _statement(self, model_digest: str, outcome: Outcome) -> list[StoredObject]:
        """The signed statement and its page; nothing while the key that signs is away."""
        hub = self._hub

        def sign() -> list[StoredObject]:
            facts, server = self._board.facts, hub.statements.server
            return hub.statements.sign(
                make_statement(self.info, hub.contract, outcome, facts, self._parts, model_digest, server)
            )

        signed = await asyncio.to_thread(sign)
        if not signed:
            self._board.warning = "the privacy statement waits for its signature: the server signs and sends it later"
        return signed

    # -- parts -----------------------------------------------------------------------------------------------------

    def _request(
        self,
        site: str,
        operation: Operation,
        *,
        plan: str = "",
        round: int = 0,  # the wire's own word
        phase: Phase = Phase.CENTRE,
        parameters: bytes = b"",
        centre: bytes = b"",
    ) -> Request:
        head = self._hub.witness.of(site)
        return Request(
            operation=operation,
            run_id=self.info.run_id,
            plan=plan,
            plan_digest=self.info.plan_digest,
            round=round,
            phase=phase,
            parameters=parameters,
            centre=centre,
            witness_seq=head.seq,
            witness_head=head.head,
        )

    def _centre(self) -> bytes:
        return encode_array(self._iterate.centre) if self._plan.centre else b""

    def _close_request(self, site: str, run_id: str) -> Request:
        head = self._hub.witness.of(site)
        return Request(operation=Operation.CLOSE, run_id=run_id, witness_seq=head.seq, witness_head=head.head)

    def _accept_facts(self, site: str, reply: Reply) -> None:
        if reply.facts is None:
            raise ValueError("a reply without facts")
        self._hub.witness.accept(site, reply.facts)

    def _accept_close(self, site: str, reply: Reply) -> None:
        self._accept_facts(site, reply)
        if reply.part:
            self._parts[site] = self._hub.statements.take_part(self.info, site, reply.part)

    def _note(self, site: str, code: str, facts: SiteFacts | None) -> None:
        self._board.note(site, code, facts)
        if facts is not None:
            self._hub.prometheus.budget(self.info.run_id, site, facts)

    def _answered_plan(self, site: str, code: str, facts: SiteFacts | None) -> None:
        """Show a site's answer while others are still waited for; a resumed run goes by what it wrote down."""
        if site not in self._progress.admissions:
            self._note(site, code, facts)
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

    def _checkpoint(self) -> StoredObject:
        key = keys.checkpoint(self.info.run_id, self._iterate.round)
        return StoredObject(key, encode_checkpoint(self.info, self._iterate), CONTENT_TYPE)

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
        self._board.changed()


def _told(answers: Answers) -> list[tuple[str, str, SiteFacts | None]]:
    """Site, code and facts of everyone who answered in the agreed form, in order."""
    told: list[tuple[str, str, SiteFacts | None]] = [(site, OK, reply.facts) for site, reply in answers.replies.items()]
    told += [(site, code, None) for site, code in answers.refused.items()]
    return sorted(told, key=lambda entry: entry[0])
