"""Sites come, go, crash and freeze: a record stays in its partition, and a partition has one writer."""

from __future__ import annotations

from tests.containers.stack import STARTS, Stack, docker
from tests.waiting import until

#: Where each record is, by a digest that says nothing of the record; and what is in each partition.
PLACES = """
import hashlib
from pathlib import Path
from fedpriv_client.data.partition import SiteKey
from fedpriv_client.data.site_data import load_site_data
from fedpriv_common.contract import load_contract
for partition in range(5):
    data = load_site_data(
        Path('/records/records.csv'), load_contract('breast-cancer-wisconsin'),
        SiteKey.read(Path('/site-key/partition.key')), partition=partition, partitions=5, held_out_share=0.1,
    )
    print(partition, *sorted(hashlib.sha256(row.tobytes()).hexdigest()[:16] for row in (*data.z, *data.held_out.z)))
"""


def places(stack: Stack) -> dict[int, set[str]]:
    lines = [line.split() for line in stack.python(stack.sites()[0], PLACES).splitlines()]
    return {int(partition): set(records) for partition, *records in lines}


def logged(stack: Stack, container: str, message: str) -> list[dict[str, object]]:
    return [entry for entry in stack.log(container) if entry["message"] == message]


def genesis(stack: Stack) -> list[str]:
    return stack.must(
        "exec", "-T", "client", "python", "-c",
        "import pathlib; print(*(pathlib.Path(f'/var/lib/fedpriv/markers/{n}.json').read_text() for n in range(5)))",
    ).split()  # fmt: skip


def test_five_sites_use_five_partitions_and_a_sixth_stands_by(stack: Stack) -> None:
    before = places(stack)
    assert sum(len(records) for records in before.values()) == len(set().union(*before.values()))
    stack.up(sites=6)
    settled = stack.settled(6)
    assert sorted(partition for partition in settled.values() if partition is not None) == [0, 1, 2, 3, 4]
    (surplus,) = (name for name, partition in settled.items() if partition is None)
    until(lambda: stack.inspect(surplus)["State"]["Health"]["Status"] == "healthy", "a healthy stand-by")
    assert places(stack) == before
    run_id = stack.run("--name=five", "--sites=5")
    released = {line["run_id"] for partition in range(5) for line in stack.ledger(partition)}
    assert run_id in released
    assert all(any(line["run_id"] == run_id for line in stack.ledger(partition)) for partition in range(5))


def test_a_frozen_site_is_replaced_and_writes_nothing_when_it_wakes_up(stack: Stack) -> None:
    settled = stack.settled(6)
    (surplus,) = (name for name, partition in settled.items() if partition is None)
    frozen, partition = next((name, held) for name, held in settled.items() if held is not None)
    token = logged(stack, frozen, "partition_taken")[-1]["token"]
    docker("pause", frozen)
    try:
        until(lambda: stack.partition(surplus) == partition, "the stand-by has the partition", STARTS)
        until(lambda: logged(stack, surplus, "ready"), "the stand-by is ready", STARTS)
        assert logged(stack, surplus, "partition_taken")[-1]["token"] > token
        stack.run("--name=without-the-frozen", "--sites=5")
        after = stack.ledger(partition)
    finally:
        docker("unpause", frozen)
    until(lambda: stack.inspect(frozen)["RestartCount"] > 0, "the frozen site has ended")
    until(lambda: stack.partition(frozen) is None, "it stands by")
    assert "LEASE_LOST: Partition" in stack.must("logs", "client")
    assert stack.ledger(partition) == after
    assert stack.partition(surplus) == partition


def test_a_killed_site_comes_back_and_its_partition_keeps_its_ledger(stack: Stack) -> None:
    settled, ledgers = stack.settled(6), [stack.ledger(number) for number in range(5)]
    victim, partition = next((name, held) for name, held in settled.items() if held is not None)
    taken = sum(len(logged(stack, name, "partition_taken")) for name in settled)
    stack.kill_inside(victim)
    until(lambda: stack.inspect(victim)["RestartCount"] > 0, "the engine starts it again")
    # Whoever is first takes it over, once the dead one's lease is over.
    until(
        lambda: sum(len(logged(stack, name, "partition_taken")) for name in settled) > taken,
        "the partition is taken over",
        STARTS,
    )
    assert sorted(held for held in map(stack.partition, settled) if held is not None) == [0, 1, 2, 3, 4]
    assert partition in map(stack.partition, settled)
    assert [stack.ledger(number) for number in range(5)] == ledgers


def test_fewer_sites_give_their_partitions_up_at_once_and_train_on(stack: Stack) -> None:
    before, beginnings = places(stack), genesis(stack)
    leaving = set(stack.sites())
    stack.up(sites=2)
    left = stack.settled(2)
    assert len(left) == 2
    assert set(left) < leaving
    assert places(stack) == before
    assert genesis(stack) == beginnings
    stack.run("--name=two", "--sites=2")
    for number in range(5):
        stack.must("exec", "-T", "client", "fedpriv", "ledger", "verify", "--partition", str(number))
