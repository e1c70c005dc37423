"""From the index to the API's answers. Pure: no time, no input or output."""

from __future__ import annotations

import math
from statistics import median

from fedpriv_common import keys
from fedpriv_common.plan import MAX_EVALUATIONS, Phase
from fedpriv_common.records import GLOBAL, Estimate, EventKind, HeldOutEvaluation, RunInfo, RunState
from fedpriv_metrics.columns import Column, released
from fedpriv_metrics.index import METRICS, Index, RunIndex
from fedpriv_metrics.models.runs import (
    ClosestBudget,
    HeldOut,
    MetricSeries,
    RunDetail,
    RunPage,
    RunSummary,
    Series,
    Skipped,
    SkippedObjects,
    WaitingSite,
)
from fedpriv_metrics.sampling import sample
from fedpriv_metrics.viewer import Viewer

#: Names under `/v1/runs/{id}/metrics/`; the last two are facts about budgets, which hold no records.
METRIC_NAMES = (*METRICS, "epsilon_run", "epsilon_spent")
_ANYBODY = Viewer()
#: Objects that could not be read that are named.
_FIRST_SKIPPED = 5


def run_page(
    index: Index,
    limit: int,
    cursor: str | None,
    state: RunState | None,
    dataset: str | None = None,
    viewer: Viewer = _ANYBODY,
) -> RunPage:
    """Runs with ids below `cursor`, newest first."""
    found: list[RunSummary] = []
    for run_id in reversed(index.run_ids()):
        run = index.run(run_id)
        if run is None or (cursor is not None and run_id >= cursor) or state not in (None, run.state):
            continue
        if dataset not in (None, known(run).plan.dataset) or not viewer.sees_run(run):
            continue
        if len(found) == limit:
            return RunPage(runs=found, next_cursor=found[-1].run_id)
        found.append(run_summary(run, viewer))
    return RunPage(runs=found, next_cursor=None)


def newest(index: Index, viewer: Viewer = _ANYBODY) -> RunIndex | None:
    """The newest run that the viewer sees: ids sort by the time that they were made."""
    runs = (index.run(run_id) for run_id in reversed(index.run_ids()))
    return next((run for run in runs if run is not None and viewer.sees_run(run)), None)


def run_summary(run: RunIndex, viewer: Viewer = _ANYBODY) -> RunSummary:
    """The run's line in the list."""
    info, accuracy = known(run), last_value(run, "accuracy")
    updated_at = run.updated_at or info.created_at
    return RunSummary(
        run_id=run.run_id,
        name=info.settings.name,
        state=run.state,
        cause=run.end.cause if run.end else None,
        code=run.end.code if run.end else None,
        dataset=info.plan.dataset,
        recipe=info.plan.recipe,
        created_at=info.created_at,
        ended_at=run.end.ended_at if run.end else None,
        epsilon_target=info.plan.epsilon,
        delta=info.plan.delta,
        sites=info.plan.sites,
        round=run.training_round,
        rounds=info.plan.rounds,
        accuracy=accuracy,
        accuracy_interval=(
            wilson(accuracy, info.public_validation.size)
            if info.public_validation is not None and accuracy is not None
            else None
        ),
        held_out_accuracy=held_out_figure(run, "accuracy"),
        epsilon_run=run_epsilon(run, viewer),
        closest_budget=closest_budget(run, viewer),
        duration_s=run.end.duration_s if run.end else (updated_at - info.created_at).total_seconds(),
    )


def waiting_sites(run: RunIndex, viewer: Viewer = _ANYBODY) -> list[WaitingSite]:
    """Sites that an active run waits for before it begins or goes on without them."""
    asks = {event.site for event in run.events.values() if event.kind is EventKind.AWAITING_APPROVAL}
    return [WaitingSite(site=site, awaiting_approval=site in asks) for site in run.waiting() if viewer.sees(site)]


def skipped_objects(run: RunIndex, viewer: Viewer = _ANYBODY) -> SkippedObjects:
    """What could not be read of a run. A viewer of one site is not told keys that name another."""
    prefix = keys.run_prefix(run.run_id)
    told = [
        Skipped(key=key.removeprefix(prefix)[:200], reason=why)
        for key, why in sorted(run.skipped.items())
        if (site := keys.site_of(key)) is None or viewer.sees(site)
    ]
    return SkippedObjects(count=run.skipped_count, first=told[:_FIRST_SKIPPED])


def run_epsilon(run: RunIndex, viewer: Viewer = _ANYBODY) -> float | None:
    """ε of the run for a record, at the site where it is largest; None before any release.

    Training and held-out records are disjoint, so a record loses the larger of the two (parallel composition); the
    evaluations are pure and their ε add up.
    """
    told = [
        facts.epsilon_run
        for site in run.sites()
        if viewer.sees(site) and site in run.figures and (facts := run.figures[site].facts) is not None
    ]
    evaluated = [
        sum(evaluation.epsilon for evaluation in run.evaluations.values() if evaluation.counts.get(site) is not None)
        for site in run.sites()
        if viewer.sees(site)
    ]
    return max((epsilon for epsilon in (*told, *evaluated) if epsilon), default=None)


