"""A stock SuperLink in a process of its own, with TLS and node authentication, that a test can kill.

The test speaks to it over a pipe: who is online, send this to that site, what did it answer, what was it asked for.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from collections import Counter
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

import uvicorn
from cryptography.hazmat.primitives import serialization
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import (
    NOOP_ACCOUNT_NAME,
    NOOP_FLWR_AID,
    SUPERLINK_NODE_ID,
    TRANSPORT_TYPE_GRPC_RERE,
)
from flwr.server.superlink.linkstate import LinkState
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID, TaskType
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree, iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
from flwr.superlink.config_loader import SuperLinkLifespanConfig
from flwr.superlink.main import create_app

from fedpriv_client.fleet import read_node_key
from fedpriv_server.provision.pki import Hub
from tests.waiting import until

_CONTEXT = multiprocessing.get_context("spawn")
_DEADLINE = 60.0
_PULL = "/v1/fleet/pull-messages"


@dataclass
class SuperLink:
    """The test's end. `hold`: answer a pull only when there is a message, as the fedpriv server does."""

    hub: Hub
    port: int
    hold: bool = False
    _process: BaseProcess | None = None
    _pipe: Connection | None = None

    @property
    def address(self) -> str:
        """What a site is given as FEDPRIV_SERVER."""
        return f"localhost:{self.port}"

    def start(self) -> SuperLink:
        """Start with nothing in memory, and wait until it listens."""
        self._pipe, theirs = _CONTEXT.Pipe()
        arguments = (theirs, str(self.hub.certificate), str(self.hub.certificate_key), self.port, self.hold)
        process = _CONTEXT.Process(target=_serve, args=arguments, daemon=True)
        process.start()
        self._process = process
        assert self._pipe.poll(_DEADLINE), "SuperLink does not start"
        assert self._pipe.recv() == "listening"
        return self

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.join(_DEADLINE)

    def register(self, site: str, node_key: Path) -> None:
        """Put the site on the allow-list."""
        public = read_node_key(node_key).public_key()
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        self._ask("register", site, pem)

    def online(self) -> set[str]:
        """Sites that are online."""
        return cast("set[str]", self._ask("online"))

    def activations(self, site: str) -> str:
        """When the site last went online."""
        return cast(str, self._ask("activations", site))

    def send(self, site: str, records: Any, message_type: str = "train") -> str:
        """Send a record's fields (a dict), or a whole RecordDict, to a site; returns the message id."""
        return cast(str, self._ask("send", site, records, message_type))

    def reply(self, message_id: str, seconds: float = _DEADLINE) -> dict[str, Any]:
        """The fields of the reply, once there is one; of an error of Flower's, its reason."""
        return cast("dict[str, Any]", until(lambda: self._ask("reply", message_id), "the reply", seconds))

    def ask(self, site: str, fields: dict[str, Any], seconds: float = _DEADLINE) -> dict[str, Any]:
        """Send and wait for the reply."""
        return self.reply(self.send(site, fields), seconds)

    def round_trips(self, site: str, fields: dict[str, Any], count: int) -> list[float]:
        """Milliseconds from sending a message to having its whole reply, `count` times, measured at the server."""
        return cast("list[float]", self._ask("round_trips", site, fields, count))

    def finish_run(self) -> None:
        """End the run that messages belong to; the next message begins another."""
        self._ask("finish_run")

    def activation_count(self) -> int:
        """How often any site asked to go online."""
        return cast(int, self._ask("activation_count"))

    def asked_for(self) -> set[str]:
        """Paths of every request that came."""
        return cast("set[str]", self._ask("asked_for"))

    def _ask(self, command: str, *arguments: Any) -> Any:
        assert self._pipe is not None
        self._pipe.send((command, arguments))
        assert self._pipe.poll(_DEADLINE), f"SuperLink does not answer to {command}"
        answer = self._pipe.recv()
        if isinstance(answer, BaseException):
            raise answer
        return answer


@contextmanager
def superlink(hub: Hub, port: int, *, hold: bool = False) -> Iterator[SuperLink]:
    """A SuperLink that is gone afterwards."""
    link = SuperLink(hub, port, hold)
    try:
        yield link.start()
    finally:
        link.kill()


# -- the process -------------------------------------------------------------------------------------------------------


def _serve(pipe: Connection, certificate: str, key: str, port: int, hold: bool) -> None:
    app = create_app(_configuration(port), SuperLinkLifespan)
    gate = _Gate(app, hold)
    settings = uvicorn.Config(
        gate, "127.0.0.1", port, ssl_certfile=certificate, ssl_keyfile=key, log_level="error", access_log=False
    )
    server = uvicorn.Server(settings)
    threading.Thread(target=server.run, daemon=True).start()
    until(lambda: server.started, "listening")
    desk = _Desk(app.state.linkstate_factory.state(), gate)
    threading.Thread(target=desk.beat, daemon=True).start()
    pipe.send("listening")
    while True:
        command, arguments = pipe.recv()
        try:
            pipe.send(getattr(desk, command)(*arguments))
        except Exception as error:  # told to the test
            pipe.send(RuntimeError(f"{command}: {error!r}"))


