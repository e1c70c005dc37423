"""Calls the gate as uvicorn does, and says of every answer whether it is one that may be given."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

from flwr.app import Message
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, PullObjectRequest, PushObjectRequest
from flwr.proto.node_pb2 import Node as NodeProto
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from tests.fuzz.conftest import COUNTS, DEADLINE_S
from tests.unit.server import nodes
from tests.unit.server.nodes import STRANGER, Hub, reply_to


class Calls:
    """A hub with one open run, whose gate is called in one event loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.hub = self.loop.run_until_complete(self._open())
        #: Made once: a signature holds for five minutes, and making one takes as long as answering it.
        self.valid_once, self._signed_at = self.valid(), -1e9

    async def _open(self) -> Hub:
        hub = Hub()
        hub.open()
        hub.postbox.release()  # no pull is held: each input gets its answer at once
        self.run = hub.link.start_run("fuzz")
        node = hub.node("a")
        await node.activate()
        self.message_id = hub.link.post(self.run, node.node_id, {"round": 1, "code": "x"}, 3600.0)
        message = await node.pull()
        assert message is not None
        self.message: Message = message
        return hub

    def call(
        self,
        path: str,
        body: Sequence[bytes] = (b"",),
        headers: Sequence[tuple[bytes, bytes]] = (),
        *,
        method: str = "POST",
        client: Any = STRANGER,
        app: Any = None,
        kind: str = "http",
    ) -> tuple[int, bytes]:
        """Status and body of the answer. Counts, and fails for what may not be."""
        COUNTS["inputs"] += 1
        scope = {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": path,
            "raw_path": path.encode("utf-8", "replace"),
            "root_path": "",
            "query_string": b"",
            "headers": list(headers),
            "client": client,
            "server": ("server", 443),
            "state": {},
        }
        events = [{"type": "http.request", "body": part, "more_body": True} for part in body]
        events.append({"type": "http.request", "body": b"", "more_body": False})
        sent: list[Any] = []

        async def receive() -> Any:
            return events.pop(0) if events else {"type": "http.disconnect"}

        async def send(event: Any) -> None:
            sent.append(event)

        async def run() -> None:
            async with asyncio.timeout(DEADLINE_S):
                await (app or self.hub.gate)(scope, receive, send)

        with counted(path):
            self.loop.run_until_complete(run())
        if kind != "http":
            return 0, b""
        assert sent, "no answer"
        status = sent[0]["status"]
        answer = b"".join(event.get("body", b"") for event in sent[1:])
        check(status, answer)
        return status, answer

    def size(self) -> int:
        """How much the server holds: messages, replies, objects and their sessions, nodes, runs."""
        state: Any = self.hub.link.state
        held = ["message_ins_store", "message_res_store", "message_ins_id_to_message_res_id", "nodes", "run_ids"]
        held += ["_object_push_sessions", "object_store"]
        return sum(len(getattr(state, name)) for name in held) + len(self.hub.link._replies)

    def signed(self, site: str = "a") -> list[tuple[bytes, bytes]]:
        """Headers of a request that a site signed now."""
        return [(name.encode(), value.encode()) for name, value in nodes.signed(self.hub.keys[site]).items()]

    @property
    def signed_once(self) -> list[tuple[bytes, bytes]]:
        """Headers that a site signed less than a minute ago."""
        if time.monotonic() - self._signed_at > 60:
            self._signed, self._signed_at = self.signed(), time.monotonic()
        return self._signed

    def valid(self) -> dict[str, bytes]:
        """A right request to each route that a node uses in a round, by route."""
        link = self.hub.link
        me = NodeProto(node_id=link.nodes["a"])
        key = public_key_to_bytes(self.hub.keys["a"].public_key())
        reply = reply_to(self.message, {"code": "OK", "payload": b"\0" * 64})
        contents = list(get_all_nested_objects(reply).items())
        run_id, object_id = self.run.run_id, str(self.message_id)
        requests = {
            "activate-node": ActivateNodeRequest(public_key=key, heartbeat_interval=30),
            "deactivate-node": DeactivateNodeRequest(node_id=me.node_id),
            "send-node-heartbeat": SendNodeHeartbeatRequest(node=me, heartbeat_interval=30),
            "pull-messages": PullMessagesRequest(node=me),
            "push-messages": PushMessagesRequest(
                node=me,
                messages_list=[message_to_proto(remove_content_from_message(reply))],
                message_object_trees=[get_object_tree(reply)],
            ),
            "push-object": PushObjectRequest(
                node=me, run_id=run_id, object_id=contents[0][0], object_content=contents[0][1].deflate()
            ),
            "pull-object": PullObjectRequest(node=me, run_id=run_id, object_id=object_id),
            "confirm-message-received": ConfirmMessageReceivedRequest(
                node=me, run_id=run_id, message_object_id=object_id
            ),
        }
        return {f"/v1/fleet/{route}": request.SerializeToString() for route, request in requests.items()}


def check(status: int, answer: bytes) -> None:
    """A 500 needs a code, and none of the inputs is one that a person has to look into."""
    if status >= 500:
        try:
            coded = bool(json.loads(answer).get("code"))
        except (ValueError, AttributeError):
            coded = False
        COUNTS["uncoded_500s"] += not coded
        assert coded, f"{status} without a code: {answer[:200]!r}"


@contextmanager
def counted(what: str) -> Iterator[None]:
    """Count what raises, or takes too long, before it fails the test."""
    try:
        yield
    except TimeoutError:
        COUNTS["hangs"] += 1
        raise AssertionError(f"no answer within {DEADLINE_S} s: {what!r}") from None
    except AssertionError:
        raise
    except BaseException:
        COUNTS["crashes"] += 1
        raise


def mutated(data: bytes, random: Random) -> bytes:
    """The bytes with some of them changed, cut, doubled, or followed by others."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(changed))
        match random.randrange(6):
            case 0 if changed:
                changed[at % len(changed)] = random.randrange(256)
            case 1:
                del changed[at:]
            case 2:
                changed[at:at] = random.randbytes(random.randint(1, 12))
            case 3:
                changed[at:at] = changed[: random.randint(0, len(changed))]
            case 4:
                del changed[at : at + random.randint(1, 8)]
            case _:
                changed[at:at] = random.choice(SPECIAL)
    return bytes(changed)


#: Numbers at the edges of their kind, nesting, lengths that are none, and what parsers of text fall over.
SPECIAL = (
    b"\xff" * 9 + b"\x01",
    b"\x80" * 20,
    b"\x0a\x00" * 100,
    b"\x12\x7f",
    b"\x0b" * 50,
    b"\x00\x00\xf8\x7f",
    b"\x00\x00\x00\x00\x00\x00\xf0\xff",
    b"\xed\xa0\x80",
    b"../../etc/passwd\x00",
    b"NaN",
    b"-1",
    b"[" * 3000,
    b"9" * 5000,
)
