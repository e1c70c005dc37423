"""Objects that are dated hours ahead or before their run move no figure, no length, and nothing a viewer is told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpriv_common import keys
from fedpriv_common.objects import Parsed
from fedpriv_common.records import EventKind, MetricRecord, RoundClosed, RunEvent
from fedpriv_metrics.answers import METRIC_NAMES, metric_series, run_detail
from fedpriv_metrics.index import Index, RunIndex
from fedpriv_metrics.narration import run_log
from fedpriv_metrics.privacy import status
from fedpriv_metrics.seq import Seq
from tests.run_writer import START
from tests.unit.metrics.scripted import RUN, parsed

OBJECTS = parsed(upto="round 7")
CLOSES = [place for place, entry in enumerate(OBJECTS) if isinstance(entry.value, RoundClosed)]


def dated(entry: Parsed, off: timedelta) -> Parsed:
    """The same object from a server whose clock is off."""
    name = {MetricRecord: "recorded_at", RoundClosed: "closed_at", RunEvent: "at"}[type(entry.value)]  # type: ignore[index]
    return Parsed(entry.key, entry.at + off, entry.value.model_copy(update={name: entry.at + off}))


def indexed(objects: list[Parsed]) -> RunIndex:
    index = Index()
    index.apply(RUN, objects)
    run = index.run(RUN)
    assert run is not None
    return run


def figures(run: RunIndex) -> list[object]:
    detail = run_detail(run)
    return [
        *(metric_series(run, name, None, 0, 99, 100) for name in METRIC_NAMES),
        (detail.seq, detail.round, detail.duration_s, detail.updated_at, detail.sites_received),
    ]


OFF = st.sampled_from([timedelta(days=-3000), timedelta(hours=-1), timedelta(hours=1), timedelta(days=3000)])


@given(st.integers(CLOSES[0], CLOSES[-1] - 1), OFF)
def test_one_wrong_time_in_the_middle_of_a_run_changes_no_figure(place: int, off: timedelta) -> None:
    wrong = [*OBJECTS[:place], dated(OBJECTS[place], off), *OBJECTS[place + 1 :]]
    assert figures(indexed(wrong)) == figures(indexed(OBJECTS))
    assert len(run_log(indexed(wrong), 100).entries) == len(run_log(indexed(OBJECTS), 100).entries)


@given(st.integers(0, 8), st.permutations(range(4)))
def test_a_viewer_is_told_everything_once_whatever_the_times(steps: int, cuts: list[int]) -> None:
    off = timedelta(hours=3)
    wrong = [
        dated(entry, off * (place % 3 - 1)) if place in CLOSES[:steps] else entry for place, entry in enumerate(OBJECTS)
    ]
    index, seen, told = Index(), Seq(), 0
    for cut in range(4):
        index.apply(RUN, wrong[cut * len(wrong) // 4 : (cut + 1) * len(wrong) // 4])
        run = index.run(RUN)
        assert run is not None
        replay = run.feed.after(seen, 1000)
        assert not replay.reset
        told, seen = told + len(replay.events), replay.seq
    assert (told, seen) == (len(wrong), indexed(OBJECTS).seq)


@pytest.mark.parametrize("off", [timedelta(days=-3000), timedelta(days=3000)], ids=["before the run", "far ahead"])
def test_no_length_is_negative_and_the_next_round_puts_it_right(off: timedelta) -> None:
    last = CLOSES[-1]
    wrong = run_detail(indexed([*OBJECTS[:last], dated(OBJECTS[last], off)]))
    assert wrong.duration_s is not None and wrong.duration_s >= 0
    assert wrong.updated_at >= wrong.created_at
    following = parsed(upto="round 8")[len(OBJECTS) :]
    right = run_detail(indexed([*OBJECTS[:last], dated(OBJECTS[last], off), *following]))
    assert right.duration_s == run_detail(indexed([*OBJECTS, *following])).duration_s


def test_a_site_that_was_lost_by_a_clock_far_ahead_is_back_when_it_answers_a_later_round() -> None:
    at = START + timedelta(days=3000)
    event = RunEvent(run_id=RUN, event_id="E1", at=at, kind=EventKind.SITE_OFFLINE, site="site-1", round=5)
    lost = Parsed(keys.event(RUN, "E1"), at, event)
    assert status(indexed([*parsed(upto="round 4"), lost]), "site-1") == "offline"
    assert status(indexed([*OBJECTS, lost]), "site-1") == "within_budget"
