"""Privacy against accuracy over runs. Pure: no time, no input or output.

Runs are on one frontier only where their figures mean the same: ε compares only at one δ, adjacency and unit, and a
metric only on the same records.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fedpriv_common.records import PublicValidation
from fedpriv_metrics.answers import closest_budget, held_out_figure, known, last_value, run_epsilon, wilson
from fedpriv_metrics.index import Index, RunIndex
from fedpriv_metrics.models.frontier import Frontier, FrontierMetric, FrontierRun, Frontiers, Missing
from fedpriv_metrics.viewer import Viewer


def frontiers(index: Index, metric: FrontierMetric, dataset: str | None, limit: int, viewer: Viewer) -> Frontiers:
    """The newest `limit` runs (of `dataset`, where one is named) in groups that compare.

    A run counts with the model of its last closed round, whatever its state: what a halted run reached, it reached.
    """
    groups: dict[_Basis, list[FrontierRun]] = {}
    taken, truncated = 0, False
    for run_id in reversed(index.run_ids()):
        run = index.run(run_id)
        if run is None or not viewer.sees_run(run) or dataset not in (None, known(run).plan.dataset):
            continue
        if taken == limit:
            truncated = True
            break
        taken += 1
        groups.setdefault(_Basis.of(run), []).append(_point(run, metric, viewer))
    sign = -1.0 if metric == "loss" else 1.0
    return Frontiers(
        metric=metric,
        better="lower" if metric == "loss" else "higher",
        seq=str(index.seq),
        truncated=truncated,
        frontiers=[_frontier(basis, runs, sign) for basis, runs in groups.items()],
    )


def pareto(points: Sequence[tuple[float, float] | None]) -> list[bool]:
    """Which (ε, merit) are on the frontier: no other has ε lower or equal and merit higher or equal, one of them
    strictly. Equal points are on it together; None, a point that is not known, never is.

    Sorted by ε and, at one ε, by merit from the best: a point is on the frontier when its merit is above that of
    every lower ε, and the best at its own.
    """
    order = sorted(
        (place for place, point in enumerate(points) if point is not None),
        key=lambda place: _by_cost(points[place]),
    )
    on, best, cost = [False] * len(points), -math.inf, -math.inf
    for place in order:
        point = points[place]
        if point is None:
            continue
        epsilon, merit = point
        if merit > best or (merit == best and epsilon == cost):
            on[place], best, cost = True, merit, epsilon
    return on


def _by_cost(point: tuple[float, float] | None) -> tuple[float, float]:
    epsilon, merit = point or (math.inf, -math.inf)
    return epsilon, -merit


@dataclass(frozen=True, slots=True)
class _Basis:
    """What two runs must share for their figures to compare."""

    dataset: str
    contract_digest: str
    delta: float
    adjacency: str
    unit: str
    validation: tuple[str, int] | None

    @classmethod
    def of(cls, run: RunIndex) -> _Basis:
        plan, public = known(run).plan, known(run).public_validation
        validation = (public.name, public.size) if public else None
        return cls(plan.dataset, plan.contract_digest, plan.delta, plan.adjacency, plan.unit, validation)


def _frontier(basis: _Basis, runs: list[FrontierRun], sign: float) -> Frontier:
    on = pareto(
        [
            (run.epsilon_run, sign * run.value) if run.epsilon_run is not None and run.value is not None else None
            for run in runs
        ]
    )
    return Frontier(
        dataset=basis.dataset,
        contract_digest=basis.contract_digest,
        delta=basis.delta,
        adjacency=basis.adjacency,
        unit=basis.unit,
        provenance="public" if basis.validation else "dp",
        public_validation=PublicValidation(name=basis.validation[0], size=basis.validation[1])
        if basis.validation
        else None,
        runs=[run.model_copy(update={"pareto": is_on}) for run, is_on in zip(runs, on, strict=True)],
    )


def _point(run: RunIndex, metric: FrontierMetric, viewer: Viewer) -> FrontierRun:
    info, plan = known(run), known(run).plan
    value, interval = _value(run, metric)
    return FrontierRun(
        run_id=run.run_id,
        name=info.settings.name,
        state=run.state,
        recipe=plan.recipe,
        created_at=info.created_at,
        sites=plan.sites,
        round=run.training_round,
        rounds=plan.rounds,
        noise_multiplier=plan.train.noise_multiplier,
        sample_rate=plan.train.sample_rate,
        epsilon_target=plan.epsilon,
        epsilon_run=run_epsilon(run, viewer),
        closest_budget=closest_budget(run, viewer),
        value=value,
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        missing=None if value is not None else _missing(run),
        held_out=held_out_figure(run, metric),
        pareto=False,
    )


def _value(run: RunIndex, metric: FrontierMetric) -> tuple[float | None, tuple[float, float] | None]:
    """The run's value, and its 95 % interval where one is known."""
    public = known(run).public_validation
    if public is None:
        estimate = held_out_figure(run, metric)
        if estimate is None or estimate.value is None:
            return None, None
        return estimate.value, (estimate.low, estimate.high)
    value = last_value(run, metric)
    if value is None or metric != "accuracy":
        return value, None
    return value, wilson(value, public.size)


def _missing(run: RunIndex) -> Missing:
    """Why a run has no value."""
    info = known(run)
    if info.public_validation is not None:
        return "no_round"
    to_come = run.end is None and info.plan.evaluate is not None and not run.evaluations
    return "not_evaluated" if to_come else "not_released"
