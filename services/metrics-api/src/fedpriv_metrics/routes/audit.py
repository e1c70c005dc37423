"""The audit log, and what can be said of the sites' ledgers."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Query, Request, Response

from fedpriv_common.records import RunId, SiteName
from fedpriv_metrics.audit import audit_page, parse_cursor
from fedpriv_metrics.exports import as_csv, as_ndjson
from fedpriv_metrics.ledgers_told import told_chains
from fedpriv_metrics.models.audit import AuditEntry, AuditKind, AuditPage
from fedpriv_metrics.models.chains import Chains
from fedpriv_metrics.routes.common import PROBLEMS, answer, require_loaded
from fedpriv_metrics.routes.records import Format, accepted
from fedpriv_metrics.service import ServiceDep
from fedpriv_metrics.viewer import ViewerDep, require_own

_EXPORTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "JSON is an `AuditPage`, each line of NDJSON an `AuditEntry`; CSV has its fields as columns. "
        "`Link` with `rel=next` says where a file goes on.",
        "content": {
            "application/x-ndjson": {"schema": {"type": "string"}},
            "text/csv": {"schema": {"type": "string"}},
        },
    }
}

#: Entries of a page that names no limit, and of a file that names none.
PAGE = 100
EVERYTHING = 100_000

router = APIRouter(tags=["audit"])


@router.get("/v1/audit", response_model=AuditPage, responses=PROBLEMS | _EXPORTS)
async def list_audit(
    request: Request,
    service: ServiceDep,
    viewer: ViewerDep,
    kind: Annotated[list[AuditKind], Query(max_length=len(AuditKind), description="one or more; none: all")] = [],  # noqa: B006 - FastAPI copies it
    site: Annotated[SiteName | None, Query(description="entries about this site only")] = None,
    run: Annotated[RunId | None, Query(description="entries of this run only")] = None,
    limit: Annotated[
        int | None, Query(ge=1, le=1000, description="none: 100 entries in JSON, all of them in NDJSON and CSV")
    ] = None,
    cursor: Annotated[str | None, Query(max_length=400, description="`next_cursor` of the page before")] = None,
    spelled: Annotated[
        Format | None, Query(alias="format", description="instead of `Accept`; none of both: json")
    ] = None,
) -> Response:
    """What an auditor asks, over all runs, newest first: plans, admissions, refusals, late and bad answers, ends,
    statements with their digests, changes of the allow-list, starts of servers. Rounds that went as planned are in each
    run's log."""
    require_loaded(service)
    try:
        before = None if cursor is None else parse_cursor(cursor)
    except ValueError:
        raise HTTPException(422, "cursor: not one that this API gave; begin without one.") from None
    kinds, proofs = frozenset(kind), service.proofs
    require_own(viewer, site)

    form = spelled or accepted(request.headers.get("accept", ""))

    def page() -> AuditPage:
        return audit_page(
            proofs.log,
            proofs.registry.read_at,
            viewer,
            kinds=kinds,
            site=site,
            run_id=run,
            before=before,
            limit=limit or (PAGE if form is Format.JSON else EVERYTHING),
        )

    if form is Format.JSON:
        question = ("audit", kinds, site, run, limit, cursor)
        found = answer(request, service, question, proofs.log.state, lambda: page().model_dump_json().encode())
        found.headers["Vary"] = "Accept"
        return found
    told = page()
    headers = {
        "Cache-Control": "private, no-store",
        "Vary": "Accept",
        "Content-Disposition": f'attachment; filename="audit-log.{form.value}"',
    }
    if told.next_cursor:
        query = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
        query.append(("cursor", told.next_cursor))
        headers["Link"] = f'<{request.url.path}?{urlencode(query)}>; rel="next"'
    body = as_csv(AuditEntry, told.entries) if form is Format.CSV else as_ndjson(told.entries)
    return Response(body, headers=headers, media_type=form.media_type)


@router.get("/v1/audit/chains", response_model=Chains, responses=PROBLEMS)
async def list_chains(
    request: Request,
    service: ServiceDep,
    viewer: ViewerDep,
    site: Annotated[SiteName | None, Query(description="ledgers of this site only")] = None,
) -> Response:
    """For each site's ledger, whether all the heads that the hub was told can be of one ledger that only grew, with the
    objects that contradict it. The hub holds no ledger: `not_proven` says what it cannot tell."""
    require_loaded(service)
    require_own(viewer, site)
    proofs = service.proofs

    def build() -> bytes:
        return told_chains(service.index, proofs.registry, viewer, site).model_dump_json().encode()

    return answer(request, service, ("chains", site), proofs.log.state, build)
