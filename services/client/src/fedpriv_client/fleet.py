"""The site's connection to a SuperLink. The one module of the client that uses Flower's private names.

Flower's own node connection ends its process when the server forgets it; this one raises, so that a node can outlive
any number of servers. Every call is one HTTPS request that the site makes and signs with its node key.
"""

from __future__ import annotations

import random
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from flwr.app import Message, RecordDict
from flwr.app.message import make_message, remove_content_from_message
from flwr.common.constant import HEARTBEAT_MIN_INTERVAL, TIMESTAMP_HEADER
from flwr.common.serde import message_from_proto, message_to_proto
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
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from flwr.supercore.runtime_version_compatibility import RuntimeVersionMetadata
from flwr.supernode.fleet_http_client import FleetHttpClient

from fedpriv_client.clock import ServerClock
from fedpriv_common import carriage
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.settings import read_secret
from fedpriv_common.wire import PULL_HELD_S

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")

#: A server takes a site for gone that gave no sign of life for twice this long, seconds. As short as Flower allows.
HEARTBEAT_SECONDS: Final = float(HEARTBEAT_MIN_INTERVAL)

# Longest silences, seconds, after which a connection counts as dead. They are what a site needs to notice a network
# that swallows everything without a word; none of them bounds how long a request takes whose bytes keep moving.
_CONNECT_S: Final = 6.0
_WRITE_S: Final = 10.0
_ANSWER_S: Final = 10.0
_HELD_ANSWER_S: Final = PULL_HELD_S + 4.0
_HEARTBEAT_S: Final = 4.0
#: The slowest link, bytes per second: an answer cannot come before the request has gone through it.
_SLOWEST: Final = 4_000.0
#: How long an idle connection is kept, seconds: longer than heartbeats are apart, shorter than a server keeps it.
_IDLE_S: Final = 60.0
#: Most that one answer, and one message in all, may hold, bytes. A model of the recipes takes some 20 kB.
MAX_BYTES: Final = 16 * 2**20
#: Objects in one message: the message, its record dictionary, one record. A foreign app's may have some more.
MAX_OBJECTS: Final = 16
#: A message is announced before all of it is there; seconds to wait for the rest.
_OBJECTS_SECONDS = 60.0
#: Seconds during which a reply is offered again over a connection that fails.
_PUSH_SECONDS = 10.0
#: How often a request is repeated to a server that says "too often", and the longest pause before that, seconds.
_POLITE_REPEATS: Final = 3
_LONGEST_PAUSE: Final = 5.0


class AbandonedError(Exception):
    """The message at hand can no longer be answered: its run has ended or its content is gone."""


