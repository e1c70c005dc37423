"""Contents that travel along: the same as those that are moved one by one, and never in the way of those."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from flwr.app.message import Message, remove_content_from_message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse, PushMessagesRequest, PushMessagesResponse
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.node_pb2 import Node as NodeProto
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree, iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from fedpriv_common import carriage
from fedpriv_server import superlink
from tests.unit.server.nodes import Hub, Node, reply_to

FIELDS = {"round": 1, "parameters": b"\x01" * 248}
REPLY = {"code": "OK", "payload": b"\x02" * 248}


def played(play: Callable[[Hub, Node, str], Coroutine[Any, Any, None]]) -> None:
    """Play with a site that is online and has a message, whose id is the last argument."""

    async def whole() -> None:
        hub = Hub()
        hub.open()
        hub.postbox.release()
        node = hub.node("a")
        await node.activate()
        message_id = hub.link.post(hub.link.start_run("r"), node.node_id, dict(FIELDS), 60.0)
        assert message_id is not None
        await play(hub, node, message_id)

    asyncio.run(asyncio.wait_for(whole(), 10))


async def pull(node: Node, *, asks: bool = True) -> PullMessagesResponse:
    request = PullMessagesRequest(node=NodeProto(node_id=node.node_id))
    if asks:
        carriage.ask(request)
    return await node.ask("pull-messages", request, PullMessagesResponse)


def inflated(response: PullMessagesResponse) -> Message:
    """The message that an answer carries whole."""
    tree = response.message_object_trees[0]
    contents = dict(zip(ids(tree), carriage.unload(response, 16), strict=True))
    message = inflate_object_from_contents(tree.object_id, contents)
    assert isinstance(message, Message)
    message.metadata.__dict__["_message_id"] = response.messages_list[0].metadata.message_id
    return message


def ids(tree: ObjectTree) -> list[str]:
    return [node.object_id for node in iterate_object_tree(tree)]


def announcement(node: Node, reply: Message, carried: Callable[[list[bytes]], list[bytes]]) -> PushMessagesRequest:
    """A reply that carries what `carried` makes of its contents."""
    contents, tree = get_all_nested_objects(reply), get_object_tree(reply)
    request = PushMessagesRequest(
        node=NodeProto(node_id=node.node_id),
        messages_list=[message_to_proto(remove_content_from_message(reply))],
        message_object_trees=[tree],
    )
    carriage.load(request, carried([contents[object_id].deflate() for object_id in ids(tree)]))
    return request


async def push(node: Node, request: PushMessagesRequest) -> PushMessagesResponse:
    return await node.ask("push-messages", request, PushMessagesResponse)


def test_a_question_and_its_answer_take_two_requests() -> None:
    async def play(hub: Hub, node: Node, message_id: str) -> None:
        message = inflated(await pull(node))
        assert dict(message.content["fedpriv"]) == FIELDS
        assert len(hub.link.state.object_store) == 0, "what was carried counts as received"
        response = await push(node, announcement(node, reply_to(message, REPLY), lambda contents: contents))
        assert not response.objects_to_push
        assert hub.link.take_reply(message_id) == REPLY
        assert len(hub.link.state.object_store) == 0

    played(play)


def test_what_was_not_carried_is_still_wanted_and_taken_as_ever() -> None:
    async def play(hub: Hub, node: Node, message_id: str) -> None:
        reply = reply_to(inflated(await pull(node)), REPLY)
        response = await push(node, announcement(node, reply, lambda contents: contents[:1]))
        assert list(response.objects_to_push) and len(response.objects_to_push) == 2
        await node.push(reply)
        assert hub.link.take_reply(message_id) == REPLY

    played(play)


def test_a_node_that_does_not_ask_is_answered_as_by_flower() -> None:
    async def play(hub: Hub, node: Node, message_id: str) -> None:
        response = await pull(node, asks=False)
        assert not carriage.unload(response, 16)
        assert message_from_proto(response.messages_list[0]).metadata.message_id == message_id
        assert len(hub.link.state.object_store) == 3

    played(play)


def test_contents_that_are_large_or_still_to_come_are_not_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    async def large(hub: Hub, node: Node, message_id: str) -> None:
        monkeypatch.setattr(carriage, "MOST_CARRIED", 100)
        response = await pull(node)
        monkeypatch.undo()
        assert response.messages_list and not carriage.unload(response, 16)

    async def incomplete(hub: Hub, node: Node, message_id: str) -> None:
        store: Any = hub.link.state.object_store
        store.store[message_id].content, store.store[message_id].is_available = b"", False
        response = await pull(node)
        assert response.messages_list and not carriage.unload(response, 16)
        assert len(store) == 3

    played(large)
    played(incomplete)


def test_more_contents_than_a_reply_may_have_are_not_looked_at() -> None:
    async def play(hub: Hub, node: Node, message_id: str) -> None:
        reply = reply_to(inflated(await pull(node)), REPLY)
        request = announcement(node, reply, lambda contents: [*contents, *[b""] * 100_000])
        assert len(carriage.unload(request, superlink.MAX_REPLY_OBJECTS)) == superlink.MAX_REPLY_OBJECTS
        assert not (await push(node, request)).objects_to_push
        assert hub.link.take_reply(message_id) == REPLY

    played(play)


def test_flower_passes_over_what_is_carried() -> None:
    request = PullMessagesRequest(node=NodeProto(node_id=7))
    plain = request.SerializeToString()
    carriage.ask(request)
    carriage.load(request, [b"content"])
    read = PullMessagesRequest.FromString(request.SerializeToString())
    assert read.node.node_id == 7 and request.SerializeToString().startswith(plain)
    assert carriage.asked(read) and list(carriage.unload(read, 16)) == [b"content"]
    assert not carriage.asked(PullMessagesRequest.FromString(plain))
