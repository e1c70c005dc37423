"""A site's process, light or real, that a test can stop, kill and read the log of.

Run as a program, this is the light one: the real node on the real wire, with a handler that needs no records. What
the handler does is asked for by the request's round.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedpriv_client.app import SiteApp
from fedpriv_client.fleet import Fleet, read_authority, read_node_key
from fedpriv_client.main import quiet_libraries
from fedpriv_client.node import Node
from fedpriv_client.settings import SiteSettings
from fedpriv_client.state import StateDir
from fedpriv_common.errors import FedprivError
from fedpriv_common.log import configure_logging
from fedpriv_common.settings import load_settings
from fedpriv_common.wire import OK, Operation, Reply, Request
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
LIGHT = (sys.executable, "-m", "tests.integration.node_process")
REAL = (str(Path(sys.executable).parent / "fedpriv-site"),)

#: Rounds for which the light handler does something else than answer.
FAILS, WORKS_LONG = 13, 99
SECRET = "record 4711 has a mean radius of 17.99"
RUN = "01J9ZZZZZZZZZZZZZZZZZZZZZZ"


def request(round_number: int = 1, **changes: Any) -> dict[str, Any]:
    """Fields of a request for a release."""
    return {**Request(operation=Operation.RELEASE, run_id=RUN, round=round_number).to_fields(), **changes}


def expected_payload(round_number: int) -> bytes:
    """What the light handler answers."""
    return hashlib.sha256(b"%d" % round_number).digest()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class SiteProcess:
    """The test's end of a site's process."""

    environment: dict[str, str]
    log_path: Path
    command: tuple[str, ...] = LIGHT
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> SiteProcess:
        """Start it; its log goes on where an earlier start of it ended."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, env=self.environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
            )
        return self

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self, seconds: float = 60.0) -> int:
        """The exit status, once it has ended."""
        assert self._process is not None
        return self._process.wait(seconds)

    @property
    def log(self) -> str:
        """Everything it wrote."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    def entries(self, message: str) -> list[dict[str, Any]]:
        """Log entries whose message begins so."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["message"].startswith(message)]

    def logged(self, message: str, count: int = 1) -> None:
        """Wait until it has logged the message so often."""
        until(lambda: len(self.entries(message)) >= count, f"{count} × {message!r} in the log")


def environment(settings: dict[str, object]) -> dict[str, str]:
    """This process's environment with the settings, and nothing else that is set for a site."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("FEDPRIV_")}
    direct = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost,0.0.0.0")
    return {**kept, **direct, **{f"FEDPRIV_{name.upper()}": str(value) for name, value in settings.items()}}


@contextmanager
def running(process: SiteProcess) -> Iterator[SiteProcess]:
    """The process, started, and gone afterwards."""
    try:
        yield process.start()
    finally:
        process.kill()


class LightHandler:
    """Answers with a hash of the round number."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def handle(self, request: Request) -> Reply:
        """Answer, fail or work until the test allows it to end."""
        if request.round == FAILS:
            raise ValueError(SECRET)
        if request.round == WORKS_LONG:
            (self._folder / "working").touch()
            until((self._folder / "finish").exists, "the end of the work")
        return Reply(code=OK, payload=expected_payload(request.round))


def main() -> None:
    """The light site."""
    settings = load_settings(SiteSettings)
    configure_logging(settings.log_level)
    quiet_libraries()
    try:
        state = StateDir(settings.state_dir)
        fleet = Fleet(settings.server, read_authority(settings.ca), read_node_key(settings.node_key))
        app = SiteApp(LightHandler(settings.state_dir), lambda _: None)
        node = Node(fleet, app, state, lambda _: None)
        signal.signal(signal.SIGTERM, lambda *_: node.stop())
        node.run()
    except FedprivError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
