"""Two real processes of one site: the one that was paused past its lease writes and sends nothing when it wakes up."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from fedpriv_client.privacy.ledger.ledger import Ledger
from fedpriv_client.privacy.ledger.sqlite import SqliteStore
from fedpriv_common.errors import EXIT_STATUS, ErrorCode
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import RunState
from fedpriv_common.store import ObjectStore
from fedpriv_server.provision.leases import provision_leases
from tests.integration.leased_sites import two_processes
from tests.integration.node_process import SiteProcess, running
from tests.integration.server_harness import Server
from tests.integration.server_harness import running as server_running
from tests.relay import relay
from tests.waiting import until

#: Slow enough for a process to be paused in the middle.
SETTINGS = RunSettings(sites=1, min_reply_ms=250, round_deadline_s=60)


@pytest.fixture
def server(tmp_path: Path, object_store: ObjectStore) -> Iterator[Server]:
    with server_running(Server(tmp_path, object_store)) as server:
        yield server


@pytest.fixture
def processes(server: Server, object_store: ObjectStore) -> Iterator[list[SiteProcess]]:
    """Two processes for the one partition, with its ledger on disk; neither is started."""
    ledger, marker = (str(server.folder / name) for name in ("{partition}.sqlite", "{partition}.marker"))
    with two_processes(server, object_store, ledger, marker) as processes:
        yield processes


def committed(server, round_number):
    ledger = Ledger.open(SqliteStore.open(server.folder / "0.sqlite"), server.folder / "0.marker")
    return any(line["round"] == round_number and line["state"] == "committed" for line in ledger.export())


def test_a_paused_holder_that_wakes_up_with_a_reply_in_its_hand_writes_and_sends_nothing(server, processes):
    first, second = processes
    with relay(server.port) as to_server:
        first.environment["FEDPRIV_SERVER"] = f"127.0.0.1:{to_server.port}"
        first.start().logged("ready")
        second.start().logged("standing_by")
        run_id = server.client.start(SETTINGS)
        # It has committed the round, and waits for the public time of an answer to send it.
        until(lambda: committed(server, 3), "the commit of round 3", tick_s=0.005)
        first.signal(signal.SIGSTOP)
        second.logged("partition_taken")
        sent = to_server.sent
        first.signal(signal.SIGCONT)
        assert first.wait() == EXIT_STATUS[ErrorCode.LEASE_LOST]
        assert to_server.sent == sent > 0
    assert "LEASE_LOST" in first.log
    # The run goes on where it was, with the second process and the site's one ledger.
    (*_, last) = server.client.follow(run_id)
    assert last.state is RunState.FINISHED
    assert all(site.code == "OK" for site in last.sites)
    ledger = Ledger.open(SqliteStore.open(server.folder / "0.sqlite"), server.folder / "0.marker")
    lines = list(ledger.export())
    charged = Counter((line["round"], line["phase"]) for line in lines)
    assert set(charged.values()) == {1}
    assert {(0, "centre"), *((number, "train") for number in range(1, last.rounds + 1))} <= set(charged)
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
