"""Reading a growing bucket, cheaply. The number of requests depends on runs and objects, never on viewers.

A run that is new to this process is read from its segments, and what is not in them object by object: a finished run
costs one listing, its manifest and its segments. From then on a poll asks once for new runs and, for each active run,
once for new objects. Objects are got once. A run that has ended is read to its end and never asked for again.

A listing goes forward in the order of keys, which is not the order of time: `events/` come before `records/`, and
records sort by round. As long as a run is short, one listing of all of it tells what is new. Of a longer one, records
are listed from the low-water mark on, the lowest round that has not closed or lacks a record that its close promises:
"everything after the last key" would miss a site that is late. Events and the end are listed every other time then,
and whenever a record is new: one listing and a half. What even that cannot foresee is found by listing all of the run
now and then, and at its end.
"""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from fedpriv_common import keys
from fedpriv_common.errors import FedprivError
from fedpriv_common.objects import MOST_BYTES, MalformedObjectError, Parsed, kind_of, parse
from fedpriv_common.plan import Phase
from fedpriv_common.records import GLOBAL, Admission, RoundClosed, RunEnd, RunInfo
from fedpriv_common.segments import Segment
from fedpriv_common.store import Listed, ObjectStore
from fedpriv_metrics.compacted import Compacted, Skipped, in_order, read_compacted
from fedpriv_metrics.seq import key_digest

log = logging.getLogger(__name__)

_RUN_ID = re.compile("^[0-9A-HJKMNP-TV-Z]{26}$")

#: Objects got at the same time.
PARALLEL = 16
#: Runs whose segments are got ahead at the same time.
AHEAD = 8
#: Objects that are handed over at once.
BATCH = 500
#: Seconds between listings of all runs, and of all of each active run.
SWEEP_S = 30.0
#: Seconds for which an ended run that lacks records is still asked for.
SETTLE_S = 60.0
#: A run that has been silent for t seconds is asked every t/120 s, but at least this often.
SLOWEST_S = 10.0
#: Keys up to which all of a run is listed each time: a quarter of what one request brings.
SHORT = 250
#: Of a run so long that its listing takes many requests, seconds between two of them on average.
SWEEP_PAGE_S = 3.0
_TOO_LARGE = "it is larger than any object of a run"


@dataclass(frozen=True, slots=True)
class Batch:
    """New objects of one run; `settled` when there will be no more. `skipped`: what was not read, and why."""

    run_id: str
    objects: Sequence[Parsed]
    settled: bool
    skipped: Sequence[Skipped] = ()


class Tail(Protocol):
    """Where the objects come from: a bucket, or one day a table that is asked for what comes after a sort key.

    Whoever reads relies on four things. Every object comes at least once, with the content that its key names; twice
    does no harm. A run that is read for the first time comes in the order of writing (`Parsed.order`), which is what
    makes event ids of two processes equal. After a batch that is `settled` no object of its run comes. What cannot be
    read is told as skipped, once.
    """

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
    #: Whether its segments have been read, or found to be none; and whether they are believed.
    begun: bool = False
    believed: bool = True
    #: Digests of the keys that were read, or skipped as malformed.
    read: set[int] = field(default_factory=set)
    #: Digests of the keys that closed rounds promise, from the low-water mark on.
    promised: dict[int, frozenset[int]] = field(default_factory=dict)
    low_water: int = 0
    sites_missing: int = 1
    evaluates: bool = False
    ended_at: float | None = None
    rounds: int = 0
    #: Keys in the last listing of all of it.
    listed: int = 0
    swept_at: float | None = None
    events_listed: bool = True
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

    def to_sweep(self, now: float) -> bool:
        """Whether it is time to list all of the run."""
        if self.listed <= SHORT or self.swept_at is None:
            return True
        return now - self.swept_at >= max(SWEEP_S, SWEEP_PAGE_S * self.listed / 1000)

    def _records(self, closed: RoundClosed) -> Iterator[int]:
        for site in closed.received:
            yield key_digest(keys.record(self.run_id, closed.round, site, closed.phase))
        if self.evaluates and closed.phase is Phase.TRAIN:
            yield key_digest(keys.record(self.run_id, closed.round, GLOBAL, Phase.EVALUATE))


