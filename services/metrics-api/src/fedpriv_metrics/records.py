"""A run's records as they were written, in one order, page by page: each of them once, whatever comes late.

Records are ordered by round, site and phase. A round is complete when it has closed and every record that its close
promises is in, or was found to be none; readers are given complete rounds only, up to the first that is not. So nothing
can come in behind a cursor, at any process, before or after a restart:

    rounds         0   1   2   3   4   5          a record of round 3 is late
    complete       ■   ■   ■   ·   ■   ■   ──>    pages end with round 2; the cursor waits there
    it comes       ■   ■   ■   ■   ■   ■   ──>    rounds 3, 4, 5 follow

When no more can come, everything that is there is given, promised or not.
"""

from __future__ import annotations

import csv
import heapq
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fedpriv_common import keys
from fedpriv_common.plan import Phase
from fedpriv_common.records import GLOBAL, MetricRecord
from fedpriv_metrics.exports import cell
from fedpriv_metrics.index import RANK, RunIndex
from fedpriv_metrics.rows import PHASES
from fedpriv_metrics.viewer import Viewer

#: Before every record.
START = "start"
CURSOR = r"^(start|[0-9]{1,5}/[a-z0-9][a-z0-9-]{0,62}/(centre|train|evaluate))$"
_CURSOR = re.compile(CURSOR)

_METRICS = ("accuracy", "loss", "auc")
_FACTS = (
    *("dataset", "epsilon_run", "epsilon_spent", "epsilon_planned", "epsilon_held_out", "epsilon_limit", "delta"),
    *("adjacency", "unit", "policy_digest", "ledger_seq", "ledger_head"),
)
#: The header of CSV. Columns may be added at its end, none is moved or taken away.
COLUMNS = ("run_id", "round", "site", "phase", "recorded_at", "provenance", *_METRICS, *_FACTS, "schema_version")

#: (round, site, rank of the phase), which records are ordered by.
Key = tuple[int, str, int]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which of a run's records: of one site or of all that the viewer sees."""

    run: RunIndex
    viewer: Viewer
    site: str | None = None

    def after(self, cursor: str, until: int | None) -> Iterator[MetricRecord]:
        """Records after the cursor, in order, up to and including round `until` (None: all)."""
        key = parse_cursor(cursor)
        return heapq.merge(*(self._of(site, key, until) for site in self._sites()), key=key_of)

    def _sites(self) -> list[str]:
        wanted = self.run.figures if self.site is None else {self.site} & self.run.figures.keys()
        return sorted(site for site in wanted if self.viewer.sees(site))

    def _of(self, site: str, key: Key | None, until: int | None) -> Iterator[MetricRecord]:
        figures, place = self.run.figures[site], (0, 0)
        if key is not None:
            number, last, rank = key
            # At this site the cursor stands before the round, behind it, or within.
            place = (number, 0 if site > last else len(PHASES) if site < last else rank + 1)
        return figures.rows.since(self.run.run_id, site, figures.heads, place, until)

    def last(self, until: int | None) -> Key | None:
        """The key of the last record up to and including round `until` (None: all)."""
        found = ((site, self.run.figures[site].rows.last(until)) for site in self._sites())
        return max(((place[0], site, place[1]) for site, place in found if place is not None), default=None)


@dataclass(frozen=True, slots=True)
class Page:
    """At most `limit` records, and where to go on. `records` after the `complete` first ones will come again."""

    records: list[MetricRecord]
    cursor: str
    complete: int
    more: bool


def complete_round(run: RunIndex) -> int | None:
    """The last round up to which nothing can come in any more; None when that holds for the whole run.

    What has been found complete is remembered with the run: a round stays so.
    """
    if run.settled:
        return None
    number = run.complete_round
    if number is None:
        if run.info is None:
            return -1
        number = -1 if run.info.plan.centre else 0
    while _is_complete(run, number + 1):
        number += 1
    run.complete_round = number
    return number


def _is_complete(run: RunIndex, number: int) -> bool:
    closed = run.rounds.get(number)
    if closed is None or run.info is None:
        return False
    promised = [(site, closed.phase) for site in closed.received]
    if closed.phase is Phase.TRAIN and run.info.public_validation is not None:
        promised.append((GLOBAL, Phase.EVALUATE))
    return all(
        (site in run.figures and run.figures[site].holds(number, phase))
        # Of one that could not be read nothing will ever come.
        or keys.record(run.run_id, number, site, phase) in run.skipped
        for site, phase in promised
    )


def page(selection: Selection, cursor: str, limit: int, *, partial: bool) -> Page:
    """The records after the cursor, at most `limit` (≥ 1). With `partial`, those that are known of rounds that are not
    complete follow where the complete ones end; the cursor stays before them."""
    until = complete_round(selection.run)
    records: list[MetricRecord] = []
    for record in selection.after(cursor, until):
        if len(records) == limit:
            return Page(records, cursor_of(records[-1]), limit, more=True)
        records.append(record)
    complete = len(records)
    cursor = cursor_of(records[-1]) if records else cursor
    if partial and until is not None:
        for record in selection.after(cursor, None):
            if len(records) == limit:
                break
            records.append(record)
    return Page(records, cursor, complete, more=False)


def chunks(selection: Selection, cursor: str, *, partial: bool, size: int = 500) -> Iterator[list[MetricRecord]]:
    """Every record after the cursor, in lists of `size`. Which rounds are complete is looked at once: what comes in
    meanwhile is for who asks again."""
    until = None if partial else complete_round(selection.run)
    while True:
        found: list[MetricRecord] = []
        for record in selection.after(cursor, until):
            found.append(record)
            if len(found) == size:
                break
        if found:
            yield found
            cursor = cursor_of(found[-1])
        if len(found) < size:
            return


def last_cursor(selection: Selection, cursor: str) -> str:
    """The cursor of who has read every record after `cursor` that is complete."""
    last, key = selection.last(complete_round(selection.run)), parse_cursor(cursor)
    return cursor if last is None or (key is not None and last <= key) else _spell(last)


def key_of(record: MetricRecord) -> Key:
    """What records are ordered by."""
    return record.round, record.site, RANK[record.phase]


def cursor_of(record: MetricRecord) -> str:
    """Stands after this record."""
    return _spell(key_of(record))


def _spell(key: Key) -> str:
    number, site, rank = key
    return f"{number}/{site}/{PHASES[rank].value}"


def parse_cursor(cursor: str) -> Key | None:
    """The key that a cursor spells; None for the start. Raises ValueError for anything else."""
    if not _CURSOR.match(cursor):
        raise ValueError(f"{cursor!r} is no cursor")
    if cursor == START:
        return None
    number, site, phase = cursor.split("/")
    return int(number), site, RANK[Phase(phase)]


def as_csv(records: Sequence[MetricRecord], *, header: bool) -> bytes:
    """RFC 4180, in UTF-8, columns as in COLUMNS. A cell is empty where nothing was released or nothing applies."""
    text = io.StringIO()
    writer = csv.writer(text)
    if header:
        writer.writerow(COLUMNS)
    for record in records:
        facts = record.facts
        writer.writerow(
            (
                record.run_id,
                record.round,
                record.site,
                record.phase.value,
                record.recorded_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
                record.provenance,
                *(record.metrics.get(name) for name in _METRICS),
                *(None if facts is None else cell(getattr(facts, name)) for name in _FACTS),
                record.schema_version,
            )
        )
    return text.getvalue().encode()
