"""What the node relies on in Flower, how it waits, and how it takes answers that no Flower server gives."""

import inspect
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import flwr
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Message, Metadata, RecordDict
from flwr.app.message import make_message, remove_content_from_message
from flwr.common import serde
from flwr.proto import fleet_pb2, heartbeat_pb2, message_pb2, node_pb2
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.inflatable import inflatable_object, inflatable_utils
from flwr.supercore.primitives import asymmetric
from flwr.supercore.protobuf import client as protobuf_client
from flwr.supercore.runtime_version_compatibility import RuntimeVersionMetadata
from flwr.supernode.fleet_http_client import FleetHttpClient
from hypothesis import given
from hypothesis import strategies as st

from fedpriv_client.fleet import MAX_BYTES, Fleet
from fedpriv_client.node import Backoff, Patience
from fedpriv_common.errors import ErrorCode, FedprivError


def test_flower_is_the_version_that_was_read():
    assert flwr.__version__ == "1.41.0", "read fedpriv_client/fleet.py against the new Flower, then change this line"


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (
            protobuf_client.ProtobufClient.__init__,
            ["self", "base_url", "interceptors", "verify", "timeout", "retry_invoker"],
        ),
        (
            RuntimeVersionMetadata.from_local_component,
            ["component_name", "package_name_value", "package_version_value"],
        ),
        (make_message, ["metadata", "content", "error"]),
        (remove_content_from_message, ["message"]),
        (serde.message_from_proto, ["message_proto"]),
        (serde.message_to_proto, ["message"]),
        (asymmetric.public_key_to_bytes, ["public_key"]),
        (asymmetric.sign_message, ["private_key", "message"]),
        (inflatable_object.get_all_nested_objects, ["obj"]),
        (inflatable_object.get_object_tree, ["obj"]),
        (inflatable_object.iterate_object_tree, ["tree"]),
        (inflatable_object.no_object_id_recompute, []),
        (
            inflatable_utils.inflate_object_from_contents,
            ["object_id", "object_contents", "keep_object_contents", "objects"],
        ),
        (FlowerError.from_json, ["value"]),
        *(
            (getattr(FleetHttpClient, name), ["self", "request"])
            for name in (
                "ActivateNode",
                "DeactivateNode",
                "SendNodeHeartbeat",
                "PullMessages",
                "PullObject",
                "PushMessages",
                "PushObject",
                "ConfirmMessageReceived",
            )
        ),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_a_name_that_is_not_flowers_api_is_still_what_it_was(function, parameters):
    assert list(inspect.signature(function).parameters) == parameters


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (fleet_pb2.ActivateNodeRequest, {"public_key", "heartbeat_interval"}),
        (fleet_pb2.ActivateNodeResponse, {"node_id"}),
        (fleet_pb2.DeactivateNodeRequest, {"node_id"}),
        (fleet_pb2.PullMessagesRequest, {"node"}),
        (fleet_pb2.PullMessagesResponse, {"messages_list", "message_object_trees"}),
        (fleet_pb2.PushMessagesRequest, {"node", "messages_list", "message_object_trees"}),
        (fleet_pb2.PushMessagesResponse, {"objects_to_push", "session_id"}),
        (heartbeat_pb2.SendNodeHeartbeatRequest, {"node", "heartbeat_interval"}),
        (message_pb2.PullObjectRequest, {"node", "run_id", "object_id"}),
        (message_pb2.PullObjectResponse, {"object_found", "object_available", "object_content"}),
        (message_pb2.PushObjectRequest, {"node", "run_id", "object_id", "object_content", "session_id"}),
        (message_pb2.PushObjectResponse, {"stored"}),
        (message_pb2.ConfirmMessageReceivedRequest, {"node", "run_id", "message_object_id"}),
        (node_pb2.Node, {"node_id"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_protobuf_message_still_has_the_fields_that_are_used(message, fields):
    assert fields <= set(message.DESCRIPTOR.fields_by_name)


def test_codes_and_attributes_are_still_there():
    for name in ("FLEET_RUN_STATUS_NOT_ALLOWED", "FLEET_NODE_ACTIVATION_FAILED", "FLEET_NODE_DEACTIVATION_FAILED"):
        assert hasattr(ApiErrorCode, name)
    assert isinstance(FleetHttpClient("http://localhost")._client, httpx.Client)
    metadata = Metadata(1, "id", 2, 3, "", "", 1.0, 1.0, "train")
    assert metadata.__dict__["_message_id"] == "id"
    assert {"_created_at", "_ttl"} <= metadata.__dict__.keys()
    assert isinstance(make_message(metadata, RecordDict()), Message)


# -- waiting -----------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@given(st.lists(st.floats(0, 3600), max_size=60))
def test_an_attempt_to_go_online_is_never_far_away(pauses):
    clock = Clock()
    backoff = Backoff(clock)
    for pause in pauses:
        clock.now += pause
        cap = 5.0 if clock.now - 1000.0 < 900.0 else 30.0
        assert 0.05 <= backoff.failed() <= cap


def test_attempts_become_rarer_and_begin_anew_after_a_success():
    clock = Clock()
    backoff = Backoff(clock)
    delays = [backoff.failed() for _ in range(5000)]
    assert delays[0] <= 0.1
    assert delays[-1] >= 2.5
    clock.now += 3600
    assert backoff.failed() >= 15.0
    backoff.succeeded()
    assert backoff.failed() <= 0.1


def test_a_server_that_holds_pulls_back_is_asked_again_at_once():
    assert Patience(Clock()).got_nothing(took=20.0) == 0.0


def test_a_server_that_answers_at_once_is_asked_often_while_a_round_may_be_on_and_then_ever_less():
    clock = Clock()
    patience = Patience(clock)
    patience.got_message()
    clock.now += 59.0
    assert patience.got_nothing(took=0.01) == 0.05
    clock.now += 2.0
    delays = [patience.got_nothing(took=0.01) for _ in range(40)]
    assert all(0.04 <= delay <= 3.0 for delay in delays)
    assert delays[-1] >= 2.4
    patience.got_message()
    assert patience.got_nothing(took=0.01) == 0.05


# -- answers that no Flower server gives -------------------------------------------------------------------------------


class Stranger(BaseHTTPRequestHandler):
    """Answers every request as the test says."""

    answer: tuple[int, dict[str, str], bytes] = (200, {}, b"")
    paths: ClassVar[list[str]] = []

    def do_POST(self):
        self.paths.append(self.path)
        self.rfile.read(int(self.headers["content-length"]))
        status, headers, body = self.answer
        self.send_response(status)
        for name, value in ({"content-length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            return  # the node does not read on

    def log_message(self, *_):
        pass


@pytest.fixture
def stranger(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(Stranger, "paths", [])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((404, {}, b"Not Found"), "it answers 404 to /v1/fleet/activate-node"),
        ((500, {}, b'{"code": []}'), "it answers 500"),
        ((502, {}, b""), "it answers 502"),
        ((200, {}, b"<html>Sign in to the guest network</html>"), "Invalid protobuf"),
        ((307, {"location": "/elsewhere"}, b""), "redirected or compressed"),
        ((200, {"content-encoding": "gzip"}, b"\x1f\x8b"), "redirected or compressed"),
        ((200, {}, bytes(MAX_BYTES + 1)), f"more than {MAX_BYTES} bytes"),
        ((200, {"content-length": "1000"}, b"cut off"), "cannot be reached"),
    ],
    ids=["404", "500", "502", "another page", "a redirect", "compressed", "endless", "cut off"],
)
def test_an_answer_that_is_none_is_an_unreachable_server(stranger, monkeypatch, answer, told):
    monkeypatch.setattr(Stranger, "answer", answer)
    address = f"http://127.0.0.1:{stranger.server_port}"
    fleet = Fleet(address, ssl.create_default_context(), ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(FedprivError) as raised:
        fleet.activate(None)
    assert raised.value.code is ErrorCode.SERVER_UNREACHABLE
    assert address in raised.value.message
    assert told in raised.value.message
    assert "\n" not in str(raised.value)
    assert Stranger.paths == ["/v1/fleet/activate-node"]


def test_a_server_that_is_busy_is_asked_again_and_told_as_busy_in_the_end(stranger, monkeypatch):
    monkeypatch.setattr(Stranger, "answer", (503, {"retry-after": "0"}, b""))
    fleet = Fleet(
        f"http://127.0.0.1:{stranger.server_port}",
        ssl.create_default_context(),
        ec.generate_private_key(ec.SECP256R1()),
    )
    with pytest.raises(FedprivError, match="it is busy") as raised:
        fleet.activate(None)
    assert raised.value.code is ErrorCode.SERVER_UNREACHABLE
    assert len(Stranger.paths) > 1
