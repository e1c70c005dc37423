"""A MiniStack (S3, KMS, DynamoDB) for tests: a process on a free loopback port that a test may stop and start."""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from fedpriv_common.store import ObjectStore
from fedpriv_server.provision.bucket import provision_storage
from scripts.demo import programs, ready
from scripts.demo.settings import Places, Ports


def free_port() -> int:
    """A loopback port that nothing listened on a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class Emulator:
    """Keeps its objects over `stop` and `start`, as the demo's does: it is the demo's."""

    def __init__(self, folder: Path) -> None:
        ports = Ports(aws=free_port())
        self.folder = folder
        self.endpoint = f"http://127.0.0.1:{ports.aws}"
        #: What makes boto3, here or in a child process, speak to this emulator.
        self.environment = programs.emulated_aws(ports)
        program = programs.emulator(Places(folder), ports)
        self._program = replace(program, environment=program.environment | {"SERVICES": "s3,kms,dynamodb"})
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "emulator.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._program.command, env=self._program.environment, stdout=log, stderr=log
            )
        ready.until(lambda: ready.answers(f"{self.endpoint}/_ministack/health"), "the emulator", deadline=30)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it, as an orderly shutdown does unless `number` says otherwise; without effect when it does not run."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None

    def store(self) -> ObjectStore:
        """A fresh bucket with the product's own rules and a fresh customer key."""
        name = f"test-{secrets.token_hex(6)}"
        with pytest.MonkeyPatch.context() as environment:
            for key, value in self.environment.items():
                environment.setenv(key, value)
            storage = provision_storage(name, f"alias/{name}")
            return ObjectStore.connect(storage.bucket, storage.kms_key)
