"""The one thread that writes to the bucket: everything in the outbox, in order, for as long as it takes."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fedpriv_common import keys
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.store import ObjectStore
from fedpriv_server.checkpoint import same_tensors
from fedpriv_server.outbox import Outbox, StoredObject
from fedpriv_server.term import TakenOverError, Term

log = logging.getLogger(__name__)

#: Pause after the first failure, seconds; it doubles up to the second figure, with jitter.
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 10.0
_IDLE_S: Final = 60.0


@dataclass(frozen=True)
class WriterCounts:
    """What happened, told after each object or failure."""

    waiting: int
    conflicts: int
    failures: int


class Writer:
    """Moves bundles from the outbox to the store. A repetition is recognised, a conflict is never overwritten."""

    def __init__(
        self,
        outbox: Outbox,
        store: ObjectStore,
        counted: Callable[[WriterCounts], None],
        term: Term,
        written: Callable[[StoredObject], None] = lambda _: None,
    ) -> None:
        """`term`: when it is over, nothing more is written; what is left stays on the disk. `written` is told of each
        object that the bucket holds as it is."""
        self._outbox = outbox
        self._store = store
        self._counted = counted
        self._term = term
        self._written = written
        #: Bundles from here on are of this start.
        self._first = outbox.next_number
        self._conflicts = 0
        self._failures = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Write what is left, at most for `timeout_s`; the rest waits on the disk for the next start."""
        if not self._outbox.wait_until_empty(0.0 if self._term.over else timeout_s):
            log.warning("outbox_kept", extra={"bundles": len(self._outbox)})
        self._stopping.set()

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._stopping.is_set() and self._term.over is None:
            number = self._outbox.oldest()
            if number is None:
                self._outbox.wait_for_work(_IDLE_S)
                continue
            try:
                self._send(number)
            except TakenOverError:
                return
            except Exception as error:  # nothing may end this thread: what it does not write is lost
                self._failures += 1
                delay = pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing
                log.warning("store_unavailable", extra={"reason": str(error), "retry_in_s": round(delay, 1)})
                self._tell()
                self._stopping.wait(delay)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                pause_s = _FIRST_PAUSE_S

    def _send(self, number: int) -> None:
        try:
            objects = self._outbox.read(number)
        except ValueError:
            log.exception("bundle_damaged", extra={"bundle": number})
            self._outbox.set_aside(number)
            return
        if number >= self._first:  # what an earlier start decided, this one goes by
            self._term.check_for_writing([entry.key for entry in objects])
        for entry in objects:
            self._put(entry, ours=number >= self._first)
        self._outbox.remove(number)
        self._tell()

    def _put(self, entry: StoredObject, *, ours: bool) -> None:
        try:
            self._store.put_once(entry.key, entry.body, entry.content_type)
            self._written(entry)
        except FedprivError as error:
            if error.code is not ErrorCode.STORE_CONFLICT:
                raise
            if keys.is_manifest(entry.key):
                # Another server's compaction was faster: no loss, and this one finds out and begins again.
                log.info("manifest_taken", extra={"key": entry.key})
                return
            if ours and keys.is_checkpoint(entry.key) and not same_tensors(entry.body, self._store.get(entry.key)):
                self._term.lose(f"the bucket holds another {entry.key} than this server computed")
            self._conflicts += 1
            log.error("store_conflict", extra={"key": entry.key, "reason": str(error)})

    def _tell(self) -> None:
        self._counted(WriterCounts(len(self._outbox), self._conflicts, self._failures))
