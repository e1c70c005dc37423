"""What the bucket says, in memory: a pure function of the set of objects applied.

Applying is idempotent and its order does not matter, so a restart, a late object and a second API process all lead
to the same answers. Nothing here does input or output.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, TypeVar, assert_never

from fedpriv_common.objects import Parsed
from fedpriv_common.plan import Phase
from fedpriv_common.records import (
    GLOBAL,
    Admission,
    HeldOutEvaluation,
    MetricRecord,
    RoundClosed,
    RunEnd,
    RunEvent,
    RunInfo,
    RunSites,
    RunState,
)
from fedpriv_common.wire import SiteFacts
from fedpriv_metrics.columns import Column
from fedpriv_metrics.compacted import Skipped
from fedpriv_metrics.feed import Feed
from fedpriv_metrics.heads import Heads
from fedpriv_metrics.models.stream import Change, StreamEvent, StreamEventKind
from fedpriv_metrics.rows import EPSILON_RUN, EPSILON_SPENT, RECORDED_AT, Metric, Rows
from fedpriv_metrics.seq import Seq, key_digest

Key = TypeVar("Key")
Value = TypeVar("Value")

#: Metrics that are answered by name.
METRICS = ("accuracy", "loss", "auc")
#: Of two phases in one round, the later one's figures stand for the round.
RANK = {Phase.CENTRE: 0, Phase.TRAIN: 1, Phase.EVALUATE: 2}
#: Events of an ended run that late viewers can still be given one by one.
KEPT_AFTER_END = 128
#: Objects that could not be read that are remembered with their reason; the others are counted.
SKIPPED_KEPT = 100


class Told(NamedTuple):
    """What an event tells, before somebody asks for it: most of a long history nobody ever does, so it is light."""

    run_id: str
    kind: StreamEventKind
    round: int | None
    site: str | None
    state: RunState | None
    at: datetime
    changes: tuple[Change, ...]

    def __call__(self, seq: Seq) -> bytes:
        """The event as server-sent events spell it, with the state after it as its id."""
        return encode_event(StreamEvent(seq="", **self._asdict()), seq)


@dataclass(slots=True)
class SiteIndex:
    """One site's figures, or the global model's."""

    #: Every ledger head that its records tell.
    heads: Heads = field(default_factory=Heads)
    #: Every record, whole.
    rows: Rows = field(default_factory=Rows)
    #: Newest facts of a record, and the round and rank that they are from.
    facts: SiteFacts | None = None
    facts_from: tuple[int, int] = (-1, -1)
    last_reply: datetime | None = None
    #: One bit per phase for each round: which records are in.
    _seen: bytearray = field(default_factory=bytearray)

    def add(self, record: MetricRecord) -> bool:
        """Take a record over; False when it is in already."""
        number, rank = record.round, RANK[record.phase]
        if number >= len(self._seen):
            self._seen.extend(bytes(number + 1 - len(self._seen)))
        if self._seen[number] >> rank & 1:
            return False
        self._seen[number] |= 1 << rank
        head = None
        if record.facts is not None:
            head = self.heads.put(number, rank, record.facts.ledger_seq, record.facts.ledger_head)
            if (number, rank) > self.facts_from:
                self.facts, self.facts_from = record.facts, (number, rank)
        self.rows.add(record, head)
        if self.last_reply is None or record.recorded_at > self.last_reply:
            self.last_reply = record.recorded_at
        return True

    @property
    def epsilon_run(self) -> Column:
        """What the run has released so far, by round."""
        return self.rows.column(EPSILON_RUN)

    @property
    def epsilon_spent(self) -> Column:
        """What was ever charged to the data set, by round."""
        return self.rows.column(EPSILON_SPENT)

    @property
    def recorded_at(self) -> Column:
        """When each round's last record was made, in seconds since 1970."""
        return self.rows.column(RECORDED_AT)

    def metric(self, name: str) -> Column:
        """A metric by round."""
        return self.rows.column(Metric(name))

    def provenance(self, name: str) -> Literal["public", "dp"]:
        """What a metric's values are. Where kinds mix, the one that needs an explanation is named."""
        return "dp" if name in self.rows.private else "public"

    def holds(self, number: int, phase: Phase) -> bool:
        """Whether the record of this round and phase is in."""
        return number < len(self._seen) and bool(self._seen[number] >> RANK[phase] & 1)


