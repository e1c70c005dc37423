"""A SuperLink in this process, and signed requests as a node sends them, without a network."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import ConfigRecord, RecordDict
from flwr.app.message import Message, remove_content_from_message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    ActivateNodeResponse,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
    PushMessagesResponse,
)
from flwr.proto.message_pb2 import PullObjectRequest, PullObjectResponse, PushObjectRequest
from flwr.proto.node_pb2 import Node as NodeProto
from flwr.supercore.date import now
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree, iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message

from fedpriv_server.gate import Gate
from fedpriv_server.limits import Limits
from fedpriv_server.postbox import Postbox
from fedpriv_server.superlink import SuperLink

STRANGER = ("203.0.113.5", 4711)
Answer = TypeVar("Answer")


async def no_operator(scope: Any, receive: Any, send: Any) -> None:
    """Stands where the operator's application would be."""
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@dataclass
class Hub:
    """A SuperLink, its postbox and its gate, for sites with fresh keys."""

    names: tuple[str, ...] = ("a", "b")
    keys: dict[str, ec.EllipticCurvePrivateKey] = field(init=False)
    link: SuperLink = field(init=False)

    def __post_init__(self) -> None:
        self.keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in self.names}
        self.link = SuperLink({name: public_key_to_bytes(key.public_key()) for name, key in self.keys.items()})

    def open(self) -> None:
        """Make the parts that belong to the running event loop."""
        self.postbox = Postbox(self.link)
        # By address nothing is limited: all of a test's requests come from one.
        self.gate = Gate(self.link, self.postbox, no_operator, Limits(by_address=False))

    def node(self, name: str) -> Node:
        """The site's node, not yet online."""
        return Node(self.gate, self.keys[name], self.link.nodes[name])


def client(app: Any, address: tuple[str, int] = STRANGER) -> httpx.AsyncClient:
    """A client of an ASGI application that seems to connect from `address`."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=address), base_url="https://server")


def signed(key: ec.EllipticCurvePrivateKey, age: timedelta = timedelta()) -> dict[str, str]:
    """Headers of a request that the node with `key` signed `age` ago."""
    timestamp = (now() - age).isoformat()
    return {
        "content-type": "application/protobuf",
        "flwr-public-key": b64encode(public_key_to_bytes(key.public_key())).decode(),
        "flwr-timestamp": timestamp,
        "flwr-signature": b64encode(sign_message(key, timestamp.encode())).decode(),
    }


def reply_to(message: Message, fields: dict[str, Any], src_node_id: int | None = None) -> Message:
    """The reply that a node makes; `src_node_id` puts another one's name on it."""
    reply = Message(RecordDict({"fedpriv": ConfigRecord(fields)}), reply_to=message)
    if src_node_id is not None:
        reply.metadata.__dict__["_src_node_id"] = src_node_id
    reply.metadata.__dict__["_message_id"] = reply.object_id
    return reply


@dataclass
class Node:
    """One node's requests."""

    gate: Any
    key: ec.EllipticCurvePrivateKey
    node_id: int

    async def ask(self, route: str, request: Any, response: Callable[[], Answer]) -> Answer:
        async with client(self.gate) as http:
            answer = await http.post(
                f"/v1/fleet/{route}", content=request.SerializeToString(), headers=signed(self.key)
            )
        assert answer.status_code == 200, answer.text
        parsed = response()
        parsed.ParseFromString(answer.content)  # type: ignore[attr-defined]
        return parsed

    async def activate(self) -> None:
        request = ActivateNodeRequest(public_key=public_key_to_bytes(self.key.public_key()), heartbeat_interval=30)
        await self.ask("activate-node", request, ActivateNodeResponse)

    async def deactivate(self) -> None:
        await self.ask("deactivate-node", DeactivateNodeRequest(node_id=self.node_id), ActivateNodeResponse)

    async def pull(self) -> Message | None:
        response = await self.ask("pull-messages", PullMessagesRequest(node=self._me), PullMessagesResponse)
        if not response.messages_list:
            return None
        envelope, tree = message_from_proto(response.messages_list[0]), response.message_object_trees[0]
        contents = {}
        for node in iterate_object_tree(tree):
            request = PullObjectRequest(node=self._me, run_id=envelope.metadata.run_id, object_id=node.object_id)
            contents[node.object_id] = (await self.ask("pull-object", request, PullObjectResponse)).object_content
        message = inflate_object_from_contents(tree.object_id, contents)
        assert isinstance(message, Message)
        message.metadata.__dict__["_message_id"] = envelope.metadata.message_id
        return message

    async def push(self, reply: Message, upto: int | None = None) -> None:
        """Push a reply, or only the first `upto` of its objects."""
        request = PushMessagesRequest(
            node=self._me,
            messages_list=[message_to_proto(remove_content_from_message(reply))],
            message_object_trees=[get_object_tree(reply)],
        )
        response = await self.ask("push-messages", request, PushMessagesResponse)
        contents = get_all_nested_objects(reply)
        for object_id in list(response.objects_to_push)[:upto]:
            part = PushObjectRequest(
                node=self._me,
                run_id=reply.metadata.run_id,
                object_id=object_id,
                object_content=contents[object_id].deflate(),
                session_id=response.session_id,
            )
            await self.ask("push-object", part, PushMessagesResponse)

    @property
    def _me(self) -> NodeProto:
        return NodeProto(node_id=self.node_id)
