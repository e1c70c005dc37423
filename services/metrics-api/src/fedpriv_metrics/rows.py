"""Every record of a site in a run, whole, in flat arrays: 42 bytes each where a parsed record would take 2,000.

What a site says alike in record after record (data set, limit, policy) is held once. Nothing is left out or rounded:
`Rows.since` gives back the records that were added. One figure over the rounds, a `Column`, is drawn from them when
somebody first asks for it: most of a long history nobody ever does.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Final, Literal, NamedTuple

from fedpriv_common.contract import Unit
from fedpriv_common.plan import Phase
from fedpriv_common.records import MetricRecord
from fedpriv_common.wire import SiteFacts
from fedpriv_metrics.columns import Column
from fedpriv_metrics.heads import Heads

#: Phases in the order in which a round has them.
PHASES = (Phase.CENTRE, Phase.TRAIN, Phase.EVALUATE)
_RANKS = {phase: rank for rank, phase in enumerate(PHASES)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
#: In a column of a metric: the record has not got it, and it was not released. Records hold finite numbers only.
_ABSENT, _NOT_RELEASED = math.nan, math.inf
_PROVENANCES: tuple[Literal["public", "dp"], ...] = ("public", "dp")
#: Of a record without facts.
_NO_FACTS = 2**32 - 1
_SLOT_BITS = 32
_SLOT = 2**_SLOT_BITS - 1

#: What of a site's facts is not in a column of its own.
_Shared = tuple[str, float, float, float, float, Literal["add-remove"], Unit, str]
_shared = attrgetter(
    "dataset",
    "epsilon_planned",
    "epsilon_held_out",
    "epsilon_limit",
    "delta",
    "adjacency",
    "unit",
    "policy_digest",
)
#: (round, rank of the phase, or one more than the last): orders a site's records.
Place = tuple[int, int]


class Metric(NamedTuple):
    """A figure that records hold under a name; no name of theirs is mistaken for a figure of another kind."""

    name: str


#: Figures that are no metrics.
EPSILON_RUN: Final = "epsilon_run"
EPSILON_SPENT: Final = "epsilon_spent"
RECORDED_AT: Final = "recorded_at"
Figure = Metric | Literal["epsilon_run", "epsilon_spent", "recorded_at"]


class Rows:
    """One site's records. Slots are in the order of arrival and never move; `_order` sorts them."""

    __slots__ = (
        "_at",
        "_columns",
        "_epsilon",
        "_facts",
        "_head",
        "_metrics",
        "_odd",
        "_order",
        "_provenance",
        "_shared",
        "_shares",
        "private",
    )

    def __init__(self) -> None:
        self._order = array("Q")
        self._at = array("q")
        self._provenance = array("B")
        self._epsilon = array("d")
        self._head = array("I")
        self._facts = array("I")
        self._shared: list[_Shared] = []
        self._shares: dict[_Shared, int] = {}
        self._metrics: dict[str, array[float]] = {}
        #: Heads that are no hash, which `Heads` leaves out.
        self._odd: dict[int, tuple[int, str]] = {}
        #: Metrics that a record of provenance `dp` has held.
        self.private: set[str] = set()
        #: Columns that were asked for, and how many records in order are in each.
        self._columns: dict[Figure, tuple[Column, int]] = {}

    def __len__(self) -> int:
        return len(self._order)

    def add(self, record: MetricRecord, head: int | None) -> None:
        """Take a record over, whose head is at this place of the site's `Heads` if that could hold it."""
        slot, rank = len(self._order), _RANKS[record.phase]
        place = (record.round << 2 | rank) << _SLOT_BITS | slot
        if not self._order or place > self._order[-1]:
            self._order.append(place)
        else:
            insort(self._order, place)
            self._columns.clear()  # they go on at their ends only
        since = record.recorded_at - _EPOCH
        self._at.append((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)
        private = record.provenance == "dp"
        self._provenance.append(private)
        if private:
            self.private.update(record.metrics)
        self._add_facts(slot, record.facts, head)
        for name in record.metrics:
            if name not in self._metrics:
                self._metrics[name] = array("d", [_ABSENT]) * slot
        for name, column in self._metrics.items():
            value = record.metrics.get(name, _ABSENT)
            column.append(_NOT_RELEASED if value is None else value)

    def since(self, run_id: str, site: str, heads: Heads, place: Place, until: int | None) -> Iterator[MetricRecord]:
        """Records from `place` on, up to and including round `until` (None: all)."""
        for index in range(self._index(place), self._end(until)):
            yield self._record(run_id, site, heads, index)

    def column(self, figure: Figure) -> Column:
        """A figure over the rounds in which a record tells it; of a round's phases the last one's counts."""
        column, taken = self._columns.get(figure) or (Column(), 0)
        for index in range(taken, len(self._order)):
            place = self._order[index]
            value = self._figure(figure, place & _SLOT)
            if not math.isnan(value):
                column.put(place >> _SLOT_BITS + 2, None if value == _NOT_RELEASED else value)
        self._columns[figure] = column, len(self._order)
        return column

    def last(self, until: int | None) -> Place | None:
        """The place of the last record up to and including round `until` (None: all)."""
        end = self._end(until)
        if end == 0:
            return None
        place = self._order[end - 1] >> _SLOT_BITS
        return place >> 2, place & 3

    def _index(self, place: Place) -> int:
        return bisect_left(self._order, (place[0] << 2 | place[1]) << _SLOT_BITS)

    def _end(self, until: int | None) -> int:
        return len(self._order) if until is None else self._index((until + 1, 0))

    def _figure(self, figure: Figure, slot: int) -> float:
        """As the columns of metrics hold it."""
        if isinstance(figure, Metric):
            values = self._metrics.get(figure.name)
            return _ABSENT if values is None else values[slot]
        if figure == RECORDED_AT:
            return self._at[slot] / 1_000_000
        if self._facts[slot] == _NO_FACTS:
            return _ABSENT
        return self._epsilon[2 * slot + (figure == EPSILON_SPENT)]

    def _record(self, run_id: str, site: str, heads: Heads, index: int) -> MetricRecord:
        place = self._order[index]
        slot = place & _SLOT
        # It was validated when it was read; to do so again would take ten times as long.
        return MetricRecord.model_construct(
            run_id=run_id,
            site=site,
            round=place >> _SLOT_BITS + 2,
            phase=PHASES[place >> _SLOT_BITS & 3],
            recorded_at=_EPOCH + self._at[slot] * _MICROSECOND,
            provenance=_PROVENANCES[self._provenance[slot]],
            metrics={
                name: None if column[slot] == _NOT_RELEASED else column[slot]
                for name, column in self._metrics.items()
                if not math.isnan(column[slot])
            },
            facts=self._facts_of(slot, heads),
        )

    def _add_facts(self, slot: int, facts: SiteFacts | None, head: int | None) -> None:
        if facts is None:
            self._epsilon.append(0.0)
            self._epsilon.append(0.0)
            self._head.append(0)
            self._facts.append(_NO_FACTS)
            return
        shared: _Shared = _shared(facts)
        number = self._shares.setdefault(shared, len(self._shared))
        if number == len(self._shared):
            self._shared.append(shared)
        self._facts.append(number)
        self._epsilon.append(facts.epsilon_run)
        self._epsilon.append(facts.epsilon_spent)
        self._head.append(head or 0)
        if head is None:
            self._odd[slot] = (facts.ledger_seq, facts.ledger_head)

    def _facts_of(self, slot: int, heads: Heads) -> SiteFacts | None:
        number = self._facts[slot]
        if number == _NO_FACTS:
            return None
        dataset, planned, held_out, limit, delta, adjacency, unit, policy_digest = self._shared[number]
        seq, head = self._odd.get(slot) or heads.at(self._head[slot])
        return SiteFacts.model_construct(
            dataset=dataset,
            epsilon_run=self._epsilon[2 * slot],
            epsilon_spent=self._epsilon[2 * slot + 1],
            epsilon_planned=planned,
            epsilon_held_out=held_out,
            epsilon_limit=limit,
            delta=delta,
            adjacency=adjacency,
            unit=unit,
            policy_digest=policy_digest,
            ledger_seq=seq,
            ledger_head=head,
        )
