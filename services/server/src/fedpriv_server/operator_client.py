"""The operator's side of the operator route, for the command line and for whoever follows a run. No flwr, no torch."""

from __future__ import annotations

import http.client
import json
import random
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import RunState
from fedpriv_server.status import MAX_WAIT_S, Problem, RunList, RunStarted, RunStatus

#: How long one change of a status is waited for per request, seconds.
_POLL_S: Final = MAX_WAIT_S / 2
#: How long a server that went away while a run was followed is waited for, seconds: it may be restarting.
_AWAY_S: Final = 60.0
#: What passes by itself: a server that was started again does not answer, or know its runs, yet; or a run's rounds are
#: so fast that who follows it asks too often.
_PASSING: Final = (ErrorCode.SERVER_UNREACHABLE, ErrorCode.STORE_UNAVAILABLE, ErrorCode.RATE_LIMITED)
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class OperatorClient:
    """Requests to one server. `authority`: the certificate that signed the server's; none: the system's."""

    server: str
    key: str
    authority: Path | None = None

    def start(self, settings: RunSettings) -> str:
        """Start a run; returns its id. Raises RUN_REFUSED, OPERATOR_REFUSED, SERVER_UNREACHABLE or _CERTIFICATE."""
        answer = self._call("POST", "/v1/operator/runs", settings.model_dump_json().encode())
        return RunStarted.model_validate_json(answer).run_id

    def runs(self) -> tuple[RunStatus, ...]:
        """The runs that the server remembers, newest first. Raises STORE_UNAVAILABLE while it is reading them."""
        return RunList.model_validate_json(self._call("GET", "/v1/operator/runs")).runs

    def status(self, run_id: str, after_version: int = -1, wait_s: float = 0.0) -> RunStatus:
        """A run's status, once it is newer than `after_version` or after `wait_s`."""
        query = urllib.parse.urlencode({"after_version": after_version, "wait": wait_s})
        path = f"/v1/operator/runs/{urllib.parse.quote(run_id)}?{query}"
        return RunStatus.model_validate_json(self._call("GET", path, wait_s=wait_s))

    def cancel(self, run_id: str) -> RunStatus:
        """Ask for a run's end."""
        path = f"/v1/operator/runs/{urllib.parse.quote(run_id)}/cancel"
        return RunStatus.model_validate_json(self._call("POST", path, b""))

    def last_named(self, name: str) -> RunStatus | None:
        """The newest run of this name, if any, waiting for a server that is starting."""
        give_up, pause_s = time.monotonic() + _AWAY_S, 0.1
        while True:
            try:
                runs = self._call("GET", f"/v1/operator/runs?{urllib.parse.urlencode({'name': name})}")
                return next(iter(RunList.model_validate_json(runs).runs), None)
            except FedprivError as error:
                if error.code not in _PASSING or time.monotonic() > give_up:
                    raise
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311
            pause_s = min(2 * pause_s, 2.0)

    def follow(self, run_id: str, check: Callable[[], None] = lambda: None) -> Iterator[RunStatus]:
        """Every change of a run's status until it has ended.

        A server that goes away is waited for; `check` is called between requests and may raise to end the following.
        """
        version, last_seen, pause_s = -1, time.monotonic(), 0.1
        while True:
            check()
            try:
                status = self.status(run_id, version, _POLL_S)
            except FedprivError as error:
                if error.code not in _PASSING or time.monotonic() - last_seen > _AWAY_S:
                    raise
                # A server that was started again counts versions from the beginning.
                version = -1
                time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, hides nothing
                pause_s = min(2 * pause_s, 2.0)
                continue
            last_seen, pause_s = time.monotonic(), 0.1
            if status.version != version or status.state is not RunState.ACTIVE:
                yield status
            if status.state is not RunState.ACTIVE:
                return
            version = status.version

    def _call(self, method: str, path: str, body: bytes | None = None, wait_s: float = 0.0) -> bytes:
        request = urllib.request.Request(self.server.rstrip("/") + path, body, method=method)  # noqa: S310
        request.add_header("Authorization", f"Bearer {self.key}")
        request.add_header("Content-Type", "application/json")
        try:
            with self._opener().open(request, timeout=15 + wait_s) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            raise self._declined(error.code, error.read()) from None
        except urllib.error.URLError as error:
            raise self._unreachable(error.reason) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._unreachable(error) from None

    def _opener(self) -> urllib.request.OpenerDirector:
        handlers: list[urllib.request.BaseHandler] = []
        if urllib.parse.urlsplit(self.server).hostname in _LOOPBACK:
            handlers.append(urllib.request.ProxyHandler({}))  # no proxy stands between this machine and itself
        if self.server.startswith("https:"):
            try:
                context = ssl.create_default_context(cafile=str(self.authority) if self.authority else None)
            except (OSError, ssl.SSLError):
                raise FedprivError(
                    ErrorCode.SERVER_CERTIFICATE,
                    f"{self.authority} holds no certificate.",
                    "Give the CA of the server: --ca or FEDPRIV_CA.",
                ) from None
            handlers.append(urllib.request.HTTPSHandler(context=context))
        return urllib.request.build_opener(*handlers)

    def _declined(self, status: int, body: bytes) -> FedprivError:
        try:
            problem = Problem.model_validate_json(body)
            code = ErrorCode(problem.code)
        except (ValidationError, ValueError):
            return self._unreachable(f"it answers {status}, which no fedpriv server does here")
        if code is ErrorCode.OPERATOR_REFUSED:
            return FedprivError(
                code,
                f"{self.server}: {problem.detail}",
                "Give the key that `fedpriv provision` made: --operator-key-file or FEDPRIV_OPERATOR_KEY.",
            )
        return FedprivError(code, f"{self.server}: {problem.detail}", "")

    def _unreachable(self, cause: Any) -> FedprivError:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return FedprivError(
                ErrorCode.SERVER_CERTIFICATE,
                f"The certificate of {self.server} is not accepted: {cause.verify_message}.",
                "Give the CA of this server (--ca or FEDPRIV_CA) and a name that the certificate carries.",
            )
        return FedprivError(
            ErrorCode.SERVER_UNREACHABLE,
            f"{self.server} cannot be reached ({cause}).",
            "Check the address, the network and that the server runs.",
        )


def require_finished(status: RunStatus) -> None:
    """Raise RUN_FAILED unless the run reached its end."""
    if status.state is not RunState.FINISHED:
        refused = {site.site: site.code for site in status.sites if site.code not in (None, "OK")}
        told = f" Sites declined: {json.dumps(refused)}." if refused else ""
        raise FedprivError(
            ErrorCode.RUN_FAILED,
            f"Run {status.run_id} was {status.state.value} after {status.round} of {status.rounds} rounds"
            f" (cause: {status.cause}{f', {status.code}' if status.code else ''}).{told}",
            "docs/how-to-runs.md says what to do about each cause, docs/reference/errors.md about each code.",
        )
