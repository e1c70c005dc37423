"""Event streams."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response

from fedpriv_metrics.feed import Feed, Sees
from fedpriv_metrics.routes.common import OF_A_RUN, PROBLEMS, RunPath, find_run
from fedpriv_metrics.service import Service, ServiceDep
from fedpriv_metrics.stream import EventStream, Watch
from fedpriv_metrics.viewer import ViewerDep

_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events; the data of each is a `StreamEvent`.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}

router = APIRouter(tags=["events"])

LastEventId = Annotated[str | None, Header(max_length=64, description="id of the last event that was seen")]


@router.get("/v1/events", response_class=Response, responses=PROBLEMS | _EVENTS)
async def list_events(
    request: Request, service: ServiceDep, viewer: ViewerDep, last_event_id: LastEventId = None
) -> Response:
    """Tells when a run appears and when one ends."""
    return _stream(request, service, service.index.feed, last_event_id, None, viewer.sees_listed)


@router.get("/v1/runs/{run_id}/events", response_class=Response, responses=OF_A_RUN | _EVENTS)
async def run_events(
    request: Request, service: ServiceDep, viewer: ViewerDep, run_id: RunPath, last_event_id: LastEventId = None
) -> Response:
    """What happens in the run from now on, or since `Last-Event-ID`; `reset` means: read the answers again."""
    run = find_run(service, run_id, viewer)
    return _stream(request, service, run.feed, last_event_id, run_id, viewer.sees_event)


def _stream(
    request: Request, service: Service, feed: Feed, last_event_id: str | None, run_id: str | None, sees: Sees
) -> Response:
    watch = Watch(feed, run_id, sees, request.state.principal, request.state.still)
    # Said here as well, where it can be a plain answer.
    service.streams.require_room(watch.principal)
    return EventStream(service.streams, watch, last_event_id)
