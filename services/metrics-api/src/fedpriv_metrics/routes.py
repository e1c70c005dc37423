"""The API. Routes are thin: they validate, find the run, and hand out bytes that were made once per state."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Path, Query, Request, Response

from fedpriv_common.records import RunId, RunState, SiteName
from fedpriv_metrics import __version__, seed
from fedpriv_metrics.answers import METRIC_NAMES, metric_series, run_detail, run_page
from fedpriv_metrics.index import RunIndex
from fedpriv_metrics.models import (
    MetricSeries,
    Problem,
    Readiness,
    RunDetail,
    RunLog,
    RunPage,
    RunPrivacy,
    SeedRow,
)
from fedpriv_metrics.narration import run_log
from fedpriv_metrics.objects import MAX_ROUND
from fedpriv_metrics.privacy import run_privacy
from fedpriv_metrics.service import Service, ServiceDep
from fedpriv_metrics.stream import EventStream

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    304: {"description": "The answer that `If-None-Match` names still holds."},
    413: {"model": Problem, "description": "The body is too large."},
    422: {"model": Problem, "description": "A parameter is not allowed."},
    500: {"model": Problem, "description": "Something went wrong; the log has it under the trace id."},
    503: {"model": Problem, "description": "The bucket is still being read, or there are too many event streams."},
}
_OF_A_RUN: dict[int | str, dict[str, Any]] = _PROBLEMS | {
    404: {"model": Problem, "description": "There is no such run, site or metric."}
}
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events; the data of each is a `StreamEvent`.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}

router = APIRouter()

RunPath = Annotated[RunId, Path(description="ULID of the run")]
MetricPath = Annotated[str, Path(json_schema_extra={"enum": list(METRIC_NAMES)})]
LastEventId = Annotated[str | None, Header(max_length=64, description="id of the last event that was seen")]
RoundQuery = Annotated[int, Query(ge=0, le=MAX_ROUND)]


@router.get("/v1/runs", response_model=RunPage, responses=_PROBLEMS, tags=["runs"])
async def list_runs(
    request: Request,
    service: ServiceDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[RunId | None, Query(description="`next_cursor` of the page before")] = None,
    state: Annotated[RunState | None, Query()] = None,
) -> Response:
    """Runs, newest first."""
    _loaded(service)

    def build() -> bytes:
        return run_page(service.index, limit, cursor, state).model_dump_json().encode()

    return _answer(request, service, ("runs", limit, cursor, state), str(service.index.seq), build)


@router.get("/v1/events", response_class=Response, responses=_PROBLEMS | _EVENTS, tags=["events"])
async def list_events(service: ServiceDep, last_event_id: LastEventId = None) -> Response:
    """Tells when a run appears and when one ends."""
    _room(service)
    return EventStream(service.streams, service.index.feed, last_event_id, None)


@router.get("/v1/runs/{run_id}", response_model=RunDetail, responses=_OF_A_RUN, tags=["runs"])
async def get_run(request: Request, service: ServiceDep, run_id: RunPath) -> Response:
    """A run with its plan and its last figures."""
    run = _run(service, run_id)
    return _answer(request, service, ("run", run_id), str(run.seq), lambda: run_detail(run).model_dump_json().encode())


@router.get("/v1/runs/{run_id}/metrics/{name}", response_model=MetricSeries, responses=_OF_A_RUN, tags=["runs"])
async def get_metric(
    request: Request,
    service: ServiceDep,
    run_id: RunPath,
    name: MetricPath,
    site: Annotated[SiteName | None, Query(description="one site, or `global`; none: all that released it")] = None,
    min_round: RoundQuery = 0,
    max_round: RoundQuery = MAX_ROUND,
    points: Annotated[int, Query(ge=3, le=5000, description="most points of each series")] = 1000,
) -> Response:
    """A metric over rounds, in columns."""
    run = _run(service, run_id)
    if name not in METRIC_NAMES:
        raise HTTPException(404, f"There is no metric {name}; there are {', '.join(METRIC_NAMES)}.")
    if site is not None and site not in run.figures and site not in run.sites():
        raise HTTPException(404, f"Run {run_id} has no site {site}.")

    def build() -> bytes:
        return metric_series(run, name, site, min_round, max_round, points).model_dump_json().encode()

    question = ("metric", run_id, name, site, min_round, max_round, points)
    return _answer(request, service, question, str(run.seq), build)


@router.get("/v1/runs/{run_id}/privacy", response_model=RunPrivacy, responses=_OF_A_RUN, tags=["runs"])
async def get_privacy(request: Request, service: ServiceDep, run_id: RunPath) -> Response:
    """Budgets of every site, and what the run costs them."""
    run = _run(service, run_id)

    def build() -> bytes:
        return run_privacy(run, service.forecaster.runs_left).model_dump_json().encode()

    # Slow forecasts complete an answer without any object having come.
    state = f"{run.seq}.{service.forecaster.revision}"
    return _answer(request, service, ("privacy", run_id), state, build)


@router.get("/v1/runs/{run_id}/log", response_model=RunLog, responses=_OF_A_RUN, tags=["runs"])
async def get_log(
    request: Request,
    service: ServiceDep,
    run_id: RunPath,
    limit: Annotated[int, Query(ge=1, le=2000)] = 500,
) -> Response:
    """What happened in the run, newest first."""
    run = _run(service, run_id)
    return _answer(
        request,
        service,
        ("log", run_id, limit),
        str(run.seq),
        lambda: run_log(run, limit).model_dump_json().encode(),
    )


@router.get("/v1/runs/{run_id}/events", response_class=Response, responses=_OF_A_RUN | _EVENTS, tags=["events"])
async def run_events(service: ServiceDep, run_id: RunPath, last_event_id: LastEventId = None) -> Response:
    """What happens in the run from now on, or since `Last-Event-ID`; `reset` means: read the answers again."""
    run = _run(service, run_id)
    _room(service)
    return EventStream(service.streams, run.feed, last_event_id, run_id)


@router.get("/metrics", response_model=list[SeedRow], responses=_OF_A_RUN, tags=["compatibility"], deprecated=True)
async def seed_metrics(
    request: Request,
    service: ServiceDep,
    run_id: Annotated[RunId | None, Query(description="none: the newest run")] = None,
) -> Response:
    """Rows of a run as the first dashboard reads them; `[]` when there is none."""
    _loaded(service)
    run = service.index.newest() if run_id is None else _run(service, run_id)
    if run is None:
        answer = Response(b"[]", media_type="application/json")
    else:
        answer = _answer(request, service, ("seed", run.run_id), str(run.seq), lambda: seed.rows(run))
    answer.headers["Deprecation"] = "@1767225600"
    answer.headers["Link"] = '</v1/runs>; rel="successor-version"'
    return answer


@router.get("/healthz", tags=["health"])
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness}}, tags=["health"])
async def readyz(service: ServiceDep) -> Response:
    """Answers are of the bucket as it is; 503 while it is first read, or when it cannot be read."""
    readiness = service.follower.readiness()
    status = 200 if readiness.status == "ready" else 503
    return Response(readiness.model_dump_json(), status, {"Cache-Control": "no-store"}, "application/json")


def _answer(request: Request, service: Service, question: Hashable, state: str, build: Callable[[], bytes]) -> Response:
    """The answer in this state, or 304 when the caller holds it. The version is in the tag: another may say more."""
    etag = f'W/"{__version__}.{state}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    held = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if etag.removeprefix("W/") in held:
        return Response(status_code=304, headers=headers)
    return Response(service.cache.get(question, state, build), headers=headers, media_type="application/json")


def _loaded(service: Service) -> None:
    if not service.follower.loaded:
        raise HTTPException(503, "The bucket is still being read.", {"Retry-After": "1"})


def _run(service: Service, run_id: str) -> RunIndex:
    run = service.index.run(run_id)
    if run is None:
        _loaded(service)
        raise HTTPException(404, f"There is no run {run_id}.")
    return run


def _room(service: Service) -> None:
    if service.streams.full:
        raise HTTPException(503, "Too many event streams are open.", {"Retry-After": "10"})
