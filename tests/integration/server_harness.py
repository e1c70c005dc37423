"""A real server process, and light sites in this one: the real node on the real wire, replies that need no records."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from fedpriv_client.app import SiteApp
from fedpriv_client.clock import ServerClock
from fedpriv_client.fleet import Fleet, read_authority, read_node_key
from fedpriv_client.node import Node
from fedpriv_client.state import StateDir
from fedpriv_common.canonical import digest, sha256_hex
from fedpriv_common.contract import load_contract
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.plan import Phase, Plan
from fedpriv_common.store import ObjectStore
from fedpriv_common.wire import OK, Operation, Reply, Request, SiteFacts, encode_array
from fedpriv_server.operator_client import OperatorClient
from fedpriv_server.provision.pki import Hub, provision_hub, provision_site
from fedpriv_server.status import RunStatus
from tests.emulator import free_port
from tests.waiting import until

CONTRACT = load_contract("breast-cancer-wisconsin")
SITES = ("site-1", "site-2", "site-3")
_SERVER = str(Path(sys.executable).parent / "fedpriv-server")


class LightSite:
    """Answers as a site would, deterministically in what it is asked, and keeps a ledger's seq and head.

    `behave` may answer in its stead, to be hostile or slow; None leaves it to the site.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.behave: Callable[[Request], Reply | None] = lambda _: None
        self.asked: list[Request] = []
        self._entries: list[str] = []
        self._plan: Plan | None = None

    def handle(self, request: Request) -> Reply:
        self.asked.append(request)
        reply = self.behave(request)
        return self.answer(request) if reply is None else reply

    def answer(self, request: Request) -> Reply:
        entry = f"{request.operation}/{request.run_id}/{request.round}/{request.phase}"
        if entry not in self._entries:
            self._entries.append(entry)
        match request.operation:
            case Operation.ADMIT:
                self._plan = Plan.model_validate_json(request.plan)
                return Reply(code=OK, facts=self.facts(request))
            case Operation.RELEASE:
                return Reply(code=OK, payload=self.payload(request), facts=self.facts(request))
            case Operation.CLOSE:
                return Reply(code=OK, facts=self.facts(request))

    def payload(self, request: Request) -> bytes:
        """Noise of a size that an honest site would send, drawn from everything but the run's id.

        Of an evaluation: counts, and from the last site, which holds nothing out, nothing.
        """
        assert self._plan is not None
        if request.phase is Phase.EVALUATE:
            return b"" if self.name == SITES[-1] else encode_array(np.array([50.0, 2.0, -1.0, 30.0]))
        release = self._plan.release(request.phase)
        assert release is not None
        size = self._plan.model.n_features if request.phase is Phase.CENTRE else self._plan.model.n_parameters
        seed = hashlib.sha256(f"{self.name}/{request.round}".encode() + request.parameters + request.centre).digest()
        draw = np.random.default_rng(np.frombuffer(seed, np.uint8)).standard_normal(size)
        scale = release.noise_multiplier * release.max_grad_norm
        if self._plan.local_learning_rate is not None and self._plan.batch_size is not None:
            scale *= self._plan.local_learning_rate / self._plan.batch_size  # what a step of the MLP makes of it
        return encode_array(draw * scale)

    def facts(self, request: Request) -> SiteFacts:
        releases = sum(entry.startswith(f"release/{request.run_id}") for entry in self._entries)
        return SiteFacts(
            dataset=CONTRACT.dataset,
            epsilon_run=0.07 * releases,
            epsilon_spent=0.07 * releases,
            epsilon_planned=1.0,
            epsilon_limit=8.0,
            delta=1e-5,
            policy_digest=digest({"site": self.name}),
            ledger_seq=len(self._entries),
            ledger_head=sha256_hex("|".join(self._entries).encode()),
        )

    def take_over(self, other: LightSite) -> None:
        """Go on with another process's ledger."""
        self._plan, self._entries = other._plan, list(other._entries)

    def releases(self, run_id: str) -> list[tuple[int, str, str]]:
        """Round, phase and digest of every release that was asked for."""
        return [
            (request.round, request.phase.value, request.digest())
            for request in self.asked
            if request.operation is Operation.RELEASE and request.run_id == run_id
        ]


