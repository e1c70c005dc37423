"""Letters reach sites whatever gets lost on the way, and only one answer to each counts."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.proto.node_pb2 import Node as NodeProto

from fedpriv_common.wire import Operation, Reply, Request
from fedpriv_server import postbox
from tests.unit.server.nodes import Hub, Node, reply_to, signed

RUN = "01J9ZZZZZZZZZZZZZZZZZZZZZZ"
OK = Reply(code="OK", payload=b"12345678").to_fields()


@dataclass
class Desk:
    """What a run is told."""

    answers: list[tuple[str, dict[str, object] | None]] = field(default_factory=list)
    lates: list[tuple[str, int]] = field(default_factory=list)
    presences: list[tuple[str, bool]] = field(default_factory=list)
    stocks: list[str] = field(default_factory=list)

    def answered(self, site: str, fields: dict[str, object] | None) -> None:
        self.answers.append((site, fields))

    def late(self, site: str, round_number: int) -> None:
        self.lates.append((site, round_number))

    def presence(self, site: str, online: bool) -> None:
        self.presences.append((site, online))

    def stock(self, site: str) -> None:
        self.stocks.append(site)


def request(round_number: int = 1) -> Request:
    return Request(operation=Operation.RELEASE, run_id=RUN, round=round_number)


def played(play: Callable[[Hub, Node, Desk], Coroutine[Any, Any, None]]) -> None:
    """Play with one site, a, that is online, and an open postbox; at most for ten seconds."""

    async def whole() -> None:
        hub, desk = Hub(), Desk()
        hub.open()
        node = hub.node("a")
        await node.activate()
        async with hub.postbox.open(RUN, desk):
            await play(hub, node, desk)

    asyncio.run(asyncio.wait_for(whole(), 10))


async def soon(condition: Callable[[], object]) -> None:
    """Return once the condition holds; the play's own deadline ends it if it never does."""
    while not condition():
        await asyncio.sleep(0.005)


def test_a_letter_is_answered_in_the_sites_own_words() -> None:
    async def play(hub: Hub, node: Node, desk: Desk) -> None:
        hub.postbox.send("a", request(), reply_bytes=10_000, ttl_s=60)
        message = await node.pull()
        assert message is not None
        assert Request.from_fields(message.content["fedpriv"]) == request()
        await node.push(reply_to(message, OK))
        assert desk.answers == [("a", OK)]
        assert hub.link.state.num_message_ins() == 0, "what is answered is forgotten"
        assert len(hub.link.state.object_store) == 0

    played(play)


def test_a_held_pull_is_released_by_a_letter_and_by_nothing_else() -> None:
    async def play(hub: Hub, node: Node, desk: Desk) -> None:
        pull = asyncio.create_task(node.pull())
        await asyncio.wait({pull}, timeout=0.3)
        assert not pull.done(), "a pull is held back"
        hub.postbox.send("b", request(), reply_bytes=10_000, ttl_s=60)
        await asyncio.wait({pull}, timeout=0.1)
        assert not pull.done(), "another site's letter is not ours"
        hub.postbox.send("a", request(), reply_bytes=10_000, ttl_s=60)
        assert await pull is not None

    played(play)


def test_a_pull_is_answered_empty_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postbox, "HOLD_SECONDS", 0.2)

    async def play(hub: Hub, node: Node, desk: Desk) -> None:
        assert await node.pull() is None

    played(play)


def test_the_newest_pull_of_a_site_gets_the_letter_since_older_connections_may_be_dead() -> None:
    async def play(hub: Hub, node: Node, desk: Desk) -> None:
        older = asyncio.create_task(node.pull())
        await asyncio.wait({older}, timeout=0.1)
        newer = asyncio.create_task(node.pull())
        assert await older is None
        hub.postbox.send("a", request(), reply_bytes=10_000, ttl_s=60)
        assert await newer is not None

    played(play)


def test_a_pull_that_is_held_since_before_the_site_went_online_anew_gets_no_letter() -> None:
    async def play(hub: Hub, node: Node, desk: Desk) -> None:
        older = asyncio.create_task(node.pull())
        await asyncio.wait({older}, timeout=0.1)
        await node.deactivate()
        await node.activate()
        hub.postbox.send("a", request(), reply_bytes=10_000, ttl_s=60)
        assert await older is None
        assert await node.pull() is not None

    played(play)


