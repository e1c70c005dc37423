"""Replies of sites that mean harm: each costs what one reply may cost, and does nothing to any other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from flwr.app.message import Message, remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PushMessagesRequest, PushMessagesResponse
from flwr.proto.message_pb2 import ObjectTree, PushObjectRequest, PushObjectResponse
from flwr.proto.node_pb2 import Node as NodeProto
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree

from fedpriv_common.canonical import sha256_hex
from fedpriv_server.superlink import FlowerRun
from tests.unit.server.nodes import Hub, Node, reply_to

REFUSED = {"code": "NOT_ADMITTED", "payload": b"", "facts": "", "part": ""}


@pytest.fixture
def played() -> Callable[[Callable[[Hub, Node, str, Message], Coroutine[Any, Any, None]]], None]:
    """Plays with a site whose message, and its id, are known."""

    def run(play: Callable[[Hub, Node, str, Message], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            hub = Hub()
            hub.open()
            hub.postbox.release()
            node = hub.node("a")
            await node.activate()
            message_id = hub.link.post(hub.link.start_run("r"), node.node_id, {"round": 1}, 60.0)
            message = await node.pull()
            assert message_id is not None and message is not None
            await play(hub, node, message_id, message)

        asyncio.run(asyncio.wait_for(whole(), 10))

    return run


def held(hub: Hub) -> int:
    """Objects and sessions that the server keeps."""
    state: Any = hub.link.state
    return len(state.object_store) + len(state._object_push_sessions) + len(hub.link._replies)


async def announce(node: Node, reply: Message, tree: ObjectTree) -> PushMessagesResponse:
    request = PushMessagesRequest(
        node=NodeProto(node_id=node.node_id),
        messages_list=[message_to_proto(remove_content_from_message(reply))],
        message_object_trees=[tree],
    )
    return await node.ask("push-messages", request, PushMessagesResponse)


async def push_object(node: Node, reply: Message, object_id: str, content: bytes, session: str) -> bool:
    request = PushObjectRequest(
        node=NodeProto(node_id=node.node_id),
        run_id=reply.metadata.run_id,
        object_id=object_id,
        object_content=content,
        session_id=session,
    )
    return (await node.ask("push-object", request, PushObjectResponse)).stored


def test_a_reply_that_is_announced_again_has_no_other_objects(played: Any) -> None:
    async def play(hub: Hub, node: Node, message_id: str, message: Message) -> None:
        reply = reply_to(message, REFUSED)
        first = await announce(node, reply, get_object_tree(reply))
        before = held(hub)
        for number in range(50):
            content = b"%d" % number
            child = ObjectTree(object_id=sha256_hex(content))
            again = await announce(node, reply, ObjectTree(object_id=reply.object_id, children=[child] * 15))
            assert list(again.objects_to_push) == list(first.objects_to_push)
            assert not await push_object(node, reply, child.object_id, content, again.session_id)
        assert held(hub) == before
        await node.push(reply)
        assert hub.link.take_reply(message_id) == REFUSED

    played(play)


def test_announcements_that_are_not_taken_leave_nothing(played: Any) -> None:
    async def play(hub: Hub, node: Node, message_id: str, message: Message) -> None:
        hub.link.withdraw(message_id)
        before = held(hub)
        for _ in range(50):
            reply = reply_to(message, REFUSED)
            assert not (await announce(node, reply, get_object_tree(reply))).objects_to_push
        assert held(hub) == before

    played(play)


def test_nobody_can_name_the_objects_of_another_sites_reply_first(played: Any) -> None:
    async def play(hub: Hub, node: Node, message_id: str, message: Message) -> None:
        b = hub.node("b")
        await b.activate()
        # A refusal's content can be foreseen; a says of it that it is without children, or that it has come.
        mine, theirs_id = (
            reply_to(message, REFUSED),
            hub.link.post(FlowerRun(message.metadata.run_id, 0), b.node_id, {"round": 1}, 60.0),
        )
        contents = {key: value.deflate() for key, value in get_all_nested_objects(mine).items()}
        record, records = (child := get_object_tree(mine).children[0]).children[0].object_id, child.object_id
        leaves = [ObjectTree(object_id=records), ObjectTree(object_id=record)]
        taken = await announce(node, mine, ObjectTree(object_id=mine.object_id, children=leaves))
        theirs = await b.pull()
        assert theirs is not None and theirs_id is not None
        reply = reply_to(theirs, REFUSED)
        announced = await announce(b, reply, get_object_tree(reply))
        assert set(announced.objects_to_push) >= {record, records}
        assert await push_object(node, mine, records, contents[records], taken.session_id)
        assert await push_object(node, mine, record, contents[record], "")
        await b.push(reply)
        assert hub.link.take_reply(theirs_id) == REFUSED

    played(play)