class Fleet:
    """Requests of one site to the Fleet API of a SuperLink.

    Failures are FedprivError: SERVER_UNREACHABLE, SERVER_CERTIFICATE, or NODE_UNKNOWN when the server answers but
    does not recognise the site. Heartbeats may be sent from another thread.
    """

    def __init__(
        self,
        server: str,
        authority: ssl.SSLContext,
        key: ec.EllipticCurvePrivateKey,
        clock: ServerClock | None = None,
    ) -> None:
        self._server = server
        self._clock = clock or ServerClock()
        self._public_key = public_key_to_bytes(key.public_key())
        self._client = FleetHttpClient(
            server,
            interceptors=[_VersionHeaders(), _Signature(key, self._clock), _Silences()],
            verify=authority,
        )
        _bound_answers(self._client, authority)
        self._node: NodeProto | None = None
        #: Whether the last message came with its contents: then it counts as received, and the reply can do so, too.
        self._carries = False
        # A heartbeat that overtakes a deactivation would bring the site online again.
        self._presence = threading.Lock()

    # -- being online ----------------------------------------------------------------------------------------------

    def activate(self, previous: int | None) -> int:
        """Go online; returns the node id. `previous`, the id of an earlier session that may not have ended, as after
        a crash, is ended first: a site that is still online cannot go online again for a minute."""
        with self._presence:
            if previous is not None:
                with suppress(_UnrecognisedError):
                    self._call(self._client.DeactivateNode, DeactivateNodeRequest(node_id=previous))
            request = ActivateNodeRequest(public_key=self._public_key, heartbeat_interval=HEARTBEAT_SECONDS)
            self._node = NodeProto(node_id=self._call(self._client.ActivateNode, request).node_id)
            return self._node.node_id

    def heartbeat(self) -> None:
        """Tell the server that the site is there, if it is online."""
        with self._presence:
            if self._node is not None:
                request = SendNodeHeartbeatRequest(node=self._node, heartbeat_interval=HEARTBEAT_SECONDS)
                self._call(self._client.SendNodeHeartbeat, request)

    def deactivate(self) -> None:
        """Go offline; the next pull fails."""
        with self._presence:
            if self._node is not None:
                node, self._node = self._node, None
                self._call(self._client.DeactivateNode, DeactivateNodeRequest(node_id=node.node_id))

    # -- messages --------------------------------------------------------------------------------------------------

    def pull(self) -> Message | None:
        """The next message, or None when there is none (yet: a server may hold the answer back for PULL_HELD_S).

        A message whose content is no message content, or too much of it, comes empty, to be refused. Raises
        AbandonedError when it was withdrawn meanwhile.
        """
        request = PullMessagesRequest(node=self._online())
        carriage.ask(request)
        response = self._call(self._client.PullMessages, request)
        if not response.messages_list:
            return None
        try:
            envelope = message_from_proto(response.messages_list[0])
            tree = response.message_object_trees[0]
        except Exception as error:
            # Nothing in it can be relied upon, not even whom to answer.
            raise AbandonedError(f"a message without an envelope ({type(error).__name__})") from error
        try:
            contents = self._contents(envelope.metadata.run_id, tree, carriage.unload(response, MAX_OBJECTS))
        except _OversizedError:
            return make_message(metadata=envelope.metadata, content=RecordDict())
        try:
            message = inflate_object_from_contents(tree.object_id, contents)
        except Exception:  # whatever foreign content makes Flower's parser raise
            message = None
        if not isinstance(message, Message) or not message.has_content():
            return make_message(metadata=envelope.metadata, content=RecordDict())
        # The content is the server's word, the envelope is what the server will know the reply by.
        return make_message(metadata=envelope.metadata, content=message.content)

    def push(self, reply: Message) -> None:
        """Send a reply. It is offered again for some seconds when the connection fails; doing so changes nothing at
        the server. Raises AbandonedError when the server no longer wants it."""
        self._date(reply)  # once: dated anew, it would be another reply
        deadline, delay = time.monotonic() + _PUSH_SECONDS, 0.05
        while True:
            try:
                return self._push_once(reply)
            except FedprivError as error:
                if error.code is ErrorCode.NODE_UNKNOWN or time.monotonic() + delay > deadline:
                    raise
            time.sleep(delay)
            delay *= 2

    def confirm(self, message: Message) -> None:
        """Let the server forget a message's contents, unless it has done so when it sent them along. The round does
        not wait for this, so it comes after the reply."""
        if self._carries:
            return
        request = ConfirmMessageReceivedRequest(
            node=self._online(), run_id=message.metadata.run_id, message_object_id=message.metadata.message_id
        )
        self._call(self._client.ConfirmMessageReceived, request)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _online(self) -> NodeProto:
        if self._node is None:
            raise _UnrecognisedError(self._server, "the site is offline")
        return self._node

    def _contents(self, run_id: int, tree: ObjectTree, carried: Sequence[bytes]) -> dict[str, bytes]:
        """Contents by object id, pulled if they did not come along; _OversizedError when there are too many or they
        are too large."""
        object_ids = _object_ids(tree, MAX_OBJECTS + 1)
        if len(object_ids) > MAX_OBJECTS:
            raise _OversizedError(self._server, f"a message of more than {MAX_OBJECTS} objects")
        self._carries = len(carried) == len(object_ids)
        if self._carries:
            return dict(zip(object_ids, carried, strict=True))
        deadline, contents, size = time.monotonic() + _OBJECTS_SECONDS, {}, 0
        # One after another on one connection: handshakes on more cost longer than three small answers.
        for object_id in object_ids:
            contents[object_id] = self._pull_object(run_id, object_id, deadline)
            size += len(contents[object_id])
            if size > MAX_BYTES:
                raise _OversizedError(self._server, f"a message of more than {MAX_BYTES} bytes")
        return contents

    def _pull_object(self, run_id: int, object_id: str, deadline: float) -> bytes:
        request = PullObjectRequest(node=self._online(), run_id=run_id, object_id=object_id)
        delay = 0.002
        while True:
            response = self._call(self._client.PullObject, request)
            if response.object_found and response.object_available:
                return bytes(response.object_content)
            if not response.object_found or time.monotonic() + delay > deadline:
                raise AbandonedError(f"content of a message of run {run_id} is gone or did not arrive")
            time.sleep(delay)
            delay = min(2 * delay, 0.5)

    def _push_once(self, reply: Message) -> None:
        with no_object_id_recompute():
            reply.metadata.__dict__["_message_id"] = reply.object_id
            objects = get_all_nested_objects(reply)
            contents = {object_id: content.deflate() for object_id, content in objects.items()}
            tree = get_object_tree(reply)
            # How long the work took is not sent along: it may depend on the records.
            request = PushMessagesRequest(
                node=self._online(),
                messages_list=[message_to_proto(remove_content_from_message(reply))],
                message_object_trees=[tree],
            )
        if self._carries and sum(map(len, contents.values())) <= carriage.MOST_CARRIED:
            carriage.load(request, (contents[object_id] for object_id in _object_ids(tree, len(contents))))
        response = self._call(self._client.PushMessages, request)
        for object_id in response.objects_to_push:
            if object_id in contents:
                part = PushObjectRequest(
                    node=self._online(),
                    run_id=reply.metadata.run_id,
                    object_id=object_id,
                    object_content=contents[object_id],
                    session_id=response.session_id,
                )
                if not self._call(self._client.PushObject, part).stored:
                    raise AbandonedError("the server no longer takes the reply's content")

    def _date(self, reply: Message) -> None:
        """Have a reply written by the server's clock. It expires with its message, whatever the clock here says."""
        metadata = reply.metadata
        expires, created = metadata.created_at + metadata.ttl, self._clock.now().timestamp()
        metadata.__dict__["_created_at"], metadata.__dict__["_ttl"] = created, expires - created

    def _call(self, method: Callable[[RequestT], ResponseT], request: RequestT) -> ResponseT:
        """The answer; a server that is asked too often is asked again when it says, a few times."""
        for _ in range(_POLITE_REPEATS):
            try:
                return self._call_once(method, request)
            except _TooOftenError as error:
                time.sleep(error.wait_s * random.uniform(1.0, 1.5))  # noqa: S311 - spreads load, hides nothing
        return self._call_once(method, request)

    def _call_once(self, method: Callable[[RequestT], ResponseT], request: RequestT) -> ResponseT:
        try:
            return method(request)
        except httpx.HTTPStatusError as error:
            if error.response.status_code in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE):
                raise _TooOftenError(self._server, error.response) from None
            raise self._declined(error.response) from None
        except _EndlessError as error:
            raise _OversizedError(self._server, str(error)) from None
        except (httpx.HTTPError, OSError, ValueError) as error:
            fault = _certificate_fault(error)
            if fault is not None:
                raise FedprivError(
                    ErrorCode.SERVER_CERTIFICATE,
                    f"The certificate of {self._server} is not accepted: {fault}.",
                    "Check that FEDPRIV_CA is the CA of this server and that FEDPRIV_SERVER is a name it carries.",
                ) from None
            raise _UnreachableError(self._server, " ".join(str(error).split()) or type(error).__name__) from None

    def _declined(self, response: httpx.Response) -> Exception:
        flower_error = FlowerError.from_json(response.text)
        code = None if flower_error is None else flower_error.code
        if code == ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED:
            return AbandonedError("the run is not running")
        if code == ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED:
            return _UnrecognisedError(
                self._server,
                "its allow-list lacks this site's public key, or an earlier session of the site is open for a minute",
                "Have the server's operator add the key; the site keeps trying.",
            )
        if code == ApiErrorCode.FLEET_NODE_DEACTIVATION_FAILED:
            return _UnrecognisedError(self._server, "the session has ended")
        if response.status_code == httpx.codes.UNAUTHORIZED:
            fault = self._clock.fault(response.headers.get("date"))
            if fault is not None:
                return _UnrecognisedError(self._server, fault, "Set it; until then, the site goes by the server's.")
            return _UnrecognisedError(self._server, "the session is of another start of the server")
        return _UnreachableError(self._server, f"it answers {response.status_code} to {response.request.url.path}")


