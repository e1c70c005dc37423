"""The node at an unchanged Flower: `flower-superlink`, `flwr supernode register`, `flwr run`, a stock ServerApp."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedpriv_client.fleet import read_node_key
from fedpriv_server.provision.pki import Hub, provision_hub, provision_site
from tests.integration.node_process import SiteProcess, environment, expected_payload, free_port
from tests.waiting import until

APP = Path(__file__).parent / "node_stock_app"
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


def test_a_stock_server_app_trains_with_sites_that_never_run_its_code(flower: Flower, tmp_path: Path) -> None:
    out, executed = tmp_path / "answers.json", tmp_path / "executed"
    with ExitStack() as stack:
        for name in SITES:
            folder = tmp_path / name
            provision_site(flower.hub, name, folder / "node.key")
            settings: dict[str, object] = {
                "site": name,
                "server": f"localhost:{flower.port}",
                "ca": flower.hub.authority,
                "node_key": folder / "node.key",
                "contract": "breast-cancer-wisconsin",
                "state_dir": folder / "state",
                **{unused: folder / unused for unused in ("data", "ledger", "ledger_marker", "site_key")},
            }
            trace = {"FEDPRIV_TEST_EXECUTED": str(executed)}
            site = SiteProcess(environment(settings) | trace, folder / "site.log").start()
            stack.callback(site.kill)
            site.logged("NODE_UNKNOWN")
            public = read_node_key(folder / "node.key").public_key()
            (folder / "node.pub").write_bytes(public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
            flower.flwr("supernode", "register", str(folder / "node.pub"), "hub")
            site.logged("online")
        flower.flwr("run", str(APP), "hub", "--run-config", f'out="{out}"')
        until(out.exists, "the ServerApp's end")
    answers = json.loads(until(out.read_text, "the answers"))
    expected = [(number, "OK", expected_payload(number).hex()) for number in (1, 2, 3) for _ in SITES]
    assert [(answer["round"], answer["code"], answer["payload"]) for answer in answers] == expected
    assert not executed.exists()
