"""Which of several servers on one bucket serves its runs: the one that started last.

Two of them meet when a deployment starts the new one before it stops the old one, or when one comes back that was cut
off. Each start puts the next write-once object `v1/terms/<n>` before it reads what earlier starts left:

    server A   put 7 ── read ── runs ─────────────── looks: 8 is there ── stands down
    server B                          put 8 ── read ── goes on with A's run

A server that has stood down stays so until it is started again. It lives on, since whatever restarted it would make it
the newest, and the two would take the runs from each other for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError
from ulid import ULID

from fedpriv_common import keys
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.store import ObjectStore

log = logging.getLogger(__name__)

#: How often a server looks whether it is still the newest while a run is active, seconds.
LOOK_S: Final = 5.0
#: For how long a look is good enough to write a round, seconds. What ends a run is never written without one.
_FRESH_S: Final = 1.0


class TermStart(BaseModel):
    """The object of a term. `server` is drawn at each start, so that no two of them write the same bytes."""

    model_config = ConfigDict(frozen=True)

    server: str
    started_at: datetime


class TakenOverError(FedprivError):
    """This server may serve no run any more."""

    def __init__(self, what: str) -> None:
        super().__init__(
            ErrorCode.TAKEN_OVER, f"This server has stood down: {what}.", "Ask the server that started last."
        )


class Term:
    """This start's term, and whether it is over. Any number of threads may use it; calls that read S3 block."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._number: int | None = None
        self._looked = -_FRESH_S
        self._lock = threading.Lock()
        #: Why this server stood down; None while it has not.
        self.over: TakenOverError | None = None

    @property
    def number(self) -> int | None:
        """The term's number, once it is taken."""
        return self._number

    def take(self) -> None:
        """Begin the next term, once: a second call changes nothing. Raises STORE_UNAVAILABLE."""
        with self._lock:
            if self._number is not None:
                return
            start = TermStart(server=str(ULID()), started_at=datetime.now(UTC))
            last = max(self._store.list_keys(keys.TERMS), default=keys.term(0))
            number = int(last.removeprefix(keys.TERMS).removesuffix(".json")) + 1
            while not self._put(number, start):
                number += 1
            self._number, self._looked = number, time.monotonic()
        log.info("term_taken", extra={"term": number})

    def _put(self, number: int, start: TermStart) -> bool:
        try:
            self._store.put_once(keys.term(number), start.model_dump_json().encode())
        except FedprivError as error:
            if error.code is ErrorCode.STORE_CONFLICT:
                return False
            raise
        return True

    def check(self, *, fresh_s: float = 0.0) -> None:
        """Raise TakenOverError if another server has started since; STORE_UNAVAILABLE when that cannot be known.

        A look of the last `fresh_s` seconds is good enough.
        """
        with self._lock:
            if self.over is None and self._number is not None and time.monotonic() - self._looked >= fresh_s:
                newer = list(self._store.list_keys(keys.TERMS, keys.term(self._number)))
                self._looked = time.monotonic()
                if newer:
                    self._end(f"another one took over{self._when(newer[-1])}")
        if self.over is not None:
            raise self.over

    async def is_over(self) -> bool:
        """Whether another server is known to have started. S3 is asked, and waited for a while only: the writer asks it
        again before it writes what follows."""
        with contextlib.suppress(FedprivError, TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(self.check), LOOK_S)
        return self.over is not None

    def check_for_writing(self, written: list[str]) -> None:
        """The same before objects of these keys go to the bucket, if it matters for them."""
        if any(keys.ends_run(key) for key in written):
            self.check()
        elif any(keys.is_checkpoint(key) or keys.is_manifest(key) for key in written):
            self.check(fresh_s=_FRESH_S)

    def lose(self, what: str) -> None:
        """Stand down for another reason."""
        with self._lock:
            self._end(what)

    def _end(self, what: str) -> None:
        if self.over is None:
            self.over = TakenOverError(what)
            log.error("stood_down", extra={"term": self._number, "code": self.over.code, "reason": what})

    def _when(self, key: str) -> str:
        try:
            start = TermStart.model_validate_json(self._store.get(key) or b"")
        except (FedprivError, ValidationError):
            return ""
        return f" at {start.started_at:%Y-%m-%d %H:%M:%S} UTC"
