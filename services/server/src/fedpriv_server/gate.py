"""The door of the server: who may reach which route, and the routes that a round waits for.

    /health, /v1/fleet/*    everyone; node authentication decides about the latter
    /v1/operator/*          whoever holds the operator key
    everything else         connections from this machine only: Flower's Control and Runtime APIs ask for no key

"This machine" is the address of the connection. Headers of proxies are never read, since anyone can write them. What
a process on this machine can do there is what `flwr run` does: register a run. No code of it is executed, because
this server starts no executor; only a person who starts one by hand, on purpose, has it run.

Who sends a request is found out from its head, before a byte of its body is read: a site that signed it may send a
model, anybody else very little, and each only so often (limits.py).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, cast

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from fedpriv_common import carriage
from fedpriv_common.errors import ErrorCode
from fedpriv_common.rates import is_this_machine
from fedpriv_server.body import BodyError, again, reading
from fedpriv_server.limits import Limits
from fedpriv_server.postbox import Postbox
from fedpriv_server.problems import problem, too_many
from fedpriv_server.superlink import (
    FLEET_ROUTES,
    GET_FAB,
    HOT_ROUTES,
    PUSH_MESSAGES,
    PUSH_OBJECT,
    ActivateNodeRequest,
    ActivateNodeResponse,
    DeactivateNodeRequest,
    Protobuf,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
    PushMessagesResponse,
    PushObjectRequest,
    PushObjectResponse,
    SendNodeHeartbeatRequest,
    SuperLink,
)
from fedpriv_server.term import Term

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPERATOR: Final = "/v1/operator/"
HEALTH: Final = "/health"


class Gate:
    """An ASGI application in front of Flower's and the operator's."""

    def __init__(
        self, link: SuperLink, postbox: Postbox, operator: App, shared: Limits | None = None, term: Term | None = None
    ) -> None:
        """`term`: when it is over, everything but the sign of life is refused."""
        self._link = link
        self._flower = cast(App, link.app)
        self._postbox = postbox
        self._operator = operator
        self._limits = shared or Limits()
        self._term = term

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request."""
        if scope["type"] == "lifespan":
            await self._flower(scope, receive, send)
            return
        if scope["type"] != "http":  # websockets: none of the routes has any
            await send({"type": "websocket.close", "code": 1008})
            return
        answering = _Answering(send)
        try:
            await self._admit(scope, receive, answering)
        except Exception:
            # No input is known that leads here; what it would be is in the log, and nothing of it in the answer.
            log.exception("request_failed", extra={"route": scope["path"][:100]})
            if answering.begun:
                raise
            await _fault()(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive, send: _Answering) -> None:
        path, client = scope["path"], scope.get("client")
        app = self._app_for(path, client)
        site_key = self._link.signer(scope["headers"]) if path in FLEET_ROUTES else None
        wait_s = self._limits.request(client, site_key, slow=path not in HOT_ROUTES)
        if wait_s:
            await too_many(wait_s, "of this site" if site_key else "from this address")(scope, receive, send)
            return
        if self._term is not None and self._term.over is not None and path != HEALTH:
            # A connection that stays would keep a site here that a balancer could lead to the newer server.
            over = self._term.over
            refused = problem(503, f"{over.message} {over.remedy}", over.code, {"Connection": "close"})
            await refused(scope, receive, send)
            return
        if app is None:
            detail = "There is nothing here for connections from other machines."
            await problem(404, detail, ErrorCode.REQUEST_REFUSED)(scope, receive, send)
            return
        if path in FLEET_ROUTES and scope["method"] != "POST":
            headers = {"Allow": "POST"}
            await problem(405, "Nodes POST.", ErrorCode.REQUEST_REFUSED, headers)(scope, receive, send)
            return
        known = site_key is not None or (path not in FLEET_ROUTES and app is self._flower and is_this_machine(client))
        with reading(self._limits, path, site_key, known=known) as request:
            try:
                body = await request.read(scope, receive)
            except BodyError as refused:
                await refused.answer(scope, receive, send)
                return
            if body is None:
                return
            if path == GET_FAB and (site := self._link.owner(site_key)) is not None:
                self._postbox.asks_for_code(site)
            if path in HOT_ROUTES:
                if path == PUSH_MESSAGES:
                    self._limits.parsed(site_key, len(body))
                await self._hot(path, body, site_key, scope, receive, send)
            else:
                await app(scope, again(body, receive), send)

    def _app_for(self, path: str, client: tuple[str, int] | None) -> App | None:
        if path.startswith(OPERATOR):
            return self._operator
        if path == HEALTH or path in FLEET_ROUTES or is_this_machine(client):
            return self._flower
        return None

    async def _hot(
        self, path: str, body: bytes, site_key: bytes | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        scope["app"] = self._link.app
        request = Request(scope, again(body, receive))

        async def disconnected() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        async def handle(parsed: Protobuf) -> Protobuf:
            if isinstance(parsed, PullMessagesRequest):
                self._postbox.seen(parsed.node.node_id)
                look = cast(Callable[[], PullMessagesResponse], lambda: self._link.handle(path, parsed))
                response = await self._postbox.pull(parsed, look, disconnected)
                if carriage.asked(parsed):
                    self._link.carry(response)
                return response
            result = self._link.handle(path, parsed)
            self._tell(parsed, result)
            if isinstance(parsed, PushMessagesRequest):
                self._unload(parsed, cast(PushMessagesResponse, result))
            return result

        response = await self._link.answer(request, body, handle, path, site_key)
        await response(scope, receive, send)

    def _unload(self, announced: PushMessagesRequest, result: PushMessagesResponse) -> None:
        """Take what a reply carried along, each content as if it had come by itself; the rest is still wanted."""
        for request in self._link.carried(announced, result):
            taken = cast(PushObjectResponse, self._link.handle(PUSH_OBJECT, request))
            self._tell(request, taken)
            if taken.stored:
                result.objects_to_push.remove(request.object_id)

    def _tell(self, request: Protobuf, result: Protobuf) -> None:
        """Let the postbox know what a node did."""
        postbox = self._postbox
        match request, result:
            case ActivateNodeRequest(), ActivateNodeResponse():
                postbox.activated(result.node_id, request.heartbeat_interval)
            case DeactivateNodeRequest(), _:
                postbox.deactivated(request.node_id)
            case SendNodeHeartbeatRequest(), _:
                postbox.heartbeat(request.node.node_id, request.heartbeat_interval)
            case PushMessagesRequest(), PushMessagesResponse():
                postbox.reply_announced(request, result)
            case PushObjectRequest(), PushObjectResponse() if result.stored:
                postbox.object_stored(request)


class _Answering:
    """Sends an answer, and gives a code to Flower's answers that say only that something failed."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: MutableMapping[str, Any] | None = None
        self.begun = False

    async def __call__(self, event: MutableMapping[str, Any]) -> None:
        """Send an event of ASGI."""
        self.begun = True
        if event["type"] == "http.response.start" and event["status"] == 500:
            self._held = event
        elif self._held is None:
            await self._send(event)
        else:
            start, self._held = self._held, None
            if b'"code"' in event.get("body", b""):
                await self._send(start)
                await self._send(event)
            else:
                await _send_whole(_fault(), self._send)


async def _send_whole(response: Response, send: Send) -> None:
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body})


def _fault() -> JSONResponse:
    return problem(500, "The request could not be handled; the server's log says more.", ErrorCode.SERVER_FAULT)
