"""What a run and the hub can be held to: statements, models, their checks, and what the bucket says beside its runs."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator
from pathlib import Path

from fedpriv_common import keys
from fedpriv_common.errors import FedprivError
from fedpriv_common.store import ObjectStore
from fedpriv_common.wire import OK
from fedpriv_metrics.answers import known
from fedpriv_metrics.artefacts import Artefact, Artefacts
from fedpriv_metrics.audit import AuditLog
from fedpriv_metrics.check import Result, RunFacts
from fedpriv_metrics.checker import Checked, Checker
from fedpriv_metrics.index import Index, RunIndex
from fedpriv_metrics.models.statement import StatementCheck, StatementFinding, StatementKey
from fedpriv_metrics.public_keys import PublicKeys
from fedpriv_metrics.registry import MOST_STATEMENTS, Registry, RegistryReader

log = logging.getLogger(__name__)

#: Seconds between looks at what has ended; only some of them ask the bucket anything (registry.py).
LOOK_S = 1.0
#: Longest pause while the bucket is away.
LONGEST_BACKOFF_S = 30.0


class Proofs:
    """The part of a service that reads what proves something. Its answers are of the event loop, as the index's."""

    def __init__(self, index: Index, store: ObjectStore | None, auditor_keys: Path | None) -> None:
        self.registry = Registry()
        self.log = AuditLog(index, self.registry)
        self.artefacts = Artefacts(store)
        self.checker = Checker(PublicKeys(auditor_keys))
        self._index = index
        self._reader = RegistryReader(store) if store is not None else None

    async def run(self) -> None:
        """Read until cancelled."""
        failures = 0
        while self._reader is not None:
            try:
                self.registry.apply(await asyncio.to_thread(self._reader.look, list(self._unread())))
            except FedprivError as error:
                if not failures:
                    log.warning("statements and allow-lists cannot be read", extra={"why": str(error)})
                failures += 1
            except Exception:
                # A defect in one look must not end the task; the log has it.
                failures += 1
                log.exception("look failed")
            else:
                failures = 0
            pause = min(LONGEST_BACKOFF_S, LOOK_S * 2.0 ** min(failures, 10))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0) if failures else pause)  # noqa: S311 - spreads load

    def _unread(self) -> Iterator[str]:
        """Runs that have ended with a model and whose statement is not known, newest first."""
        for run_id in reversed(self._index.run_ids()[-MOST_STATEMENTS:]):
            run = self._index.run(run_id)
            if run and run.end and run.end.model_digest and run_id not in self.registry.statements:
                yield run_id

    async def statement(self, run: RunIndex) -> Artefact | None:
        """`statement.json`; None where there is none (yet). Raises STORE_UNAVAILABLE."""
        # It is written before the end; a run that is active has none, and S3 need not be asked.
        if run.end is None or run.end.model_digest is None:
            return None
        return await self.artefacts.get(keys.statement(run.run_id))

    async def model(self, run: RunIndex) -> Artefact | None:
        """`model.safetensors`; None where there is none. Raises STORE_UNAVAILABLE."""
        if run.end is None or run.end.model_digest is None:
            return None
        return await self.artefacts.get(keys.model(run.run_id))

    async def check(self, run: RunIndex) -> StatementCheck:
        """The statement's state. Raises STORE_UNAVAILABLE."""
        if (reason := why_none(run)) is not None:
            return _check(run, None, "none", *reason)
        statement = await self.statement(run)
        if statement is None:
            detail = (
                "The run has ended and its statement is not there yet. It waits for its signature: the server keeps it "
                "on its own disk and sends it later. Its log says statement_waits, or statement_failed when there "
                "will be none."
            )
            return _check(run, None, "none", detail, True)
        files, fault = self.checker.keys.read()
        if not files:
            return _check(run, statement, "unchecked", fault, False)
        checked = self.checker.ask(statement, await self.model(run), facts_of(run))
        if checked is None:
            detail = "Signatures, plan and every epsilon are being checked."
            return _check(run, statement, "checking", detail, False)
        if checked.result is None:
            return _check(run, statement, "unchecked", checked.fault, False, checked)
        return _check(run, statement, checked.result.verdict, _summary(checked.result), False, checked)


def why_none(run: RunIndex) -> tuple[str, bool] | None:
    """Why a run has no statement, and whether it will get one; None when it should have one."""
    if run.end is None:
        return "The run is active. Its statement is made when it ends, and each site signs its own part then.", True
    if run.end.model_digest is None:
        return (
            "The run ended without a model, so there is nothing to state: a statement is made of a model. What its "
            "releases cost stays charged in the sites' ledgers.",
            False,
        )
    return None


def facts_of(run: RunIndex) -> RunFacts:
    """What the statement must agree with."""
    return RunFacts(
        run_id=run.run_id,
        plan_digest=known(run).plan_digest,
        model_digest=run.end.model_digest if run.end else None,
        admitted=tuple(sorted(site for site, admission in run.admissions.items() if admission.code == OK)),
    )


def _summary(result: Result) -> str:
    failed = [finding for finding in result.findings if finding.state == "failed"]
    if failed:
        return f"{failed[0].what}: {failed[0].detail}."
    if result.verdict == "verified":
        return "Every signature is genuine by the keys given to this metrics API, and every figure follows."
    parts = []
    if result.unsigned:
        parts.append(f"{', '.join(result.unsigned)} signed no part: its figures are its last word to the hub")
    if result.unkeyed:
        parts.append(f"the key of {', '.join(result.unkeyed)} is not here: its part was not checked")
    if not parts:
        parts.append("the model is not in the bucket: it was not compared")
    return f"What is signed is genuine, but {'; '.join(parts)}."


def _check(
    run: RunIndex,
    statement: Artefact | None,
    state: str,
    detail: str,
    expected: bool,
    checked: Checked | None = None,
) -> StatementCheck:
    result = checked.result if checked else None
    return StatementCheck.model_validate(
        {
            "run_id": run.run_id,
            "state": state,
            "detail": detail,
            "expected": expected,
            "digest": statement.digest if statement else None,
            "size": len(statement.body) if statement else None,
            "model_digest": run.end.model_digest if run.end else None,
            "findings": [StatementFinding(**finding.model_dump()) for finding in result.findings] if result else [],
            "keys": [StatementKey(**key.model_dump()) for key in result.keys] if result else [],
            "unsigned": list(result.unsigned) if result else [],
            "checked_at": checked.at if checked else None,
            "seconds": checked.seconds if checked else None,
        }
    )
