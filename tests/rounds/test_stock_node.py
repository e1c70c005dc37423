"""A stock `flower-supernode` that is on the allow-list: it has no ledger, and runs of ours hold no code for it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict

from fedpriv_client.app import SiteApp
from fedpriv_client.fleet import Fleet, read_authority, read_node_key
from fedpriv_client.node import Node
from fedpriv_client.state import StateDir
from fedpriv_common import keys
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import EventKind, RunState
from fedpriv_common.store import ObjectStore
from fedpriv_common.wire import Reply
from tests.emulator import free_port
from tests.integration.server_harness import SITES, LightSite, Server, online, running
from tests.integration.server_run.runs import events, started
from tests.waiting import until

STOCK = SITES[-1]


@contextmanager
def supernode(server: Server, folder: Path) -> Iterator[Path]:
    """Flower's own program with a key of the allow-list, gone afterwards; its log."""
    key = folder / "openssh.key"  # the form in which Flower reads it
    private = read_node_key(server.node_key(STOCK))
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    program, log = Path(sys.executable).parent / "flower-supernode", folder / "supernode.log"
    command = [
        str(program),
        f"--superlink=127.0.0.1:{server.port}",
        f"--root-certificates={server.hub.authority}",
        f"--auth-supernode-private-key={key}",
        f"--port={free_port()}",
    ]
    path = f"{program.parent}:{os.environ['PATH']}"  # it starts others of Flower's programs by name
    home = {"FLWR_HOME": str(folder / "flwr"), "FLWR_TELEMETRY_ENABLED": "0", "PATH": path}
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=os.environ | home, stdout=output, stderr=output)
    try:
        yield log
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def test_a_stock_node_gets_no_code_answers_nothing_and_holds_nobody_up(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    settings = RunSettings(rounds=2, quorum=2, evaluations=0, admission_deadline_s=8, round_deadline_s=20)
    server = Server(tmp_path, object_store)
    with running(server), ExitStack() as stack:
        for name in SITES[:-1]:
            node = online(LightSite(name), server.hub, server.node_key(name), server.port, tmp_path / "sites" / name)
            stack.enter_context(node)
        log = stack.enter_context(supernode(server, tmp_path))
        until(lambda: server.log.count('"site_online"') >= len(SITES), "every site online", 40)
        run_id = started(server, settings)
        status = server.finish(run_id, 60)
        assert status.state is RunState.FINISHED, server.log[-3000:]
        assert "Found no FAB" in server.log, "it asked for code"
        assert "Receiving: train message" in log.read_text(), "it was asked"
    admitted = {site for site in SITES if object_store.get(keys.admission(run_id, site)) is not None}
    assert admitted == set(SITES) - {STOCK}


class BareApp(SiteApp):
    """Answers as an app for a stock FedAvg does: arrays and how many examples, and nothing of ours."""

    def _send(self, _reply: Reply, message: Message) -> Message:
        content = {"arrays": ArrayRecord([np.zeros(31)]), "metrics": MetricRecord({"num-examples": 100})}
        return Message(RecordDict({**content}), reply_to=message)


def test_bare_arrays_are_dropped_and_recorded_and_the_others_finish(object_store: ObjectStore, tmp_path: Path) -> None:
    settings = RunSettings(rounds=2, quorum=2, evaluations=0, admission_deadline_s=20, round_deadline_s=20)
    server = Server(tmp_path, object_store)
    with running(server), ExitStack() as stack:
        for name in SITES[:-1]:
            node = online(LightSite(name), server.hub, server.node_key(name), server.port, tmp_path / "sites" / name)
            stack.enter_context(node)
        fleet = Fleet(
            f"https://127.0.0.1:{server.port}",
            read_authority(server.hub.authority),
            read_node_key(server.node_key(STOCK)),
        )
        state = StateDir(tmp_path / "bare")
        stack.callback(state.close)
        bare = Node(fleet, BareApp(LightSite(STOCK), lambda _: None), state, lambda _: None)
        thread = threading.Thread(target=bare.run, daemon=True)
        thread.start()
        stack.callback(thread.join, 20)
        stack.callback(bare.stop)
        until(lambda: server.log.count('"site_online"') >= len(SITES), "every site online", 40)
        run_id = started(server, settings)
        status = server.finish(run_id, 60)
        assert status.state is RunState.FINISHED, server.log[-3000:]
        server.stop()
    assert STOCK in {event.site for event in events(object_store, run_id) if event.kind is EventKind.BAD_REPLY}
    assert object_store.get(keys.admission(run_id, STOCK)) is None
