"""Who may reach what, and that the short way through the gate answers as Flower's own application does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi.routing import APIRoute, iter_route_contexts
from flwr.app.message import Message
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ObjectTree,
    PullObjectRequest,
    PushObjectRequest,
)
from flwr.proto.node_pb2 import Node as NodeProto
from flwr.server.superlink.linkstate import in_memory_linkstate
from flwr.supercore.corestate import in_memory_corestate
from flwr.supercore.date import now
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from fedpriv_server import limits, superlink
from fedpriv_server.superlink import HOT_ROUTES, FlowerRun
from tests.unit.server.nodes import STRANGER, Hub, client, reply_to, signed

LOOPBACKS = [("127.0.0.1", 1), ("127.8.8.8", 1), ("::1", 1), ("::ffff:127.0.0.1", 1)]
STRANGERS = [STRANGER, ("10.0.0.1", 1), ("::ffff:10.0.0.1", 1), ("2001:db8::1", 1), ("localhost", 1), ("", 0)]


@pytest.fixture(scope="module")
def hub() -> Hub:
    return Hub()


def get(hub: Hub, path: str, address: tuple[str, int], headers: dict[str, str] | None = None) -> int:
    async def ask() -> int:
        hub.open()
        async with client(hub.gate, address) as http:
            return (await http.post(path, headers=headers)).status_code

    return asyncio.run(ask())


# -- who may reach what ------------------------------------------------------------------------------------------------


def test_every_route_of_the_app_is_one_that_the_gate_knows(hub: Hub) -> None:
    known = ("/v1/fleet/", "/v1/control/", "/v1/runtime/", "/v1/responses", "/health")
    documentation = {"/docs", "/docs/oauth2-redirect", "/openapi.json"}
    paths = {getattr(context.route, "path", "") for context in iter_route_contexts(hub.link.app.routes)}
    unknown = {path for path in paths if path not in documentation and not path.startswith(known)}
    assert not unknown, f"flwr has routes that nobody has thought about: {sorted(unknown)}"
    fleet = {path for path in paths if path.startswith("/v1/fleet/")}
    assert set(HOT_ROUTES) < fleet
    assert len(fleet) == 12, "flwr's Fleet API has other routes than the gate was written for"
    assert any(isinstance(context.route, APIRoute) for context in iter_route_contexts(hub.link.app.routes))


@pytest.mark.parametrize("address", STRANGERS)
@pytest.mark.parametrize(
    "path",
    [
        "/v1/control/list-runs",
        "/v1/control/start-run",
        "/v1/control/register-node",
        "/v1/runtime/acquire-task",
        "/docs",
        "/openapi.json",
        "/",
        "//v1/control/list-runs",
        "/V1/fleet/../control/list-runs",
        "/v1/fleet/../control/list-runs",
        "/v1/fleet/%2e%2e/control/list-runs",
        "/v1/operator/../control/list-runs",
        "/health/../v1/control/list-runs",
        "/healthz",
        "/health/",
        "/HEALTH",
        "/v1/fleet",
        "/v1/fleet/",
        "/v1//fleet/pull-messages",
        "/v1/fleet/pull-messages/",
        "/v1/fleet/pull-messages.",
        "/v1/Fleet/pull-messages",
        "/v1/fleet/no-such-route",
        "/v1/responses",
        "https://server/v1/control/list-runs",
    ],
)
def test_strangers_reach_nothing_but_fleet_operator_and_health(hub: Hub, path: str, address: tuple[str, int]) -> None:
    spoofed = {"x-forwarded-for": "127.0.0.1", "forwarded": "for=127.0.0.1", "x-real-ip": "127.0.0.1"}
    # 299 is the operator's stand-in, which knows no such route either.
    assert get(hub, path, address, spoofed) in (404, 299)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
def test_nodes_post_and_nothing_else(hub: Hub, method: str) -> None:
    async def ask() -> tuple[int, str]:
        hub.open()
        async with client(hub.gate) as http:
            answer = await http.request(method, "/v1/fleet/pull-messages")
            return answer.status_code, answer.headers["allow"]

    assert asyncio.run(ask()) == (405, "POST")


def test_a_websocket_is_closed(hub: Hub) -> None:
    sent: list[Any] = []

    async def send(event: Any) -> None:
        sent.append(event)

    async def ask() -> None:
        hub.open()
        await hub.gate({"type": "websocket", "path": "/v1/control/list-runs"}, None, send)

    asyncio.run(ask())
    assert [event["type"] for event in sent] == ["websocket.close"]


@pytest.mark.parametrize("address", LOOPBACKS)
def test_this_machine_reaches_control_as_flwr_run_needs(hub: Hub, address: tuple[str, int]) -> None:
    assert get(hub, "/v1/control/list-runs", address, {"content-type": "application/protobuf"}) == 200


@pytest.mark.parametrize("address", [*LOOPBACKS, *STRANGERS])
def test_operators_and_nodes_are_let_in_from_anywhere(hub: Hub, address: tuple[str, int]) -> None:
    assert get(hub, "/v1/operator/runs", address) == 299
    assert get(hub, "/v1/fleet/get-run", address, {"content-type": "application/protobuf"}) == 401
    assert get(hub, "/v1/fleet/pull-messages", address, {"content-type": "application/protobuf"}) == 401


def test_health_is_for_all(hub: Hub) -> None:
    async def ask() -> int:
        hub.open()
        async with client(hub.gate) as http:
            return (await http.get("/health")).status_code

    assert asyncio.run(ask()) == 200


@pytest.mark.parametrize("path", ["/v1/fleet/push-object", "/v1/fleet/get-run", "/v1/operator/runs"])
def test_a_body_that_is_too_large_is_not_read(hub: Hub, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BODY", 1000)
    monkeypatch.setattr(limits, "MAX_SMALL_BODY", 1000)
    read = 0

    async def endless() -> Any:
        nonlocal read
        while True:
            read += 100
            yield b"x" * 100

    async def ask() -> list[tuple[int, str]]:
        hub.open()
        async with client(hub.gate) as http:
            declared = await http.post(path, content=b"x" * 1001, headers=signed(hub.keys["a"]))
            undeclared = await http.post(path, content=endless(), headers=signed(hub.keys["a"]))
            return [(answer.status_code, answer.json()["code"]) for answer in (declared, undeclared)]

    assert asyncio.run(ask()) == [(413, "REQUEST_REFUSED")] * 2
    assert read <= 1100


# -- the short way -----------------------------------------------------------------------------------------------------

Built = tuple[bytes, dict[str, str]]


class Scenario:
    """Requests in an order that leads through every hot route, its successes and its refusals. Two scenarios with the
    same keys on two links that number alike make the same requests."""

    def __init__(self, hub: Hub) -> None:
        self.hub, self.link = hub, hub.link
        self.run: FlowerRun = self.link.start_run("scenario")
        self.other_key = ec.generate_private_key(ec.SECP256R1())
        self.message: Message | None = None
        self.reply: Message | None = None

    def node(self, name: str) -> NodeProto:
        return NodeProto(node_id=self.link.nodes[name])

    def activation(self, interval: float = 30, name: str = "a") -> ActivateNodeRequest:
        key = public_key_to_bytes(self.hub.keys[name].public_key())
        return ActivateNodeRequest(public_key=key, heartbeat_interval=interval)

    def make_reply(self) -> Message:
        if self.reply is None:
            state: Any = self.link.state
            (envelope,) = state.message_ins_store.values()
            self.reply = reply_to(envelope, {"code": "OK"})
        return self.reply

    def announcement(self, name: str = "a", *, bare: bool = False) -> PushMessagesRequest:
        reply = self.make_reply()
        if bare:
            return PushMessagesRequest(node=self.node(name))
        return PushMessagesRequest(
            node=self.node(name), messages_list=[message_to_proto(reply)], message_object_trees=[get_object_tree(reply)]
        )

    def part(self, index: int, *, session: str = "", run_id: int | None = None) -> PushObjectRequest:
        object_id, content = list(get_all_nested_objects(self.make_reply()).items())[index]
        return PushObjectRequest(
            node=self.node("a"),
            run_id=self.run.run_id if run_id is None else run_id,
            object_id=object_id,
            object_content=content.deflate(),
            session_id=session,
        )

    def pull_object(self, object_id: str = "", run_id: int | None = None) -> PullObjectRequest:
        state: Any = self.link.state
        known = object_id or next(iter(state.message_ins_store))
        run = self.run.run_id if run_id is None else run_id
        return PullObjectRequest(node=self.node("a"), run_id=run, object_id=known)

    def confirm(self, run_id: int | None = None) -> ConfirmMessageReceivedRequest:
        run = self.run.run_id if run_id is None else run_id
        return ConfirmMessageReceivedRequest(
            node=self.node("a"), run_id=run, message_object_id=self.pull_object().object_id
        )

    def steps(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        """Name, route and request of each step; between steps the server acts."""
        beat = SendNodeHeartbeatRequest(node=self.node("a"), heartbeat_interval=30)
        pull = PullMessagesRequest(node=self.node("a"))
        yield "activate too often", "activate-node", lambda: self.activation(interval=1)
        yield "activate", "activate-node", self.activation
        yield "activate twice", "activate-node", self.activation
        yield "heartbeat", "send-node-heartbeat", lambda: beat
        yield "heartbeat too often", "send-node-heartbeat", lambda: SendNodeHeartbeatRequest(node=self.node("a"))
        yield "pull nothing", "pull-messages", lambda: pull
        assert self.link.post(self.run, self.link.nodes["a"], {"round": 1, "code": "x"}, 60.0)
        yield "pull as another", "pull-messages", lambda: PullMessagesRequest(node=self.node("b"))
        yield "pull a message", "pull-messages", lambda: pull
        yield "pull it again", "pull-messages", lambda: pull
        yield "pull object", "pull-object", self.pull_object
        yield "pull unknown object", "pull-object", lambda: self.pull_object("0" * 64)
        yield "pull object of no run", "pull-object", lambda: self.pull_object(run_id=7)
        yield "push nothing", "push-messages", lambda: self.announcement(bare=True)
        yield "push as another", "push-messages", lambda: self.announcement("b")
        yield "push object too early", "push-object", lambda: self.part(0)
        yield "push", "push-messages", self.announcement
        yield "push again", "push-messages", self.announcement
        yield "push object", "push-object", lambda: self.part(0)
        yield "push object twice", "push-object", lambda: self.part(0)
        yield "push object of no run", "push-object", lambda: self.part(1, run_id=7)
        yield "push object in another session", "push-object", lambda: self.part(1, session="none")
        yield "push last objects", "push-object", lambda: self.part(1)
        yield "push last object", "push-object", lambda: self.part(2)
        yield "confirm", "confirm-message-received", self.confirm
        yield "confirm twice", "confirm-message-received", self.confirm
        yield "confirm for no run", "confirm-message-received", lambda: self.confirm(7)
        finished = [self.confirm(), self.announcement(), self.part(0), self.pull_object()]
        self.link.finish_run(self.run)
        yield "confirm after the end", "confirm-message-received", lambda: finished[0]
        yield "push after the end", "push-messages", lambda: finished[1]
        yield "push object after the end", "push-object", lambda: finished[2]
        yield "pull object after the end", "pull-object", lambda: finished[3]
        yield "deactivate", "deactivate-node", lambda: DeactivateNodeRequest(node_id=self.link.nodes["a"])
        yield "deactivate twice", "deactivate-node", lambda: DeactivateNodeRequest(node_id=self.link.nodes["a"])
        yield "deactivate another", "deactivate-node", lambda: DeactivateNodeRequest(node_id=self.link.nodes["b"])

    def variants(self, request: Any) -> dict[str, Built]:
        """The request as it should be sent, and in ways that must be refused."""
        body, right = request.SerializeToString(deterministic=True), signed(self.hub.keys["a"])
        wrong_key = signed(self.other_key)
        return {
            "unsigned": (body, {"content-type": "application/protobuf"}),
            "signed by a stranger": (body, wrong_key),
            "a stranger's signature under a's name": (
                body,
                {**right, "flwr-signature": wrong_key["flwr-signature"]},
            ),
            "old": (body, signed(self.hub.keys["a"], timedelta(seconds=400))),
            "from the future": (body, signed(self.hub.keys["a"], timedelta(seconds=-60))),
            "no base64": (body, {**right, "flwr-public-key": "no base64"}),
            "json": (body, {**right, "content-type": "application/json"}),
            "garbage": (b"\xff\xff\xff", right),
            "right": (body, right),
        }


async def play(app_of: Callable[[Hub], Any], hub: Hub) -> dict[str, tuple[int, str, bytes]]:
    hub.open()
    hub.postbox.release()  # nothing is held back: Flower's application never does
    scenario, answers = Scenario(hub), {}
    async with client(app_of(hub)) as http:
        for name, route, build in scenario.steps():
            for variant, (body, headers) in scenario.variants(build()).items():
                answer = await http.post(f"/v1/fleet/{route}", content=body, headers=headers)
                kind = answer.headers.get("content-type", "")
                answers[f"{name}, {variant}"] = (answer.status_code, kind, answer.content)
    return answers


def test_each_shortcut_answers_as_the_stock_route_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids and times are the same in both, so that bytes can be compared."""
    moment = now()
    for module in (in_memory_linkstate, in_memory_corestate, superlink):
        monkeypatch.setattr(module, "now", lambda: moment)
    keys = Hub().keys

    def same_hub() -> Hub:
        ids = count(1001)
        monkeypatch.setattr(in_memory_linkstate, "generate_rand_int_from_bytes", lambda *_, **__: next(ids))
        sessions = count()
        monkeypatch.setattr(in_memory_corestate, "uuid4", lambda: f"session-{next(sessions)}")
        hub = Hub()
        hub.keys = keys
        hub.link = superlink.SuperLink({name: public_key_to_bytes(key.public_key()) for name, key in keys.items()})
        return hub

    # A reply's bytes hold the time at which it was made: both scenarios use the one of the first.
    replies: list[Message] = []
    original = Scenario.make_reply

    def one_reply(scenario: Scenario) -> Message:
        if not replies:
            replies.append(original(scenario))
        return replies[0]

    monkeypatch.setattr(Scenario, "make_reply", one_reply)
    ids = count(1)
    monkeypatch.setattr(in_memory_linkstate, "generate_rand_int_from_bytes", lambda *_, **__: next(ids))
    stock = asyncio.run(play(lambda hub: hub.link.app, same_hub()))
    short = asyncio.run(play(lambda hub: hub.gate, same_hub()))
    assert list(stock) == list(short)
    for case, answer in stock.items():
        if answer[0] == 500:  # of which Flower says nothing at all, and the gate at least the code
            assert (short[case][0], json.loads(short[case][2])["code"]) == (500, "SERVER_FAULT"), case
        else:
            assert short[case] == answer, case
    statuses = {status for status, _, _ in stock.values()}
    assert {200, 401, 412, 415, 500} <= statuses, "the scenario no longer leads through the refusals"