class S3Tail:
    """The tail of a bucket. Not thread-safe: one poll at a time."""

    def __init__(self, store: ObjectStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="get")
        self._openers = ThreadPoolExecutor(AHEAD, thread_name_prefix="open")
        self._runs: dict[str, _Run] = {}
        self._known: set[str] = set()
        self._swept_at: float | None = None

    @property
    def active(self) -> bool:
        """Whether a run that has not ended showed something new in the last two minutes."""
        return any(self._clock() - run.new_at < 120 for run in self._runs.values())

    def close(self) -> None:
        """Ask no more."""
        self._openers.shutdown(wait=True, cancel_futures=True)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def poll(self) -> Iterator[Batch]:
        """See `Tail.poll`. Newest runs come first."""
        self._find_runs()
        failure: FedprivError | None = None
        asked = [run for _, run in sorted(self._runs.items(), reverse=True) if run.ask_at <= self._clock()]
        opened = self._opened([run for run in asked if not run.begun])
        for run in asked:
            try:
                yield from self._follow(run) if run.begun else self._begin(run, next(opened).result())
            except FedprivError as error:
                failure = failure or error
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

    # -- a run that is new to this process -------------------------------------------------------------------------

    def _opened(self, runs: Iterable[_Run]) -> Iterator[Future[Compacted]]:
        """The segments of each run, got some runs ahead."""
        waiting: deque[Future[Compacted]] = deque()
        for run in runs:
            waiting.append(self._openers.submit(self._open, run))
            if len(waiting) >= AHEAD:
                yield waiting.popleft()
        yield from waiting

    def _open(self, run: _Run) -> Compacted:
        if not run.believed:
            return Compacted()
        return read_compacted(self._store, run.run_id, self._get_segments)

    def _get_segments(self, segments: Sequence[Segment]) -> Iterable[bytes | None]:
        return self._pool.map(lambda segment: self._store.get(segment.key, segment.bytes), segments)

    def _begin(self, run: _Run, compacted: Compacted) -> Iterator[Batch]:
        """Everything that there is of a run so far, in the order of writing."""
        now = self._clock()
        if not compacted.whole:
            run.read |= compacted.cover()
        skipped = list(compacted.skipped)
        if compacted.whole:
            new = list(compacted.left_out)
        else:
            new = self._unread(run, self._listed(run, compacted.low_water), skipped)
        loose, failure = self._read(run, new, skipped)
        if failure is not None and compacted.whole:
            run.read.clear()
            raise failure
        strays: list[Skipped] = []
        stream = in_order(run.run_id, compacted.segments, sorted(loose, key=lambda parsed: parsed.order), strays.append)
        while objects := list(islice(stream, BATCH)):
            if not compacted.whole:
                for parsed in objects:
                    run.note(parsed, now)
            yield Batch(run.run_id, objects, settled=False)
        if strays:
            # Somebody's segment that says what it should not: its objects are asked themselves, with all the others.
            self._runs[run.run_id] = _Run(run.run_id, believed=False, new_at=now)
            yield Batch(run.run_id, [], False, [*skipped, *{stray.key: stray for stray in strays}.values()])
            return
        run.begun, run.swept_at = True, now
        run.advance()
        settled = compacted.whole or (failure is None and run.settled(now))
        if settled:
            del self._runs[run.run_id]
        if settled or skipped:
            yield Batch(run.run_id, [], settled, skipped)
        if failure is not None:
            raise failure

    def _listed(self, run: _Run, low_water: int) -> Iterator[Listed]:
        """What may be loose, when rounds below `low_water` are in segments: all of it, but for their records."""
        prefix = keys.run_prefix(run.run_id)
        if low_water == 0:
            listed = list(self._store.list_entries(prefix))
            run.listed = len(listed)
            yield from listed
            return
        run.listed = SHORT + 1
        yield from self._store.list_entries(f"{prefix}a")
        yield from self._store.list_entries(f"{prefix}e")
        yield from self._store.list_entries(f"{prefix}r", f"{prefix}records/{low_water:06d}")

    # -- a run that goes on ----------------------------------------------------------------------------------------

    def _follow(self, run: _Run) -> Iterator[Batch]:
        """What is new of a run."""
        now, skipped = self._clock(), list[Skipped]()
        swept = run.to_sweep(now)
        if swept:
            listed = list(self._store.list_entries(keys.run_prefix(run.run_id)))
            run.listed, run.swept_at = len(listed), now
            new = self._unread(run, listed, skipped)
        else:
            new = self._new_keys(run, skipped)
        objects, failure = self._read(run, new, skipped)
        # What was planned comes before what came of it.
        for parsed in sorted(objects, key=lambda parsed: not isinstance(parsed.value, RunInfo)):
            run.note(parsed, now)
        run.advance()
        settled = swept and failure is None and run.settled(now)
        if settled:
            del self._runs[run.run_id]
        else:
            run.ask_at = now + min((now - run.new_at) / 120, SLOWEST_S)
        if objects or settled or skipped:
            yield Batch(run.run_id, objects, settled, skipped)
        if failure is not None:
            raise failure

    def _new_keys(self, run: _Run, skipped: list[Skipped]) -> list[str]:
        """New keys of a long run."""
        prefix = keys.run_prefix(run.run_id)
        # records/ from the low-water mark on, rounds/ and run.json.
        listed = self._store.list_entries(f"{prefix}r", f"{prefix}records/{run.low_water:06d}")
        new = self._unread(run, listed, skipped)
        run.events_listed = bool(new) or not run.events_listed
        if run.events_listed:
            # end.json, evaluations/ and events/, which may tell of what led to the records.
            new += self._unread(run, self._store.list_entries(f"{prefix}e"), skipped)
            if run.sites_missing > 0:
                new += self._unread(run, self._store.list_entries(f"{prefix}admissions/"), skipped)
        return new

    def _unread(self, run: _Run, listed: Iterable[Listed], skipped: list[Skipped]) -> list[str]:
        """Keys that are to be got."""
        new = []
        for entry in listed:
            if kind_of(entry.key, run.run_id) is None or (digest := key_digest(entry.key)) in run.read:
                continue
            if entry.size > MOST_BYTES:
                run.read.add(digest)
                self._skip(skipped, entry.key, _TOO_LARGE)
            else:
                new.append(entry.key)
        return new

    def _read(self, run: _Run, new: list[str], skipped: list[Skipped]) -> tuple[list[Parsed], FedprivError | None]:
        """Get and parse; an object that cannot be got now is left for the next poll."""
        found: list[Parsed] = []
        failure: FedprivError | None = None
        for key, body in zip(new, self._pool.map(self._get, new), strict=True):
            if isinstance(body, FedprivError):
                failure = body
                continue
            if body is None:
                continue
            run.read.add(key_digest(key))
            if len(body) > MOST_BYTES:
                self._skip(skipped, key, _TOO_LARGE)
                continue
            try:
                found.append(parse(key, run.run_id, body))
            except MalformedObjectError as error:
                self._skip(skipped, key, str(error))
        return found, failure

    def _get(self, key: str) -> bytes | FedprivError | None:
        try:
            return self._store.get(key, MOST_BYTES)
        except FedprivError as error:
            return error

    def _skip(self, skipped: list[Skipped], key: str, why: str) -> None:
        skipped.append(Skipped(key, why))
        log.warning("object skipped", extra={"key": key, "why": why})


def count_requests(store: ObjectStore, counted: Callable[[str], None]) -> None:
    """Call `counted` with the operation's name for every request that the store sends, retries included."""

    def before_send(event_name: str, **_: object) -> None:
        counted(event_name.rsplit(".", 1)[-1])

    store.client.meta.events.register("before-send.s3", before_send)
