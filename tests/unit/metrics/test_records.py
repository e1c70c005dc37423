"""Records go out as they came in: whole, in one order, each once, however late and through whichever process."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from fedpriv_common.objects import Parsed
from fedpriv_common.plan import Phase, RunSettings
from fedpriv_common.records import GLOBAL, MetricRecord, RoundClosed
from fedpriv_metrics.compacted import Skipped
from fedpriv_metrics.exports import as_ndjson
from fedpriv_metrics.heads import Heads
from fedpriv_metrics.index import Index
from fedpriv_metrics.records import (
    COLUMNS,
    START,
    Selection,
    as_csv,
    chunks,
    complete_round,
    key_of,
    last_cursor,
    page,
)
from fedpriv_metrics.rows import Rows
from fedpriv_metrics.viewer import Viewer
from tests.run_writer import Script
from tests.unit.metrics.scripted import RUN, parsed

OBJECTS = parsed(Script(settings=RunSettings(rounds=6), absent={3: frozenset({"site-3"}), 4: frozenset({"site-3"})}))
WRITTEN = sorted((entry.value for entry in OBJECTS if isinstance(entry.value, MetricRecord)), key=key_of)
EVERYBODY = Viewer()


def index_of(objects: Sequence[Parsed], *, settled: bool = False) -> Index:
    index = Index()
    index.apply(RUN, objects)
    if settled:
        index.settle(RUN)
    return index


def selection(index: Index, viewer: Viewer = EVERYBODY, site: str | None = None) -> Selection:
    run = index.run(RUN)
    assert run is not None
    return Selection(run, viewer, site)


def test_a_run_that_has_ended_is_given_whole_and_unchanged() -> None:
    chosen = selection(index_of(OBJECTS, settled=True))
    found = page(chosen, START, 1000, partial=False)
    assert found.records == WRITTEN
    assert not found.more
    lines = as_ndjson(found.records).splitlines()
    assert [MetricRecord.model_validate_json(line) for line in lines] == WRITTEN
    assert [record for chunk in chunks(chosen, START, partial=False, size=7) for record in chunk] == WRITTEN
    assert last_cursor(chosen, START) == found.cursor
    assert last_cursor(chosen, found.cursor) == found.cursor


def test_who_sees_one_site_is_given_that_and_the_model() -> None:
    index = index_of(OBJECTS, settled=True)
    seen = page(selection(index, Viewer("site-2")), START, 1000, partial=False).records
    assert seen == [record for record in WRITTEN if record.site in ("site-2", GLOBAL)]
    assert page(selection(index, Viewer("site-2"), "site-1"), START, 9, partial=False).records == []
    alone = page(selection(index, site="site-3"), START, 1000, partial=False).records
    assert alone == [record for record in WRITTEN if record.site == "site-3"]


def test_a_late_record_holds_back_what_comes_after_it() -> None:
    late = next(entry for entry in OBJECTS if entry.key.endswith("records/000005/site-2.train.json"))
    index = index_of([entry for entry in OBJECTS if entry is not late])
    chosen = selection(index)
    first = page(chosen, START, 1000, partial=False)
    assert complete_round(chosen.run) == 4
    assert {record.round for record in first.records} == {0, 1, 2, 3, 4}
    # Whoever wants all that is known gets it, and will get it again.
    known = page(chosen, START, 1000, partial=True)
    assert len(known.records) == len(WRITTEN) - 1
    assert (known.cursor, known.complete) == (first.cursor, len(first.records))
    index.apply(RUN, [late])
    assert [*first.records, *page(chosen, first.cursor, 1000, partial=False).records] == WRITTEN


def test_a_record_that_cannot_be_read_holds_back_nothing() -> None:
    broken = next(entry for entry in OBJECTS if entry.key.endswith("records/000002/site-1.train.json"))
    index = index_of([entry for entry in OBJECTS if entry is not broken])
    index.skip(RUN, Skipped(broken.key, "round: missing"))
    chosen = selection(index)
    assert complete_round(chosen.run) == 6
    found = page(chosen, START, 1000, partial=False).records
    assert found == [record for record in WRITTEN if record != broken.value]


def test_what_nobody_promised_is_given_when_no_record_can_come_any_more() -> None:
    without_close = [
        entry for entry in OBJECTS if not (isinstance(entry.value, RoundClosed) and entry.value.round == 2)
    ]
    index = index_of(without_close)
    chosen = selection(index)
    first = page(chosen, START, 1000, partial=False)
    assert {record.round for record in first.records} == {0, 1}
    index.settle(RUN)
    assert complete_round(chosen.run) is None
    assert [*first.records, *page(chosen, first.cursor, 1000, partial=False).records] == WRITTEN


@settings(max_examples=30)
@given(st.data())
def test_pages_of_a_growing_run_hold_each_record_once_whatever_comes_late(data: st.DataObject) -> None:
    """Two processes read the objects in any order and however far; a reader goes from one to the other."""
    info, *others = OBJECTS
    places = st.permutations(range(len(others)))
    # Objects come roughly in order, some of them late.
    late = data.draw(st.lists(st.integers(0, len(others) - 1), max_size=12))
    orders = [sorted(range(len(others)), key=lambda place: place + 40 * late.count(place))]
    orders.append(data.draw(places) if data.draw(st.booleans()) else orders[0])
    readers = [(index_of([info]), iter(order)) for order in orders]
    cursor, got = START, []
    for _ in range(data.draw(st.integers(0, 12))):
        index, waiting = data.draw(st.sampled_from(readers))
        index.apply(RUN, [others[place] for place in islice(waiting, data.draw(st.integers(0, 20)))])
        found = page(selection(index), cursor, data.draw(st.integers(1, 9)), partial=False)
        got += found.records
        cursor = found.cursor
    index, waiting = readers[0]
    index.apply(RUN, [others[place] for place in waiting])
    index.settle(RUN)
    while (found := page(selection(index), cursor, 7, partial=False)).records:
        got += found.records
        cursor = found.cursor
    assert got == WRITTEN


numbers = st.floats(allow_nan=False, allow_infinity=False)
FACTS = next(record.facts for record in WRITTEN if record.facts is not None)
facts = st.fixed_dictionaries(
    {
        "dataset": st.sampled_from(["wdbc@1", "=cmd()", "wdbc@2"]),
        "epsilon_run": numbers,
        "epsilon_spent": numbers,
        "epsilon_planned": st.sampled_from([1.0, 2.0]),
        "ledger_seq": st.integers(-5, 2**70),
        "ledger_head": st.one_of(
            st.binary(min_size=32, max_size=32).map(bytes.hex),
            st.binary(min_size=32, max_size=32).map(lambda raw: raw.hex().upper()),
            st.text(max_size=5),
        ),
    }
).map(lambda changed: FACTS.model_copy(update=changed))
records = st.builds(
    MetricRecord,
    run_id=st.just(RUN),
    site=st.just("site-1"),
    round=st.integers(0, 99_999),
    phase=st.sampled_from(Phase),
    recorded_at=st.datetimes(timezones=st.sampled_from([next(iter(WRITTEN)).recorded_at.tzinfo])),
    provenance=st.sampled_from(["public", "dp"]),
    metrics=st.dictionaries(st.sampled_from(["accuracy", "loss", "f1"]), st.none() | numbers),
    facts=st.none() | facts,
)


@given(st.lists(records, max_size=8, unique_by=lambda record: (record.round, record.phase)))
def test_nothing_of_a_record_is_lost_or_rounded(given_records: list[MetricRecord]) -> None:
    rows, heads = Rows(), Heads()
    for record in given_records:
        told = record.facts
        rows.add(record, heads.put(record.round, 0, told.ledger_seq, told.ledger_head) if told else None)
    assert list(rows.since(RUN, "site-1", heads, (0, 0), None)) == sorted(given_records, key=key_of)


@given(records)
def test_csv_reads_back_as_it_was_written_and_computes_nothing(record: MetricRecord) -> None:
    text = as_csv([record], header=True).decode()
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert tuple(row) == COLUMNS
    assert (row["round"], row["phase"]) == (str(record.round), record.phase.value)
    for name in ("accuracy", "loss"):
        value = record.metrics.get(name)
        assert row[name] == ("" if value is None else repr(value))
    assert row["auc"] == ""
    if record.facts is None:
        assert {row[name] for name in COLUMNS[9:21]} == {""}
    else:
        assert float(row["epsilon_spent"]) == record.facts.epsilon_spent
        for name in ("dataset", "ledger_head"):
            told = getattr(record.facts, name)
            assert row[name] in (told, f"'{told}")
            assert not row[name].startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_the_header_is_the_documented_one() -> None:
    assert as_csv([], header=True).decode() == (
        "run_id,round,site,phase,recorded_at,provenance,accuracy,loss,auc,dataset,epsilon_run,epsilon_spent,"
        "epsilon_planned,epsilon_held_out,epsilon_limit,delta,adjacency,unit,policy_digest,ledger_seq,ledger_head,"
        "schema_version\r\n"
    )
    assert json.loads(as_ndjson(WRITTEN[:1]))["provenance"] == "dp"
