"""A stock `flower-supernode` that is on the allow-list: it has no ledger, and runs of ours hold no code for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fedpriv_client.fleet import read_node_key
from fedpriv_common import keys
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import RunState
from fedpriv_common.store import ObjectStore
from tests.emulator import free_port
from tests.integration.server_harness import SITES, LightSite, Server, online, running
from tests.integration.server_run.runs import started
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
