"""A run's records at full fidelity: JSON page by page, NDJSON and CSV as files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse

from fedpriv_common.records import MetricRecord, SiteName
from fedpriv_metrics.answers import known
from fedpriv_metrics.exports import as_ndjson
from fedpriv_metrics.index import RunIndex
from fedpriv_metrics.models.records import RecordPage
from fedpriv_metrics.records import (
    CURSOR,
    START,
    Page,
    Selection,
    as_csv,
    chunks,
    complete_round,
    last_cursor,
    page,
)
from fedpriv_metrics.routes.common import OF_A_RUN, RunPath, find_run, tagged
from fedpriv_metrics.service import ServiceDep
from fedpriv_metrics.viewer import ViewerDep, require_own

router = APIRouter(tags=["runs"])

#: Records of a page that names no limit.
PAGE = 1000


class Format(StrEnum):
    """How records are spelled."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"

    @property
    def media_type(self) -> str:
        """As `Content-Type` has it."""
        return {
            Format.JSON: "application/json",
            Format.NDJSON: "application/x-ndjson",
            Format.CSV: "text/csv; charset=utf-8; header=present",
        }[self]


_RESPONSES: dict[int | str, dict[str, Any]] = OF_A_RUN | {
    200: {
        "description": "JSON is a `RecordPage`, each line of NDJSON a `MetricRecord`; CSV has the documented header. "
        "`Link` with `rel=next` says where a file goes on.",
        "content": {
            "application/x-ndjson": {"schema": {"type": "string"}},
            "text/csv": {"schema": {"type": "string"}},
        },
    }
}


@router.get("/v1/runs/{run_id}/records", response_model=RecordPage, responses=_RESPONSES)
async def list_records(
    request: Request,
    service: ServiceDep,
    viewer: ViewerDep,
    run_id: RunPath,
    site: Annotated[SiteName | None, Query(description="one site, or `global`; none: all that you see")] = None,
    cursor: Annotated[str, Query(pattern=CURSOR, description="`next_cursor` of the page before")] = START,
    limit: Annotated[
        int | None, Query(ge=1, le=5000, description="none: 1000 records in JSON, all of them in NDJSON and CSV")
    ] = None,
    partial: Annotated[
        bool, Query(description="tell also what is known of rounds that are not complete; it will be told again")
    ] = False,
    spelled: Annotated[
        Format | None, Query(alias="format", description="instead of `Accept`; none of both: json")
    ] = None,
) -> Response:
    """Records as they were written, by round, site and phase. Rounds are told once they are complete, so that no record
    is missed or told twice, whatever comes late."""
    run = find_run(service, run_id, viewer)
    require_own(viewer, site)
    selection = Selection(run, viewer, site)
    if site is not None and site not in run.figures and site not in run.sites():
        raise HTTPException(404, f"Run {run_id} has no site {site}.")
    form = spelled or accepted(request.headers.get("accept", ""))
    # A record that cannot be read is no event, but completes its round.
    state = f"{run.seq}.{run.skipped_count}.{form.value}{'.settled' if run.settled else ''}"
    headers, held = tagged(request, state)
    headers["Vary"] = "Accept"
    if held:
        return Response(status_code=304, headers=headers)
    place = "inline" if form is Format.JSON else "attachment"
    headers["Content-Disposition"] = f'{place}; filename="{known(run).settings.name}-{run_id}.{form.value}"'
    if limit is None and form is not Format.JSON:
        _link_next(request, headers, run, last_cursor(selection, cursor), more=False)
        records = chunks(selection, cursor, partial=partial)
        return StreamingResponse(_streamed(form, records), headers=headers, media_type=form.media_type)
    found = page(selection, cursor, limit or PAGE, partial=partial)
    if form is Format.JSON:
        return Response(_as_page(run, found), headers=headers, media_type=form.media_type)
    _link_next(request, headers, run, found.cursor, more=found.more)
    body = as_csv(found.records, header=True) if form is Format.CSV else as_ndjson(found.records)
    return Response(body, headers=headers, media_type=form.media_type)


def accepted(accept: str) -> Format:
    """The first that is asked for; a browser's own wishes, which name none, are for JSON."""
    for wish in accept.lower().split(","):
        match wish.split(";")[0].strip():
            case "text/csv":
                return Format.CSV
            case "application/x-ndjson" | "application/ndjson":
                return Format.NDJSON
            case "application/json":
                return Format.JSON
    return Format.JSON


def _as_page(run: RunIndex, found: Page) -> bytes:
    described = RecordPage(
        run_id=run.run_id,
        seq=str(run.seq),
        complete_round=complete_round(run),
        records=[],
        partial=len(found.records) - found.complete,
        more=found.more,
        next_cursor=None if run.settled and not found.more else found.cursor,
    )
    records = b",".join(record.model_dump_json().encode() for record in found.records)
    return described.model_dump_json().encode().replace(b'"records":[]', b'"records":[' + records + b"]", 1)


def _link_next(request: Request, headers: dict[str, str], run: RunIndex, cursor: str, *, more: bool) -> None:
    """Say where a file goes on, as RFC 8288 has it; nothing where no record will ever come."""
    if run.settled and not more:
        return
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    headers["Link"] = f'<{request.url.path}?{urlencode([*query, ("cursor", cursor)])}>; rel="next"'


async def _streamed(form: Format, found: Iterator[list[MetricRecord]]) -> AsyncIterator[bytes]:
    """Chunk by chunk; in between, others get their turn."""
    if form is Format.CSV:
        yield as_csv([], header=True)
    for records in found:
        yield as_csv(records, header=False) if form is Format.CSV else as_ndjson(records)
        await asyncio.sleep(0)