class RunIndex:
    """One run. `info` is None until `run.json` has been read; such a run is not shown."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.info: RunInfo | None = None
        #: Whom the run asks to take part.
        self.asked: tuple[str, ...] = ()
        self.end: RunEnd | None = None
        self.admissions: dict[str, Admission] = {}
        self.rounds: dict[int, RoundClosed] = {}
        self.evaluations: dict[int, HeldOutEvaluation] = {}
        self.events: dict[str, RunEvent] = {}
        self.figures: dict[str, SiteIndex] = {}
        #: Objects that could not be read, the first of them by key, with the reason.
        self.skipped: dict[str, str] = {}
        self.skipped_count = 0
        #: No object of this run will come any more.
        self.settled = False
        #: Up to here every round is known to be complete (records.py).
        self.complete_round: int | None = None
        self.feed = Feed()

    @property
    def seq(self) -> Seq:
        """Which objects have been applied."""
        return self.feed.seq

    @property
    def state(self) -> RunState:
        """Active until the end is known."""
        return self.end.state if self.end else RunState.ACTIVE

    @property
    def last_round(self) -> RoundClosed | None:
        """The highest round that has closed."""
        return self.rounds[max(self.rounds)] if self.rounds else None

    @property
    def training_round(self) -> int:
        """Number of the last closed training round, 0 before the first."""
        return max((number for number, closed in self.rounds.items() if closed.phase is Phase.TRAIN), default=0)

    @property
    def last_evaluation(self) -> HeldOutEvaluation | None:
        """The evaluation on held-out records of the highest round."""
        return self.evaluations[max(self.evaluations)] if self.evaluations else None

    @property
    def updated_at(self) -> datetime | None:
        """When the run ended, last closed a round or last heard from a site, whichever it has come to; None before.

        It goes by the run's own order and not by the latest time: one object with the time of a clock that was wrong
        must not make the run hours long. Never before the run began.
        """
        if self.end is not None:
            at: datetime | None = self.end.ended_at
        elif (closed := self.last_round) is not None:
            at = closed.closed_at
        else:
            at = max((admission.at for admission in self.admissions.values()), default=None)
        began = self.info.created_at if self.info else None
        return max((time for time in (at, began) if time is not None), default=None)

    def sites(self) -> list[str]:
        """Every site that the run knows of, in order: those that it waits for too."""
        named = set(self.admissions) | set(self.figures) | set(self.waiting())
        if closed := self.last_round:
            named |= set(closed.expected)
        return sorted(named - {GLOBAL})

    def waiting(self) -> list[str]:
        """Sites that were asked to take part in an active run and have not answered, in order."""
        return [] if self.end else sorted(set(self.asked) - set(self.admissions) - set(self.figures))

    def facts(self, site: str) -> SiteFacts | None:
        """The newest that the site said of its budget."""
        figures, admission = self.figures.get(site), self.admissions.get(site)
        if figures is not None and figures.facts is not None:
            return figures.facts
        return admission.facts if admission else None

    def apply(self, parsed: Parsed, digest: int | None = None) -> Told | None:
        """Take an object over and publish its event; None when it is in already. `digest`: its key's, where known."""
        event = self._take(parsed)
        if event is None:
            return None
        self.feed.publish(key_digest(parsed.key) if digest is None else digest, event, event.site)
        return event

    def _take(self, parsed: Parsed) -> Told | None:
        value, kind, changes = parsed.value, StreamEventKind.RUN_STATUS, _RUN
        match value:
            case MetricRecord():
                figures = self.figures.get(value.site)
                if figures is None:
                    figures = self.figures[value.site] = SiteIndex()
                new = figures.add(value)
                kind, changes = StreamEventKind.RECORD, _GLOBAL_RECORD if value.site == GLOBAL else _SITE_RECORD
            case RunInfo():
                new, self.info = self.info is None, value
            case RunSites():
                new, self.asked = not self.asked, value.sites
                kind, changes = StreamEventKind.BUDGET, _BUDGET
            case Admission():
                new = _put(self.admissions, value.site, value)
                kind, changes = StreamEventKind.BUDGET, _BUDGET
            case RoundClosed():
                new = _put(self.rounds, value.round, self._shared(value))
                kind, changes = StreamEventKind.ROUND_CLOSED, _ROUND
            case HeldOutEvaluation():
                new = _put(self.evaluations, value.round, value)
                kind, changes = StreamEventKind.RECORD, _GLOBAL_RECORD
            case RunEvent():
                new = _put(self.events, value.event_id, value)
                kind, changes = StreamEventKind.LOG, _LOG
            case RunEnd():
                new, self.end = self.end is None, value
            case _:
                assert_never(value)
        if not new:
            return None
        number, site = getattr(value, "round", None), getattr(value, "site", None)
        return Told(
            run_id=self.run_id,
            kind=kind,
            round=number,
            site=site,
            state=self.state if kind is StreamEventKind.RUN_STATUS else None,
            at=parsed.at,
            changes=changes,
        )

    def _shared(self, closed: RoundClosed) -> RoundClosed:
        """The round, holding the names of another one where they are equal: thousands of rounds name few sites. And the
        set of its fields' names, which takes more than all that they hold."""
        other = next(reversed(self.rounds.values()), None)
        if other is not None and (closed.expected, closed.received) == (other.expected, other.received):
            vars(closed).update(expected=other.expected, received=other.received)
            if closed.model_fields_set == other.model_fields_set:
                object.__setattr__(closed, "__pydantic_fields_set__", other.model_fields_set)
        return closed


