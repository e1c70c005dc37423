"""The index is a function of the set of objects: order, repetition and batches do not show in any answer."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fedpriv_common.errors import Refusal
from fedpriv_common.plan import RunSettings
from fedpriv_metrics import seed
from fedpriv_metrics.answers import METRIC_NAMES, metric_series, run_detail, run_page
from fedpriv_metrics.forecast import count
from fedpriv_metrics.index import Index
from fedpriv_metrics.narration import run_log
from fedpriv_metrics.objects import Parsed
from fedpriv_metrics.privacy import run_privacy
from tests.run_writer import Script
from tests.unit.metrics.scripted import RUN, indexed, parsed

#: A run in which things go wrong: a site declines, another is away for two rounds, the run is halted.
TROUBLED = Script(
    settings=RunSettings(sites=4, quorum=2, rounds=12),
    sites=("site-1", "site-2", "site-3", "site-4"),
    refusals={"site-4": Refusal.BUDGET_EXHAUSTED},
    absent={2: frozenset({"site-1"}), 3: frozenset({"site-1", "site-2"})},
    last_round=5,
)
OBJECTS = parsed(TROUBLED)


def answers(index: Index) -> list[object]:
    run = index.run(RUN)
    assert run is not None
    series = [metric_series(run, name, None, 0, 99, 100) for name in METRIC_NAMES]
    page = run_page(index, 10, None, None)
    return [str(index.seq), page, run_detail(run), run_privacy(run, count), run_log(run, 100), seed.rows(run), *series]


def applied(*batches: list[Parsed]) -> Index:
    index = Index()
    for batch in batches:
        index.apply(RUN, batch)
    return index


EXPECTED = answers(applied(OBJECTS))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_order_repetition_and_batches_do_not_change_any_answer(data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(OBJECTS))
    repeated = shuffled + data.draw(st.lists(st.sampled_from(OBJECTS), max_size=30))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(repeated)), max_size=6)))
    batches = [repeated[start:end] for start, end in zip([0, *cuts], [*cuts, len(repeated)], strict=True)]
    assert answers(applied(*batches)) == EXPECTED


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_readings_of_objects_as_they_are_written_give_the_same_events_wherever_they_fall(data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(OBJECTS)), max_size=8)))
    batches = [OBJECTS[start:end] for start, end in zip([0, *cuts], [*cuts, len(OBJECTS)], strict=True)]
    run, at_once = applied(*batches).run(RUN), applied(OBJECTS).run(RUN)
    assert run is not None and at_once is not None
    first = type(run.seq)()
    assert run.feed.after(first, 1000) == at_once.feed.after(first, 1000)


def test_a_run_is_shown_once_its_settings_are_known() -> None:
    index = applied(OBJECTS[1:])
    assert index.run(RUN) is None
    assert run_page(index, 10, None, None).runs == []
    index.apply(RUN, OBJECTS[:1])
    assert [run.run_id for run in run_page(index, 10, None, None).runs] == [RUN]


def test_what_is_new_is_told_apart_from_what_is_known() -> None:
    index = applied(OBJECTS[:10])
    assert index.apply(RUN, OBJECTS[5:15]) == OBJECTS[10:15]


def test_rounds_share_the_names_of_their_sites() -> None:
    run = indexed()
    assert run.rounds[3].expected is run.rounds[9].expected
