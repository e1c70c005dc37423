"""The operator's route: start, list, watch and cancel runs. Settings only, never code; whoever holds the key."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Annotated, Final

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.plan import RunSettings
from fedpriv_common.rates import address_group
from fedpriv_server.limits import Limits
from fedpriv_server.problems import problem, too_many
from fedpriv_server.runs import BusyError, Runs
from fedpriv_server.status import MAX_WAIT_S, RunList, RunStarted, RunStatus

#: Codes of what has nothing to do with the request.
_AWAY: Final = (ErrorCode.STORE_UNAVAILABLE, ErrorCode.TAKEN_OVER)


class TooManyKeysError(Exception):
    """An address tried so many wrong keys that none is looked at for `wait_s` seconds."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"{wait_s:.0f} s")
        self.wait_s = wait_s


class KeyHashes:
    """The SHA-256 of each operator key that is valid now, hexadecimal: during a rotation there are two."""

    def __init__(self, hashes: Iterable[str]) -> None:
        self.hashes = tuple(hashes)

    def replace(self, hashes: Iterable[str]) -> None:
        """From now on these are valid, and no others."""
        self.hashes = tuple(hashes)

    def hold(self, key: str) -> bool:
        """Whether the key is one of them. Each is compared, in a time that does not depend on what is equal."""
        given = hashlib.sha256(key.encode()).hexdigest()
        equal = [hmac.compare_digest(given, known) for known in self.hashes]
        return any(equal)


def make_operator_app(runs: Runs, key_hashes: KeyHashes, limits: Limits | None = None) -> FastAPI:
    """The application below /v1/operator/. `limits`: how often each address may try, and whether there are any."""
    shared = limits or Limits()
    tries = shared.wrong_keys

    def operator(request: Request) -> None:
        sender = address_group(request.scope.get("client"))
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        right = key_hashes.hold(key.strip()) and scheme.lower() == "bearer"
        wait_s = tries.wait_s(sender)
        # Whoever tries keys does not learn whether this one was right; but where all have one address, whoever tries
        # keys must not keep operators out.
        if wait_s and not (right and not shared.by_address):
            raise TooManyKeysError(wait_s)
        if not right:
            tries.take(sender)
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
        return problem(error.status_code, str(error.detail), code, error.headers)

    @app.exception_handler(TooManyKeysError)
    async def slowed(_request: Request, error: TooManyKeysError) -> JSONResponse:
        return too_many(error.wait_s, "with a wrong operator key from this address")

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        # Places and messages, not the input: it may be anything.
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'][1:]) or 'settings'}: {fault['msg']}"
            for fault in error.errors()
        )
        return problem(422, faults, ErrorCode.RUN_REFUSED)

    @app.exception_handler(FedprivError)
    async def declined(_request: Request, error: FedprivError) -> JSONResponse:
        status = 409 if isinstance(error, BusyError) else 503 if error.code in _AWAY else 422
        return problem(status, f"{error.message} {error.remedy}", error.code)

    return app


def _known(status: RunStatus | None, run_id: str) -> RunStatus:
    if status is None:
        raise HTTPException(404, f"Run {run_id!r} is not known to this server; the metrics API lists all runs.")
    return status