def _configuration(port: int) -> SuperLinkLifespanConfig:
    return SuperLinkLifespanConfig(
        control_address="",
        health_server_address=None,
        host="127.0.0.1",
        port=port,
        insecure=False,
        certificates=None,
        superexec_auth_secret=None,
        authn_plugin=cast(Any, None),
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


class _Gate:
    """Notes what is asked for and, if wanted, holds back the answer to a pull until there is a message."""

    _HELD_SECONDS = 5.0

    def __init__(self, app: Any, hold: bool) -> None:
        self._app, self._hold = app, hold
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sent = asyncio.Event()
        self.paths: Counter[str] = Counter()

    def message_sent(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._sent.set)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        self.paths[scope.get("path", "")] += 1
        if not self._hold or scope.get("path") != _PULL:
            await self._app(scope, receive, send)
            return
        self._loop = asyncio.get_running_loop()
        request, deadline = await receive(), self._loop.time() + self._HELD_SECONDS
        gone = asyncio.ensure_future(receive())  # a message must not go to a process that was killed
        while True:
            answer: list[Any] = []

            async def again() -> Any:
                return request

            async def keep(event: Any, answer: list[Any] = answer) -> None:
                answer.append(event)

            self._sent.clear()
            await self._app({**scope, "state": {}}, again, keep)
            content = b"".join(event.get("body", b"") for event in answer)
            left = deadline - self._loop.time()
            if content or left <= 0 or gone.done():
                break
            sent = asyncio.ensure_future(self._sent.wait())
            await asyncio.wait({sent, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            sent.cancel()
            if gone.done():
                return
        gone.cancel()
        for event in answer:
            await send(event)


class _Desk:
    """Carries out the test's commands on the SuperLink's state."""

    def __init__(self, state: LinkState, gate: _Gate) -> None:
        self._state, self._gate = state, gate
        self._nodes: dict[str, int] = {}
        self._run: tuple[int, int] | None = None

    def register(self, site: str, pem: bytes) -> None:
        self._nodes[site] = self._state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, pem, 30, name=site)

    def online(self) -> set[str]:
        nodes = self._state.get_node_info(node_ids=list(self._nodes.values()), statuses=["online"])
        return {site for site, node_id in self._nodes.items() if node_id in {node.node_id for node in nodes}}

    def activations(self, site: str) -> str:
        return self._state.get_node_info(node_ids=[self._nodes[site]])[0].last_activated_at

    def activation_count(self) -> int:
        return self._gate.paths["/v1/fleet/activate-node"]

    def asked_for(self) -> set[str]:
        return set(self._gate.paths)

    def send(self, site: str, records: Any, message_type: str) -> str:
        run_id, task_id = self._running()
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = run_id, task_id, SUPERLINK_NODE_ID
        content = records if isinstance(records, RecordDict) else RecordDict({"fedpriv": ConfigRecord(records)})
        message = Message(content, self._nodes[site], message_type)
        message.metadata.__dict__["_message_id"] = message.object_id
        objects = get_all_nested_objects(message)
        session = self._state.start_session(run_id)
        envelope = Message(metadata=message.metadata, content=RecordDict())  # type: ignore[call-overload]
        stored, missing = self._state.store_message_and_object_tree(envelope, get_object_tree(message), session)
        assert stored, "the message is not valid"
        # As in life, the message can be pulled before its content is there.
        for object_id in missing:
            self._state.store_object(run_id, session, object_id, objects[object_id].deflate())
        self._gate.message_sent()
        return message.metadata.message_id

    def reply(self, message_id: str) -> dict[str, Any] | None:
        # Looked up where it is stored, as our server does: Flower's own look-up gives an error in place of the reply of
        # a site that has left since, and a test that asks at the wrong millisecond would get it.
        reply_id = cast(Any, self._state).message_ins_id_to_message_res_id.get(message_id)
        if reply_id is None:
            return None
        tree = self._state.object_store.get_object_tree(reply_id)
        contents = {node.object_id: self._content(node.object_id) for node in iterate_object_tree(tree)}
        message = cast(Message, inflate_object_from_contents(tree.object_id, contents))
        if message.has_error():
            return {"error": message.error.reason}
        assert set(message.content) == {"fedpriv"}
        return dict(message.content["fedpriv"])

    def _content(self, object_id: str) -> bytes:
        return cast(bytes, until(lambda: self._state.object_store.get(object_id), "the reply's content"))

    def round_trips(self, site: str, fields: dict[str, Any], count: int) -> list[float]:
        took, tick = [], threading.Event()
        for _ in range(count):
            began = time.perf_counter()
            message_id = self.send(site, fields, "train")
            while self.reply(message_id) is None:
                tick.wait(0.0005)
            took.append(1000 * (time.perf_counter() - began))
        return took

    def beat(self) -> None:
        """Signs of life of the run, as its ServerApp would send them."""
        tick = threading.Event()
        while not tick.wait(5.0):
            if self._run is not None:
                self._state.acknowledge_task_heartbeat(self._run[1])

    def finish_run(self) -> None:
        assert self._run is not None
        self._state.finish_task(self._run[1], "completed", "")
        self._run = None

    def _running(self) -> tuple[int, int]:
        """A run of an app that the site does not have; its bundle would have to be fetched."""
        if self._run is None:
            run_id = self._state.create_run(
                "mallory/take-over", "6.6.6", "0" * 64, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP
            )
            task_id = self._state.get_run_info(run_ids=[run_id])[0].primary_task_id
            assert task_id is not None
            assert self._state.claim_task(task_id)
            assert self._state.activate_task(task_id)
            self._run = (run_id, task_id)
        return self._run
