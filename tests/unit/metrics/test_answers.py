"""Figures of a run as the API gives them."""

from __future__ import annotations

import json

import pytest
from pydantic import TypeAdapter

from fedpriv_common.errors import ErrorCode
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import EndCause, RunState
from fedpriv_metrics import seed
from fedpriv_metrics.answers import metric_series, run_detail, run_page, wilson
from fedpriv_metrics.index import Index
from fedpriv_metrics.models.compatibility import SeedRow
from tests.run_writer import START, Script, learning_curve, new_run_id
from tests.unit.metrics.scripted import RUN, indexed, parsed

ABSENT = Script(settings=RunSettings(quorum=2), absent={3: frozenset({"site-2"})})


def test_the_wilson_interval_is_the_published_one() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I: 81 of 263.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(10 / 10, 10) == pytest.approx((0.7225, 1.0), abs=5e-5)


def test_a_run_in_progress_tells_its_last_closed_round() -> None:
    detail = run_detail(indexed(upto="round 7"))
    assert (detail.state, detail.cause, detail.round, detail.rounds) == (RunState.ACTIVE, None, 7, 13)
    assert (detail.accuracy, detail.loss, detail.auc) == tuple(
        learning_curve(7)[name] for name in ("accuracy", "loss", "auc")
    )
    assert detail.accuracy_interval is not None and detail.accuracy is not None
    assert detail.accuracy_interval[0] < detail.accuracy < detail.accuracy_interval[1]
    assert detail.sites_received == ["site-1", "site-2", "site-3"]
    assert detail.median_round_ms == 52.0


def test_a_round_of_which_a_crash_left_a_part_counts_when_all_of_it_is_there() -> None:
    before, after = parsed(upto="round 7"), parsed(upto="round 8")
    bundle = after[len(before) :]
    assert len(bundle) > 3
    for size in range(len(bundle)):
        index = Index()
        index.apply(RUN, [*before, *bundle[:size]])
        run = index.run(RUN)
        assert run is not None
        detail = run_detail(run)
        assert (detail.state, detail.round) == (RunState.ACTIVE, 7), "the round's close comes last"
        index.apply(RUN, bundle[size:])
        assert run_detail(run).model_dump(exclude={"seq"}) == run_detail(indexed(upto="round 8")).model_dump(
            exclude={"seq"}
        )


def test_a_run_that_has_just_begun_has_no_figures_and_says_so() -> None:
    detail = run_detail(indexed(upto="run"))
    assert (detail.round, detail.accuracy, detail.median_round_ms) == (0, None, None)
    assert detail.sites_expected == []


def test_an_ended_run_tells_why() -> None:
    halted = Script(last_round=4, state=RunState.HALTED, cause=EndCause.QUORUM)
    detail = run_detail(indexed(halted))
    assert (detail.state, detail.cause, detail.model_digest) == (RunState.HALTED, EndCause.QUORUM, None)
    assert detail.ended_at is not None and detail.code is None


def test_a_failed_run_tells_its_entry_in_the_error_reference() -> None:
    failed = Script(last_round=4, state=RunState.FAILED, cause=EndCause.INTERNAL, code=ErrorCode.RUN_DAMAGED)
    assert run_detail(indexed(failed)).code is ErrorCode.RUN_DAMAGED


def test_metrics_are_columns_and_only_of_those_who_released_them() -> None:
    accuracy = metric_series(indexed(), "accuracy", None, 0, 999, 100)
    assert [series.site for series in accuracy.series] == ["global"]
    assert accuracy.series[0].rounds == list(range(1, 14))
    assert (accuracy.total, accuracy.sampled) == (13, False)
    spent = metric_series(indexed(ABSENT), "epsilon_spent", None, 2, 4, 100)
    assert {series.site: series.rounds for series in spent.series} == {
        "site-1": [2, 3, 4],
        "site-2": [2, 4],
        "site-3": [2, 3, 4],
    }


def test_a_site_that_is_asked_for_by_name_shows_that_nothing_was_released() -> None:
    series = metric_series(indexed(), "accuracy", "site-2", 1, 3, 100).series
    assert [(entry.site, entry.rounds, entry.values) for entry in series] == [("site-2", [1, 2, 3], [None, None, None])]


def test_runs_come_newest_first_page_by_page() -> None:
    index = Index()
    ids = [new_run_id(START.replace(hour=hour)) for hour in range(10, 15)]
    for run_id in ids:
        index.apply(run_id, parsed(run_id=run_id, upto="end" if run_id == ids[0] else "round 1"))
    seen, cursor = [], None
    while True:
        page = run_page(index, 2, cursor, None)
        seen += [run.run_id for run in page.runs]
        if (cursor := page.next_cursor) is None:
            break
    assert seen == ids[::-1]
    assert [run.run_id for run in run_page(index, 9, None, RunState.FINISHED).runs] == ids[:1]


def test_the_seeds_rows_keep_their_contract() -> None:
    run = indexed(ABSENT)
    rows = TypeAdapter(list[SeedRow]).validate_json(seed.rows(run))
    assert [row.round for row in rows] == sorted(row.round for row in rows)
    by_place = {(row.round, row.site): row for row in rows}
    assert set(json.loads(seed.rows(run))[0]) >= {"round", "loss", "accuracy", "epsilon"}
    assert by_place[7, "global"].accuracy == learning_curve(7)["accuracy"]
    assert (by_place[7, "site-1"].accuracy, by_place[7, "site-1"].loss) == (None, None)
    # site-2 missed a round, so it is behind the others from then on; the global row tells the worst site's.
    behind, worst = by_place[7, "site-2"].epsilon, by_place[7, "global"].epsilon
    assert behind is not None and worst is not None and behind < worst
    assert by_place[7, "site-1"].epsilon == worst
    assert (3, "site-2") not in by_place
