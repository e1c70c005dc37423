"""How a run ends: the sites close it and sign what it cost them; then model, statement and end are written."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from fedpriv_common import keys
from fedpriv_common.canonical import sha256_hex
from fedpriv_common.errors import Refusal
from fedpriv_common.records import RunDecision, RunEnd, RunInfo
from fedpriv_common.statement.schema import Outcome, SignedPart
from fedpriv_common.wire import OK, Reply, SiteFacts
from fedpriv_server.board import Board
from fedpriv_server.checkpoint import CONTENT_TYPE, encode_model
from fedpriv_server.exchange import Exchange
from fedpriv_server.hub import Hub
from fedpriv_server.journal import Journal, as_object
from fedpriv_server.outbox import StoredObject
from fedpriv_server.questions import Questions
from fedpriv_server.statement import make_statement
from fedpriv_server.statements import PART_BYTES
from fedpriv_server.strategy import Iterate

log = logging.getLogger(__name__)

#: How long sites may take to close a run, seconds; one that does not hear of it is told before its next run.
_CLOSE_DEADLINE_S: Final = 10.0
#: Answers to a close after which a site holds nothing of the run.
CLOSED: Final = (OK, Refusal.RUN_CLOSED, Refusal.NOT_ADMITTED)


class Ending:
    """The end of one run. `close` comes first, while its sites can be asked; `publish` last."""

    def __init__(
        self,
        info: RunInfo,
        sites: tuple[str, ...],
        hub: Hub,
        journal: Journal,
        exchange: Exchange,
        board: Board,
        note: Callable[[str, str, SiteFacts | None], None],
        parts: Mapping[str, SignedPart],
    ) -> None:
        """`note` is told what each site says of its budget; `parts` are those that an earlier start was given."""
        self._info, self._sites, self._hub = info, sites, hub
        self._journal, self._exchange, self._board, self._note = journal, exchange, board, note
        self._questions = Questions(info, hub.witness)
        self._parts = dict(parts)

    async def close(self) -> None:
        """Let the sites free what was planned and not used. Those that declined have nothing to free."""
        codes = self._board.codes
        asked = [
            site
            for site in self._sites
            if site in self._board.facts or codes.get(site, Refusal.APPROVAL_NEEDED) == Refusal.APPROVAL_NEEDED
        ]
        answers = await self._exchange.ask(
            {site: self._questions.close(site, self._info.run_id) for site in asked},
            self._accept,
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
                objects.append(as_object(keys.part(self._info.run_id, site), self._parts[site]))
        self._journal.write(objects)
        unheard = [site for site in asked if site not in answers.replies and answers.refused.get(site) not in CLOSED]
        if unheard:
            log.warning("close_unheard", extra={"run_id": self._info.run_id, "sites": unheard})
        for site in unheard:
            self._hub.unclosed.add(self._info.run_id, site)

    async def publish(self, iterate: Iterate, decision: RunDecision) -> None:
        """Write model, statement and end, and wait a while for the bucket to have them."""
        run_id, objects, model_digest = self._info.run_id, [], None
        warning = None
        if iterate.round > 0:
            model = encode_model(self._info, iterate, self._hub.contract)
            model_digest = sha256_hex(model)
            objects.append(StoredObject(keys.model(run_id), model, CONTENT_TYPE))
            outcome = Outcome(state=decision.state, cause=decision.cause, rounds=iterate.round)
            signed, warning = await self._statement(model_digest, outcome)
            objects += signed
        end = RunEnd(
            run_id=run_id,
            ended_at=datetime.now(UTC),
            state=decision.state,
            cause=decision.cause,
            code=decision.code,
            rounds=iterate.round,
            duration_s=self._board.elapsed_s,
            model_digest=model_digest,
            metrics=self._board.metrics,
            held_out=self._board.held_out,
        )
        # For good: a run that is told as ended, but would go on after a restart, would end in two states.
        self._journal.write([*objects, as_object(keys.run_end(run_id), end)], for_good=True)
        if not await self._journal.in_bucket():
            warning = "S3 does not have everything yet: the rest is kept on the server's disk and sent later"
        self._board.warning = warning
        self._board.end = end
        self._hub.prometheus.run_ended(run_id, decision.state)
        self._board.changed()

    async def _statement(self, model_digest: str, outcome: Outcome) -> tuple[list[StoredObject], str | None]:
        """The signed statement and its page, or nothing and the reason, as while the key that signs is away."""
        hub = self._hub

        def sign() -> list[StoredObject]:
            facts, server = self._board.facts, hub.statements.server
            return hub.statements.sign(
                make_statement(self._info, hub.contract, outcome, facts, self._parts, model_digest, server)
            )

        try:
            signed = await asyncio.to_thread(sign)
        except Exception:  # a run ends, whatever its sites signed and whatever the disk takes
            log.exception("statement_failed", extra={"run_id": self._info.run_id})
            return [], "there is no privacy statement of this run: see the server's log"
        if not signed:
            return [], "the privacy statement waits for its signature: the server signs and sends it later"
        return signed, None

    def _accept(self, site: str, reply: Reply) -> None:
        self._questions.accept_facts(site, reply)
        if reply.part:
            self._parts[site] = self._hub.statements.take_part(self._info, site, reply.part)
