"""What routes share: finding a run, answering with an ETag, and the problems that they may answer with."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Annotated, Any

from fastapi import HTTPException, Path, Query, Request, Response

from fedpriv_common.plan import Plan
from fedpriv_common.records import RunId
from fedpriv_metrics import __version__
from fedpriv_metrics.answers import known
from fedpriv_metrics.index import RunIndex
from fedpriv_metrics.models.problem import Problem
from fedpriv_metrics.service import Service

PROBLEMS: dict[int | str, dict[str, Any]] = {
    304: {"description": "The answer that `If-None-Match` names still holds."},
    413: {"model": Problem, "description": "The body is too large."},
    422: {"model": Problem, "description": "A parameter is not allowed."},
    500: {"model": Problem, "description": "Something went wrong; the log has it under the trace id."},
    503: {"model": Problem, "description": "The bucket is still being read, or there are too many event streams."},
}
OF_A_RUN: dict[int | str, dict[str, Any]] = PROBLEMS | {
    404: {"model": Problem, "description": "There is no such run, site or metric."}
}

#: Name and version of a data set, as contracts spell them.
DATASET = r"^[a-z0-9][a-z0-9-]{0,62}@[a-zA-Z0-9.-]{1,20}$"
RunPath = Annotated[RunId, Path(description="ULID of the run")]
DatasetQuery = Annotated[
    str | None, Query(pattern=DATASET, description="runs on this data set only; none: on every one")
]


def tagged(request: Request, state: str) -> tuple[dict[str, str], bool]:
    """Headers of an answer in this state, and whether the caller holds it already. The version is in the tag: another
    may say more."""
    etag = f'W/"{__version__}.{state}"'
    held = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    return {"ETag": etag, "Cache-Control": "private, no-cache"}, etag.removeprefix("W/") in held


def answer(request: Request, service: Service, question: Hashable, state: str, build: Callable[[], bytes]) -> Response:
    """The answer in this state, or 304 when the caller holds it."""
    headers, held = tagged(request, state)
    if held:
        return Response(status_code=304, headers=headers)
    return Response(service.cache.get(question, state, build), headers=headers, media_type="application/json")


def require_loaded(service: Service) -> None:
    """Raise 503 while the bucket is first read."""
    if not service.follower.loaded:
        raise HTTPException(503, "The bucket is still being read.", {"Retry-After": "1"})


def find_run(service: Service, run_id: str) -> RunIndex:
    """The run; raises 404, or 503 while the bucket is first read."""
    run = service.index.run(run_id)
    if run is None:
        require_loaded(service)
        raise HTTPException(404, f"There is no run {run_id}.")
    return run


def plan_of(service: Service, run_id: str) -> Plan:
    """The plan of a run that is known."""
    run = service.index.run(run_id)
    if run is None:
        raise LookupError(f"run {run_id} is not known")
    return known(run).plan


def state_with_forecasts(service: Service) -> str:
    """The state of answers over all runs that hold forecasts: slow ones complete them without an object having come."""
    return f"{service.index.seq}.{service.forecaster.revision}"
