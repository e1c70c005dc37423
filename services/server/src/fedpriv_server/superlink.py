"""The SuperLink in this process. The one module of the server that uses Flower's private names.

Everything here runs on one event loop and returns at once: state is in memory, so a call costs microseconds and needs
no thread. What has to outlive the process is not kept here.
"""

from __future__ import annotations

import binascii
import contextlib
from base64 import b64decode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

from fastapi import FastAPI, HTTPException, Request, Response
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message import make_message, remove_content_from_message
from flwr.app.metadata import Metadata
from flwr.common.constant import (
    HEARTBEAT_DEFAULT_INTERVAL,
    HEARTBEAT_PATIENCE,
    NOOP_ACCOUNT_NAME,
    NOOP_FLWR_AID,
    SUPERLINK_NODE_ID,
    SYSTEM_TIME_TOLERANCE,
    TIMESTAMP_HEADER,
    TIMESTAMP_TOLERANCE,
    TRANSPORT_TYPE_GRPC_RERE,
    SubStatus,
)
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    ActivateNodeResponse,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
    PushMessagesResponse,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import (
    ObjectTree,
    PushObjectRequest,
    PushObjectResponse,
)
from flwr.server.superlink.linkstate import LinkState
from flwr.supercore.constant import (
    FLEET_HTTP_PUBLIC_KEY_HEADER,
    FLEET_HTTP_SIGNATURE_HEADER,
    FLWR_IN_MEMORY_DB_NAME,
    NOOP_FEDERATION_ID,
    TaskType,
)
from flwr.supercore.date import now
from flwr.supercore.error.http import http_error_translator
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.primitives.asymmetric import bytes_to_public_key, verify_signature
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES, ProtobufTranslationMiddleware
from flwr.superlink.auth_plugin import NoOpControlAuthnPlugin
from flwr.superlink.config_loader import SuperLinkLifespanConfig
from flwr.superlink.main import create_app
from flwr.superlink.routers.fleet.node_auth import authenticate_node
from flwr.superlink.servicer.fleet import fleet_handlers
from google.protobuf.message import Message as Protobuf  # type: ignore[import-untyped]

from fedpriv_common import carriage
from fedpriv_common.wire import RECORD, Field
from fedpriv_server.replies import Replies

__all__ = [
    "FLEET_ROUTES",
    "GET_FAB",
    "HOT_ROUTES",
    "PUSH_MESSAGES",
    "PUSH_OBJECT",
    "ActivateNodeRequest",
    "ActivateNodeResponse",
    "DeactivateNodeRequest",
    "FlowerRun",
    "Protobuf",
    "PullMessagesRequest",
    "PullMessagesResponse",
    "PushMessagesRequest",
    "PushMessagesResponse",
    "PushObjectRequest",
    "PushObjectResponse",
    "SendNodeHeartbeatRequest",
    "SuperLink",
]

#: Seconds between two signs of life of a node that has not said how often it gives one.
BEAT_SECONDS: Final = HEARTBEAT_DEFAULT_INTERVAL
#: Signs of life that a node may miss before it counts as offline.
PATIENCE: Final = HEARTBEAT_PATIENCE
#: Objects of one reply: the message, its record dictionary, one record. More are not stored.
MAX_REPLY_OBJECTS: Final = 16

PUSH_MESSAGES: Final = "/v1/fleet/push-messages"
PUSH_OBJECT: Final = "/v1/fleet/push-object"
#: Where a node of Flower's own gets the code that it is to run.
GET_FAB: Final = "/v1/fleet/get-fab"
#: Every route that nodes may use.
FLEET_ROUTES: Final = frozenset(
    path for method, path in PROTOBUF_REQUEST_TYPES if method == "POST" and path.startswith("/v1/fleet/")
)
_PUBLIC_KEY, _SIGNATURE, _TIMESTAMP = (
    name.lower().encode() for name in (FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER, TIMESTAMP_HEADER)
)

#: The Fleet routes that are answered here directly, and how; the others are left to Flower's own application.
HOT_ROUTES: Final[dict[str, Callable[[Any, LinkState], Protobuf]]] = {
    "/v1/fleet/activate-node": fleet_handlers.activate_node,
    "/v1/fleet/deactivate-node": fleet_handlers.deactivate_node,
    "/v1/fleet/send-node-heartbeat": fleet_handlers.send_node_heartbeat,
    "/v1/fleet/pull-messages": lambda request, state: fleet_handlers.pull_messages(request, state, state.object_store),
    PUSH_MESSAGES: fleet_handlers.push_messages,
    "/v1/fleet/pull-object": fleet_handlers.pull_object,
    PUSH_OBJECT: fleet_handlers.push_object,
    "/v1/fleet/confirm-message-received": lambda request, state: fleet_handlers.confirm_message_received(
        request, state, state.object_store
    ),
}


