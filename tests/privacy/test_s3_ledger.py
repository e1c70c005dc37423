"""Real processes of a site without a disk: its ledger is in S3, and what holds on disk holds there."""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections import Counter
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from fedpriv_client.privacy.ledger.ledger import Ledger
from fedpriv_client.privacy.ledger.location import parse_location
from fedpriv_client.privacy.ledger.opening import open_ledger
from fedpriv_common.accounting import epsilon
from fedpriv_common.errors import EXIT_STATUS, ErrorCode, Refusal, RefusalError
from fedpriv_common.plan import RunSettings
from fedpriv_common.records import RunState
from fedpriv_common.store import ObjectStore
from tests.integration.leased_sites import two_processes
from tests.integration.node_process import SiteProcess
from tests.integration.server_harness import Server
from tests.integration.server_harness import running as server_running
from tests.unit.client.ledgers import DELTA, PLAN, InS3, admit, race
from tests.waiting import until

#: Slow enough for a process to be paused or killed in the middle.
SETTINGS = RunSettings(sites=1, min_reply_ms=250, round_deadline_s=60)


@pytest.fixture
def server(tmp_path: Path, object_store: ObjectStore) -> Iterator[Server]:
    with server_running(Server(tmp_path, object_store)) as server:
        yield server


@pytest.fixture
def place(ledger_bucket: ObjectStore) -> tuple[str, str]:
    """URLs of a ledger and its marker."""
    fresh = InS3.fresh(ledger_bucket).prefix.removesuffix("/0")
    ledger = f"s3://{ledger_bucket.bucket}/{fresh}/{{partition}}"
    return ledger, ledger.replace("ledgers/", "markers/")


@pytest.fixture
def processes(
    server: Server, object_store: ObjectStore, ledger_bucket: ObjectStore, place: tuple[str, str]
) -> Iterator[list[SiteProcess]]:
    """Two processes for the one partition; neither is started."""
    with two_processes(server, object_store, *place, kms_key=ledger_bucket.kms_key_id) as processes:
        yield processes


def lines_of(place: tuple[str, str]) -> list[dict[str, Any]]:
    ledger = open_ledger(*(parse_location(url.replace("{partition}", "0")) for url in place))
    return [json.loads(json.dumps(line)) for line in ledger.export()]


@pytest.mark.parametrize("fate", [signal.SIGSTOP, signal.SIGKILL], ids=["paused", "killed"])
def test_a_run_goes_on_in_another_process_and_each_round_is_charged_once(server, processes, place, fate):
    first, second = processes
    first.start().logged("ready")
    second.start().logged("standing_by")
    run_id = server.client.start(SETTINGS)
    until(lambda: server.client.status(run_id).round >= 3, "round 3")
    first.signal(fate)
    second.logged("partition_taken")
    if fate is signal.SIGSTOP:
        first.signal(signal.SIGCONT)
        assert first.wait() == EXIT_STATUS[ErrorCode.LEASE_LOST]
        assert "LEASE_LOST" in first.log
    (*_, last) = server.client.follow(run_id)
    assert last.state is RunState.FINISHED
    assert all(site.code == "OK" for site in last.sites)
    lines = lines_of(place)
    charged = Counter((line["round"], line["phase"]) for line in lines)
    assert set(charged.values()) == {1}
    assert {(number, "train") for number in range(1, last.rounds + 1)} < set(charged)
    assert {line["state"] for line in lines} == {"committed"}


def _admit_until_refused(place: InS3, limit: float, barrier: Barrier, name: str) -> None:
    """Ends well once the budget is exhausted; being overtaken too often is no end."""
    ledger: Ledger = place.open()
    barrier.wait(60)
    for number in range(100):
        try:
            admit(ledger, f"{name}-{number}", PLAN, limit)
        except RefusalError as refused:
            if refused.refusal is Refusal.BUDGET_EXHAUSTED:
                return
    raise AssertionError("the budget never ended")


def test_eight_processes_near_the_limit_never_go_over_it(ledger_bucket, aws_endpoint):
    """No claims and no lease: only the order of the log stands between them and the budget."""
    place, limit = InS3.fresh(ledger_bucket), 3.0
    place.begin()
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(8)
    racers = [
        context.Process(target=_admit_until_refused, args=(place, limit, barrier, f"process-{each}"))
        for each in range(8)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(120)
        assert racer.exitcode == 0
    with place.open().reading() as history:
        total = epsilon(history.held(), DELTA)
        assert total <= limit < epsilon([*history.held(), *PLAN.events()], DELTA)


def test_of_two_processes_on_one_ledger_only_one_answers_each_round(ledger_bucket, aws_endpoint):
    race(InS3.fresh(ledger_bucket))
