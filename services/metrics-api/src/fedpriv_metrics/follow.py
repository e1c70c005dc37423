"""Keeps the index up to date: polls the tail from a thread, applies what is new in the event loop.

Everything that touches the index runs in the loop, so nothing needs a lock. When the bucket is away the last data
stay, the answers go on, and readiness tells since when.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from fedpriv_common.errors import FedprivError
from fedpriv_metrics.index import Index
from fedpriv_metrics.models.health import Readiness
from fedpriv_metrics.prometheus import Figures
from fedpriv_metrics.tail import Batch, Tail

log = logging.getLogger(__name__)

#: Nothing has run for a while: ask this much less often.
IDLE_FACTOR = 2.0
#: Longest pause between attempts while the bucket is away.
LONGEST_BACKOFF_S = 5.0
#: Data whose last reading is older than this are stale, however it came about.
STALE_S = 15.0


class Follower:
    """One task that follows the bucket for as long as the service runs."""

    def __init__(self, tail: Tail, index: Index, figures: Figures, poll_s: float) -> None:
        self._tail = tail
        self._index = index
        self._figures = figures
        self._poll_s = poll_s
        self._read_at: datetime | None = None
        self._read_monotonic = 0.0
        self._fault: str | None = None

    @property
    def loaded(self) -> bool:
        """Whether the bucket has been read once from end to end."""
        return self._read_at is not None

    def readiness(self) -> Readiness:
        """How the answers stand to the bucket."""
        if self._read_at is None:
            return Readiness(status="loading", detail=self._fault or "The bucket is being read.", read_at=None)
        age = time.monotonic() - self._read_monotonic
        if self._fault is not None or age > STALE_S:
            detail = self._fault or "The last reading takes long."
            return Readiness(status="stale", detail=detail, read_at=self._read_at)
        return Readiness(status="ready", detail="Answers are of the bucket as it is.", read_at=self._read_at)

    async def run(self) -> None:
        """Follow until cancelled."""
        failures = 0
        while True:
            try:
                await self._poll()
            except FedprivError as error:
                failures += 1
                if self._fault is None:
                    log.warning("bucket cannot be read; answers stay as they are", extra={"why": str(error)})
                self._fault = f"{error.code}: the bucket cannot be read; answers are of the last reading."
            except Exception:
                # A defect in one poll must not end the service; the log has it, and readiness shows it.
                failures += 1
                self._fault = "INTERNAL: reading failed; the service's log has the reason."
                log.exception("poll failed")
            else:
                if self._fault is not None:
                    log.info("bucket can be read again")
                failures, self._fault = 0, None
                self._read_at, self._read_monotonic = datetime.now(UTC), time.monotonic()
            await asyncio.sleep(self._pause(failures))

    def _pause(self, failures: int) -> float:
        if failures:
            full = min(LONGEST_BACKOFF_S, self._poll_s * 2.0**failures)
            return full * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, protects nothing
        return self._poll_s if self._tail.active else IDLE_FACTOR * self._poll_s

    async def _poll(self) -> None:
        batches: Iterator[Batch] = self._tail.poll()
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            new = self._index.apply(batch.run_id, batch.objects)
            for skipped in batch.skipped:
                self._index.skip(batch.run_id, skipped)
                self._figures.malformed()
            run = self._index.run(batch.run_id)
            if run is not None:
                self._figures.ingested(run, new)
            if batch.settled:
                self._index.settle(batch.run_id)
