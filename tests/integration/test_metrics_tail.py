"""The tail over a real bucket: everything is found once, and what that costs in requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from fedpriv_common import keys
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.plan import Phase, RunSettings
from fedpriv_common.store import ObjectStore
from fedpriv_metrics import tail
from fedpriv_metrics.compacted import Skipped
from fedpriv_metrics.tail import SETTLE_S, SLOWEST_S, SWEEP_S, Batch, S3Tail, count_requests
from tests.run_writer import START, Script, encode, new_run_id, run_steps, write_run, write_steps

LIST, GET = "ListObjectsV2", "GetObject"


class Reading:
    """A tail whose clock is moved by the test, and the requests of each poll."""

    def __init__(self, store: ObjectStore) -> None:
        self.now = 1000.0
        self.requests: Counter[str] = Counter()
        self.skipped: list[Skipped] = []
        count_requests(store, lambda operation: self.requests.update([operation]))
        self.tail = S3Tail(store, lambda: self.now)

    def poll(self, later_s: float = 1.0) -> list[Batch]:
        self.now += later_s
        self.requests.clear()
        batches = list(self.tail.poll())
        self.skipped += [skipped for batch in batches for skipped in batch.skipped]
        return batches


@pytest.fixture
def reading(object_store: ObjectStore) -> Iterator[Reading]:
    yield Reading(object_store)


def found(batches: list[Batch]) -> list[str]:
    return [parsed.key for batch in batches for parsed in batch.objects]


def test_an_active_run_costs_one_listing_and_one_get_for_each_new_object(
    reading: Reading, object_store: ObjectStore
) -> None:
    steps = write_steps(object_store, new_run_id())
    assert (next(steps), next(steps)) == ("run", "admissions")
    assert len(found(reading.poll())) == 4
    for step in steps:
        batches = reading.poll()
        if step == "end":
            assert (len(found(batches)), batches[-1].settled) == (1, True)
            break
        assert len(found(batches)) == (4 if step == "round 0" else 5)
        # One more listing looks for new runs.
        assert reading.requests == {LIST: 2, GET: 4 if step == "round 0" else 5}
        assert found(reading.poll()) == []
        assert reading.requests == {LIST: 2}
    assert reading.poll() == []
    assert reading.requests == {LIST: 1}


SHORTER = Script(settings=RunSettings(rounds=6))


@pytest.fixture
def runs_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirteen rounds count as a long run: to write a really long one takes a minute."""
    monkeypatch.setattr(tail, "SHORT", 20)


@pytest.mark.usefixtures("runs_are_long")
def test_an_idle_poll_of_a_long_run_costs_one_listing_and_a_half(reading: Reading, object_store: ObjectStore) -> None:
    run_id = write_run(object_store, upto=6)
    assert len(found(reading.poll())) > tail.SHORT
    started: list[str] = []
    object_store.client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: started.append(params.get("StartAfter", ""))
    )
    listings = []
    for _ in range(6):
        reading.poll()
        listings.append(reading.requests[LIST] - 1)
    assert listings == [1, 2, 1, 2, 1, 2]
    assert f"{keys.run_prefix(run_id)}records/000007" in started


@pytest.mark.usefixtures("runs_are_long")
def test_events_and_the_end_of_a_long_run_are_found_with_the_next_poll_but_one(
    reading: Reading, object_store: ObjectStore
) -> None:
    run_id, written = new_run_id(), 0
    for step in write_steps(object_store, run_id, SHORTER):
        if step in ("round 4", "round 6"):
            written += 1
            assert len(found(reading.poll())) > 0
    batches = [*reading.poll(), *reading.poll(), *reading.poll()]
    assert (written, found(batches), batches[-1].settled) == (2, [keys.run_end(run_id)], True)


def test_a_finished_run_is_read_once_and_never_asked_for_again(reading: Reading, object_store: ObjectStore) -> None:
    write_run(object_store)
    *batches, last = reading.poll()
    assert (len(found(batches)), last.settled) == (74, True)
    # One listing looks for runs, one for segments, and one, of all of it, finds that there are none.
    assert reading.requests == {LIST: 3, GET: 74}
    assert reading.poll(SWEEP_S) == []
    assert reading.requests == {LIST: 1}


def test_a_record_that_comes_after_its_round_closed_is_found(reading: Reading, object_store: ObjectStore) -> None:
    run_id = new_run_id()
    late = keys.record(run_id, 2, "site-2", Phase.TRAIN)
    kept: dict[str, bytes] = {}
    for name, objects in run_steps(run_id):
        for key, body in encode(objects).items():
            if key == late:
                kept[key] = body
            else:
                object_store.put_once(key, body)
        if name == "round 5":
            break
    assert late not in found(reading.poll())
    object_store.put_once(late, kept[late])
    assert found(reading.poll()) == [late]


