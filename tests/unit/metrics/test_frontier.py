"""Privacy against accuracy over runs: which are the better ones, and which compare at all."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fedpriv_common import keys
from fedpriv_common.objects import parse
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import GLOBAL, EndCause, Estimate, HeldOutEvaluation, RunInfo, RunState
from fedpriv_metrics.answers import run_page, run_summary, wilson
from fedpriv_metrics.frontier import frontiers, pareto
from fedpriv_metrics.index import Index
from fedpriv_metrics.models.frontier import FrontierRun
from fedpriv_metrics.viewer import Viewer
from tests.run_writer import START, Script, encode, learning_curve, new_run_id, run_steps

ALL = Viewer()
#: Few different numbers, so that ties come up.
GRID = st.integers(0, 4).map(float)


@given(st.lists(st.one_of(st.none(), st.tuples(GRID, GRID)), max_size=12))
def test_a_point_is_on_the_frontier_when_no_other_is_as_good_in_both_and_better_in_one(
    points: list[tuple[float, float] | None],
) -> None:
    def beaten(point: tuple[float, float]) -> bool:
        return any(
            other is not None and other[0] <= point[0] and other[1] >= point[1] and other != point for other in points
        )

    assert pareto(points) == [point is not None and not beaten(point) for point in points]


def _index(*scripts: tuple[Script, str], public: bool = True, evaluated: bool = False) -> tuple[Index, list[str]]:
    index, ids = Index(), []
    for hour, (script, upto) in enumerate(scripts):
        run_id = new_run_id(START + timedelta(hours=hour))
        ids.append(run_id)
        for name, objects in run_steps(run_id, script):
            kept = dict(objects)
            if not public:
                kept = {key: value for key, value in kept.items() if f"/{GLOBAL}." not in key}
                kept = {
                    key: value.model_copy(update={"public_validation": None}) if isinstance(value, RunInfo) else value
                    for key, value in kept.items()
                }
            if evaluated and name == "end":
                kept[keys.evaluation(run_id, 13)] = evaluation(run_id, START + timedelta(days=1))
            index.apply(run_id, [parse(key, run_id, body) for key, body in encode(kept).items()])
            if name == upto:
                break
    return index, ids


def evaluation(run_id: str, at: datetime) -> HeldOutEvaluation:
    return HeldOutEvaluation(
        run_id=run_id,
        round=13,
        released_at=at,
        mechanism="geometric",
        epsilon=1.5,
        confidence=0.95,
        counts={"site-1": ((40, 3), (2, 60)), "site-2": None, "site-3": ((39, 4), (2, 61))},
        figures={"accuracy": Estimate(value=0.94, low=0.9, high=0.97)},
    )


def _runs(index: Index) -> list[FrontierRun]:
    (frontier,) = frontiers(index, "accuracy", None, 100, ALL).frontiers
    return frontier.runs


def test_a_run_is_a_point_of_what_it_cost_at_the_worst_site_and_what_its_last_model_is_worth() -> None:
    halted = Script(
        earlier_runs={"site-1": 38}, last_round=6, state=RunState.HALTED, cause=EndCause.BUDGET, epsilon_limit=9.0
    )
    index, ids = _index((Script(), "end"), (halted, "end"), (Script(), "run"))
    newest, stopped, finished = _runs(index)
    assert [newest.run_id, stopped.run_id, finished.run_id] == ids[::-1]
    assert (newest.value, newest.low, newest.missing, newest.pareto) == (None, None, "no_round", False)
    accuracy = learning_curve(13)["accuracy"]
    assert accuracy is not None and finished.value == accuracy
    assert (finished.low, finished.high) == wilson(accuracy, 113)
    assert finished.epsilon_run is not None and 0.99 < finished.epsilon_run < 1
    assert finished.closest_budget is not None and finished.closest_budget.site == "site-2"
    assert stopped.epsilon_run is not None and stopped.epsilon_run < finished.epsilon_run
    assert stopped.closest_budget is not None
    assert (stopped.closest_budget.site, stopped.closest_budget.epsilon_limit) == ("site-1", 9.0)
    assert stopped.closest_budget.share == stopped.closest_budget.epsilon_spent / 9.0
    assert stopped.state is RunState.HALTED
    # Cheaper and worse against dearer and better: neither beats the other.
    assert stopped.pareto and finished.pareto


def test_only_runs_whose_figures_mean_the_same_are_on_one_frontier() -> None:
    other_delta = Script(settings=RunSettings(delta=1e-6))
    index, ids = _index((Script(), "end"), (other_delta, "end"), (Script(), "round 3"))
    found = frontiers(index, "accuracy", None, 100, ALL)
    assert [[run.run_id for run in group.runs] for group in found.frontiers] == [[ids[2], ids[0]], [ids[1]]]
    assert [group.delta for group in found.frontiers] == [1e-5, 1e-6]
    assert all(group.provenance == "public" for group in found.frontiers)
    assert frontiers(index, "accuracy", "other@1", 100, ALL).frontiers == []


def test_without_a_public_set_the_held_out_release_counts_with_its_interval_and_its_cost() -> None:
    index, _ = _index((Script(), "end"), public=False, evaluated=True)
    (group,) = frontiers(index, "accuracy", None, 100, ALL).frontiers
    (run,) = group.runs
    assert (group.provenance, group.public_validation) == ("dp", None)
    assert (run.value, run.low, run.high, run.missing, run.pareto) == (0.94, 0.9, 0.97, None, True)
    # The held-out records lost more than the training records: that is what the run cost.
    assert run.epsilon_run == 1.5
    (loss,) = frontiers(index, "loss", None, 100, ALL).frontiers
    assert (loss.runs[0].value, loss.runs[0].missing, loss.runs[0].pareto) == (None, "not_released", False)


def test_a_value_that_was_not_released_is_null_and_says_why() -> None:
    index, _ = _index((Script(), "end"), (Script(), "round 3"), public=False)
    assert [run.missing for run in _runs(index)] == ["not_evaluated", "not_released"]
    assert [run.value for run in _runs(index)] == [None, None]


def test_a_lower_loss_is_the_better_one() -> None:
    index, _ = _index((Script(), "round 3"), (Script(), "round 6"))
    found = frontiers(index, "loss", None, 100, ALL)
    assert found.better == "lower"
    assert [run.pareto for run in found.frontiers[0].runs] == [True, True]
    assert [run.low for run in found.frontiers[0].runs] == [None, None]


def test_the_answer_is_bounded_and_says_when_older_runs_are_left_out() -> None:
    index, ids = _index(*[(Script(), "round 1")] * 3)
    found = frontiers(index, "accuracy", None, 2, ALL)
    assert found.truncated and [run.run_id for run in found.frontiers[0].runs] == ids[:0:-1]
    assert not frontiers(index, "accuracy", None, 3, ALL).truncated


def test_a_viewer_of_one_site_is_told_of_that_sites_budget_only() -> None:
    index, ids = _index((Script(), "end"))
    run = index.run(ids[0])
    assert run is not None
    everything, own = run_summary(run, ALL), run_summary(run, Viewer("site-3"))
    assert everything.closest_budget is not None and everything.closest_budget.site == "site-2"
    assert own.closest_budget is not None and own.closest_budget.site == "site-3"
    (point,) = frontiers(index, "accuracy", None, 9, Viewer("site-3")).frontiers[0].runs
    assert point.closest_budget == own.closest_budget


def test_runs_are_listed_by_data_set() -> None:
    index, ids = _index((Script(), "end"))
    (listed,) = run_page(index, 9, None, None, "breast-cancer-wisconsin@1").runs
    assert listed.run_id == ids[0]
    assert run_page(index, 9, None, None, "other@1").runs == []