class Joined(NamedTuple):
    """Whom an event of the list of runs is for: of `site`, that site alone; else whoever sees the run."""

    run: RunIndex
    site: str | None


class Index:
    """Every run, and the feed of runs that appear and end."""

    def __init__(self) -> None:
        self._runs: dict[str, RunIndex] = {}
        self._visible: list[str] = []
        self.feed = Feed()
        self.seq = Seq()

    def run(self, run_id: str) -> RunIndex | None:
        """The run, when its `run.json` has been read."""
        run = self._runs.get(run_id)
        return run if run and run.info else None

    def newest(self) -> RunIndex | None:
        """The run whose id is the highest: ids sort by the time that they were made."""
        return self._runs[self._visible[-1]] if self._visible else None

    def run_ids(self) -> Sequence[str]:
        """Ids of the runs that are shown, oldest first."""
        return self._visible

    def active(self) -> list[RunIndex]:
        """Runs that have not ended."""
        return [run for run_id in self._visible if not (run := self._runs[run_id]).end]

    def apply(self, run_id: str, batch: Iterable[Parsed]) -> list[Parsed]:
        """Take one run's objects over in the order of their writing; those that were new, in that order."""
        run = self._runs.setdefault(run_id, RunIndex(run_id))
        new, seen = [], 0
        for parsed in sorted(batch, key=lambda parsed: parsed.order):
            digest = key_digest(parsed.key)
            event = run.apply(parsed, digest)
            if event is None:
                continue
            new.append(parsed)
            seen ^= digest
            if event.kind is StreamEventKind.RUN_STATUS:
                self._list_changed(run, event, digest)
            elif event.kind is StreamEventKind.BUDGET and isinstance(parsed.value, Admission):
                # From now on this site sees the run: to it, and to nobody else, the run appears.
                told = event._replace(kind=StreamEventKind.RUN_STATUS, state=run.state, changes=_RUN)
                self.feed.publish(digest, told, Joined(run, event.site))
                self.feed.wake()
        self.seq = Seq(self.seq.count + len(new), self.seq.digest ^ seen)
        if new:
            run.feed.wake()
        return new

    def skip(self, run_id: str, skipped: Skipped) -> None:
        """Remember that an object of this run could not be read."""
        run = self._runs.setdefault(run_id, RunIndex(run_id))
        run.skipped_count += skipped.key not in run.skipped
        if len(run.skipped) < SKIPPED_KEPT:
            run.skipped.setdefault(skipped.key, skipped.why)

    def settle(self, run_id: str) -> None:
        """No object of this run will come any more: keep less for its viewers."""
        if (run := self._runs.get(run_id)) is not None:
            run.settled = True
            run.feed.trim(KEPT_AFTER_END)

    def _list_changed(self, run: RunIndex, event: Told, digest: int) -> None:
        if run.info and run.run_id not in self._visible:
            insort(self._visible, run.run_id)
        self.feed.publish(digest, event, Joined(run, None))
        self.feed.wake()


_RUN: tuple[Change, ...] = ("run", "log", "privacy")
_BUDGET: tuple[Change, ...] = ("run", "privacy", "log")
_GLOBAL_RECORD: tuple[Change, ...] = ("run", "metrics")
_SITE_RECORD: tuple[Change, ...] = ("metrics", "privacy")
_ROUND: tuple[Change, ...] = ("run", "privacy", "log")
_LOG: tuple[Change, ...] = ("run", "privacy", "log")


def encode_event(event: StreamEvent, seq: Seq) -> bytes:
    """The event as server-sent events spell it, with the state after it as its id."""
    data = event.model_copy(update={"seq": str(seq)}).model_dump_json()
    return f"event: {event.kind}\nid: {seq}\ndata: {data}\n\n".encode()


def _put(held: dict[Key, Value], key: Key, value: Value) -> bool:
    """Set a key that is not there yet; False when it is."""
    if key in held:
        return False
    held[key] = value
    return True
