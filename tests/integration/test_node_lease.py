"""Two real processes of one site: the one that was paused past its lease writes and sends nothing when it wakes up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import boto3
import pytest

from fedpriv_client.cli import init_ledger
from fedpriv_client.data.breast_cancer import write_files
from fedpriv_client.privacy.ledger.ledger import Ledger
from fedpriv_client.privacy.ledger.sqlite import SqliteStore
from fedpriv_common.errors import EXIT_STATUS, ErrorCode
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import RunState
from fedpriv_common.store import ObjectStore
from fedpriv_server.provision.leases import provision_leases
from tests.integration.node_process import REAL, SiteProcess, environment, running
from tests.integration.server_harness import SITES, Server
from tests.integration.server_harness import running as server_running
from tests.waiting import until

BUILT_IN = "breast-cancer-wisconsin"
#: Slow enough for a process to be paused in the middle.
SETTINGS = RunSettings(sites=1, min_reply_ms=250, round_deadline_s=60)


@pytest.fixture
def server(tmp_path: Path, object_store: ObjectStore) -> Iterator[Server]:
    with server_running(Server(tmp_path, object_store)) as server:
        yield server


@pytest.fixture
def processes(server: Server, object_store: ObjectStore) -> Iterator[list[SiteProcess]]:
    """Two processes for the one partition; neither is started."""
    folder = server.folder
    table = f"leases-{object_store.bucket}"
    provision_leases(table, object_store.kms_key_id)
    write_files(folder)
    (name, *_) = SITES
    (folder / "nodes").mkdir(exist_ok=True)
    (folder / "nodes" / "0.key").symlink_to(server.node_key(name))
    init_ledger(folder / "0.sqlite", folder / "0.marker", BUILT_IN, folder / "partition.key")
    settings: dict[str, object] = {
        "site": "hospital-{partition}",
        "server": f"127.0.0.1:{server.port}",
        "ca": server.hub.authority,
        "node_key": folder / "nodes" / "{partition}.key",
        "contract": BUILT_IN,
        "data": folder / "records.csv",
        "ledger": folder / "{partition}.sqlite",
        "ledger_marker": folder / "{partition}.marker",
        "site_key": folder / "partition.key",
        "state_dir": folder / "state-{partition}",
        "lease_table": table,
        "lease_seconds": 2,
        "prometheus_port": 0,
    }
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    made = [SiteProcess(environment(settings) | threads, folder / f"{letter}.log", REAL) for letter in "ab"]
    with ExitStack() as stack:
        for process in made:
            stack.callback(process.kill)
        yield made


def test_a_paused_holder_that_wakes_up_writes_nothing_and_ends(server, processes):
    first, second = processes
    first.start().logged("ready")
    second.start().logged("standing_by")
    run_id = server.client.start(SETTINGS)
    until(lambda: server.client.status(run_id).round >= 3, "round 3")
    first.signal(signal.SIGSTOP)
    second.logged("partition_taken")
    first.signal(signal.SIGCONT)
    assert first.wait() == EXIT_STATUS[ErrorCode.LEASE_LOST]
    assert "LEASE_LOST" in first.log
    # The run goes on where it was, with the second process and the site's one ledger.
    (*_, last) = server.client.follow(run_id)
    assert last.state is RunState.FINISHED
    assert all(site.code == "OK" for site in last.sites)
    ledger = Ledger.open(SqliteStore.open(server.folder / "0.sqlite"), server.folder / "0.marker")
    lines = list(ledger.export())
    assert len(lines) == len({(line["round"], line["phase"]) for line in lines}) == last.rounds + 1
    assert {line["state"] for line in lines} == {"committed"}


def test_a_holder_whose_lease_was_forgotten_sends_nothing_once_another_has_claimed_the_ledger(server, processes):
    """The table is lost and made anew: the second process takes the partition while the first one's time still runs."""
    first, second = processes
    for process in processes:
        process.environment["FEDPRIV_LEASE_SECONDS"] = "60"
    with running(first):
        first.logged("ready")
        table = first.environment["FEDPRIV_LEASE_TABLE"]
        dynamodb = boto3.client("dynamodb")
        dynamodb.delete_table(TableName=table)
        provision_leases(table, "alias/any")
        with running(second):
            second.logged("ready")
            run_id = server.client.start(SETTINGS)
            (*_, last) = server.client.follow(run_id)
            assert last.state is RunState.FINISHED
            assert all(site.code == "OK" for site in last.sites)
            assert first.wait() == EXIT_STATUS[ErrorCode.LEASE_LOST]
            token = second.entries("partition_taken")[0]["token"]
            assert token == first.entries("partition_taken")[0]["token"], "the table forgot the token"


def test_a_process_that_stops_gives_its_partition_up_at_once(processes):
    first, second = processes
    with running(first):
        first.logged("partition_taken")
        with running(second):
            second.logged("standing_by")
            assert first.stop() == 0
            assert first.entries("partition_released")
            second.logged("partition_taken")
            assert second.stop() == 0
