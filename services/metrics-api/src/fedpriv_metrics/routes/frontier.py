"""Privacy against accuracy over runs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from fedpriv_metrics.frontier import frontiers
from fedpriv_metrics.models.frontier import FrontierMetric, Frontiers
from fedpriv_metrics.routes.common import PROBLEMS, DatasetQuery, answer, require_loaded
from fedpriv_metrics.service import ServiceDep
from fedpriv_metrics.viewer import ViewerDep

router = APIRouter(tags=["runs"])


@router.get("/v1/frontier", response_model=Frontiers, responses=PROBLEMS)
async def get_frontier(
    request: Request,
    service: ServiceDep,
    viewer: ViewerDep,
    metric: FrontierMetric = "accuracy",
    dataset: DatasetQuery = None,
    limit: Annotated[int, Query(ge=1, le=200, description="newest runs that are looked at")] = 100,
) -> Response:
    """What each run cost a record and what its model is worth, and which runs no other beats in both."""
    require_loaded(service)

    def build() -> bytes:
        return frontiers(service.index, metric, dataset, limit, viewer).model_dump_json().encode()

    question = ("frontier", metric, dataset, limit)
    return answer(request, service, question, str(service.index.seq), build)
