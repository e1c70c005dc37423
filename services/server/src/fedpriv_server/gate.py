"""The door of the server: who may reach which route, and the routes that a round waits for.

    /health, /v1/fleet/*    everyone; node authentication decides about the latter
    /v1/operator/*          whoever holds the operator key
    everything else         connections from this machine only: Flower's Control and Runtime APIs ask for no key

"This machine" is the address of the connection. Headers of proxies are never read, since anyone can write them. What
a process on this machine can do there is what `flwr run` does: register a run. No code of it is executed, because
this server starts no executor; only a person who starts one by hand, on purpose, has it run.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, cast

from fastapi import Request
from fastapi.responses import JSONResponse

from fedpriv_common import carriage
from fedpriv_server.postbox import Postbox
from fedpriv_server.superlink import (
    HOT_ROUTES,
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

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Largest body that is read, bytes. A site takes messages of 16 MiB; what a model of the recipes needs is 20 kB.
MAX_BODY: Final = 32 * 2**20

FLEET: Final = "/v1/fleet/"
OPERATOR: Final = "/v1/operator/"
HEALTH: Final = "/health"


class Gate:
    """An ASGI application in front of Flower's and the operator's."""

    def __init__(self, link: SuperLink, postbox: Postbox, operator: App) -> None:
        self._link = link
        self._flower = cast(App, link.app)
        self._postbox = postbox
        self._operator = operator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request."""
        if scope["type"] == "lifespan":
            await self._flower(scope, receive, send)
            return
        if scope["type"] != "http":  # websockets: none of the routes has any
            return
        path = scope["path"]
        app = self._app_for(path, scope.get("client"))
        if app is None:
            await JSONResponse({"detail": "Not Found"}, 404)(scope, receive, send)
            return
        body = await _read(scope, receive)
        if body is None:
            await JSONResponse({"detail": "Content Too Large"}, 413)(scope, receive, send)
        elif path in HOT_ROUTES and scope["method"] == "POST":
            await self._hot(path, body, scope, receive, send)
        else:
            await app(scope, _again(body, receive), send)

    def _app_for(self, path: str, client: tuple[str, int] | None) -> App | None:
        if path.startswith(OPERATOR):
            return self._operator
        if path == HEALTH or path.startswith(FLEET) or _is_this_machine(client):
            return self._flower
        return None

    async def _hot(self, path: str, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self._link.app
        request = Request(scope, _again(body, receive))

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

        response = await self._link.answer(request, body, handle, path)
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


def _is_this_machine(client: tuple[str, int] | None) -> bool:
    if client is None:
        return False
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


async def _read(scope: Scope, receive: Receive) -> bytes | None:
    """The whole body, or None if it is larger than MAX_BODY; then nothing more of it is read."""
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    if not declared.isdigit() or int(declared) > MAX_BODY:
        return None
    parts, size, more = [], 0, True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            break
        parts.append(event.get("body", b""))
        size += len(parts[-1])
        more = event.get("more_body", False)
        if size > MAX_BODY:
            return None
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read, then what comes."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> MutableMapping[str, Any]:
        return waiting.pop() if waiting else await receive()

    return replay
