"""The API's process over a real bucket: what it answers, and what it does when things break."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from fedpriv_common.errors import EXIT_STATUS, ErrorCode
from fedpriv_common.store import ObjectStore
from tests.emulator import Emulator
from tests.integration.metrics_process import HTTP, Api, Viewer, running, until
from tests.run_writer import Script, new_run_id, wall, write_run, write_steps

RESOURCES = (
    "",
    "/metrics/accuracy",
    "/metrics/loss",
    "/metrics/epsilon_run",
    "/metrics/epsilon_spent",
    "/privacy",
    "/log",
)
OBJECTS_PER_RUN = 1 + 3 + 4 + 13 * 5 + 1


@pytest.fixture(scope="module")
def shared(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Api, str, ObjectStore]]:
    """An API, the id of a finished run, and the bucket; for tests that change nothing."""
    store = emulator.store()
    run_id = write_run(store)
    with running(Api.over(store, emulator, tmp_path_factory.mktemp("api") / "log")) as api:
        yield api, run_id, store


@pytest.fixture
def api(object_store: ObjectStore, emulator: Emulator, tmp_path: Path) -> Iterator[Api]:
    with running(Api.over(object_store, emulator, tmp_path / "log")) as api:
        yield api


def test_an_empty_bucket_is_answered_with_nothing(api: Api) -> None:
    assert api.json("/v1/runs") == {"runs": [], "next_cursor": None}
    response = api.get("/metrics")
    assert (response.json(), response.headers["link"]) == ([], '</v1/runs>; rel="successor-version"')
    assert response.headers["deprecation"].startswith("@")


def test_a_run_appears_and_goes_on_round_by_round(api: Api, object_store: ObjectStore) -> None:
    run_id = new_run_id(wall())
    steps = write_steps(object_store, run_id, clock=wall)
    with Viewer(api, "/v1/events") as runs:
        next(steps)
        until(lambda: runs.events, "the run's appearance")
        assert (runs.events[0].kind, runs.events[0].data["run_id"]) == ("run_status", run_id)
        assert api.json("/v1/runs")["runs"][0]["state"] == "active"
        with Viewer(api, f"/v1/runs/{run_id}/events") as viewer:
            for step in steps:
                if step.startswith("round"):
                    number = int(step.split()[1])
                    until(partial(saw, viewer, number), f"the close of round {number}")
                    assert api.json(f"/v1/runs/{run_id}")["round"] == number
            until(lambda: runs.events[1:], "the run's end")
            until(lambda: len(viewer.events) == OBJECTS_PER_RUN - 1, "the last event")
        assert runs.events[1].data["state"] == "finished"
    assert len({event.id for event in viewer.events}) == OBJECTS_PER_RUN - 1
    assert viewer.kinds().count("budget") == 3
    assert viewer.kinds().count("record") == 3 + 13 * 4
    assert viewer.events[-1].id == api.json(f"/v1/runs/{run_id}")["seq"]
    figures = api.prometheus()
    assert figures["fl_records_ingested_total"] == 3 + 13 * 4
    assert not [name for name in figures if run_id in name], "labels of an ended run"


def test_a_viewer_of_a_killed_process_misses_nothing_and_sees_nothing_twice(
    api: Api, object_store: ObjectStore
) -> None:
    run_id = new_run_id(wall())
    steps = write_steps(object_store, run_id, clock=wall)
    next(steps)
    until(lambda: api.get(f"/v1/runs/{run_id}").status_code == 200, "the run")
    with Viewer(api, f"/v1/runs/{run_id}/events") as viewer:
        for step in steps:
            if step in ("round 3", "round 8"):
                until(partial(saw, viewer, int(step.split()[1])), step)
                api.end(signal.SIGKILL)
                next(steps)  # a round that nobody saw
                api.launch()
        until(lambda: "run_status" in viewer.kinds(), "the end")
    assert viewer.connections >= 3
    assert "reset" not in viewer.kinds()
    ids = [event.id for event in viewer.events]
    assert len(ids) == len(set(ids)) == OBJECTS_PER_RUN - 1
    assert viewer.closed_rounds() == list(range(14))


def test_two_processes_answer_alike_and_a_viewer_may_change_between_them(
    object_store: ObjectStore, emulator: Emulator, tmp_path: Path
) -> None:
    run_id = new_run_id()
    steps = write_steps(object_store, run_id, Script(last_round=6))
    for step in steps:
        if step == "round 2":
            break
    with (
        running(Api.over(object_store, emulator, tmp_path / "one")) as one,
        Viewer(one, f"/v1/runs/{run_id}/events") as viewer,
        # The second reads at other moments, and finds half of the run at once.
        running(Api.over(object_store, emulator, tmp_path / "two", POLL_SECONDS="0.37")) as two,
    ):
        assert list(steps)[-1] == "end"
        paths = ["/v1/runs", "/metrics", *(f"/v1/runs/{run_id}{resource}" for resource in RESOURCES)]
        for each in (one, two):
            until(partial(finished, each, run_id), "the end")
        for path in paths:
            first, second = one.get(path), two.get(path)
            assert (first.content, first.headers["etag"]) == (second.content, second.headers["etag"])
        until(lambda: "run_status" in viewer.kinds(), "the end")
        seen = viewer.events
        with Viewer(two, f"/v1/runs/{run_id}/events", last_event_id=seen[4].id) as changed:
            until(lambda: len(changed.events) == len(seen) - 5, "the replay")
        assert changed.events == seen[5:]


def test_a_bucket_that_is_away_makes_data_stale_and_nothing_else(tmp_path: Path) -> None:
    emulator = Emulator(tmp_path)
    emulator.start()
    try:
        store = emulator.store()
        run_id = new_run_id(wall())
        steps = write_steps(store, run_id, clock=wall)
        assert [next(steps) for _ in range(4)][-1] == "round 1"
        with (
            running(Api.over(store, emulator, tmp_path / "log")) as api,
            Viewer(api, f"/v1/runs/{run_id}/events") as viewer,
        ):
            before = api.get(f"/v1/runs/{run_id}")
            emulator.stop()
            stale = until(lambda: unready(api), "staleness")
            assert stale["status"] == "stale" and "STORE_UNAVAILABLE" in stale["detail"] and stale["read_at"]
            assert api.get(f"/v1/runs/{run_id}").content == before.content
            assert api.get("/healthz").status_code == 200
            emulator.start()
            until(lambda: api.get("/readyz").status_code == 200, "readiness")
            assert list(steps)[-1] == "end"
            until(lambda: "run_status" in viewer.kinds(), "the end")
            assert viewer.closed_rounds() == [*range(2, 14)]
            assert (viewer.connections, viewer.kinds().count("reset")) == (1, 0)
    finally:
        emulator.stop()


def test_a_process_that_starts_before_its_bucket_serves_and_says_that_it_is_not_ready(tmp_path: Path) -> None:
    emulator = Emulator(tmp_path)
    emulator.start()
    try:
        store = emulator.store()
        run_id = write_run(store)
        emulator.stop()
        api = Api.over(store, emulator, tmp_path / "log")
        api.launch()
        try:
            loading = until(lambda: unready(api), "an answer")
            assert loading["status"] == "loading"
            assert api.get("/healthz").status_code == 200
            refused = api.get(f"/v1/runs/{run_id}")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            emulator.start()
            until(lambda: api.get("/readyz").status_code == 200, "readiness")
            assert api.json(f"/v1/runs/{run_id}")["state"] == "finished"
        finally:
            assert api.end() == 0
    finally:
        emulator.stop()


def saw(viewer: Viewer, number: int) -> bool:
    return number in viewer.closed_rounds()


def finished(api: Api, run_id: str) -> bool:
    return bool(api.json(f"/v1/runs/{run_id}")["state"] == "finished")


def unready(api: Api) -> dict[str, str]:
    """What the API says while it is not ready; empty while it is."""
    response = api.get("/readyz")
    return dict(response.json()) if response.status_code == 503 else {}


@pytest.mark.parametrize("resource", RESOURCES)
def test_an_answer_that_the_caller_holds_is_not_sent_again(shared: tuple[Api, str, ObjectStore], resource: str) -> None:
    api, run_id, _ = shared
    first = api.get(f"/v1/runs/{run_id}{resource}")
    assert first.status_code == 200
    again = api.get(f"/v1/runs/{run_id}{resource}", **{"If-None-Match": f'"other", {first.headers["etag"]}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/runs/00000000000000000000000000", 404),
        ("/v1/runs/{run}/metrics/recall", 404),
        ("/v1/runs/{run}/metrics/loss?site=site-9", 404),
        ("/v1/runs/00000000000000000000000000/events", 404),
        ("/metrics?run_id=00000000000000000000000000", 404),
        ("/nothing", 404),
        ("/docs", 404),
        ("/v1/runs/not-a-run", 422),
        ("/v1/runs?limit=201", 422),
        ("/v1/runs?state=unknown", 422),
        ("/v1/runs?cursor=x", 422),
        ("/v1/runs/{run}/metrics/loss?points=5001", 422),
        ("/v1/runs/{run}/metrics/loss?min_round=-1", 422),
        ("/v1/runs/{run}/log?limit=0", 422),
    ],
)
def test_what_cannot_be_answered_is_a_problem_with_a_trace_id(
    shared: tuple[Api, str, ObjectStore], path: str, status: int
) -> None:
    api, run_id, _ = shared
    response = api.get(path.format(run=run_id))
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status and problem["detail"]
    assert problem["trace_id"] == response.headers["x-trace-id"]
    # The line is written once the answer is.
    until(lambda: f'"trace_id": "{problem["trace_id"]}"' in api.log.read_text(), "the line in the log")


def test_nothing_can_be_written_and_no_body_is_read(shared: tuple[Api, str, ObjectStore]) -> None:
    api, *_ = shared
    assert HTTP.post(f"{api.url}/v1/runs", json={}).status_code == 405
    assert HTTP.request("GET", f"{api.url}/v1/runs", content=b"x" * 1_000_001).status_code == 413


def test_pages_of_other_origins_may_not_read_unless_they_are_listed(
    shared: tuple[Api, str, ObjectStore], emulator: Emulator, tmp_path: Path
) -> None:
    api, _, store = shared
    origin = {"Origin": "https://dashboard.example"}
    assert "access-control-allow-origin" not in api.get("/v1/runs", **origin).headers
    with running(Api.over(store, emulator, tmp_path / "log", CORS_ORIGINS="https://dashboard.example")) as open_api:
        assert open_api.get("/v1/runs", **origin).headers["access-control-allow-origin"] == origin["Origin"]
        other = open_api.get("/v1/runs", Origin="https://other.example")
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("unknown", ["1-0000000000000000", "yesterday"])
def test_a_viewer_with_an_unknown_id_is_reset(shared: tuple[Api, str, ObjectStore], unknown: str) -> None:
    api, run_id, _ = shared
    with Viewer(api, f"/v1/runs/{run_id}/events", last_event_id=unknown) as viewer:
        until(lambda: viewer.events, "the reset")
        assert (viewer.kinds(), viewer.events[0].id) == (["reset"], api.json(f"/v1/runs/{run_id}")["seq"])


def test_streams_are_marked_as_streams(shared: tuple[Api, str, ObjectStore]) -> None:
    api, run_id, _ = shared
    with HTTP.stream("GET", f"{api.url}/v1/runs/{run_id}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert (response.headers["cache-control"], response.headers["x-accel-buffering"]) == ("no-store", "no")
        until(lambda: api.prometheus()["fl_sse_connections"] >= 1, "the count")
    until(lambda: api.prometheus()["fl_sse_connections"] == 0, "the viewer's leaving")


def test_a_process_with_viewers_ends_at_once_and_well(api: Api, object_store: ObjectStore) -> None:
    run_id = write_run(object_store, upto=2)
    until(lambda: api.get(f"/v1/runs/{run_id}").status_code == 200, "the run")
    with Viewer(api, f"/v1/runs/{run_id}/events"), Viewer(api, "/v1/events"):
        assert api.end() == 0
    assert "Cancel" not in api.log.read_text()


@pytest.mark.parametrize("variable", ["PORT", "PROMETHEUS_PORT"])
def test_a_port_in_use_is_said_in_one_line(
    shared: tuple[Api, str, ObjectStore], emulator: Emulator, tmp_path: Path, variable: str
) -> None:
    _, _, store = shared
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        api = Api.over(store, emulator, tmp_path / "log")
        setattr(api, variable.lower(), taken)
        api.launch()
        assert api.process is not None
        assert api.process.wait(20) == EXIT_STATUS[ErrorCode.PORT_IN_USE]
    lines = [line for line in api.log.read_text().splitlines() if not line.startswith("{")]
    assert len(lines) == 1
    assert lines[0].startswith(f"PORT_IN_USE: FEDPRIV_{variable}: 127.0.0.1:{taken} ")


def test_memory_stays_within_its_line(shared: tuple[Api, str, ObjectStore]) -> None:
    api, run_id, _ = shared
    for resource in RESOURCES:
        api.json(f"/v1/runs/{run_id}{resource}")
    assert api.resident_mb() <= 120


def test_the_ledger_and_the_sites_are_answered_over_all_runs(shared: tuple[Api, str, ObjectStore]) -> None:
    api, run_id, _ = shared
    privacy = {site["site"]: site for site in api.json(f"/v1/runs/{run_id}/privacy")["sites"]}
    page = api.json("/v1/privacy/ledger?limit=2")
    accounts = page["accounts"] + api.json(f"/v1/privacy/ledger?cursor={page['next_cursor']}")["accounts"]
    assert {account["site"]: account["epsilon_spent"] for account in accounts} == {
        name: site["epsilon_spent"][-1] for name, site in privacy.items()
    }
    charges = api.json("/v1/privacy/ledger/charges?site=site-2")["charges"]
    assert [(charge["run_id"], charge["rounds"]) for charge in charges] == [(run_id, 14)]
    assert [site["site"] for site in api.json("/v1/sites")["sites"]] == sorted(privacy)
    assert api.json("/v1/sites/site-2")["accounts"] == accounts[1:2]
    assert api.get("/v1/sites/site-9").status_code == 404
    for path in ("/v1/privacy/ledger", "/v1/privacy/ledger/charges", "/v1/sites", "/v1/sites/site-1"):
        etag = api.get(path).headers["etag"]
        assert api.get(path, **{"If-None-Match": etag}).status_code == 304
    for wrong in ("?limit=0", "?limit=201", "?cursor=x", "?site=UP", "?points=1"):
        assert api.get(f"/v1/privacy/ledger{wrong}").status_code == 422
