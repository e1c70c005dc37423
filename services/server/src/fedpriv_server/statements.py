"""Statements on their way out: parts come in from the sites, signed statements go to the bucket.

A run does not wait for its signature longer than a moment, and its statement is not lost without one: it is kept,
whole, on the server's disk, and a thread signs and sends it when the key can be reached again, after a restart too.
Nothing unsigned ever goes to the bucket.
"""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from fedpriv_common import keys
from fedpriv_common.canonical import canonical_json
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.records import RunInfo
from fedpriv_common.statement.page import render
from fedpriv_common.statement.schema import SignedPart, SignedStatement, Software, Statement
from fedpriv_common.statement.sign import PublicKey, holds, parse_public_key
from fedpriv_common.statement.verify import entries_fault
from fedpriv_server.archive import Archive
from fedpriv_server.notary import Notary
from fedpriv_server.outbox import StoredObject

log = logging.getLogger(__name__)

#: Longest part that is taken from a site, bytes: a thousand rounds and an audit come to half of it.
PART_BYTES: Final = 2 * 2**20
#: Pause between attempts to sign what waits, seconds; it doubles up to the second figure, with jitter.
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 60.0


class Statements:
    """Takes parts, signs statements, keeps those that cannot be signed now. Any number of threads may use it."""

    def __init__(self, folder: Path, notary: Notary, sites: Mapping[str, bytes], server: Software) -> None:
        """`sites`: public key by site, PEM; `server`: what the statement says of this server."""
        self.server = server
        self._folder = folder
        self._notary = notary
        self._sites: dict[str, PublicKey] = {site: parse_public_key(pem) for site, pem in sites.items()}
        self._woken, self._stopping = threading.Event(), threading.Event()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for unfinished in folder.glob("*.new"):
                unfinished.unlink()
        except OSError as error:
            raise FedprivError(
                ErrorCode.BAD_SETTING,
                f"FEDPRIV_STATE_DIR: {folder} cannot be used ({error.strerror}).",
                "Give a folder that this user may write, and that nothing else writes to.",
            ) from None

    def admit(self, site: str, pem: bytes) -> None:
        """From now on the site's parts are signed with this key; one signed with its former key is refused."""
        self._sites = {**self._sites, site: parse_public_key(pem)}

    def expel(self, site: str) -> None:
        """The site's parts are not taken any more; those that were are in their statements as they are."""
        self._sites = {other: key for other, key in self._sites.items() if other != site}

    def take_part(self, run: RunInfo, site: str, text: str) -> SignedPart:
        """A site's part of the statement of `run`; raises ValueError unless it is that, under the site's own key."""
        try:
            signed = SignedPart.model_validate_json(text)
        except ValidationError as error:
            raise ValueError(f"part: {error.error_count()} faults") from None
        part = signed.part
        told = (part.site, part.run_id, part.plan_digest, part.contract_digest)
        if told != (site, run.run_id, run.plan_digest, run.plan.contract_digest):
            raise ValueError("part: of another site, run, plan or contract")
        if fault := entries_fault(run.plan, part):
            raise ValueError(f"part: {fault}")
        key = self._sites.get(site)
        if key is None or not holds(part, signed.signature, key):
            raise ValueError("part: not signed with the site's key")
        return signed

    def sign(self, statement: Statement) -> list[StoredObject]:
        """The signed statement and its page for the bucket; nothing when it has to wait, durably, for its signature.

        Blocks for seconds at most. Raises OSError when the disk does not take what has to wait.
        """
        try:
            return _objects(self._notary.sign(statement))
        except FedprivError as error:
            log.warning("statement_waits", extra={"run_id": statement.run_id, "reason": str(error)})
        self._keep(statement)
        self._woken.set()
        return []

    def waiting(self) -> list[str]:
        """Ids of the runs whose statement waits for its signature."""
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def start(self, archive: Archive) -> None:
        """Begin to sign what waits."""
        threading.Thread(target=self._run, args=(archive,), name="statements", daemon=True).start()

    def stop(self) -> None:
        """Sign no more; what waits is signed after the next start."""
        self._stopping.set()
        self._woken.set()

    def _run(self, archive: Archive) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            try:
                for run_id in self.waiting():
                    self._finish(run_id, archive)
            except Exception as error:  # nothing may end this thread: what it does not sign stays unsigned
                log.warning("statement_unsigned", extra={"reason": str(error), "retry_in_s": round(pause_s, 1)})
                self._stopping.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, hides nothing
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                pause_s = _FIRST_PAUSE_S
                self._woken.wait()
                self._woken.clear()

    def _finish(self, run_id: str, archive: Archive) -> None:
        path = self._path(run_id)
        # A run that was interrupted at its end and went on may have got its statement by itself.
        if archive.get(keys.statement(run_id)) is None:
            try:
                statement = Statement.model_validate_json(path.read_bytes())
            except ValidationError as error:  # of another version, or cut off: it must not keep the others waiting
                log.error("statement_unreadable", extra={"run_id": run_id, "reason": str(error)[:200]})
                path.replace(path.with_suffix(".damaged"))
                return
            archive.put(_objects(self._notary.sign(statement)))
            log.info("statement_signed", extra={"run_id": run_id})
        path.unlink()

    def _keep(self, statement: Statement) -> None:
        path = self._path(statement.run_id)
        temporary = path.with_suffix(".new")
        with temporary.open("wb") as file:
            file.write(canonical_json(statement.model_dump(mode="json")))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _path(self, run_id: str) -> Path:
        return self._folder / f"{run_id}.json"


def _objects(signed: SignedStatement) -> list[StoredObject]:
    run_id = signed.statement.run_id
    return [
        StoredObject(keys.statement(run_id), canonical_json(signed.model_dump(mode="json"))),
        StoredObject(keys.statement_page(run_id), render(signed).encode(), "text/html; charset=utf-8"),
    ]
