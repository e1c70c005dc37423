"""Partition leases on a real table: one holder at a time, whatever clocks, crashes and lost answers do."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from fedpriv_client import lease as lease_module
from fedpriv_client.lease import Lease, LeaseTable
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_server.provision.bucket import provision_storage
from fedpriv_server.provision.leases import provision_leases

SECONDS = 15.0


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lease_module, "clock", clock)
    return clock


@pytest.fixture(scope="module")
def kms_key(emulator) -> str:
    with pytest.MonkeyPatch.context() as environment:
        for key, value in emulator.environment.items():
            environment.setenv(key, value)
        return provision_storage("leases-need-a-key", "alias/leases").kms_key


@pytest.fixture
def table(aws_endpoint, kms_key) -> str:
    name = f"leases-{secrets.token_hex(4)}"
    provision_leases(name, kms_key)
    return name


def process(table: str, partitions: int = 3) -> LeaseTable:
    """What a new process sees of the table."""
    return LeaseTable(table, "data@1", partitions, SECONDS)


def code_of(action) -> ErrorCode | None:
    try:
        action()
    except FedprivError as error:
        return error.code
    return None


def test_each_process_takes_another_partition_and_a_surplus_one_stands_by(table):
    taken = [process(table).try_take() for _ in range(4)]
    assert [lease and lease.partition for lease in taken] == [0, 1, 2, None]


def test_of_many_that_take_at_once_each_partition_goes_to_one(table):
    processes = [process(table) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        taken = [lease.partition for lease in pool.map(LeaseTable.try_take, processes) if lease]
    assert sorted(taken) == [0, 1, 2]


def test_what_is_released_is_free_at_once_and_the_next_token_is_higher(table, clock):
    first = process(table, 1).try_take()
    first.release()
    second = process(table, 1).try_take()
    assert (second.partition, second.token) == (0, first.token + 1)
    first.release()  # again, and late: it is not the holder's any more
    assert process(table, 1).try_take() is None
    second.require()


def test_a_silent_holder_is_waited_for_as_long_as_its_lease_and_has_stopped_counting_on_it_before(table, clock):
    held = process(table, 1).try_take()
    waiting = process(table, 1)
    clock.now += SECONDS - 1
    assert waiting.try_take() is None  # seen for the first time: whatever was before may have been a renewal
    clock.now += 1
    assert code_of(held.require) is ErrorCode.LEASE_LOST
    assert waiting.try_take() is None
    clock.now += SECONDS - 1
    taken = waiting.try_take()
    assert (taken.partition, taken.token) == (0, held.token + 1)
    held.renew()
    assert code_of(held.require) is ErrorCode.LEASE_LOST
    taken.require()


def test_a_holder_that_renews_keeps_its_partition_also_when_an_answer_was_lost(table, clock):
    held, waiting = process(table, 1).try_take(), process(table, 1)
    for _ in range(5):
        clock.now += SECONDS - 1
        held.renew()
        held.renew()  # as a retry whose first attempt did arrive
        assert waiting.try_take() is None
        held.require()


def test_how_long_a_holder_is_waited_for_is_for_its_own_row_to_say(table, clock):
    LeaseTable(table, "data@1", 1, 3 * SECONDS).try_take()
    waiting = process(table, 1)
    waiting.try_take()
    clock.now += 2 * SECONDS
    assert waiting.try_take() is None
    clock.now += SECONDS
    assert waiting.try_take() is not None


def test_a_process_says_that_it_stands_by_before_it_waits(table):
    held, said = process(table, 1).try_take(), []

    def stand_by() -> None:
        said.append("standing by")
        held.release()

    process(table, 1).wait(stand_by)
    assert said == ["standing by"]


def test_a_table_that_is_away_ends_a_lease_only_when_its_time_is_over(table, clock):
    held = process(table, 1).try_take()
    boto3.client("dynamodb").delete_table(TableName=table)
    assert code_of(held.renew) is ErrorCode.STORE_UNAVAILABLE
    held.require()
    clock.now += SECONDS
    assert code_of(held.require) is ErrorCode.LEASE_LOST
    assert code_of(process(table, 1).try_take) is ErrorCode.STORE_UNAVAILABLE


def test_a_token_is_raised_above_one_that_the_table_forgot(table):
    held = process(table, 1).try_take()
    held.raise_above(41)
    assert held.token == 42
    held.renew()
    held.require()
    held.release()
    assert process(table, 1).try_take().token == 43


def test_a_lost_lease_raises_no_token(table, clock):
    held, waiting = process(table, 1).try_take(), process(table, 1)
    waiting.try_take()
    clock.now += SECONDS
    assert waiting.try_take() is not None
    assert code_of(lambda: held.raise_above(7)) is ErrorCode.LEASE_LOST


def test_provisioning_keeps_a_table_and_refuses_one_that_is_something_else(table, kms_key):
    held = process(table).try_take()
    provision_leases(table, kms_key)
    assert process(table).try_take().partition != held.partition
    other = f"other-{secrets.token_hex(4)}"
    boto3.client("dynamodb").create_table(
        TableName=other,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(FedprivError, match="no lease table"):
        provision_leases(other, kms_key)


def test_never_two_processes_count_on_one_partition(table, monkeypatch):
    """Any order of takes, renewals, releases and crashes, with clocks that are set differently."""

    class Hospital(RuleBasedStateMachine):
        PARTITIONS, PROCESSES = 2, 3

        def __init__(self) -> None:
            super().__init__()
            self.dataset = secrets.token_hex(6)
            self.time = 0.0
            self.tables: list[LeaseTable] = [self.start(number) for number in range(self.PROCESSES)]
            self.leases: list[Lease | None] = [None] * self.PROCESSES

        def start(self, _: int) -> LeaseTable:
            return LeaseTable(table, self.dataset, self.PARTITIONS, SECONDS)

        def on(self, number: int):
            """Let the clock be that of the process."""
            monkeypatch.setattr(lease_module, "clock", lambda: self.time + 1e6 * number)

        @rule(seconds=st.floats(0, SECONDS))
        def pass_time(self, seconds: float) -> None:
            self.time += seconds

        @rule(number=st.integers(0, 2))
        def look(self, number: int) -> None:
            self.on(number)
            if self.leases[number] is None:
                self.leases[number] = self.tables[number].try_take()

        @rule(number=st.integers(0, 2))
        def renew(self, number: int) -> None:
            self.on(number)
            if self.leases[number] is not None:
                self.leases[number].renew()

        @rule(number=st.integers(0, 2))
        def release(self, number: int) -> None:
            self.on(number)
            if self.leases[number] is not None:
                self.leases[number].release()
                self.leases[number] = None

        @rule(number=st.integers(0, 2))
        def crash(self, number: int) -> None:
            self.tables[number], self.leases[number] = self.start(number), None

        @invariant()
        def one_holder_each(self) -> None:
            held = []
            for number, lease in enumerate(self.leases):
                self.on(number)
                if lease is not None and code_of(lease.require) is None:
                    held.append(lease.partition)
            assert len(held) == len(set(held))

    few = settings(max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Hospital, settings=few)
