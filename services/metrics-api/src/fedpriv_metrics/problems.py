"""Errors as RFC 9457 problem details, each with the trace id under which the log has the rest."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from fedpriv_metrics.models.problem import Problem

MEDIA_TYPE = "application/problem+json"


def problem(
    scope: Scope,
    status: int,
    detail: str,
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """A problem document; `detail` is for a person, and holds nothing that the request did not."""
    body = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=scope["path"],
        trace_id=scope["state"]["trace_id"],
        errors=errors,
    )
    no_store = {"Cache-Control": "no-store"}
    return Response(body.model_dump_json(), status, no_store | (headers or {}), MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error that a route or the router raises with a problem."""

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - how handlers are typed
        headers = dict(error.headers) if error.headers else None
        return problem(request.scope, error.status_code, error.detail, headers=headers)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - how handlers are typed
        faults = [
            {"where": ".".join(str(part) for part in fault["loc"]), "message": str(fault["msg"])}
            for fault in error.errors()
        ]
        named = ", ".join(fault["where"] for fault in faults)
        return problem(request.scope, 422, f"Not allowed: {named}. The limits are in /openapi.json.", faults)

    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)
