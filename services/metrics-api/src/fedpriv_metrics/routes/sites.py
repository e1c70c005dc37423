"""The sites: who takes part, and how each stands."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from fedpriv_common.records import SiteName
from fedpriv_metrics.ledger import Scope
from fedpriv_metrics.models.problem import Problem
from fedpriv_metrics.models.sites import SiteDetail, SiteKey, SitePage
from fedpriv_metrics.routes.common import PROBLEMS, answer, plan_of, require_loaded, state_with_forecasts
from fedpriv_metrics.service import Service, ServiceDep
from fedpriv_metrics.site_keys import site_keys
from fedpriv_metrics.sites import site_detail, site_page
from fedpriv_metrics.viewer import ViewerDep, require_own

router = APIRouter(tags=["sites"])


@router.get("/v1/sites", response_model=SitePage, responses=PROBLEMS)
async def list_sites(
    request: Request,
    service: ServiceDep,
    viewer: ViewerDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[SiteName | None, Query(description="`next_cursor` of the page before")] = None,
) -> Response:
    """Every site that a run has named or that is on the allow-list, by name, and how it stands."""
    require_loaded(service)

    def build() -> bytes:
        parts, known = service.parts.all(), _keys(service)
        page = site_page(str(service.index.seq), parts, known, viewer, limit=limit, cursor=cursor)
        return page.model_dump_json().encode()

    return answer(request, service, ("sites", limit, cursor), _state(service), build)


@router.get(
    "/v1/sites/{site}",
    response_model=SiteDetail,
    responses=PROBLEMS | {404: {"model": Problem, "description": "Neither a run nor the allow-list names this site."}},
)
async def get_site(
    request: Request, service: ServiceDep, viewer: ViewerDep, site: Annotated[SiteName, Path(description="its name")]
) -> Response:
    """A site with its budgets, its newest runs and what was told of it."""
    require_loaded(service)
    require_own(viewer, site)
    scope, parts, known = Scope(viewer, site), service.parts.all(), _keys(service)
    if not (site in known or any(scope.holds(part) for part in parts)):
        raise HTTPException(404, f"Neither a run nor the allow-list names a site {site}.")

    def build() -> bytes:
        detail = site_detail(
            str(service.index.seq),
            service.index,
            parts,
            known,
            scope,
            lambda run_id: plan_of(service, run_id),
            service.forecaster.runs_left,
        )
        return detail.model_dump_json().encode()

    return answer(request, service, ("site", scope.key), _state(service), build)


def _keys(service: Service) -> dict[str, SiteKey]:
    return site_keys(service.proofs.registry.allow_lists.values())


def _state(service: Service) -> str:
    """Allow-lists are read beside the runs."""
    return f"{state_with_forecasts(service)}.{service.proofs.registry.revision}"
