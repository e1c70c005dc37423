"""Who may ask, and how much. Everything that is not public passes here before any route sees it.

    method, host, length of the URL     what this service answers at all
    API key                             401 without one, or with one that nobody holds
    requests a second                   429 with `Retry-After`, for each key; without keys for each address
    body                                none is used; what comes is thrown away, up to a size and a time
    requests at one time                503 with `Retry-After`

A right key always passes, however many wrong ones came from its address: behind a proxy all addresses are one, and
keys have 256 bits, so that guessing needs no hindrance but the log does.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedpriv_common.rates import Buckets, address_group
from fedpriv_metrics.keyring import Keyring
from fedpriv_metrics.models.problem import ProblemCode
from fedpriv_metrics.problems import ProblemError, answer_to
from fedpriv_metrics.viewer import Viewer

#: Answered to everybody: no figure is in them.
PUBLIC: Final = frozenset({"/healthz", "/readyz", "/openapi.json"})
#: Bytes of a path with its query.
MAX_URL: Final = 4096
#: Bytes of a request's body, and seconds in which it must have come.
MAX_BODY: Final = 1_000_000
BODY_S: Final = 10.0
#: Requests that are answered at one time; streams have a bound of their own.
MAX_AT_ONCE: Final = 256
#: Wrong keys of one address, a second and at once.
WRONG_KEY_RATE: Final = 0.2
WRONG_KEY_BURST: Final = 10.0
#: The headers that a key may come in.
KEY_HEADERS: Final = ("Authorization", "X-API-Key")

_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="fedpriv metrics"'}
_NO_KEY: Final = (
    "This metrics API asks for a key: send `Authorization: Bearer KEY` or `X-API-Key: KEY`. Whoever operates it makes "
    "keys with `fedpriv-metrics key add`."
)
_WRONG_KEY: Final = (
    "Nobody holds this key, or it has expired or was revoked. Whoever operates this API can make another with "
    "`fedpriv-metrics key add`."
)


@dataclass
class Admission:
    """Who is let in. Without a keyring everybody is, as a coordinator."""

    keyring: Keyring | None = None
    #: Requests of each key, or without keys of each address; None: as many as they like.
    requests: Buckets | None = None
    #: Names under which a page may have reached this service; None: any. Keeps a page of elsewhere, whose name was made
    #: to point here, from reading what needs no key.
    hosts: frozenset[str] | None = None
    wrong_keys: Buckets = field(default_factory=lambda: Buckets(WRONG_KEY_RATE, WRONG_KEY_BURST))

    def viewer(self, headers: Headers, address: str) -> Viewer:
        """Who asks; raises NO_KEY, WRONG_KEY or RATE_LIMITED."""
        if self.keyring is None:
            return Viewer()
        key = presented_key(headers)
        if not key:
            raise ProblemError(ProblemCode.NO_KEY, _NO_KEY, _CHALLENGE)
        viewer = self.keyring.viewer(key)
        if viewer is None:
            if wait := self.wrong_keys.take(address):
                raise rate_limited(wait, "Too many wrong keys came from this address.")
            raise ProblemError(ProblemCode.WRONG_KEY, _WRONG_KEY, _CHALLENGE)
        return viewer

    def still(self, viewer: Viewer) -> bool:
        """Whether somebody who was let in would be let in now."""
        return self.keyring is None or self.keyring.holds(viewer)

    def count(self, principal: str) -> None:
        """Count a request; raises RATE_LIMITED."""
        if self.requests is not None and (wait := self.requests.take(principal)):
            raise rate_limited(wait, "Too many requests.")


class Gate:
    """An ASGI application in front of the routes."""

    def __init__(self, app: ASGIApp, admission: Admission, most_at_once: int = MAX_AT_ONCE) -> None:
        self._app = app
        self._admission = admission
        self._most = most_at_once
        self._at_once = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        tell = self._vary(send)
        try:
            self._admit(scope)
            await _discard_body(scope, receive)
            if self._at_once >= self._most:
                raise ProblemError(ProblemCode.BUSY, "Too many requests are being answered.", {"Retry-After": "1"})
        except ProblemError as error:
            await answer_to(scope, error)(scope, receive, tell)
            return
        await self._serve(scope, receive, tell)

    def _admit(self, scope: Scope) -> None:
        headers, state = Headers(scope=scope), scope["state"]
        state["viewer"], state["principal"], state["still"] = Viewer(), "", lambda: True
        if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            detail = "Nothing can be changed here: GET and HEAD are all that is answered."
            raise ProblemError(ProblemCode.METHOD_NOT_ALLOWED, detail, {"Allow": "GET, HEAD"})
        if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_URL:
            raise ProblemError(ProblemCode.URL_TOO_LONG, f"The path with its query is over {MAX_URL} bytes.")
        # A page of another origin asks by OPTIONS, without a key, whether it may ask; no route answers that.
        if scope["path"] in PUBLIC or scope["method"] == "OPTIONS":
            return
        hosts = self._admission.hosts
        if hosts is not None and _host(headers) not in hosts:
            detail = "Without keys this service answers to this machine's own names only, such as 127.0.0.1."
            raise ProblemError(ProblemCode.WRONG_HOST, detail)
        address = address_group(scope.get("client"))
        viewer = self._admission.viewer(headers, address)
        principal = viewer.name or address
        state["viewer"], state["principal"] = viewer, principal
        state["still"] = lambda: self._admission.still(viewer)
        self._admission.count(principal)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._at_once += 1
        counted = True

        async def tell(message: Message) -> None:
            nonlocal counted
            if message["type"] == "http.response.start" and counted and _is_stream(message):
                self._at_once, counted = self._at_once - 1, False
            await send(message)

        try:
            await self._app(scope, receive, tell)
        finally:
            if counted:
                self._at_once -= 1

    def _vary(self, send: Send) -> Send:
        """Say in every answer that it depends on the key, where it does."""
        if self._admission.keyring is None:
            return send

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).add_vary_header(", ".join(KEY_HEADERS))
            await send(message)

        return tell


def presented_key(headers: Headers) -> str:
    """The key that a request carries; empty when it carries none."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    return headers.get("x-api-key", "").strip()