def test_a_site_whose_connection_broke_may_go_online_anew_without_ending_its_session() -> None:
    async def play(hub: Hub, node: Node, desk: Desk) -> None:
        hub.link.end_session(node.node_id)
        await node.activate()  # fails unless it is answered with 200

    played(play)


def test_a_site_that_is_offline_gets_its_letter_when_it_comes() -> None:
    async def play(hub: Hub, node: Node, desk: Desk) -> None:
        hub.postbox.send("b", request(), reply_bytes=10_000, ttl_s=60)
        other = hub.node("b")
        await other.activate()
        assert await other.pull() is not None
        assert ("b", True) in desk.presences

    played(play)


def test_a_site_that_was_killed_at_work_is_asked_again_when_it_is_back() -> None:
    async def play(hub: Hub, node: Node, desk: Desk) -> None:
        hub.postbox.send("a", request(), reply_bytes=10_000, ttl_s=60)
        first = await node.pull()
        assert first is not None
        await node.deactivate()
        await node.activate()
        second = await node.pull()
        assert second is not None
        assert second.metadata.message_id != first.metadata.message_id
        await node.push(reply_to(second, OK))
        assert desk.answers == [("a", OK)]
        assert not desk.lates

    played(play)


def test_a_site_killed_between_two_objects_of_its_reply_is_asked_again() -> None:
    async def play(hub: Hub, node: Node, desk: Desk) -> None:
        hub.postbox.send("a", request(), reply_bytes=10_000, ttl_s=60)
        first = await node.pull()
        assert first is not None
        await node.push(reply_to(first, OK), upto=1)
        assert not desk.answers
        await node.deactivate()
        await node.activate()
        second = await node.pull()
        assert second is not None
        await node.push(reply_to(second, OK))
        assert desk.answers == [("a", OK)]

    played(play)


def test_a_site_that_asks_for_more_while_it_owes_an_answer_is_asked_again() -> None:
    async def play(hub: Hub, node: Node, desk: Desk) -> None:
        hub.postbox.send("a", request(), reply_bytes=10_000, ttl_s=60)
        lost = await node.pull()
        again = await node.pull()
        assert lost is not None
        assert again is not None
        await node.push(reply_to(again, OK))
        await node.push(reply_to(lost, OK))
        assert desk.answers == [("a", OK)], "one answer counts"
        assert not desk.lates, "the same answer twice is not a late one"

    played(play)


def test_a_late_answer_is_told_and_not_used() -> None:
    async def play(hub: Hub, node: Node, desk: Desk) -> None:
        hub.postbox.send("a", request(3), reply_bytes=10_000, ttl_s=60)
        message = await node.pull()
        assert message is not None
        hub.postbox.withdraw("a")
        await node.push(reply_to(message, OK))
        assert desk.lates == [("a", 3)]
        assert not desk.answers

    played(play)


def test_what_a_site_answers_after_it_asked_for_code_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postbox, "HOLD_SECONDS", 0.2)

    async def play(hub: Hub, node: Node, desk: Desk) -> None:
        hub.postbox.send("a", request(3), reply_bytes=10_000, ttl_s=60)
        message = await node.pull()
        assert message is not None
        hub.postbox.asks_for_code("a")
        assert desk.stocks == ["a"]
        await node.push(reply_to(message, OK))
        assert not desk.answers
        assert not desk.lates
        assert await node.pull() is None

    played(play)


def test_a_withdrawn_letter_that_was_not_pulled_is_never_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postbox, "HOLD_SECONDS", 0.2)

    async def play(hub: Hub, node: Node, desk: Desk) -> None:
        hub.postbox.send("a", request(), reply_bytes=10_000, ttl_s=60)
        hub.postbox.withdraw("a")
        assert await node.pull() is None

    played(play)


@pytest.mark.parametrize("fields", [{"x": "y" * 20_000}, {"a": b"\x00" * 12_000}])
def test_an_answer_that_is_too_long_is_dropped_with_everything_it_brought(fields: dict[str, Any]) -> None:
    async def play(hub: Hub, node: Node, desk: Desk) -> None:
        hub.postbox.send("a", request(), reply_bytes=10_000, ttl_s=60)
        message = await node.pull()
        assert message is not None
        await node.push(reply_to(message, fields))
        assert desk.answers == [("a", None)]
        assert hub.link.state.num_message_ins() == 0
        await soon(lambda: len(hub.link.state.object_store) == 0)

    played(play)


