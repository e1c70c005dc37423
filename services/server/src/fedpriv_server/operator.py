"""The operator's route: start, list, watch and cancel runs. Settings only, never code; whoever holds the key."""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated, Final

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.plan import RunSettings
from fedpriv_server.runs import BusyError, Runs
from fedpriv_server.status import MAX_WAIT_S, Problem, RunList, RunStarted, RunStatus


def make_operator_app(runs: Runs, key_hash: str) -> FastAPI:
    """The application below /v1/operator/. `key_hash`: SHA-256 of the operator key, hexadecimal."""

    def operator(request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        given = hashlib.sha256(key.strip().encode()).hexdigest()
        # Both are compared whatever the scheme, so that the time taken tells nothing.
        if not hmac.compare_digest(given, key_hash) or scheme.lower() != "bearer":
            raise HTTPException(401, "The operator key is missing or wrong.", {"WWW-Authenticate": "Bearer"})

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(operator)])

    @app.post("/v1/operator/runs", status_code=201)
    async def start(settings: RunSettings) -> RunStarted:
        return RunStarted(run_id=await runs.start(settings))

    @app.get("/v1/operator/runs")
    async def list_runs(
        name: Annotated[str | None, Query(description="only the newest run of this name, whenever it was")] = None,
    ) -> RunList:
        if name is None:
            return RunList(runs=runs.list())
        found = await runs.named(name)
        return RunList(runs=(found,) if found else ())

    @app.get("/v1/operator/runs/{run_id}")
    async def status(
        run_id: str,
        after_version: Annotated[int, Query(description="answer when the status is newer than this")] = -1,
        wait: Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="at most so many seconds")] = 0.0,
    ) -> RunStatus:
        return _known(await runs.status(run_id, after_version, wait), run_id)

    @app.post("/v1/operator/runs/{run_id}/cancel", status_code=202)
    async def cancel(run_id: str) -> RunStatus:
        return _known(await runs.cancel(run_id), run_id)

    @app.exception_handler(HTTPException)
    async def refused(_request: Request, error: HTTPException) -> JSONResponse:
        code = ErrorCode.OPERATOR_REFUSED if error.status_code == 401 else ErrorCode.RUN_REFUSED
        return _problem(error.status_code, str(error.detail), code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        # Places and messages, not the input: it may be anything.
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'][1:]) or 'settings'}: {fault['msg']}"
            for fault in error.errors()
        )
        return _problem(422, faults, ErrorCode.RUN_REFUSED)

    @app.exception_handler(FedprivError)
    async def declined(_request: Request, error: FedprivError) -> JSONResponse:
        status = 409 if isinstance(error, BusyError) else 503 if error.code is ErrorCode.STORE_UNAVAILABLE else 422
        return _problem(status, f"{error.message} {error.remedy}", error.code)

    return app


_TITLES: Final = {
    401: "Not authorised",
    404: "Not found",
    405: "Method not allowed",
    409: "Busy",
    422: "Invalid",
    503: "Starting",
}


def _problem(status: int, detail: str, code: ErrorCode, headers: object = None) -> JSONResponse:
    problem = Problem(title=_TITLES.get(status, "Refused"), status=status, detail=detail, code=code)
    return JSONResponse(
        problem.model_dump(),
        status,
        headers if isinstance(headers, dict) else None,
        media_type="application/problem+json",
    )


def _known(status: RunStatus | None, run_id: str) -> RunStatus:
    if status is None:
        raise HTTPException(404, f"Run {run_id!r} is not known to this server; the metrics API lists all runs.")
    return status