def closest_budget(run: RunIndex, viewer: Viewer = _ANYBODY) -> ClosestBudget | None:
    """Where the lifetime budget is the most used, of the sites that have told it."""
    told = [(site, facts) for site in run.sites() if viewer.sees(site) and (facts := run.facts(site)) is not None]
    if not told:
        return None
    site, facts = max(told, key=lambda entry: entry[1].epsilon_spent / entry[1].epsilon_limit)
    share = facts.epsilon_spent / facts.epsilon_limit
    return ClosestBudget(site=site, epsilon_spent=facts.epsilon_spent, epsilon_limit=facts.epsilon_limit, share=share)


def held_out_figure(run: RunIndex, name: str) -> Estimate | None:
    """A rate of the last evaluation on held-out records; None where none was released."""
    evaluation = run.last_evaluation
    return evaluation.figures.get(name) if evaluation else None


def run_detail(run: RunIndex, viewer: Viewer = _ANYBODY) -> RunDetail:
    """The run with its last figures."""
    info, closed = known(run), run.last_round
    evaluations = [_held_out(run.evaluations[number], viewer) for number in sorted(run.evaluations)]
    durations = [closed.duration_ms for closed in run.rounds.values() if closed.phase is Phase.TRAIN]
    return RunDetail(
        **run_summary(run, viewer).model_dump(),
        seq=str(run.seq),
        updated_at=run.updated_at or info.created_at,
        plan=info.plan,
        plan_digest=info.plan_digest,
        public_validation=info.public_validation,
        loss=last_value(run, "loss"),
        auc=last_value(run, "auc"),
        held_out=evaluations[-1] if evaluations else None,
        evaluations=evaluations[-MAX_EVALUATIONS:],
        median_round_ms=median(durations) if durations else None,
        sites_expected=[site for site in closed.expected if viewer.sees(site)] if closed else [],
        sites_received=[site for site in closed.received if viewer.sees(site)] if closed else [],
        waiting=waiting_sites(run, viewer),
        skipped=skipped_objects(run, viewer),
        model_digest=run.end.model_digest if run.end else None,
    )


def _held_out(evaluation: HeldOutEvaluation, viewer: Viewer) -> HeldOut:
    return HeldOut(
        round=evaluation.round,
        mechanism=evaluation.mechanism,
        epsilon=evaluation.epsilon,
        confidence=evaluation.confidence,
        sites=[site for site, counts in evaluation.counts.items() if counts is not None and viewer.sees(site)],
        figures=evaluation.figures,
    )


def metric_series(
    run: RunIndex,
    metric: str,
    site: str | None,
    min_round: int,
    max_round: int,
    points: int,
    viewer: Viewer = _ANYBODY,
) -> MetricSeries:
    """One metric in columns: of `site`, or of the global model and every site that released it and the viewer sees."""
    shown = [site] if site is not None else [name for name in _names(run) if len(_column(run, name, metric))]
    shown = [name for name in shown if viewer.sees(name)]
    series, total, sampled = [], 0, False
    for name in shown:
        column = _column(run, name, metric)
        if not len(column) and name in run.figures:
            # Asked for by name: its rounds are there, and nothing was released in them.
            column = _unreleased(run.figures[name].recorded_at)
        window = column.between(min_round, max_round)
        rounds, values = column.rounds[window], column.values[window]
        kept = sample(rounds, values, points)
        total += len(rounds)
        sampled = sampled or len(kept) < len(rounds)
        series.append(
            Series(
                site=name,
                provenance=_provenance(run, name, metric),
                rounds=[rounds[place] for place in kept],
                values=[released(values[place]) for place in kept],
            )
        )
    return MetricSeries(run_id=run.run_id, metric=metric, seq=str(run.seq), sampled=sampled, total=total, series=series)


def wilson(share: float, size: int) -> tuple[float, float]:
    """95 % interval of a share of `size` trials (Wilson 1927, "Probable inference")."""
    if size < 1:
        return 0.0, 1.0
    z = 1.959964
    middle = share + z * z / (2 * size)
    half = z * math.sqrt(share * (1 - share) / size + z * z / (4 * size * size))
    scale = 1 + z * z / size
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def known(run: RunIndex) -> RunInfo:
    """The run's settings and plan; only runs that have them are shown."""
    if run.info is None:
        raise LookupError(f"run {run.run_id} has no run.json yet")
    return run.info


def _names(run: RunIndex) -> list[str]:
    """The global model first, then the sites in order."""
    return sorted(run.figures, key=lambda name: (name != GLOBAL, name))


def _column(run: RunIndex, site: str, metric: str) -> Column:
    figures = run.figures.get(site)
    if figures is None:
        return Column()
    if metric == "epsilon_run":
        return figures.epsilon_run
    if metric == "epsilon_spent":
        return figures.epsilon_spent
    return figures.metric(metric)


def _unreleased(rounds: Column) -> Column:
    column = Column()
    for number in rounds.rounds:
        column.put(number, None)
    return column


def _provenance(run: RunIndex, site: str, metric: str) -> str:
    figures = run.figures.get(site)
    # Facts about budgets hold no records.
    return figures.provenance(metric) if figures and metric in METRICS else "public"


def last_value(run: RunIndex, metric: str) -> float | None:
    """The global model's last value of a metric."""
    return _column(run, GLOBAL, metric).last()