def test_an_answer_of_another_form_is_told_as_one_that_cannot_be_used() -> None:
    from flwr.app import ConfigRecord, Error, Message, RecordDict

    contents = [
        RecordDict({"other": ConfigRecord({"code": "OK"})}),
        RecordDict(),
        RecordDict({"fedpriv": ConfigRecord({}), "more": ConfigRecord({})}),
        Error(code=1, reason="record 4711 is malignant"),
    ]

    async def play(hub: Hub, node: Node, desk: Desk) -> None:
        for number, content in enumerate(contents):
            hub.postbox.send("a", request(number), reply_bytes=10_000, ttl_s=60)
            message = await node.pull()
            assert message is not None
            reply = Message(content, reply_to=message)  # type: ignore[call-overload]
            reply.metadata.__dict__["_message_id"] = reply.object_id
            await node.push(reply)
            assert desk.answers == [("a", None)] * (number + 1)

    played(play)


def test_presence_follows_activation_heartbeat_and_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(hub: Hub, node: Node, desk: Desk) -> None:
        assert hub.postbox.online("a")
        assert not hub.postbox.online("b")
        await node.deactivate()
        assert desk.presences == [("a", False)]
        await node.activate()
        assert desk.presences == [("a", False), ("a", True)]
        hub.postbox.heartbeat(node.node_id, 0.05)
        await soon(lambda: not hub.postbox.online("a"))

    played(play)


def test_a_site_whose_held_connection_breaks_is_offline_after_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postbox, "_GONE_SECONDS", 0.1)

    async def play(hub: Hub, node: Node, desk: Desk) -> None:
        await broken_pull(hub, node)
        await soon(lambda: not hub.postbox.online("a"))
        assert desk.presences == [("a", False)]

    played(play)


def test_a_site_that_reconnects_at_once_was_never_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postbox, "_GONE_SECONDS", 0.1)

    async def play(hub: Hub, node: Node, desk: Desk) -> None:
        await broken_pull(hub, node)
        pull = asyncio.create_task(node.pull())
        await asyncio.wait({pull}, timeout=0.3)
        assert not desk.presences
        pull.cancel()
        with suppress(asyncio.CancelledError):
            await pull

    played(play)


def test_stopping_releases_held_pulls() -> None:
    async def play(hub: Hub, node: Node, desk: Desk) -> None:
        pull = asyncio.create_task(node.pull())
        await asyncio.wait({pull}, timeout=0.1)
        hub.postbox.release()
        assert await pull is None

    played(play)


def test_nothing_is_kept_of_a_run_but_flowers_one_line_about_it() -> None:
    async def play(hub: Hub, node: Node, desk: Desk) -> None:
        for number in range(100):
            hub.postbox.send("a", request(number), reply_bytes=10_000, ttl_s=60)
            message = await node.pull()
            assert message is not None
            await node.push(reply_to(message, OK))
        state: Any = hub.link.state
        sizes = [len(held) for held in (state.message_ins_store, state.message_res_store, state._object_push_sessions)]
        assert sizes == [0, 0, 0]
        assert len(state.object_store) == 0
        assert not hub.postbox._withdrawn

    played(play)


async def broken_pull(hub: Hub, node: Node) -> None:
    """A pull whose connection ends while it is held."""
    body = PullMessagesRequest(node=NodeProto(node_id=node.node_id)).SerializeToString()
    events = itertools.chain([{"type": "http.request", "body": body}], itertools.repeat({"type": "http.disconnect"}))

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return next(events)

    async def send(_: Any) -> None:
        """Nobody is there."""

    headers = httpx.Headers(signed(node.key)).raw
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/fleet/pull-messages",
        "headers": [(name.lower(), value) for name, value in headers],
        "query_string": b"",
        "client": ("203.0.113.5", 1),
        "server": ("server", 443),
        "scheme": "https",
        "root_path": "",
        "http_version": "1.1",
    }
    await hub.gate(scope, receive, send)
