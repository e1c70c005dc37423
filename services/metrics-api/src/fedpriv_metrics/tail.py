"""Reading a growing bucket, cheaply. The number of requests depends on runs and objects, never on viewers.

A poll asks once for new runs and, for each active run, twice for new objects (thrice until every site has answered
the plan). Objects are got once. A run that has ended is read to its end and never asked for again.

Keys of records sort by round, so "everything after the last key" would miss a site that is late. The low-water mark
is the lowest round that has not closed or lacks a record that its close promises; records are listed from there.
What even that cannot foresee is found by a full listing every half minute and at the end of the run.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from fedpriv_common import keys
from fedpriv_common.errors import FedprivError
from fedpriv_common.plan import Phase
from fedpriv_common.records import GLOBAL, Admission, RoundClosed, RunEnd, RunInfo
from fedpriv_common.store import ObjectStore
from fedpriv_metrics.objects import MalformedObjectError, Parsed, kind_of, parse
from fedpriv_metrics.seq import key_digest

log = logging.getLogger(__name__)

_RUN_ID = re.compile("^[0-9A-HJKMNP-TV-Z]{26}$")

#: Objects got at the same time.
PARALLEL = 16
#: Seconds between full listings, of the runs and of each active run.
SWEEP_S = 30.0
#: Seconds for which an ended run that lacks records is still asked for.
SETTLE_S = 60.0
#: A run that has been silent for t seconds is asked every t/120 s, but at least this often.
SLOWEST_S = 10.0


@dataclass(frozen=True, slots=True)
class Batch:
    """New objects of one run; `settled` when there will be no more."""

    run_id: str
    objects: list[Parsed]
    settled: bool


class Tail(Protocol):
    """Where the objects come from."""

    def poll(self) -> Iterator[Batch]:
        """What is new since the last poll, run by run. Raises STORE_UNAVAILABLE after what could be read."""
        ...

    @property
    def active(self) -> bool:
        """Whether a run is going on, so that it is worth asking often."""
        ...


@dataclass(slots=True)
class _Run:
    """What has been read of a run that is not settled."""

    run_id: str
    #: Digests of the keys that were read, or skipped as malformed.
    read: set[int] = field(default_factory=set)
    #: Digests of the keys that closed rounds promise, from the low-water mark on.
    promised: dict[int, frozenset[int]] = field(default_factory=dict)
    low_water: int = 0
    sites_missing: int = 1
    evaluates: bool = False
    ended_at: float | None = None
    rounds: int = 0
    swept_at: float | None = None
    new_at: float = 0.0
    ask_at: float = 0.0

    def note(self, parsed: Parsed, now: float) -> None:
        """Remember what an object promises."""
        self.new_at = now
        match parsed.value:
            case RunInfo() as info:
                self.sites_missing += info.plan.sites - 1
                self.evaluates = info.public_validation is not None
                self.low_water = max(self.low_water, 0 if info.plan.centre else 1)
            case Admission():
                self.sites_missing -= 1
            case RoundClosed() as closed if closed.round >= self.low_water:
                self.promised[closed.round] = frozenset(self._records(closed))
            case RunEnd() as end:
                self.ended_at, self.rounds = now, end.rounds
                if self.swept_at != now:
                    self.swept_at = None  # the next poll lists everything, and settles the run
            case _:
                pass

    def advance(self) -> None:
        """Move the low-water mark over rounds that are complete."""
        while (promised := self.promised.get(self.low_water)) is not None and promised <= self.read:
            del self.promised[self.low_water]
            self.low_water += 1

    def settled(self, now: float) -> bool:
        """Whether the run has ended and holds everything that its rounds promised, or was waited for long enough."""
        if self.ended_at is None:
            return False
        return self.low_water > self.rounds or now - self.ended_at >= SETTLE_S

    def _records(self, closed: RoundClosed) -> Iterator[int]:
        for site in closed.received:
            yield key_digest(keys.record(self.run_id, closed.round, site, closed.phase))
        if self.evaluates and closed.phase is Phase.TRAIN:
            yield key_digest(keys.record(self.run_id, closed.round, GLOBAL, Phase.EVALUATE))


class S3Tail:
    """The tail of a bucket. Not thread-safe: one poll at a time."""

    def __init__(
        self,
        store: ObjectStore,
        skipped: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._skipped = skipped
        self._clock = clock
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="get")
        self._runs: dict[str, _Run] = {}
        self._known: set[str] = set()
        self._swept_at: float | None = None

    @property
    def active(self) -> bool:
        """Whether a run that has not ended showed something new in the last two minutes."""
        return any(self._clock() - run.new_at < 120 for run in self._runs.values())

    def poll(self) -> Iterator[Batch]:
        """See `Tail.poll`. Newest runs come first."""
        self._find_runs()
        failure: FedprivError | None = None
        for run_id in sorted(self._runs, reverse=True):
            run, now = self._runs[run_id], self._clock()
            if run.ask_at > now:
                continue
            swept = run.swept_at is None or now - run.swept_at >= SWEEP_S
            objects, error = self._read(run, self._all_keys(run, now) if swept else self._new_keys(run), now)
            failure = failure or error
            settled = swept and error is None and run.settled(now)
            if settled:
                del self._runs[run_id]
            else:
                run.ask_at = now + min((now - run.new_at) / 120, SLOWEST_S)
            if objects or settled:
                yield Batch(run_id, objects, settled)
        if failure is not None:
            raise failure

    def _find_runs(self) -> None:
        now = self._clock()
        sweep = self._swept_at is None or now - self._swept_at >= SWEEP_S
        newest = max(self._known, default="")
        for run_id in self._store.list_folders(keys.RUNS, start_after="" if sweep else newest):
            if run_id not in self._known and _RUN_ID.match(run_id):
                self._known.add(run_id)
                self._runs[run_id] = _Run(run_id, new_at=now)
        if sweep:
            self._swept_at = now

    def _all_keys(self, run: _Run, now: float) -> list[str]:
        listed = self._store.list_keys(keys.run_prefix(run.run_id))
        run.swept_at = now
        return self._unread(run, listed)

    def _new_keys(self, run: _Run) -> list[str]:
        prefix = keys.run_prefix(run.run_id)
        # end.json and events/ first: whatever was written before the end is in the listings after it.
        listed = list(self._store.list_keys(f"{prefix}e"))
        if run.sites_missing > 0:
            listed += self._store.list_keys(f"{prefix}admissions/")
        # records/ from the low-water mark on, rounds/ and run.json.
        listed += self._store.list_keys(f"{prefix}r", start_after=f"{prefix}records/{run.low_water:06d}")
        return self._unread(run, listed)

    def _unread(self, run: _Run, listed: Iterable[str]) -> list[str]:
        return [key for key in listed if kind_of(key, run.run_id) and key_digest(key) not in run.read]

    def _read(self, run: _Run, listed: list[str], now: float) -> tuple[list[Parsed], FedprivError | None]:
        """Get and parse; an object that cannot be got now is left for the next poll."""
        found: list[Parsed] = []
        failure: FedprivError | None = None
        for key, body in zip(listed, self._pool.map(self._get, listed), strict=True):
            if isinstance(body, FedprivError):
                failure = body
                continue
            if body is None:
                continue
            run.read.add(key_digest(key))
            try:
                found.append(parse(key, run.run_id, body))
            except MalformedObjectError as error:
                self._skipped()
                log.warning("object skipped", extra={"key": key, "why": str(error)})
        # What was planned comes before what came of it.
        for parsed in sorted(found, key=lambda parsed: not isinstance(parsed.value, RunInfo)):
            run.note(parsed, now)
        run.advance()
        return found, failure

    def _get(self, key: str) -> bytes | FedprivError | None:
        try:
            return self._store.get(key)
        except FedprivError as error:
            return error


def count_requests(store: ObjectStore, counted: Callable[[str], None]) -> None:
    """Call `counted` with the operation's name for every request that the store sends, retries included."""

    def before_send(event_name: str, **_: object) -> None:
        counted(event_name.rsplit(".", 1)[-1])

    store.client.meta.events.register("before-send.s3", before_send)