@contextmanager
def online(
    site: LightSite, hub: Hub, key: Path, port: int, state: Path, clock: ServerClock | None = None
) -> Iterator[Node]:
    """The light site, online until the context ends."""
    fleet = Fleet(f"https://127.0.0.1:{port}", read_authority(hub.authority), read_node_key(key), clock)
    folder = StateDir(state)
    node = Node(fleet, SiteApp(site, lambda _: None), folder, lambda _: None)
    thread = threading.Thread(target=node.run, name=site.name, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        node.stop()
        thread.join(20)
        folder.close()


@dataclass
class Server:
    """The test's end of a server process, with a hub folder of its own."""

    folder: Path
    store: ObjectStore
    extra: dict[str, str] = field(default_factory=dict)
    sites: tuple[str, ...] = SITES
    port: int = field(default_factory=free_port)
    prometheus_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.hub = provision_hub(self.folder / "hub")
        for site in self.sites:
            provision_site(self.hub, site, self.node_key(site))

    def node_key(self, site: str) -> Path:
        return self.folder / "keys" / f"{site}.key"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("FEDPRIV_")},
            "FEDPRIV_PORT": str(self.port),
            "FEDPRIV_TLS_CERT": str(self.hub.certificate),
            "FEDPRIV_TLS_KEY": str(self.hub.certificate_key),
            "FEDPRIV_SITES_DIR": str(self.hub.sites),
            "FEDPRIV_OPERATOR_KEY_HASH": str(self.hub.operator_key_hash),
            "FEDPRIV_BUCKET": self.store.bucket,
            "FEDPRIV_KMS_KEY_ID": self.store.kms_key_id,
            "FEDPRIV_STATEMENT_KEY": str(self.hub.statement_key),
            "FEDPRIV_STATE_DIR": str(self.folder / "state"),
            "FEDPRIV_PROMETHEUS_PORT": str(self.prometheus_port),
            **self.extra,
        }

    @property
    def client(self) -> OperatorClient:
        key = self.hub.operator_key.read_text().strip()
        return OperatorClient(f"https://127.0.0.1:{self.port}", key, self.hub.authority)

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def start(self, *, s3_is_away: bool = False) -> Server:
        """Start it, and wait until it knows its runs; with S3 away, until it says that it does not."""
        self.launch()
        until(lambda: self._answers(s3_is_away), "the server's start")
        return self

    def launch(self) -> None:
        """Start it, and wait for nothing: it may be meant to die before it answers."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen([_SERVER], env=self.environment, stdout=log, stderr=log)

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def finish(self, run_id: str, seconds: float = 40.0) -> RunStatus:
        """The status of the run once it has ended."""
        deadline = time.monotonic() + seconds

        def check() -> None:
            assert time.monotonic() < deadline, f"the run did not end\n{self.log[-4000:]}"

        return list(self.client.follow(run_id, check))[-1]

    def _answers(self, s3_is_away: bool) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        try:
            self.client.runs()
        except FedprivError as error:
            return s3_is_away and error.code is ErrorCode.STORE_UNAVAILABLE
        return True


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """The server, started, and gone afterwards."""
    try:
        yield server.start()
    finally:
        server.kill()


@contextmanager
def running_without_s3(folder: Path, extra: dict[str, str] | None = None) -> Iterator[Server]:
    """A server whose bucket is away, for what does not depend on it."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
        environment.setenv("AWS_ACCESS_KEY_ID", "none")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "none")
        environment.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        store = ObjectStore.connect("none-at-all", "arn:aws:kms:eu-central-1:000000000000:key/none")
        server = Server(folder, store, extra or {})
        try:
            yield server.start(s3_is_away=True)
        finally:
            server.kill()


@contextmanager
def three_sites(server: Server) -> Iterator[dict[str, LightSite]]:
    """Three light sites that are online."""
    from contextlib import ExitStack

    sites = {name: LightSite(name) for name in SITES}
    with ExitStack() as stack:
        for name, site in sites.items():
            state = server.folder / "sites" / name
            stack.enter_context(online(site, server.hub, server.node_key(name), server.port, state))
        yield sites
