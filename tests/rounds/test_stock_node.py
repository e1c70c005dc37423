"""Nodes on the allow-list that have no ledger: a stock `flower-supernode`, and one whose app answers bare arrays."""

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

OURS, BARE, STOCK = SITES


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


class BareApp(SiteApp):
    """Answers as an app for a stock FedAvg does: arrays and how many examples, and nothing of ours."""

    def _send(self, _reply: Reply, message: Message, _content: RecordDict | None = None) -> Message:
        content = {"arrays": ArrayRecord([np.zeros(31)]), "metrics": MetricRecord({"num-examples": 100})}
        return Message(RecordDict({**content}), reply_to=message)


@contextmanager
def bare_node(server: Server, folder: Path) -> Iterator[None]:
    """Our node's connection with such an app behind it, while the block runs."""
    authority, key = read_authority(server.hub.authority), read_node_key(server.node_key(BARE))
    state = StateDir(folder / "bare")
    fleet = Fleet(f"https://127.0.0.1:{server.port}", authority, key)
    node = Node(fleet, BareApp(LightSite(BARE), lambda _: None), state, lambda _: None)
    thread = threading.Thread(target=node.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        node.stop()
        thread.join(20)
        state.close()


def test_nodes_without_a_ledger_get_no_code_take_no_part_are_recorded_and_hold_nobody_up(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    # Nobody would wait as long as the admission's deadline for the run to finish.
    settings = RunSettings(rounds=2, quorum=1, evaluations=0, admission_deadline_s=600, round_deadline_s=20)
    server = Server(tmp_path, object_store)
    with running(server), ExitStack() as stack:
        stack.enter_context(
            online(LightSite(OURS), server.hub, server.node_key(OURS), server.port, tmp_path / "sites" / OURS)
        )
        stack.enter_context(bare_node(server, tmp_path))
        log = stack.enter_context(supernode(server, tmp_path))
        until(lambda: server.log.count('"site_online"') >= len(SITES), "every site online", 40)
        run_id = started(server, settings)
        status = server.finish(run_id, 60)
        assert status.state is RunState.FINISHED, server.log[-3000:]
        assert "Found no FAB" in server.log, "it asked for code"
        assert "Receiving: train message" in log.read_text(), "it was asked"
        assert [site.site for site in status.sites if site.stock] == [STOCK]
        server.stop()
    told = [(event.kind, event.site) for event in events(object_store, run_id)]
    assert told.count((EventKind.STOCK_NODE, STOCK)) == 1
    assert told.count((EventKind.BAD_REPLY, BARE)) >= 1
    admitted = {site for site in SITES if object_store.get(keys.admission(run_id, site)) is not None}
    assert admitted == {OURS}
