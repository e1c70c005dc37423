"""Event streams."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Response

from fedpriv_metrics.routes.common import OF_A_RUN, PROBLEMS, RunPath, find_run
from fedpriv_metrics.service import Service, ServiceDep
from fedpriv_metrics.stream import EventStream

_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events; the data of each is a `StreamEvent`.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}

router = APIRouter(tags=["events"])

LastEventId = Annotated[str | None, Header(max_length=64, description="id of the last event that was seen")]


@router.get("/v1/events", response_class=Response, responses=PROBLEMS | _EVENTS)
async def list_events(service: ServiceDep, last_event_id: LastEventId = None) -> Response:
    """Tells when a run appears and when one ends."""
    _room(service)
    return EventStream(service.streams, service.index.feed, last_event_id, None)


@router.get("/v1/runs/{run_id}/events", response_class=Response, responses=OF_A_RUN | _EVENTS)
async def run_events(service: ServiceDep, run_id: RunPath, last_event_id: LastEventId = None) -> Response:
    """What happens in the run from now on, or since `Last-Event-ID`; `reset` means: read the answers again."""
    run = find_run(service, run_id)
    _room(service)
    return EventStream(service.streams, run.feed, last_event_id, run_id)


def _room(service: Service) -> None:
    if service.streams.full:
        raise HTTPException(503, "Too many event streams are open.", {"Retry-After": "10"})
