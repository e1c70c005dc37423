"""Sites at an unchanged Flower: `flower-superlink`, `flwr supernode register`, `flwr run`, FedAvg as installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from zipfile import is_zipfile

import numpy as np
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedpriv_client.cli import init_ledger
from fedpriv_client.data.breast_cancer import write_files
from fedpriv_client.fleet import read_node_key
from fedpriv_client.privacy.ledger.ledger import Ledger
from fedpriv_client.privacy.ledger.sqlite import SqliteStore
from fedpriv_common.accounting import epsilon
from fedpriv_common.wire import decode_array
from fedpriv_server.provision.pki import Hub, provision_hub, provision_site
from tests.integration.node_process import REAL, ROOT, RUN, SiteProcess, environment, free_port
from tests.waiting import until

APP = Path(__file__).parent / "stock_app"
CONTRACT = "breast-cancer-wisconsin"
SITES = ("site-1", "site-2")


class Flower:
    """Flower's own programs, with a home folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.hub: Hub = provision_hub(folder / "hub")
        self.port = free_port()
        self.log_path = folder / "superlink.log"
        self.home = folder / "home"
        self.home.mkdir()
        connection = f'address = "127.0.0.1:{self.port}"\nroot-certificates = "{self.hub.authority}"\n'
        (self.home / "config.toml").write_text(f'[superlink]\ndefault = "hub"\n\n[superlink.hub]\n{connection}')
        self.environment = environment({}) | {"FLWR_HOME": str(self.home), "FLWR_TELEMETRY_ENABLED": "0"}
        programs = Path(sys.executable).parent
        self.environment["PATH"] = f"{programs}:{self.environment['PATH']}"
        self._programs = programs
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [programs / "flower-superlink", *self._options()], env=self.environment, stdout=log, stderr=log
            )

    def _options(self) -> list[str]:
        hub = self.hub
        return [
            "--enable-supernode-auth",
            "--disable-runtime-dependency-installation",
            f"--port={self.port}",
            f"--ssl-ca-certfile={hub.authority}",
            f"--ssl-certfile={hub.certificate}",
            f"--ssl-keyfile={hub.certificate_key}",
        ]

    def flwr(self, *arguments: str) -> str:
        """Run `flwr`; what it printed."""
        command = [str(self._programs / "flwr"), *arguments]
        done = subprocess.run(
            command, env=self.environment, cwd=self.home, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{self.log_path.read_text()[-3000:]}"
        return done.stdout

    def stop(self) -> None:
        """SIGTERM: it takes its own children with it."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()


@pytest.fixture
def flower(tmp_path: Path) -> Iterator[Flower]:
    flower = Flower(tmp_path)
    yield flower
    flower.stop()


def site_of(
    flower: Flower, folder: Path, name: str, partition: int, trace: Path
) -> tuple[SiteProcess, dict[str, Path]]:
    """A site with half of the table and a new ledger; and its ledger, marker and node key."""
    place = folder / name
    provision_site(flower.hub, name, place / "node.key")
    files = {"ledger": place / "ledger.db", "ledger_marker": place / "marker.json", "node_key": place / "node.key"}
    site_key = folder / "site.key"
    init_ledger(files["ledger"], files["ledger_marker"], CONTRACT, site_key, partition, len(SITES))
    settings: dict[str, object] = {
        **files,
        "site": name,
        "server": f"localhost:{flower.port}",
        "ca": flower.hub.authority,
        "contract": CONTRACT,
        "data": folder / "records.csv",
        "site_key": site_key,
        "partition": partition,
        "partitions": len(SITES),
        "state_dir": place / "state",
        "prometheus_port": 0,
    }
    variables = environment(settings) | {"FEDPRIV_TEST_EXECUTED": str(trace)}
    return SiteProcess(variables, place / "site.log", REAL), files


def test_flowers_own_fedavg_trains_with_sites_that_charge_every_round_and_never_run_its_code(
    flower: Flower, tmp_path: Path
) -> None:
    out, executed = tmp_path / "model.npz", tmp_path / "executed"
    write_files(tmp_path)
    payloads = []
    with ExitStack() as stack:
        sites = [site_of(flower, tmp_path, name, partition, executed) for partition, name in enumerate(SITES)]
        for site, _ in sites:
            stack.callback(site.start().kill)
        for site, files in sites:
            site.logged("NODE_UNKNOWN")
            public = read_node_key(files["node_key"]).public_key()
            public_path = files["node_key"].with_suffix(".pub")
            public_path.write_bytes(public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
            flower.flwr("supernode", "register", str(public_path), "hub")
        for site, _ in sites:
            site.logged("online")
        flower.flwr("run", str(APP), "hub", "--run-config", f'out="{out}"')
        until(lambda: is_zipfile(out), "the ServerApp's end, which writes a whole model,", 120)
    for _, files in sites:
        store = SqliteStore.open(files["ledger"])
        ledger = Ledger.open(store, files["ledger_marker"])
        charges = list(ledger.export())
        assert [(charge["round"], charge["phase"], charge["state"]) for charge in charges] == [
            (number, "train", "committed") for number in (1, 2, 3)
        ]
        with ledger.reading() as history:
            assert history.runs[RUN].closed
            plan = history.runs[RUN].admit.plan
            assert epsilon(history.charged(), plan.delta) == pytest.approx(epsilon(plan.events(), plan.delta))
        assert plan.epsilon * 0.95 < epsilon(plan.events(), plan.delta) <= plan.epsilon
        replies = [store.reply(charge["reply_digest"]) for charge in charges]
        payloads.append([decode_array(reply or b"", plan.model.n_parameters) for reply in replies])
    model = np.load(out)
    expected = model["initial"] + np.mean(payloads, axis=0).sum(axis=0)
    assert np.allclose(model["final"], expected, rtol=1e-12, atol=1e-12)
    assert not np.allclose(model["final"], model["initial"])
    assert not executed.exists()


def test_the_manual_shows_the_app_that_was_run() -> None:
    assert (APP / "stock_app" / "server_app.py").read_text() in (ROOT / "docs" / "how-to-flower.md").read_text()
