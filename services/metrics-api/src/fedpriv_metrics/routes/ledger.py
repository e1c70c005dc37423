"""The privacy ledger over all runs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from fedpriv_common.records import SiteName
from fedpriv_metrics.ledger import Scope, charge_page, ledger_page
from fedpriv_metrics.models.ledger import ChargePage, LedgerPage
from fedpriv_metrics.routes.common import PROBLEMS, answer, plan_of, require_loaded, state_with_forecasts
from fedpriv_metrics.service import ServiceDep
from fedpriv_metrics.viewer import ViewerDep, require_own

router = APIRouter(tags=["ledger"])

SiteQuery = Annotated[SiteName | None, Query(description="none: every site")]
Dataset = Annotated[str | None, Query(max_length=200, description="name and version, as `wdbc@1`; none: all")]
Limit = Annotated[int, Query(ge=1, le=200)]


@router.get("/v1/privacy/ledger", response_model=LedgerPage, responses=PROBLEMS)
async def get_ledger(
    request: Request,
    service: ServiceDep,
    viewer: ViewerDep,
    site: SiteQuery = None,
    dataset: Dataset = None,
    limit: Limit = 50,
    cursor: Annotated[
        str | None, Query(pattern=r"^[a-z0-9][a-z0-9-]{0,62}/.{1,200}$", description="`next_cursor` of the page before")
    ] = None,
    points: Annotated[int, Query(ge=2, le=1000, description="most points of each history")] = 200,
) -> Response:
    """What every data set has cost over all runs, and how much its site's limit still allows."""
    require_loaded(service)
    require_own(viewer, site)
    scope = Scope(viewer, site, dataset)

    def build() -> bytes:
        page = ledger_page(
            str(service.index.seq),
            service.parts.all(),
            scope,
            lambda run_id: plan_of(service, run_id),
            service.forecaster.runs_left,
            limit=limit,
            cursor=cursor,
            points=points,
        )
        return page.model_dump_json().encode()

    return answer(request, service, ("ledger", scope.key, limit, cursor, points), state_with_forecasts(service), build)


@router.get("/v1/privacy/ledger/charges", response_model=ChargePage, responses=PROBLEMS)
async def list_charges(
    request: Request,
    service: ServiceDep,
    viewer: ViewerDep,
    site: SiteQuery = None,
    dataset: Dataset = None,
    limit: Limit = 50,
    cursor: Annotated[
        str | None,
        Query(
            pattern=r"^[0-9A-HJKMNP-TV-Z]{26}/[a-z0-9][a-z0-9-]{0,62}$", description="`next_cursor` of the page before"
        ),
    ] = None,
) -> Response:
    """What each run cost each site, newest first."""
    require_loaded(service)
    require_own(viewer, site)
    scope = Scope(viewer, site, dataset)

    def build() -> bytes:
        page = charge_page(str(service.index.seq), service.parts.all(), scope, limit=limit, cursor=cursor)
        return page.model_dump_json().encode()

    return answer(request, service, ("charges", scope.key, limit, cursor), str(service.index.seq), build)
