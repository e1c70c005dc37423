"""`GET /metrics` as the first dashboard reads it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from fedpriv_common.records import RunId
from fedpriv_metrics import seed
from fedpriv_metrics.answers import newest
from fedpriv_metrics.models.compatibility import SeedRow
from fedpriv_metrics.routes.common import OF_A_RUN, answer, find_run, require_loaded
from fedpriv_metrics.service import ServiceDep
from fedpriv_metrics.viewer import ViewerDep

router = APIRouter(tags=["compatibility"])


@router.get("/metrics", response_model=list[SeedRow], responses=OF_A_RUN, deprecated=True)
async def seed_metrics(
    request: Request,
    service: ServiceDep,
    viewer: ViewerDep,
    run_id: Annotated[RunId | None, Query(description="none: the newest run")] = None,
) -> Response:
    """Rows of a run as the first dashboard reads them; `[]` when there is none."""
    require_loaded(service)
    run = newest(service.index, viewer) if run_id is None else find_run(service, run_id, viewer)
    if run is None:
        rows = Response(b"[]", media_type="application/json")
    else:
        rows = answer(request, service, ("seed", run.run_id), str(run.seq), lambda: seed.rows(run, viewer))
    rows.headers["Deprecation"] = "@1767225600"
    rows.headers["Link"] = '</v1/runs>; rel="successor-version"'
    return rows