def test_a_reply_in_another_nodes_name_is_refused_although_flower_takes_it() -> None:
    async def play() -> tuple[int, int]:
        hub = Hub()
        hub.open()
        a, b = hub.node("a"), hub.node("b")
        await a.activate()
        await b.activate()
        run = hub.link.start_run("r")
        message_id = hub.link.post(run, a.node_id, {"round": 1}, 60.0)
        assert message_id is not None
        message = await a.pull()
        assert message is not None
        forged = reply_to(message, {"code": "OK"})
        request = PushMessagesRequest(
            node=NodeProto(node_id=b.node_id),
            messages_list=[message_to_proto(forged)],
            message_object_trees=[get_object_tree(forged)],
        )
        async with client(hub.gate) as http:
            headers, body = signed(hub.keys["b"]), request.SerializeToString()
            refused = await http.post("/v1/fleet/push-messages", content=body, headers=headers)
        assert not hub.link.has_reply(message_id, forged.metadata.message_id)
        async with client(hub.link.app) as http:
            taken = await http.post("/v1/fleet/push-messages", content=body, headers=headers)
        return refused.status_code, taken.status_code

    assert asyncio.run(play()) == (401, 200), "if Flower refuses it itself now, our check can go"


def test_a_reply_of_very_many_objects_is_refused() -> None:
    async def play(tree: ObjectTree) -> int:
        hub = Hub()
        hub.open()
        a = hub.node("a")
        await a.activate()
        hub.link.post(hub.link.start_run("r"), a.node_id, {"round": 1}, 60.0)
        message = await a.pull()
        assert message is not None
        reply = reply_to(message, {"code": "OK"})
        request = PushMessagesRequest(
            node=NodeProto(node_id=a.node_id), messages_list=[message_to_proto(reply)], message_object_trees=[tree]
        )
        async with client(hub.gate) as http:
            answer = await http.post(
                "/v1/fleet/push-messages", content=request.SerializeToString(), headers=signed(hub.keys["a"])
            )
            return answer.status_code

    wide = ObjectTree(object_id="0" * 64, children=[ObjectTree(object_id=f"{n:064x}") for n in range(1000)])
    deep = ObjectTree(object_id="0" * 64)
    for number in range(40):
        deep = ObjectTree(object_id=f"{number:064x}", children=[deep])
    assert asyncio.run(play(wide)) == 413
    assert asyncio.run(play(deep)) == 413