class _UnreachableError(FedprivError):
    """No usable answer came."""

    def __init__(self, server: str, cause: str) -> None:
        super().__init__(
            ErrorCode.SERVER_UNREACHABLE,
            f"{server} cannot be reached ({cause}).",
            "Check the address, the network and that the server runs.",
        )


class _TooOftenError(_UnreachableError):
    """The server is asked too often, or has no room; `wait_s` says when to come again, as far as a site believes it."""

    def __init__(self, server: str, response: httpx.Response) -> None:
        super().__init__(server, f"it is busy ({response.status_code})")
        told = response.headers.get("retry-after", "")
        self.wait_s = min(float(told), _LONGEST_PAUSE) if told.isdecimal() and len(told) < 9 else 1.0


class _OversizedError(_UnreachableError):
    """The answer is larger than any that a site works on."""


class _UnrecognisedError(FedprivError):
    """The server answers, but not to this site."""

    def __init__(self, server: str, cause: str, remedy: str = "The site goes online again.") -> None:
        super().__init__(ErrorCode.NODE_UNKNOWN, f"{server} does not recognise this site: {cause}.", remedy)


class _EndlessError(Exception):
    """Raised from within a body that is longer than any message may be."""


class _VersionHeaders:
    """Tells Flower's version, as the server's compatibility check wants; Flower's own interceptor would also let the
    server's answer end this process."""

    def __init__(self) -> None:
        self._headers = dict(RuntimeVersionMetadata.from_local_component("SuperNode").as_metadata())

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        """Add the headers, and ask for an answer that does not grow when it is read."""
        context.request.headers.update({**self._headers, "accept-encoding": "identity"})
        return call_next(context)