class _NoServers:
    """Stands in for what would start gRPC servers and a process that runs apps: this server needs neither."""

    def __init__(self, config: SuperLinkLifespanConfig, _state_factory: object) -> None:
        self.config = config

    def startup(self) -> None:
        """Nothing is started."""

    def shutdown(self) -> None:
        """Nothing was."""


@dataclass(frozen=True)
class FlowerRun:
    """Flower's own ids of a run, which die with this process; fedpriv's run id does not."""

    run_id: int
    task_id: int


class SuperLink:
    """Flower's application and state, with node authentication on and the allow-list registered."""

    def __init__(self, sites: dict[str, bytes]) -> None:
        """`sites`: PEM public key by name."""
        self.app: FastAPI = create_app(_configuration(), cast(Any, _NoServers))
        self.state: LinkState = self.app.state.linkstate_factory.state()
        self._replies = Replies()
        state = cast(Any, self.state)
        self._flowers_store_message: Callable[..., tuple[bool, list[str]]] = state.store_message_and_object_tree
        self._flowers_store_object: Callable[..., bool] = state.store_object
        state.store_message_and_object_tree, state.store_object = self._store_message, self._store_object
        state.get_message_ins = self._get_message_ins
        #: Node id by site. Nobody else can register while node authentication is on.
        self.nodes: dict[str, int] = {}
        self._keys: dict[str, bytes] = {}
        self._signers: dict[bytes, str] = {}
        for site, pem in sites.items():
            self.register(site, pem)

    # -- the allow-list --------------------------------------------------------------------------------------------

    @property
    def sites(self) -> dict[str, bytes]:
        """PEM public key by name of every site that may take part now."""
        return dict(self._keys)

    def register(self, site: str, pem: bytes) -> int:
        """Let a site in that is not registered; returns its node id."""
        node_id = self.state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, pem, HEARTBEAT_DEFAULT_INTERVAL, name=site)
        self.nodes[site], self._keys[site], self._signers[pem] = node_id, pem, site
        return node_id

    def revoke(self, site: str) -> None:
        """Refuse a site's key from now on, on every route; a key that comes back gets another node id."""
        node_id, pem = self.nodes.pop(site), self._keys.pop(site)
        del self._signers[pem]
        # Flower compares a moment with None for a node that was never online; by then it has done what is wanted.
        with contextlib.suppress(TypeError):
            self.state.delete_node(NOOP_FLWR_AID, node_id)
        cast(Any, self.state).node_public_key_to_node_id.pop(pem, None)

    # -- requests of nodes -----------------------------------------------------------------------------------------

    def signer(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
        """The registered key that signed a request's head, None if none did: `authenticate_node`, but for the body."""
        found = {name: value for name, value in headers if name in (_PUBLIC_KEY, _SIGNATURE, _TIMESTAMP)}
        try:
            pem = b64decode(found[_PUBLIC_KEY], validate=True)
            if pem not in self._signers:
                return None
            age = (now() - datetime.fromisoformat(found[_TIMESTAMP].decode("ascii"))).total_seconds()
            signature = b64decode(found[_SIGNATURE], validate=True)
        except (KeyError, ValueError, TypeError, binascii.Error):
            return None
        in_time = -SYSTEM_TIME_TOLERANCE < age < TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE
        if not in_time or not verify_signature(bytes_to_public_key(pem), found[_TIMESTAMP], signature):
            return None
        return pem

    def owner(self, key: bytes | None) -> str | None:
        """The site whose registered key this is, if it is one's."""
        return None if key is None else self._signers.get(key)

    def _authenticate(self, request: Request, parsed: Protobuf, key: bytes | None) -> None:
        if key is None or key not in self._signers:
            authenticate_node(request)  # refuses, or is a key that Flower refuses with the reason
        elif isinstance(parsed, ActivateNodeRequest):
            _require(parsed.public_key == key)
        else:
            node_id = parsed.node.node_id if hasattr(parsed, "node") else parsed.node_id
            _require(self.nodes[self._signers[key]] == node_id)

    async def answer(
        self, request: Request, body: bytes, handle: Callable[[Protobuf], Any], route: str, key: bytes | None = None
    ) -> Response:
        """Answer a Fleet request as Flower's application would: same checks, same order, same bytes, same refusals.

        `key` is what `signer` found. `handle` is awaited with the parsed request of a node whose signature and
        identity were checked.
        """

        async def call_next(request: Request) -> Response:
            ProtobufTranslationMiddleware._check_request_media_type(request)
            parsed = ProtobufTranslationMiddleware._parse_request(body, PROTOBUF_REQUEST_TYPES["POST", route])
            request.state.protobuf_request = parsed
            self._authenticate(request, parsed, key)
            result = await handle(parsed)
            return Response(result.SerializeToString(), media_type="application/protobuf")

        return await http_error_translator(request, cast(Any, call_next))

    def handle(self, route: str, request: Protobuf) -> Protobuf:
        """What Flower's handler of a hot route answers."""
        if isinstance(request, PushMessagesRequest):
            _require_own_reply(request)
        elif isinstance(request, PushObjectRequest) and not request.session_id and request.run_id in self._replies:
            # Flower would look for the object in everybody's sessions.
            request.session_id = self._replies.session(request.object_id, request.node.node_id) or "none"
        return HOT_ROUTES[route](request, self.state)

    def _store_message(self, message: Message, tree: ObjectTree, session: str) -> tuple[bool, list[str]]:
        """Whether a message was taken, and its objects that are still to come; those of a reply come to `Replies`."""
        metadata, state = message.metadata, cast(Any, self.state)
        if metadata.run_id not in self._replies or not metadata.reply_to_message_id:
            return self._flowers_store_message(message, tree, session)
        state._cleanup_push_session(session, cleanup_messages=False)
        if state.store_message_res(message) is None:
            return False, []
        return True, self._replies.announce(
            metadata.message_id, metadata.run_id, metadata.src_node_id, session, _object_ids(tree)
        )

    def _store_object(self, run_id: int, session: str, object_id: str, content: bytes) -> bool:
        """Whether an object was taken."""
        if run_id in self._replies and self._replies.store(
            session or self._replies.session(object_id), object_id, content
        ):
            return True
        return self._flowers_store_object(run_id, session, object_id, content)

    def _get_message_ins(self, node_id: int, limit: int | None, *, run_id: int | None = None) -> list[Message]:
        """Messages for a node that it has not pulled, as Flower's own function gives them.

        That one checks every other node's messages on the way, so that a round's time grows with the square of the
        number of sites.
        """
        if limit is not None and limit < 1:
            raise AssertionError("`limit` must be >= 1")
        state: Any = self.state
        with state.lock:  # an app that was started with `flwr run` stores messages from other threads
            own = [key for key, message in state.message_ins_store.items() if message.metadata.dst_node_id == node_id]
            state._check_stored_messages(set(own))
            found = [
                message
                for message in map(state.message_ins_store.get, own)
                if message and run_id in (None, message.metadata.run_id) and not message.metadata.delivered_at
            ][:limit]
            for message in found:
                message.metadata.delivered_at = now().isoformat()
            return found

    def carry(self, response: PullMessagesResponse) -> None:
        """Let the answer to a pull carry the message's contents, which then counts as received.

        Without effect while some of them are still to come, as from an app that was started with `flwr run`, and when
        they are large: the node then pulls them one by one.
        """
        if not response.messages_list:
            return
        run_id, tree = response.messages_list[0].metadata.run_id, response.message_object_trees[0]
        contents = [self.state.get_object(run_id, object_id) for object_id in _object_ids(tree)]
        if all(contents) and sum(len(content or b"") for content in contents) <= carriage.MOST_CARRIED:
            carriage.load(response, cast(list[bytes], contents))
            self.state.object_store.delete(tree.object_id)

    def carried(self, request: PushMessagesRequest, response: PushMessagesResponse) -> list[PushObjectRequest]:
        """The contents that a reply carried and that are wanted, as the requests in which they would come else."""
        contents = carriage.unload(request, MAX_REPLY_OBJECTS)
        if not contents or not request.messages_list:
            return []
        wanted = set(response.objects_to_push)
        return [
            PushObjectRequest(
                node=request.node,
                run_id=request.messages_list[0].metadata.run_id,
                object_id=object_id,
                object_content=content,
                session_id=response.session_id,
            )
            for object_id, content in zip(_object_ids(request.message_object_trees[0]), contents, strict=False)
            if object_id in wanted
        ]

    def end_session(self, node_id: int) -> None:
        """Let a node go online anew that has left without a word; else Flower refuses until its patience is over."""
        self.state.deactivate_node(node_id)

    # -- runs and messages -----------------------------------------------------------------------------------------

    def start_run(self, name: str) -> FlowerRun:
        """Begin a run that messages can belong to. Its task is taken at once, so that nobody else can run it."""
        run_id = self.state.create_run(
            f"fedpriv/{name}", "1", "", {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP
        )
        task_id = self.state.get_run_info(run_ids=[run_id])[0].primary_task_id
        if task_id is None or self.state.claim_task(task_id) is None or not self.state.activate_task(task_id):
            raise RuntimeError("Flower does not let its run start")
        # Flower would end a task that gave no sign of life for a minute by the machine's clock: a laptop that slept, or
        # a clock that was set, would end a run whose process is this one.
        cast(Any, self.state).task_token_store[task_id].active_until = datetime.max.replace(tzinfo=UTC)
        self._replies.begin(run_id)
        return FlowerRun(run_id, task_id)

    def finish_run(self, run: FlowerRun) -> None:
        """End a run; its messages and their contents are forgotten."""
        self._replies.end(run.run_id)
        self.state.finish_task(run.task_id, SubStatus.COMPLETED, "")
        self.state.cleanup_run(run.run_id)

    def post(self, run: FlowerRun, node_id: int, fields: dict[str, Field], ttl_s: float) -> str | None:
        """Store a message with all of its content; returns its id, or None if the node was never online."""
        metadata = Metadata(
            run_id=run.run_id,
            message_id="",
            src_node_id=SUPERLINK_NODE_ID,
            dst_node_id=node_id,
            reply_to_message_id="",
            group_id=str(fields.get("round", "")),
            created_at=now().timestamp(),
            ttl=ttl_s,
            message_type="train",
            src_task_id=run.task_id,
        )
        message = make_message(metadata=metadata, content=RecordDict({RECORD: ConfigRecord(cast(Any, fields))}))
        with no_object_id_recompute():
            message.metadata.__dict__["_message_id"] = message.object_id
            contents = get_all_nested_objects(message)
            tree = get_object_tree(message)
        session = self.state.start_session(run.run_id)
        stored, missing = self.state.store_message_and_object_tree(remove_content_from_message(message), tree, session)
        if not stored:
            return None
        for object_id in missing:
            self.state.store_object(run.run_id, session, object_id, contents[object_id].deflate())
        return message.metadata.message_id

    def withdraw(self, message_id: str) -> None:
        """Forget a message, its reply and the contents of both."""
        reply_id = self._reply_id(message_id)
        self.state.delete_messages({message_id})
        self.state.object_store.delete(message_id)
        if reply_id is not None:
            self._replies.forget(reply_id)

    def has_reply(self, message_id: str, reply_id: str) -> bool:
        """Whether `reply_id` was taken as the reply to the message."""
        return self._reply_id(message_id) == reply_id

    def take_reply(self, message_id: str) -> dict[str, object] | None:
        """The fields of the complete reply to a message, or None if it is no fedpriv record. Both are forgotten."""
        reply_id = self._reply_id(message_id)
        try:
            return None if reply_id is None else self._fields(reply_id)
        finally:
            self.withdraw(message_id)

    def _reply_id(self, message_id: str) -> str | None:
        replies: dict[str, str] = cast(Any, self.state).message_ins_id_to_message_res_id
        return replies.get(message_id)

    def _fields(self, reply_id: str) -> dict[str, object] | None:
        try:
            message = inflate_object_from_contents(reply_id, self._replies.contents(reply_id))
        except Exception:  # whatever foreign bytes make Flower's parser raise
            return None
        if not isinstance(message, Message) or not message.has_content() or set(message.content) != {RECORD}:
            return None
        record = message.content[RECORD]
        return dict(record) if isinstance(record, ConfigRecord) else None


def _require(identified: bool) -> None:
    if not identified:
        raise HTTPException(401, "Invalid SuperNode authentication")


def _require_own_reply(request: PushMessagesRequest) -> None:
    """Refuse what Flower's handler does not look at: a reply in another node's name, or one of very many objects."""
    _require(all(message.metadata.src_node_id == request.node.node_id for message in request.messages_list))
    if sum(_count(tree, MAX_REPLY_OBJECTS + 1) for tree in request.message_object_trees) > MAX_REPLY_OBJECTS:
        raise HTTPException(413, "Too many objects")


def _object_ids(tree: ObjectTree) -> list[str]:
    """Each object once, in the tree's order."""
    return list(dict.fromkeys(node.object_id for node in iterate_object_tree(tree)))


def _count(tree: ObjectTree, limit: int) -> int:
    """Objects in a tree, counted up to `limit` and without recursion: how deep it is was chosen by a stranger."""
    waiting, found = [tree], 0
    while waiting and found < limit:
        found += 1
        waiting.extend(waiting.pop().children)
    return found


def _configuration() -> SuperLinkLifespanConfig:
    """State in memory, node authentication on, and nothing that listens or executes: uvicorn serves the gate."""
    return SuperLinkLifespanConfig(
        control_address="",
        health_server_address=None,
        host="",
        port=0,
        insecure=False,
        certificates=None,
        superexec_auth_secret=None,
        authn_plugin=NoOpControlAuthnPlugin(),
        event_log_plugin=None,
        fleet_event_log_plugin=None,
        enable_event_log=False,
        artifact_provider=None,
        enable_supernode_auth=True,
        fleet_api_type=TRANSPORT_TYPE_GRPC_RERE,
        fleet_api_address=None,
        simulation=False,
        ssl_ca_certfile=None,
        ssl_certfile=None,
        ssl_keyfile=None,
        database=FLWR_IN_MEMORY_DB_NAME,
        isolation="process",
        runtime_dependency_install=False,
    )
