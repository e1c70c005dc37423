"""Three real sites, the real server, a real S3: a run goes on through the death of a site and of the server."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fedpriv_client.cli import init_ledger
from fedpriv_client.data.breast_cancer import write_files
from fedpriv_client.privacy.ledger.ledger import Ledger
from fedpriv_client.privacy.ledger.sqlite import SqliteStore
from fedpriv_common import keys
from fedpriv_common.accounting import GaussianEvent, epsilon
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import RunState
from fedpriv_common.statement.sign import holds, read_public_key
from fedpriv_common.statement.verify import parse
from fedpriv_common.store import ObjectStore
from tests.integration.node_process import REAL, SiteProcess, environment
from tests.integration.server_harness import SITES, Server
from tests.integration.server_harness import running as server_running
from tests.integration.site_that_dies import AFTER_COMMIT, BEFORE_COMMIT, ROUND
from tests.waiting import until

BUILT_IN = "breast-cancer-wisconsin"
#: Slow enough for a process to die in the middle.
SETTINGS = RunSettings(min_reply_ms=250, round_deadline_s=60)


class Hospital:
    """One site, provisioned."""

    def __init__(self, server: Server, name: str, number: int) -> None:
        folder = server.folder / name
        folder.mkdir()
        self.ledger, self.marker = folder / "ledger.sqlite", folder / "marker.json"
        key = server.folder / "partition.key"
        init_ledger(self.ledger, self.marker, BUILT_IN, key, number, len(SITES))
        settings: dict[str, object] = {
            "site": name,
            "server": f"127.0.0.1:{server.port}",
            "ca": server.hub.authority,
            "node_key": server.node_key(name),
            "contract": BUILT_IN,
            "data": server.folder / "records.csv",
            "ledger": self.ledger,
            "ledger_marker": self.marker,
            "site_key": key,
            "partition": number,
            "partitions": len(SITES),
            "state_dir": folder / "state",
            "prometheus_port": 0,
        }
        threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self.process = SiteProcess(environment(settings) | threads, folder / "site.log", REAL)

    def releases(self) -> list[dict[str, object]]:
        ledger = Ledger.open(SqliteStore.open(self.ledger), self.marker)
        return [json.loads(json.dumps(line)) for line in ledger.export()]


@pytest.fixture
def server(tmp_path: Path, object_store: ObjectStore) -> Iterator[Server]:
    write_files(tmp_path)
    with server_running(Server(tmp_path, object_store)) as server:
        yield server


@pytest.fixture
def hospitals(server: Server) -> Iterator[dict[str, Hospital]]:
    """Three sites that are ready to train."""
    hospitals = {name: Hospital(server, name, number) for number, name in enumerate(SITES)}
    with ExitStack() as stack:
        for hospital in hospitals.values():
            stack.callback(hospital.process.kill)
            hospital.process.start()
        for hospital in hospitals.values():
            hospital.process.logged("ready")
        yield hospitals


def test_a_run_survives_a_killed_site_and_a_killed_server(server: Server, hospitals: dict[str, Hospital]) -> None:
    run_id = server.client.start(SETTINGS)
    victim = hospitals["site-2"]
    until(lambda: server.client.status(run_id).round >= 3, "round 3")
    victim.process.kill()
    victim.process.start()
    until(lambda: server.client.status(run_id).round >= 7, "round 7")
    server.kill()
    server.start()
    until(lambda: run_id in {run.run_id for run in server.client.runs()}, "the run resumed")
    status = server.finish(run_id, seconds=60)
    assert status.state is RunState.FINISHED, server.log[-3000:]

    require_paid_once(hospitals, run_id)
    require_signed(server, hospitals, run_id)
    for hospital in hospitals.values():
        assert "Traceback" not in hospital.process.log
        assert hospital.process.stop() == 0


@pytest.mark.parametrize(("dies_at", "left"), [(BEFORE_COMMIT, "reserved"), (AFTER_COMMIT, "committed")])
def test_a_site_that_dies_around_its_commit_neither_pays_twice_nor_sends_twice(
    server: Server, hospitals: dict[str, Hospital], dies_at: str, left: str
) -> None:
    victim = hospitals["site-2"]
    assert victim.process.stop() == 0
    victim.process.environment["DIES_AT"] = dies_at
    victim.process.command = (sys.executable, "-m", "tests.integration.site_that_dies")
    victim.process.start()
    victim.process.logged("ready", 2)
    run_id = server.client.start(SETTINGS)
    assert victim.process.wait() == -signal.SIGKILL

    at_death = victim.releases()
    assert [(release["round"], release["state"]) for release in at_death[-1:]] == [(ROUND, left)]
    victim.process.command = REAL
    victim.process.start()
    assert server.finish(run_id, seconds=60).state is RunState.FINISHED, server.log[-3000:]

    require_paid_once(hospitals, run_id)
    if left == "committed":  # what was committed before the death is what was sent after it
        assert victim.releases()[ROUND]["reply_digest"] == at_death[-1]["reply_digest"]


def require_signed(server: Server, hospitals: dict[str, Hospital], run_id: str) -> None:
    """Fail unless hub and sites signed the statement, and each site what its ledger has of the run."""
    signed = parse(server.store.get(keys.statement(run_id)) or b"")
    assert holds(signed.statement, signed.signature, read_public_key(server.hub.statement_public_key))
    assert [section.site for section in signed.statement.sections] == list(SITES)
    for section in signed.statement.sections:
        assert section.signed is not None
        part = section.signed.part
        assert holds(part, section.signed.signature, read_public_key(server.hub.sites / f"{section.site}.pem"))
        told = [(entry.round, entry.state, entry.reply_digest) for entry in part.entries]
        written = hospitals[section.site].releases()
        assert told == [(entry["round"], entry["state"], entry["reply_digest"]) for entry in written]


def require_paid_once(hospitals: dict[str, Hospital], run_id: str) -> None:
    """Fail unless each site charged and committed every release of the run exactly once, within its epsilon."""
    for hospital in hospitals.values():
        releases = hospital.releases()
        # One centring and thirteen training rounds, each charged once and each sent, and the last model's evaluation
        # on held-out records: nothing doubled, nothing unpaid.
        assert [release["round"] for release in releases] == [*range(14), 13]
        assert {release["state"] for release in releases} == {"committed"}
        assert {release["run_id"] for release in releases} == {run_id}
        events = [
            GaussianEvent(release["noise_multiplier"], release["sample_rate"], release["steps"])  # type: ignore[arg-type]
            for release in releases[:14]
        ]
        assert 0.97 <= epsilon(events, 1e-5) <= 1.0