class _BoundedStream(httpx.SyncByteStream):
    """An answer's body that ends with an error once it is longer than any message may be."""

    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for chunk in self._stream:
            size += len(chunk)
            if size > MAX_BYTES:
                raise _EndlessError(f"an answer of more than {MAX_BYTES} bytes")
            yield chunk

    def close(self) -> None:
        self._stream.close()


class _Signature:
    """Says who the site is. Flower's own interceptor signs this machine's time, which may be hours off."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, clock: ServerClock) -> None:
        self._key, self._clock = key, clock
        self._public_key = b64encode(public_key_to_bytes(key.public_key())).decode()

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        """Add key, time and the signature of the time."""
        timestamp = self._clock.now().isoformat()
        signature = b64encode(sign_message(self._key, timestamp.encode())).decode()
        context.request.headers.update(
            {
                FLEET_HTTP_PUBLIC_KEY_HEADER: self._public_key,
                TIMESTAMP_HEADER: timestamp,
                FLEET_HTTP_SIGNATURE_HEADER: signature,
            }
        )
        return call_next(context)


class _Silences:
    """Gives each request the silence that its kind and its size may take; Flower has one number for all."""

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        """Set the request's time-outs."""
        message, connect_s = context.message, _CONNECT_S
        if isinstance(message, SendNodeHeartbeatRequest):
            # Whoever goes online waits for a heartbeat that hangs.
            connect_s = answer_s = _HEARTBEAT_S
        else:
            answer_s = _HELD_ANSWER_S if isinstance(message, PullMessagesRequest) else _ANSWER_S
            answer_s += int(context.request.headers.get("content-length", 0)) / _SLOWEST
        timeout = httpx.Timeout(_WRITE_S, connect=connect_s, read=answer_s)
        context.request.extensions["timeout"] = timeout.as_dict()
        return call_next(context)


def _bound_answers(client: FleetHttpClient, authority: ssl.SSLContext) -> None:
    """Take no redirect, no compression and no endless answer from the server; keep idle connections for a while."""

    def check(response: httpx.Response) -> None:
        if response.is_redirect or "content-encoding" in response.headers:
            raise ValueError("an answer that is redirected or compressed")
        assert isinstance(response.stream, httpx.SyncByteStream)  # noqa: S101 - a synchronous client
        response.stream = _BoundedStream(response.stream)

    client._client.close()
    client._client = httpx.Client(
        verify=authority,
        event_hooks={"request": [], "response": [check]},
        limits=httpx.Limits(keepalive_expiry=_IDLE_S),
    )


def _object_ids(tree: ObjectTree, most: int) -> list[str]:
    """Each of the first `most` objects once, in the tree's order."""
    return list(dict.fromkeys(node.object_id for node, _ in zip(iterate_object_tree(tree), range(most), strict=False)))


def _certificate_fault(error: BaseException | None) -> str | None:
    """Why a certificate was not accepted, if that is behind the error."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return None


def read_node_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The site's private key; raises BAD_KEY for anything but a P-256 key in PEM."""
    try:
        key = load_pem_private_key(read_secret(path, "node key").encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise FedprivError(
            ErrorCode.BAD_KEY,
            f"The node key at {path} is no P-256 private key in PEM without a passphrase.",
            "Restore it, or enrol this site with a new one.",
        )
    return key


def read_authority(path: Path) -> ssl.SSLContext:
    """TLS that trusts the CA certificates in the file and nothing else; raises BAD_KEY."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=read_secret(path, "CA certificate"))
    except (ValueError, ssl.SSLError):
        raise FedprivError(
            ErrorCode.BAD_KEY,
            f"The CA certificate at {path} is no certificate in PEM.",
            "Get it from the server's operator, and compare its fingerprint.",
        ) from None
    return context
