"""Flower's private names as the server uses them: an upgrade of flwr that moves one fails here first."""

from __future__ import annotations

import inspect
import threading
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app.message import make_message, remove_content_from_message
from flwr.app.metadata import Metadata
from flwr.server.superlink.linkstate import LinkState, in_memory_linkstate
from flwr.server.superlink.linkstate.in_memory_linkstate import InMemoryLinkState
from flwr.supercore.corestate import in_memory_corestate
from flwr.supercore.date import now
from flwr.supercore.error.http import http_error_translator
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.object_store import ObjectStore
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES, ProtobufTranslationMiddleware
from flwr.superlink.config_loader import SuperLinkLifespanConfig
from flwr.superlink.main import create_app
from flwr.superlink.routers.fleet.node_auth import NodeAuthMiddleware, authenticate_node
from flwr.superlink.servicer.fleet import fleet_handlers

from fedpriv_server import superlink
from fedpriv_server.superlink import HOT_ROUTES, SuperLink


def parameters(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def test_flwr_is_the_version_that_this_was_written_for() -> None:
    assert version("flwr") == "1.41.0", "read superlink.py against the new version, then change this line"


@pytest.mark.parametrize(
    "function, expected",
    [
        (create_app, ["config", "superlink_lifespan_class"]),
        (authenticate_node, ["request"]),
        (http_error_translator, ["request", "call_next"]),
        (ProtobufTranslationMiddleware._check_request_media_type, ["request"]),
        (ProtobufTranslationMiddleware._parse_request, ["body", "request_type"]),
        (fleet_handlers.activate_node, ["request", "state"]),
        (fleet_handlers.deactivate_node, ["request", "state"]),
        (fleet_handlers.send_node_heartbeat, ["request", "state"]),
        (fleet_handlers.pull_messages, ["request", "state", "store"]),
        (fleet_handlers.push_messages, ["request", "state"]),
        (fleet_handlers.pull_object, ["request", "state"]),
        (fleet_handlers.push_object, ["request", "state"]),
        (fleet_handlers.confirm_message_received, ["request", "state", "store"]),
        (LinkState.create_node, ["owner_aid", "owner_name", "public_key", "heartbeat_interval", "location", "name"]),
        (LinkState.store_message_and_object_tree, ["message", "object_tree", "session_id"]),
        (LinkState.store_object, ["run_id", "session_id", "object_id", "object_content"]),
        (LinkState.start_session, ["run_id"]),
        (LinkState.delete_messages, ["message_ins_ids"]),
        (LinkState.get_message_ins, ["node_id", "limit", "run_id"]),
        (InMemoryLinkState._check_stored_messages, ["message_ids", "run_id"]),
        (LinkState.claim_task, ["task_id"]),
        (LinkState.activate_task, ["task_id"]),
        (LinkState.finish_task, ["task_id", "sub_status", "details"]),
        (LinkState.cleanup_run, ["run_id"]),
        (ObjectStore.get_object_tree, ["object_id"]),
        (ObjectStore.delete, ["object_id"]),
        (make_message, ["metadata", "content", "error"]),
        (remove_content_from_message, ["message"]),
        (
            inflate_object_from_contents,
            ["object_id", "object_contents", "keep_object_contents", "objects"],
        ),
        (
            Metadata.__init__,
            [
                "run_id",
                "message_id",
                "src_node_id",
                "dst_node_id",
                "reply_to_message_id",
                "group_id",
                "created_at",
                "ttl",
                "message_type",
                "src_task_id",
                "dst_task_id",
            ],
        ),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_a_function_takes_what_it_is_given(function: Any, expected: list[str]) -> None:
    assert parameters(function) == expected


def test_the_configuration_has_the_fields_that_are_filled() -> None:
    assert set(SuperLinkLifespanConfig.__dataclass_fields__) == {
        "control_address",
        "health_server_address",
        "host",
        "port",
        "insecure",
        "certificates",
        "superexec_auth_secret",
        "authn_plugin",
        "event_log_plugin",
        "fleet_event_log_plugin",
        "enable_event_log",
        "artifact_provider",
        "enable_supernode_auth",
        "fleet_api_type",
        "fleet_api_address",
        "simulation",
        "ssl_ca_certfile",
        "ssl_certfile",
        "ssl_keyfile",
        "database",
        "isolation",
        "runtime_dependency_install",
    }


def test_hot_routes_are_flowers_and_node_authentication_guards_the_others() -> None:
    assert {("POST", route) for route in HOT_ROUTES} <= set(PROTOBUF_REQUEST_TYPES)
    link = SuperLink({})
    assert link.app.state.enable_supernode_auth is True
    stack: list[object] = [middleware.cls for middleware in link.app.user_middleware]
    assert NodeAuthMiddleware in stack


def test_state_is_in_memory_and_maps_messages_to_replies() -> None:
    state = SuperLink({}).state
    assert isinstance(state, InMemoryLinkState)
    assert state.message_ins_id_to_message_res_id == {}


def test_a_nodes_messages_are_looked_for_while_nobody_else_changes_them() -> None:
    link = SuperLink({})
    state: Any = link.state
    looking = threading.Thread(target=link.state.get_message_ins, args=(1, 1), daemon=True)
    with state.lock:
        looking.start()
        looking.join(0.05)
        assert looking.is_alive(), "an app that was started with `flwr run` stores messages from other threads"
    looking.join(5)
    assert not looking.is_alive()


def test_a_run_outlives_a_machine_that_slept(monkeypatch: pytest.MonkeyPatch) -> None:
    key = public_key_to_bytes(ec.generate_private_key(ec.SECP256R1()).public_key())
    link = SuperLink({"a": key})
    node_id = link.nodes["a"]
    assert link.state.activate_node(node_id, 30)
    run = link.start_run("r")
    later = now() + timedelta(hours=8)
    for module in (in_memory_corestate, in_memory_linkstate, superlink):
        monkeypatch.setattr(module, "now", lambda: later)
    assert link.post(run, node_id, {"round": 1}, 60.0) is not None
    assert link.state.get_message_ins(node_id, 1)
    link.finish_run(run)
    assert link.post(run, node_id, {"round": 2}, 60.0) is None
