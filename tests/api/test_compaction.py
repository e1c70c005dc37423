"""A real server compacts its runs, and does so once, whenever it is killed."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from fedpriv_common import keys
from fedpriv_common.aws import connect
from fedpriv_common.objects import kind_of
from fedpriv_common.plan import RunSettings
from fedpriv_common.segments import Manifest, check_segment, decode_segment
from fedpriv_common.store import ObjectStore
from tests.emulator import Emulator
from tests.faulty_s3 import faulty_s3
from tests.integration.metrics_process import Api
from tests.integration.metrics_process import running as running_api
from tests.integration.server_harness import Server, running, three_sites
from tests.waiting import until


def final_manifest(store: ObjectStore, run_id: str) -> Manifest | None:
    newest = max(store.list_keys(keys.manifest_prefix(run_id)), default=None)
    manifest = Manifest.model_validate_json(store.get(newest) or b"") if newest else None
    return manifest if manifest and manifest.final else None


def compacted(store: ObjectStore, manifest: Manifest) -> dict[str, bytes]:
    """Every object of the segments; no key is in them twice."""
    found: list[tuple[str, bytes]] = []
    for segment in manifest.segments:
        data = store.get(segment.key) or b""
        check_segment(segment, data)
        found += decode_segment(segment, data)
    assert len(dict(found)) == len(found)
    return dict(found)


def loose(store: ObjectStore, run_id: str) -> dict[str, bytes]:
    listed = store.list_keys(keys.run_prefix(run_id))
    return {key: store.get(key) or b"" for key in listed if kind_of(key, run_id)}


def test_a_run_is_in_its_segments_as_it_was_written(tmp_path: Path, object_store: ObjectStore) -> None:
    server = Server(tmp_path, object_store)
    with running(server), three_sites(server):
        run_id = server.client.start(RunSettings(rounds=60))
        server.finish(run_id)
        manifest = until(lambda: final_manifest(object_store, run_id), "the last segment")
    assert compacted(object_store, manifest) == loose(object_store, run_id)
    assert [segment.first_round for segment in manifest.segments] == [0, 50]


def test_server_and_api_that_are_killed_in_the_middle_of_a_compaction_go_on_at_their_next_start(
    tmp_path: Path,
    object_store: ObjectStore,
    emulator: Emulator,
    aws_endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = Api.over(object_store, emulator, tmp_path / "api.log")
    with faulty_s3(aws_endpoint) as s3, running_api(api):
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
        server = Server(tmp_path, replace(object_store, client=connect("s3")))

        def kill() -> None:
            """The segment is there, and nothing names it."""
            server.kill()
            if api.process is not None:
                api.end(signal.SIGKILL)

        s3.before("PUT", "/manifests/", kill)
        with running(server), three_sites(server):
            run_id = server.client.start(RunSettings(rounds=5))
            until(lambda: server.process is not None and server.process.poll() is not None, "the kill")
            api.start()
            between = api.json(f"/v1/runs/{run_id}")
            s3.before("PUT", "/manifests/", kill)
            server.launch()
            until(lambda: server.process is not None and server.process.poll() is not None, "the second kill")
            server.start()
            manifest = until(lambda: final_manifest(object_store, run_id), "the last segment")
        api.start()
        after = api.json(f"/v1/runs/{run_id}")
    objects = loose(object_store, run_id)
    assert compacted(object_store, manifest) == objects
    assert len(list(object_store.list_keys(f"{keys.run_prefix(run_id)}segments/"))) == 1
    assert after == between
    assert after["seq"].partition("-")[0] == str(len(objects))
    assert (after["state"], after["skipped"]["count"]) == ("finished", 0)
