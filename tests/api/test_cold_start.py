"""API processes over a real bucket: one followed a run, one reads its segments, one reads its objects."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fedpriv_common import keys
from fedpriv_common.plan import Phase, RunSettings
from fedpriv_common.store import ObjectStore
from fedpriv_server.archive import Archive
from fedpriv_server.compaction import Compactor
from fedpriv_server.outbox import Outbox
from fedpriv_server.term import Term
from fedpriv_server.writer import Writer
from tests.emulator import Emulator
from tests.integration.metrics_process import Api, Viewer, running
from tests.run_writer import Script, new_run_id, write_run, write_steps
from tests.waiting import until

SCRIPT = Script(
    settings=RunSettings(sites=3, quorum=2, rounds=55),
    sites=("site-1", "site-2", "site-3"),
    absent={9: frozenset({"site-2"}), 10: frozenset({"site-2"})},
)


def compact(store: ObjectStore, folder: Path) -> None:
    """What a server does at its start for runs that have ended."""
    outbox = Outbox(folder)
    writer = Writer(outbox, store, lambda _: None, Term(store))
    compactor = Compactor(Archive(store, outbox), store)
    writer.start()
    compactor.start()
    until(lambda: all(final(store, run) for run in store.list_folders(keys.RUNS)), "the segments")
    compactor.stop()
    writer.stop(5.0)


def final(store: ObjectStore, run_id: str) -> bool:
    newest = max(store.list_keys(keys.manifest_prefix(run_id)), default=None)
    return newest is not None and b'"final":true' in (store.get(newest) or b"")


@pytest.fixture
def processes(object_store: ObjectStore, emulator: Emulator, tmp_path: Path) -> Iterator[list[Api]]:
    """Two processes over one bucket; the second is not started."""
    apis = [Api.over(object_store, emulator, tmp_path / f"api-{number}.log") for number in range(2)]
    with ExitStack() as stack:
        stack.enter_context(running(apis[0]))
        yield apis
        if apis[1].process is not None:
            apis[1].end(signal.SIGKILL)


def answers(api: Api, run_id: str) -> list[Any]:
    paths = ("", "/metrics/accuracy", "/metrics/epsilon_spent?site=site-2", "/privacy", "/log")
    found = [api.get(f"/v1/runs/{run_id}{path}") for path in paths]
    return [(answer.headers["ETag"], answer.json()) for answer in found]


def test_answers_and_events_are_the_same_from_segments_from_objects_and_where_a_segment_is_damaged(
    processes: list[Api], object_store: ObjectStore, tmp_path: Path
) -> None:
    following, cold = processes
    run_id = new_run_id()
    with Viewer(following, "/v1/events"):
        for step in write_steps(object_store, run_id, SCRIPT):
            if step == "round 20":
                until(lambda: following.get(f"/v1/runs/{run_id}").status_code == 200, "the run")
    until(lambda: following.json(f"/v1/runs/{run_id}")["state"] == "finished", "the end")
    cold.start()
    from_objects = answers(cold, run_id)
    with Viewer(cold, f"/v1/runs/{run_id}/events", last_event_id="0-0000000000000000") as viewer:
        until(lambda: len(viewer.events) > 0, "what the process still holds")
        told_from_objects = [event.id for event in viewer.events]
    cold.end(signal.SIGKILL)

    compact(object_store, tmp_path / "outbox")
    cold.start()
    assert answers(cold, run_id) == from_objects
    assert [answer[0] for answer in answers(following, run_id)] == [answer[0] for answer in from_objects]
    with Viewer(cold, f"/v1/runs/{run_id}/events", last_event_id="0-0000000000000000") as viewer:
        until(lambda: len(viewer.events) >= len(told_from_objects), "the same events")
        assert [event.id for event in viewer.events] == told_from_objects
    # One listing finds runs and one the run's manifests; the manifest and two segments are got.
    figures = cold.prometheus()
    assert figures['fl_s3_requests_total{op="GetObject"}'] == 3
    cold.end(signal.SIGKILL)

    # Past the product's own rules, as a fault of the storage would.
    damaged = next(object_store.list_keys(f"{keys.run_prefix(run_id)}segments/"))
    object_store.client.delete_bucket_policy(Bucket=object_store.bucket)
    object_store.client.put_object(Bucket=object_store.bucket, Key=damaged, Body=b"\0" * 1000)
    cold.start()
    skipped = cold.json(f"/v1/runs/{run_id}")["skipped"]
    why = "its bytes are not those that the manifest names"
    assert skipped == {"count": 1, "first": [{"key": damaged.removeprefix(keys.run_prefix(run_id)), "reason": why}]}
    assert answers(cold, run_id)[1:] == from_objects[1:]


def test_what_cannot_be_read_is_told_alike_from_segments_and_from_objects(
    processes: list[Api], object_store: ObjectStore, tmp_path: Path
) -> None:
    _, cold = processes
    run_id = new_run_id()
    object_store.put_once(keys.record(run_id, 2, "site-9", Phase.TRAIN), b"{no object")
    object_store.put_once(keys.event(run_id, "E1"), b'{"kind": "a secret"}')
    write_run(object_store, run_id)
    cold.start()
    skipped = cold.json(f"/v1/runs/{run_id}")["skipped"]
    assert skipped["count"] == 2
    assert [entry["key"] for entry in skipped["first"]] == ["events/E1.json", "records/000002/site-9.train.json"]
    assert "secret" not in str(skipped)
    assert cold.prometheus()["fl_objects_malformed_total"] == 2
    cold.end(signal.SIGKILL)
    compact(object_store, tmp_path / "outbox")
    cold.start()
    assert cold.json(f"/v1/runs/{run_id}")["skipped"] == skipped