def rate_limited(wait_s: float, what: str) -> ProblemError:
    """429, with the whole seconds after which to come again."""
    seconds = max(1, math.ceil(wait_s))
    return ProblemError(ProblemCode.RATE_LIMITED, f"{what} Come again in {seconds} s.", {"Retry-After": str(seconds)})


async def _discard_body(scope: Scope, receive: Receive) -> None:
    """Read what comes with a request and keep none of it; raises BODY_TOO_LARGE or TOO_SLOW."""
    headers, size = Headers(scope=scope), 0
    length = headers.get("content-length", "0")
    too_large = ProblemError(ProblemCode.BODY_TOO_LARGE, f"The body is over {MAX_BODY} bytes.", {"Connection": "close"})
    # Fewer digits than make Python refuse to parse them.
    if not (length.isdigit() and len(length) < 20 and int(length) <= MAX_BODY):
        raise too_large
    if length == "0" and "transfer-encoding" not in headers:
        return
    try:
        async with asyncio.timeout(BODY_S):
            while True:
                event = await receive()
                size += len(event.get("body", b""))
                if size > MAX_BODY:
                    raise too_large
                if not event.get("more_body", False):
                    return
    except TimeoutError:
        detail = "The body comes too slowly; none is needed here."
        raise ProblemError(ProblemCode.TOO_SLOW, detail, {"Connection": "close"}) from None


def _host(headers: Headers) -> str:
    """The name in the Host header, without its port."""
    host = headers.get("host", "")
    return (host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]).lower()


def _is_stream(message: Message) -> bool:
    return Headers(raw=message["headers"]).get("content-type", "").startswith("text/event-stream")
