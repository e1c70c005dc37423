"""What the bucket holds beside its runs is read once, whatever comes late, and its requests are counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from fedpriv_common import keys
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.records import AllowList
from fedpriv_common.store import ObjectStore
from fedpriv_metrics.artefacts import ABSENT_S, Artefacts
from fedpriv_metrics.registry import SWEEP_S, WITNESS_S, Registry, RegistryReader
from fedpriv_metrics.tail import count_requests
from tests.proven_run import ProvenRun
from tests.statements import RUN, SITES

LISTED = AllowList(at=datetime(2026, 1, 1, tzinfo=UTC), cause="start", sites={"site-1": "a" * 64})


class Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def requests(object_store: ObjectStore) -> Counter[str]:
    counted: Counter[str] = Counter()
    count_requests(object_store, lambda name: counted.update([name]))
    return counted


def put(store: ObjectStore, name: str) -> None:
    store.put_once(keys.allow_list(name), LISTED.model_dump_json().encode())


def test_everything_is_got_once_and_found_whenever_it_comes(object_store: ObjectStore, requests: Counter[str]) -> None:
    clock, registry = Clock(), Registry()
    reader = RegistryReader(object_store, clock)
    put(object_store, "B")
    registry.apply(reader.look(()))
    assert set(registry.allow_lists) == {"B"}
    assert registry.read_at is not None
    first = requests["GetObject"]

    requests.clear()
    registry.apply(reader.look(()))
    assert not requests, "before its time nothing is asked"

    # A server whose clock is behind wrote a name that sorts before what was read.
    put(object_store, "A")
    clock.now += SWEEP_S
    requests.clear()
    registry.apply(reader.look(()))
    assert set(registry.allow_lists) == {"A", "B"}
    assert (requests["ListObjectsV2"], requests["GetObject"], first) == (2, 1, 1)


def test_what_is_not_what_its_name_says_is_skipped_and_told_once(
    object_store: ObjectStore, requests: Counter[str]
) -> None:
    clock, registry = Clock(), Registry()
    reader = RegistryReader(object_store, clock)
    object_store.put_once(keys.allow_list("X"), b"{}")
    object_store.put_once("v1/terms/first.json", b'{"started_at":"2026-01-01T00:00:00Z"}')
    object_store.put_once("v1/witness/odd", b"{}")
    registry.apply(reader.look(()))
    assert set(registry.malformed) == {keys.allow_list("X"), "v1/terms/first.json", "v1/witness/odd"}
    assert not registry.allow_lists

    told, revision = dict(registry.malformed), registry.revision
    clock.now += WITNESS_S
    registry.apply(reader.look(()))
    assert (registry.malformed, registry.revision) == (told, revision)


def test_a_statement_is_read_once_and_asked_for_ever_less_while_it_is_awaited(
    object_store: ObjectStore, requests: Counter[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    clock, registry = Clock(), Registry()
    reader = RegistryReader(object_store, clock)
    for _ in range(100):
        registry.apply(reader.look([RUN]))
        clock.now += 1
    assert requests["GetObject"] <= 8, "after 0, 1, 3, 7 … seconds"

    ProvenRun.make(tmp_path_factory.mktemp("proven")).put(object_store)
    clock.now += 1000
    registry.apply(reader.look([RUN]))
    facts = registry.statements[RUN]
    assert (set(facts.ledgers), facts.unsigned) == (set(SITES), ())
    assert registry.witnesses == len(SITES)


def test_an_object_is_handed_out_from_memory_and_a_missing_one_is_not_asked_for_at_once_again(
    object_store: ObjectStore, requests: Counter[str]
) -> None:
    async def scenario() -> None:
        clock = Clock()
        artefacts = Artefacts(object_store, most_bytes=10, clock=clock)
        assert await asyncio.gather(*(artefacts.get("v1/x") for _ in range(20))) == [None] * 20
        assert requests["GetObject"] == 1
        object_store.put_once("v1/x", b"12345678")
        assert await artefacts.get("v1/x") is None
        clock.now += ABSENT_S
        found = await asyncio.gather(*(artefacts.get("v1/x") for _ in range(20)))
        assert {artefact.body for artefact in found if artefact} == {b"12345678"}
        assert requests["GetObject"] == 2

        # What does not fit beside it takes its place; what never fits is handed out and not kept.
        object_store.put_once("v1/y", b"12345")
        object_store.put_once("v1/z", b"12345678901")
        assert await artefacts.get("v1/y")
        assert await artefacts.get("v1/y")
        assert await artefacts.get("v1/z")
        assert requests["GetObject"] == 4
        assert await artefacts.get("v1/x")
        assert requests["GetObject"] == 5

    # A browser of another test may have a loop of its own in this thread.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, scenario()).result()


def test_a_bucket_that_fails_in_a_look_is_looked_at_again(object_store: ObjectStore) -> None:
    clock, registry = Clock(), Registry()
    reader = RegistryReader(object_store, clock)
    put(object_store, "A")
    away = FedprivError(ErrorCode.STORE_UNAVAILABLE, "away", "wait")
    failing = [True]

    def refuse(**_: object) -> None:
        if failing:
            failing.clear()
            raise away

    object_store.client.meta.events.register("before-parameter-build.s3.GetObject", refuse)
    with pytest.raises(FedprivError):
        reader.look(())
    registry.apply(reader.look(()))
    assert set(registry.allow_lists) == {"A"}
