"""The stock stack: `flower-superlink`, two `flower-supernode`, `flwr run`; TLS and node authentication are on."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from fedpriv_common.contract import load_contract
from fedpriv_common.table import read_csv
from fedpriv_server.provision.pki import provision_hub
from tests.bench.rounds.measure import Process
from tests.emulator import free_port
from tests.integration.node_process import environment
from tests.waiting import until

APP = Path(__file__).parents[1] / "stock_app"
SITES = 2


class Stock:
    """The programs, and what they were told."""

    def __init__(self, folder: Path, tables: Path) -> None:
        """`tables`: folder of the records and of the public validation set, CSV."""
        self._folder, self._home = folder, folder / "home"
        self._home.mkdir(parents=True)
        self._hub = provision_hub(folder / "hub")
        self._port, self._runs = free_port(), 0
        programs = Path(sys.executable).parent
        self._flwr = str(programs / "flwr")
        self._environment = environment({"FLWR_HOME": self._home}) | {
            "FLWR_HOME": str(self._home),
            "FLWR_TELEMETRY_ENABLED": "0",
            # As our sites are started: more threads than cores would only slow these small models down.
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
        }
        self._environment["PATH"] = f"{programs}:{self._environment['PATH']}"
        (self._home / "config.toml").write_text(
            f'[superlink]\ndefault = "hub"\n\n[superlink.hub]\naddress = "127.0.0.1:{self._port}"\n'
            f'root-certificates = "{self._hub.authority}"\n'
        )
        _write_tables(tables, folder)

    @contextmanager
    def running(self) -> Iterator[list[Process]]:
        """SuperLink and SuperNodes, in this order, until the context ends."""
        with ExitStack() as stack:
            link = self._start("flower-superlink", "superlink", self._link_options())
            stack.callback(link.stop)
            until(self._answers, "the stock SuperLink's start")
            processes = [link]
            for number in range(1, SITES + 1):
                private = self._enrol(number)
                node = self._start("flower-supernode", f"supernode-{number}", self._node_options(number, private))
                stack.callback(node.stop)
                processes.append(node)
            yield processes

    def run(self, rounds: int) -> tuple[list[float], list[float]]:
        """Milliseconds of each round of a new run, and of its training alone."""
        self._runs += 1
        out = self._folder / f"run-{self._runs}.json"
        settings = {"num-server-rounds": rounds, "out": f'"{out}"', "validation": f'"{self._folder}/validation.npz"'}
        self._call(
            "run", str(APP), "hub", "--run-config", " ".join(f"{key}={value}" for key, value in settings.items())
        )
        logs = sorted(self._folder.glob("*.log"))

        def ended() -> bool:
            failed = [log for log in logs if "Traceback" in (text := log.read_text()) or "error: " in text]
            assert not failed, f"the stock run failed:\n{failed[0].read_text()[-3000:]}"
            return out.exists()

        until(ended, "the end of the stock run", 60.0 + 60.0 * rounds, tick_s=0.2)
        told = json.loads(out.read_text())
        assert told["accuracies"][-1] > 0.8, f"the stock run learnt nothing: {told['accuracies']}"
        ends = told["evaluated"]
        whole = [1e3 * (end - start) for start, end in itertools.pairwise(ends)]
        training = [1e3 * (end - start) for start, end in zip(ends, told["trained"], strict=False)]
        return whole, training

    def _start(self, program: str, name: str, options: list[str]) -> Process:
        command = [str(Path(sys.executable).parent / program), *options]
        return Process.start(command, self._environment, self._folder / f"{name}.log")

    def _link_options(self) -> list[str]:
        return [
            "--enable-supernode-auth",
            "--disable-runtime-dependency-installation",
            f"--port={self._port}",
            f"--ssl-ca-certfile={self._hub.authority}",
            f"--ssl-certfile={self._hub.certificate}",
            f"--ssl-keyfile={self._hub.certificate_key}",
        ]

    def _node_options(self, number: int, private: Path) -> list[str]:
        return [
            f"--superlink=127.0.0.1:{self._port}",
            f"--root-certificates={self._hub.authority}",
            f"--auth-supernode-private-key={private}",
            f"--port={free_port()}",
            f'--node-config=data="{self._folder}/site-{number}.npz"',
        ]

    def _enrol(self, number: int) -> Path:
        """A key as Flower's documentation has it made (ECDSA, P-384, OpenSSH), registered; the private one."""
        key, private, public = ec.generate_private_key(ec.SECP384R1()), f"node-{number}", f"node-{number}.pub"
        (self._folder / private).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        (self._folder / public).write_bytes(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
        self._call("supernode", "register", str(self._folder / public), "hub")
        return self._folder / private

    def _answers(self) -> bool:
        done = subprocess.run(
            [self._flwr, "supernode", "list", "hub"],
            env=self._environment,
            cwd=self._home,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return done.returncode == 0

    def _call(self, *arguments: str) -> None:
        done = subprocess.run(
            [self._flwr, *arguments],
            env=self._environment,
            cwd=self._home,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def _write_tables(tables: Path, folder: Path) -> None:
    """What our sites have, shared out between two: standardised features and labels."""
    contract = load_contract("breast-cancer-wisconsin")
    for name in ("records", "public-validation"):
        table = read_csv(tables / f"{name}.csv", contract)
        z = contract.standardise(table.features)
        if name == "public-validation":
            np.savez(folder / "validation.npz", x=z, y=table.labels)
            continue
        for number in range(SITES):
            np.savez(folder / f"site-{number + 1}.npz", x=z[number::SITES], y=table.labels[number::SITES])
