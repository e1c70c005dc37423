"""How the server says no over HTTP: RFC 9457 problem details, with a code of the error reference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from fastapi.responses import JSONResponse

from fedpriv_common.errors import ErrorCode
from fedpriv_server.status import Problem

_TITLES: Final = {
    400: "Bad request",
    401: "Not authorised",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "Busy",
    413: "Too large",
    422: "Invalid",
    429: "Too many requests",
    500: "Internal fault",
    503: "Not now",
}


def problem(status: int, detail: str, code: ErrorCode, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer: `status`, what happened and what to do about it, the code."""
    body = Problem(title=_TITLES.get(status, "Refused"), status=status, detail=detail, code=code)
    return JSONResponse(body.model_dump(), status, headers, media_type="application/problem+json")


def too_many(wait_s: float, whose: str) -> JSONResponse:
    """429, with the whole seconds after which to come again."""
    seconds = max(1, math.ceil(wait_s))
    detail = f"Too many requests {whose}; come again in {seconds} s."
    return problem(429, detail, ErrorCode.RATE_LIMITED, {"Retry-After": str(seconds)})