def unforeseen(run_id: str) -> tuple[str, bytes]:
    """A record of a site that no round's close names."""
    key = keys.record(run_id, 2, "site-9", Phase.TRAIN)
    steps = run_steps(run_id, Script(sites=("site-1", "site-9")))
    return key, next(body for _, objects in steps for name, body in encode(objects).items() if name == key)


@pytest.mark.usefixtures("runs_are_long")
def test_what_the_low_water_mark_cannot_foresee_is_found_by_the_sweep(
    reading: Reading, object_store: ObjectStore
) -> None:
    key, body = unforeseen(write_run(object_store, upto=6))
    reading.poll()
    object_store.put_once(key, body)
    assert found(reading.poll()) == []
    assert found(reading.poll(SWEEP_S)) == [key]


def test_nothing_is_left_behind_when_a_run_ends(reading: Reading, object_store: ObjectStore) -> None:
    run_id = new_run_id()
    for step in write_steps(object_store, run_id):
        if step == "round 12":
            reading.poll()
            key, body = unforeseen(run_id)
            object_store.put_once(key, body)
    batches = reading.poll() + reading.poll()
    assert batches[-1].settled
    assert key in found(batches)


def test_a_run_whose_id_is_older_than_the_newest_is_found_by_the_sweep(
    reading: Reading, object_store: ObjectStore
) -> None:
    write_run(object_store, new_run_id(START.replace(hour=12)))
    reading.poll()
    older = write_run(object_store, new_run_id(START))
    assert reading.poll() == []
    assert {batch.run_id for batch in reading.poll(SWEEP_S)} == {older}


def test_objects_that_are_not_of_the_schema_are_skipped_once_and_counted(
    reading: Reading, object_store: ObjectStore
) -> None:
    run_id = write_run(object_store, upto=3)
    object_store.put_once(keys.record(run_id, 3, "site-9", Phase.TRAIN), b"{not json")
    object_store.put_once(keys.event(run_id, "E1"), b'{"kind": "party"}')
    object_store.put_once(f"{keys.RUNS}not-a-run/run.json", b"{}")
    assert len(found(reading.poll())) == 23
    told = [(skipped.key.removeprefix(keys.run_prefix(run_id)), skipped.why) for skipped in reading.skipped]
    assert sorted(told) == [
        ("events/E1.json", "it has no at; it has no event_id; it has no run_id"),
        ("records/000003/site-9.train.json", "it is not JSON"),
    ]
    reading.poll()
    assert (len(reading.skipped), reading.requests[GET]) == (2, 0)


def test_an_ended_run_that_lacks_a_record_is_waited_for_but_not_for_ever(
    reading: Reading, object_store: ObjectStore
) -> None:
    run_id = new_run_id()
    for _, objects in run_steps(run_id):
        for key, body in encode(objects).items():
            if key != keys.record(run_id, 4, "site-1", Phase.TRAIN):
                object_store.put_once(key, body)
    assert not reading.poll()[-1].settled
    (batch,) = reading.poll(SETTLE_S)
    assert (batch.objects, batch.settled) == ([], True)


def test_a_silent_run_is_asked_less_and_less_often(reading: Reading, object_store: ObjectStore) -> None:
    write_run(object_store, upto=2)
    reading.poll()
    assert reading.tail.active
    for _ in range(30):
        reading.poll(SWEEP_S)
    assert not reading.tail.active
    asked = []
    for _ in range(10):
        reading.poll(SLOWEST_S / 5)
        asked.append(reading.requests[LIST] > 1)
    assert 1 <= sum(asked) <= 3


def test_a_bucket_that_cannot_be_read_is_an_error_and_nothing_is_lost(object_store: ObjectStore) -> None:
    reading = Reading(object_store)
    run_id = write_run(object_store, upto=1)
    broken = iter([True])

    def refuse(**_: object) -> None:
        if next(broken, False):
            raise FedprivError(ErrorCode.STORE_UNAVAILABLE, "The object cannot be got.", "Try again.")

    object_store.client.meta.events.register("before-parameter-build.s3.GetObject", refuse)
    first: list[str] = []
    with pytest.raises(FedprivError, match="STORE_UNAVAILABLE"):
        for batch in reading.tail.poll():
            first += found([batch])
    rest = found(reading.poll())
    assert len(rest) == 1
    assert sorted(first + rest) == sorted(object_store.list_keys(keys.run_prefix(run_id)))


def test_a_run_of_many_rounds_and_sites_is_read_whole(reading: Reading, object_store: ObjectStore) -> None:
    script = Script(settings=RunSettings(sites=8, rounds=40), sites=tuple(f"site-{n}" for n in range(8)))
    write_run(object_store, script=script)
    *batches, last = reading.poll()
    assert (len(found(batches)), last.settled) == (1 + 8 + (8 + 1) + 40 * (8 + 2) + 1, True)
