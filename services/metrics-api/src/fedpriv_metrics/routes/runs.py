"""Runs: their list, and each one's figures, budgets and log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from fedpriv_common.objects import MAX_ROUND
from fedpriv_common.records import RunId, RunState, SiteName
from fedpriv_metrics.answers import METRIC_NAMES, metric_series, run_detail, run_page
from fedpriv_metrics.models.log import RunLog
from fedpriv_metrics.models.privacy import RunPrivacy
from fedpriv_metrics.models.runs import MetricSeries, RunDetail, RunPage
from fedpriv_metrics.narration import run_log
from fedpriv_metrics.privacy import run_privacy
from fedpriv_metrics.routes.common import OF_A_RUN, PROBLEMS, DatasetQuery, RunPath, answer, find_run, require_loaded
from fedpriv_metrics.service import ServiceDep
from fedpriv_metrics.viewer import ViewerDep, require_own

router = APIRouter(tags=["runs"])

MetricPath = Annotated[str, Path(json_schema_extra={"enum": list(METRIC_NAMES)})]
RoundQuery = Annotated[int, Query(ge=0, le=MAX_ROUND)]


@router.get("/v1/runs", response_model=RunPage, responses=PROBLEMS)
async def list_runs(
    request: Request,
    service: ServiceDep,
    viewer: ViewerDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[RunId | None, Query(description="`next_cursor` of the page before")] = None,
    state: Annotated[RunState | None, Query()] = None,
    dataset: DatasetQuery = None,
) -> Response:
    """Runs, newest first."""
    require_loaded(service)

    def build() -> bytes:
        return run_page(service.index, limit, cursor, state, dataset, viewer).model_dump_json().encode()

    question = ("runs", limit, cursor, state, dataset)
    return answer(request, service, question, str(service.index.seq), build)


@router.get("/v1/runs/{run_id}", response_model=RunDetail, responses=OF_A_RUN)
async def get_run(request: Request, service: ServiceDep, viewer: ViewerDep, run_id: RunPath) -> Response:
    """A run with its plan and its last figures."""
    run = find_run(service, run_id, viewer)

    def build() -> bytes:
        return run_detail(run, viewer).model_dump_json().encode()

    # An object that cannot be read is no event.
    state = f"{run.seq}.{run.skipped_count}"
    return answer(request, service, ("run", run_id), state, build)


@router.get("/v1/runs/{run_id}/metrics/{name}", response_model=MetricSeries, responses=OF_A_RUN)
async def get_metric(
    request: Request,
    service: ServiceDep,
    viewer: ViewerDep,
    run_id: RunPath,
    name: MetricPath,
    site: Annotated[SiteName | None, Query(description="one site, or `global`; none: all that released it")] = None,
    min_round: RoundQuery = 0,
    max_round: RoundQuery = MAX_ROUND,
    points: Annotated[int, Query(ge=3, le=5000, description="most points of each series")] = 1000,
) -> Response:
    """A metric over rounds, in columns."""
    run = find_run(service, run_id, viewer)
    if name not in METRIC_NAMES:
        raise HTTPException(404, f"There is no metric {name}; there are {', '.join(METRIC_NAMES)}.")
    require_own(viewer, site)
    if site is not None and site not in run.figures and site not in run.sites():
        raise HTTPException(404, f"Run {run_id} has no site {site}.")

    def build() -> bytes:
        return metric_series(run, name, site, min_round, max_round, points, viewer).model_dump_json().encode()

    question = ("metric", run_id, name, site, min_round, max_round, points)
    return answer(request, service, question, str(run.seq), build)


@router.get("/v1/runs/{run_id}/privacy", response_model=RunPrivacy, responses=OF_A_RUN)
async def get_privacy(request: Request, service: ServiceDep, viewer: ViewerDep, run_id: RunPath) -> Response:
    """Budgets of every site, and what the run costs them."""
    run = find_run(service, run_id, viewer)

    def build() -> bytes:
        return run_privacy(run, service.forecaster.runs_left, viewer).model_dump_json().encode()

    # Slow forecasts complete an answer without any object having come.
    state = f"{run.seq}.{service.forecaster.revision}"
    return answer(request, service, ("privacy", run_id), state, build)


@router.get("/v1/runs/{run_id}/log", response_model=RunLog, responses=OF_A_RUN)
async def get_log(
    request: Request,
    service: ServiceDep,
    viewer: ViewerDep,
    run_id: RunPath,
    limit: Annotated[int, Query(ge=1, le=2000)] = 500,
) -> Response:
    """What happened in the run, newest first."""
    run = find_run(service, run_id, viewer)
    return answer(
        request,
        service,
        ("log", run_id, limit),
        str(run.seq),
        lambda: run_log(run, limit, viewer).model_dump_json().encode(),
    )
