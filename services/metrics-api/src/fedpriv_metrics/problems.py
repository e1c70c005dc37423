"""Errors as RFC 9457 problem details, each with a code and the trace id under which the log has the rest."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from fedpriv_metrics.models.problem import Problem, ProblemCode

MEDIA_TYPE = "application/problem+json"

#: Each code's status, whoever raises it.
STATUS: Final[dict[ProblemCode, int]] = {
    ProblemCode.BAD_REQUEST: 400,
    ProblemCode.NO_KEY: 401,
    ProblemCode.WRONG_KEY: 401,
    ProblemCode.NOT_ALLOWED: 403,
    ProblemCode.NOT_FOUND: 404,
    ProblemCode.NO_SUCH_RUN: 404,
    ProblemCode.METHOD_NOT_ALLOWED: 405,
    ProblemCode.TOO_SLOW: 408,
    ProblemCode.BODY_TOO_LARGE: 413,
    ProblemCode.URL_TOO_LONG: 414,
    ProblemCode.WRONG_HOST: 421,
    ProblemCode.BAD_PARAMETER: 422,
    ProblemCode.RATE_LIMITED: 429,
    ProblemCode.TOO_MANY_STREAMS: 429,
    ProblemCode.HEAD_TOO_LARGE: 431,
    ProblemCode.INTERNAL: 500,
    ProblemCode.STORAGE_MISMATCH: 502,
    ProblemCode.BUSY: 503,
    ProblemCode.LOADING: 503,
}
#: Of an error that names a status only: the first code of that status.
_OF_STATUS: Final = {status: code for code, status in reversed(list(STATUS.items()))}


class ProblemError(HTTPException):
    """A problem of a kind. `detail` is for a person, says what to do, and holds nothing that the request did not."""

    def __init__(self, code: ProblemCode, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(STATUS[code], detail, headers)
        self.code = code


def describe(
    code: ProblemCode,
    detail: str,
    trace_id: str,
    instance: str | None = None,
    status: int | None = None,
    errors: list[dict[str, str]] | None = None,
) -> Problem:
    """The document; `status` where it is not the code's own."""
    status = status or STATUS[code]
    return Problem(
        type=f"urn:fedpriv:problem:{code.lower().replace('_', '-')}",
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        instance=instance,
        trace_id=trace_id,
        errors=errors,
    )


def problem(
    scope: Scope,
    code: ProblemCode,
    detail: str,
    errors: list[dict[str, str]] | None = None,
    headers: Mapping[str, str] | None = None,
    status: int | None = None,
) -> Response:
    """The answer to a request."""
    body = describe(code, detail, scope["state"]["trace_id"], scope["path"], status, errors)
    kept = {"Cache-Control": "no-store"} | dict(headers or {})
    return Response(body.model_dump_json(), body.status, kept, MEDIA_TYPE)


def answer_to(scope: Scope, error: HTTPException) -> Response:
    """The problem that an error stands for."""
    if isinstance(error, ProblemError):
        code = error.code
    else:
        fallback = ProblemCode.BAD_REQUEST if error.status_code < 500 else ProblemCode.INTERNAL
        code = _OF_STATUS.get(error.status_code, fallback)
    return problem(scope, code, error.detail, headers=error.headers, status=error.status_code)


def install(app: FastAPI) -> None:
    """Answer every error that a route or the router raises with a problem."""

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - how handlers are typed
        if error.detail == HTTPStatus(error.status_code).phrase:
            error.detail = _SAID_BY_ROUTER.get(error.status_code, error.detail)
        return answer_to(request.scope, error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - how handlers are typed
        faults = [
            {"where": ".".join(str(part) for part in fault["loc"]), "message": str(fault["msg"])}
            for fault in error.errors()
        ]
        named = ", ".join(fault["where"] for fault in faults)
        detail = f"Not allowed: {named}. The limits are in /openapi.json."
        return problem(request.scope, ProblemCode.BAD_PARAMETER, detail, faults)

    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)


#: The router says no more than the status's name.
_SAID_BY_ROUTER: Final = {
    404: "There is nothing at this path; /openapi.json lists what there is.",
    405: "Nothing can be changed here: GET and HEAD are all that is answered.",
}
