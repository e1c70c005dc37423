"""The metrics API as a process of its own, and a viewer of its event streams."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from fedpriv_common.store import ObjectStore
from scripts.demo.programs import base_environment
from tests import waiting
from tests.emulator import Emulator, free_port

Value = TypeVar("Value")

#: One for all: making a client takes longer than most answers.
HTTP = httpx.Client(timeout=10)


def until(condition: Callable[[], Value], what: str, seconds: float = 20.0) -> Value:
    """As everywhere; a request that is refused counts as not yet."""

    def answered() -> Value | None:
        with suppress(httpx.TransportError):
            return condition()
        return None

    value = waiting.until(answered, what, seconds)
    assert value is not None
    return value


@dataclass
class Api:
    """One API process over a bucket; it may be ended and started again on the same ports."""

    environment: dict[str, str]
    log: Path
    port: int = field(default_factory=free_port)
    prometheus_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def over(cls, store: ObjectStore, emulator: Emulator, log: Path, **settings: str) -> Api:
        """Not started yet; `settings` are further variables without their prefix."""
        prefixed = {f"FEDPRIV_{name}": value for name, value in settings.items()}
        needed = {"FEDPRIV_BUCKET": store.bucket, "FEDPRIV_POLL_SECONDS": "0.1"}
        return cls(base_environment() | emulator.environment | needed | prefixed, log)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def launch(self) -> None:
        """Start the process."""
        ports = {"FEDPRIV_PORT": str(self.port), "FEDPRIV_PROMETHEUS_PORT": str(self.prometheus_port)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [Path(sys.executable).parent / "fedpriv-metrics"], env=self.environment | ports, stdout=log, stderr=log
            )

    def start(self, seconds: float = 20.0) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        until(lambda: self.get("/readyz").status_code == 200, "readiness", seconds)

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(20)
        self.process = None
        return status

    def get(self, path: str, **headers: str) -> httpx.Response:
        """One request."""
        return HTTP.get(self.url + path, headers=headers)

    def json(self, path: str) -> Any:
        """The body of a good answer."""
        return self.get(path).raise_for_status().json()

    def prometheus(self) -> dict[str, float]:
        """Every figure by its name and labels."""
        text = HTTP.get(f"http://127.0.0.1:{self.prometheus_port}/metrics").text
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in lines}

    def resident_mb(self) -> float:
        """Memory of the process."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


@contextmanager
def running(api: Api, seconds: float = 20.0) -> Iterator[Api]:
    """The API, started, for which it has so many seconds; ended with the test however it ends."""
    try:
        api.start(seconds)
        yield api
    finally:
        if api.process is not None:
            api.end(signal.SIGKILL)


@dataclass
class Event:
    """A server-sent event."""

    kind: str
    id: str
    data: dict[str, Any]


class Viewer:
    """Reads an event stream in a thread, and comes back with the last id when it breaks, as the page does."""

    def __init__(self, api: Api, path: str, last_event_id: str | None = None) -> None:
        self.events: list[Event] = []
        self.connections = 0
        self.comments = 0
        self._api, self._path, self._last = api, path, last_event_id
        self._closed = threading.Event()
        self._response: httpx.Response | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Viewer:
        self._thread.start()
        until(lambda: self.comments, "the stream's first bytes")
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        if self._response is not None:
            # Closing the response from here would wait for the next bytes that the thread is waiting for.
            with suppress(OSError):
                self._response.extensions["network_stream"].get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    def closed_rounds(self) -> list[int]:
        """Numbers of the rounds whose close was told, as they came."""
        return [event.data["round"] for event in self.events if event.kind == "round_closed"]

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._read()
            except (httpx.HTTPError, OSError, RuntimeError):
                self._closed.wait(0.05)

    def _read(self) -> None:
        headers = {} if self._last is None else {"Last-Event-ID": self._last}
        with HTTP.stream("GET", self._api.url + self._path, headers=headers, timeout=30) as response:
            self._response = response
            if response.status_code != 200:
                self._closed.wait(0.05)
                return
            self.connections += 1
            fields: dict[str, str] = {}
            for line in response.iter_lines():
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "data" in fields:
                    self._last = fields["id"]
                    self.events.append(Event(fields["event"], fields["id"], json.loads(fields["data"])))
                    fields = {}
