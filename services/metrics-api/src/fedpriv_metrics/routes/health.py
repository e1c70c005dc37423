"""Whether the process answers, and of what."""

from __future__ import annotations

from fastapi import APIRouter, Response

from fedpriv_metrics.models.health import Readiness
from fedpriv_metrics.service import ServiceDep

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness}})
async def readyz(service: ServiceDep) -> Response:
    """Answers are of the bucket as it is; 503 while it is first read, or when it cannot be read."""
    readiness = service.follower.readiness()
    status = 200 if readiness.status == "ready" else 503
    return Response(readiness.model_dump_json(), status, {"Cache-Control": "no-store"}, "application/json")
