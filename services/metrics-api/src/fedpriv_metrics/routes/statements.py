"""A run's privacy statement and model, byte for byte, and whether the statement is genuine."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from fedpriv_common.errors import FedprivError
from fedpriv_common.statement.schema import SignedStatement
from fedpriv_metrics.artefacts import Artefact
from fedpriv_metrics.models.problem import Problem
from fedpriv_metrics.models.statement import StatementCheck
from fedpriv_metrics.proofs import why_none
from fedpriv_metrics.routes.common import OF_A_RUN, RunPath, answer, find_run, holds
from fedpriv_metrics.service import ServiceDep
from fedpriv_metrics.viewer import Role, Viewer, only

_OF_A_FILE: dict[int | str, dict[str, Any]] = OF_A_RUN | {
    502: {"model": Problem, "description": "The object in the bucket is not the one that the run's end names."},
    503: {"model": Problem, "description": "The bucket is still being read, or cannot be read."},
}
_MODEL: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`model.safetensors`, as the run published it.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}

router = APIRouter(tags=["statements"])

#: A statement names every site of its run with its budget.
WholeRunDep = Annotated[Viewer, Depends(only(Role.COORDINATOR, Role.AUDITOR))]
#: The model is for those who trained it.
ModelDep = Annotated[Viewer, Depends(only(Role.COORDINATOR, Role.SITE))]


@router.get("/v1/runs/{run_id}/statement", response_model=SignedStatement, responses=_OF_A_FILE)
async def get_statement(request: Request, service: ServiceDep, viewer: WholeRunDep, run_id: RunPath) -> Response:
    """`statement.json`, byte for byte as it was signed: what `fedpriv verify` takes. docs/reference/statement.md says
    what is in it; its JSON Schema is docs/reference/statement.schema.json."""
    run = find_run(service, run_id, viewer)
    try:
        statement = await service.proofs.statement(run)
    except FedprivError as error:
        raise _away(error) from None
    if statement is None:
        reason = why_none(run)
        raise HTTPException(404, reason[0] if reason else f"The statement of run {run_id} is not in the bucket yet.")
    return _file(request, statement, "application/json", f"statement-{run_id}.json", inline=True)


@router.get("/v1/runs/{run_id}/statement/check", response_model=StatementCheck, responses=OF_A_RUN)
async def check_statement(request: Request, service: ServiceDep, viewer: WholeRunDep, run_id: RunPath) -> Response:
    """Whether the statement is genuine, by the hub's own check with the public keys that this API was given. It proves
    what storage did to the statement, not what the hub did; an auditor runs `fedpriv verify` with keys of their own."""
    run = find_run(service, run_id, viewer)
    try:
        check = await service.proofs.check(run)
    except FedprivError as error:
        raise _away(error) from None
    state = f"{run.seq}.{check.state}.{check.digest}.{check.checked_at}.{service.proofs.checker.keys.digest()[:16]}"
    return answer(request, service, ("statement check", run_id), state, lambda: check.model_dump_json().encode())


@router.get("/v1/runs/{run_id}/model", response_class=Response, responses=_OF_A_FILE | _MODEL)
async def get_model(request: Request, service: ServiceDep, viewer: ModelDep, run_id: RunPath) -> Response:
    """The published model, safetensors, byte for byte; `Repr-Digest` is its SHA-256 (RFC 9530)."""
    run = find_run(service, run_id, viewer)
    try:
        model = await service.proofs.model(run)
    except FedprivError as error:
        raise _away(error) from None
    if model is None:
        active = "The run is active; its model is published when it ends."
        raise HTTPException(404, active if run.end is None else f"Run {run_id} published no model.")
    if run.end is None or model.digest != run.end.model_digest:
        named = run.end.model_digest if run.end else None
        detail = f"The model in the bucket has the SHA-256 {model.digest}, but the run's end names {named}."
        raise HTTPException(502, f"{detail} It is not handed out: find out who else writes there.")
    return _file(request, model, "application/octet-stream", f"model-{run_id}.safetensors")


def _file(request: Request, file: Artefact, media_type: str, name: str, *, inline: bool = False) -> Response:
    etag = f'"{file.digest}"'
    headers = {
        "ETag": etag,
        "Cache-Control": "private, no-cache",
        "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(file.digest)).decode()}:",
        "Content-Disposition": f'{"inline" if inline else "attachment"}; filename="{name}"',
    }
    if holds(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(file.body, headers=headers, media_type=media_type)


def _away(error: FedprivError) -> HTTPException:
    return HTTPException(503, f"{error.code}: the bucket cannot be read now; try again.", {"Retry-After": "5"})
