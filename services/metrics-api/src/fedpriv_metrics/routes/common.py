"""What routes share: finding a run, answering with an ETag, and the problems that they may answer with."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Annotated, Any

from fastapi import Path, Query, Request, Response

from fedpriv_common.plan import Plan
from fedpriv_common.records import RunId
from fedpriv_metrics import __version__
from fedpriv_metrics.answers import known
from fedpriv_metrics.index import RunIndex
from fedpriv_metrics.models.problem import Problem, ProblemCode
from fedpriv_metrics.problems import ProblemError
from fedpriv_metrics.service import Service
from fedpriv_metrics.viewer import Viewer, viewer_of_request

PROBLEMS: dict[int | str, dict[str, Any]] = {
    304: {"description": "The answer that `If-None-Match` names still holds."},
    401: {"model": Problem, "description": "No API key, or one that is not good."},
    403: {"model": Problem, "description": "The key's role may not read this."},
    408: {"model": Problem, "description": "The body came too slowly; none is needed."},
    413: {"model": Problem, "description": "The body is too large; none is needed."},
    414: {"model": Problem, "description": "The URL is too long."},
    421: {"model": Problem, "description": "Without keys only this machine's own names are answered to."},
    422: {"model": Problem, "description": "A parameter is not allowed."},
    429: {"model": Problem, "description": "Too many requests or streams of one key or address: see `Retry-After`."},
    500: {"model": Problem, "description": "Something went wrong; the log has it under the trace id."},
    503: {"model": Problem, "description": "The bucket is still being read, or too much is asked at one time."},
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
    """Headers of an answer in this state, and whether the caller holds it already. Version and scope are in the tag:
    another version may say more, and another viewer may be told less."""
    viewer = viewer_of_request(request)
    whose = f".{viewer.scope}" if viewer.site else ""
    etag = f'W/"{__version__}.{state}{whose}"'
    return {"ETag": etag, "Cache-Control": "private, no-cache"}, holds(request, etag)


def holds(request: Request, etag: str) -> bool:
    """Whether the caller has the answer with this tag, by weak comparison (RFC 9110, 13.1.2)."""
    named = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    return "*" in named or etag.removeprefix("W/") in named


def answer(request: Request, service: Service, question: Hashable, state: str, build: Callable[[], bytes]) -> Response:
    """The answer in this state, or 304 when the caller holds it."""
    headers, held = tagged(request, state)
    if held:
        return Response(status_code=304, headers=headers)
    # Here and not in the routes: none of them can forget it and answer one viewer with what another may see.
    question = (viewer_of_request(request).scope, question)
    return Response(service.cache.get(question, state, build), headers=headers, media_type="application/json")


def require_loaded(service: Service) -> None:
    """Raise LOADING while the bucket is first read."""
    if not service.follower.loaded:
        raise ProblemError(ProblemCode.LOADING, "The bucket is still being read.", {"Retry-After": "1"})


def find_run(service: Service, run_id: str, viewer: Viewer) -> RunIndex:
    """The run; raises NO_SUCH_RUN where the viewer may see none, LOADING while the bucket is first read."""
    run = service.index.run(run_id)
    if run is None or not viewer.sees_run(run):
        require_loaded(service)
        raise ProblemError(ProblemCode.NO_SUCH_RUN, f"There is no run {run_id}.")
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
