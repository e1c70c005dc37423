"""The index is a function of the set of objects: order, repetition and batches do not show in any answer."""

from __future__ import annotations

from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from fedpriv_common import keys
from fedpriv_common.errors import Refusal
from fedpriv_common.objects import Parsed
from fedpriv_common.plan import Phase, RunSettings
from fedpriv_common.records import EventKind, MetricRecord, RunEvent
from fedpriv_metrics import seed
from fedpriv_metrics.answers import METRIC_NAMES, metric_series, run_detail, run_page
from fedpriv_metrics.forecast import count
from fedpriv_metrics.index import Index
from fedpriv_metrics.narration import run_log
from fedpriv_metrics.privacy import run_privacy
from fedpriv_metrics.seq import Seq
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


def evaluated(record: Parsed) -> Parsed:
    """What the site of a training record releases later in the same round: figures of its own, at a further cost."""
    value = record.value
    assert isinstance(value, MetricRecord) and value.facts is not None
    facts = value.facts.model_copy(update={"epsilon_run": 2 * value.facts.epsilon_run})
    update = {"phase": Phase.EVALUATE, "metrics": {"accuracy": 0.5}, "facts": facts}
    key = keys.record(RUN, value.round, value.site, Phase.EVALUATE)
    return Parsed(key, value.recorded_at, value.model_copy(update=update))


def offline(site: str, at: datetime) -> Parsed:
    """The server lost sight of a site; only a reply of a later time tells otherwise."""
    value = RunEvent(run_id=RUN, event_id="E1", at=at, kind=EventKind.SITE_OFFLINE, site=site, round=4)
    return Parsed(keys.event(RUN, "E1"), at, value)


SITE_3 = [entry for entry in OBJECTS if "/site-3.train" in entry.key]
OBJECTS = sorted(
    [*OBJECTS, *map(evaluated, SITE_3[:3]), offline("site-3", SITE_3[-2].at)], key=lambda entry: entry.order
)


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


def test_one_reading_of_objects_in_any_order_gives_the_same_events() -> None:
    run, reversed_run = applied(OBJECTS).run(RUN), applied(OBJECTS[::-1]).run(RUN)
    assert run is not None and reversed_run is not None
    assert run.feed.after(Seq(), 1000) == reversed_run.feed.after(Seq(), 1000)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_readings_of_objects_as_they_are_written_give_the_same_events_wherever_they_fall(data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(OBJECTS)), max_size=8)))
    batches = [OBJECTS[start:end] for start, end in zip([0, *cuts], [*cuts, len(OBJECTS)], strict=True)]
    run, at_once = applied(*batches).run(RUN), applied(OBJECTS).run(RUN)
    assert run is not None and at_once is not None
    assert run.feed.after(Seq(), 1000) == at_once.feed.after(Seq(), 1000)


def test_the_last_phase_of_a_round_and_the_last_reply_of_a_site_count() -> None:
    run = applied(OBJECTS).run(RUN)
    assert run is not None
    site = run_privacy(run, count).sites[2]
    assert (site.site, site.status) == ("site-3", "within_budget")
    doubled = dict(zip(site.rounds, site.epsilon_run, strict=True))
    assert doubled[3] > doubled[4]


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
