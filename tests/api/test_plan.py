"""Plans through a real API process: computed elsewhere, kept, and refused in order when there are too many."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.emulator import Emulator
from tests.integration.metrics_process import Api, running
from tests.run_writer import write_run
from tests.waiting import until


@pytest.fixture(scope="module")
def api(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    store = emulator.store()
    write_run(store)
    with running(Api.over(store, emulator, tmp_path_factory.mktemp("plan") / "log")) as api:
        yield api


def planners(api: Api) -> list[int]:
    """Processes that compute plans for the API."""
    assert api.process is not None
    children = Path(f"/proc/{api.process.pid}/task/{api.process.pid}/children").read_text().split()
    return [int(child) for child in children if b"planner_process" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_a_plan_is_computed_in_a_process_of_its_own_and_kept(api: Api) -> None:
    before = api.resident_mb()
    answer = api.json("/v1/plan?epsilon=2&site=site-2")
    assert answer["fits"]
    assert answer["history"]["site"] == "site-2"
    assert [site["site"] for site in answer["sites"]] == ["site-2", "site-1", "site-3"]
    (process,) = planners(api)
    # The answer that is kept needs no process.
    os.kill(process, signal.SIGSTOP)
    try:
        again = api.get("/v1/plan?epsilon=2&site=site-2")
        assert again.json() == answer
        assert api.get("/v1/plan?epsilon=2&site=site-2", **{"If-None-Match": again.headers["etag"]}).status_code == 304
    finally:
        os.kill(process, signal.SIGCONT)
    assert api.resident_mb() - before < 15


def test_a_planner_that_died_is_started_anew(api: Api) -> None:
    api.json("/v1/plan?epsilon=1.25")
    (process,) = planners(api)
    os.kill(process, signal.SIGKILL)
    until(lambda: planners(api) == [], "the planner's end", 10)
    assert api.json("/v1/plan?epsilon=1.5")["forecast"]["plan"]["epsilon"] == 1.5
    assert planners(api) != [process]


def test_too_many_questions_at_once_are_told_to_come_again(api: Api) -> None:
    api.json("/v1/plan?epsilon=3")
    (process,) = planners(api)
    os.kill(process, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda number: api.get(f"/v1/plan?epsilon=4.{number:02d}"), range(12)))
    finally:
        os.kill(process, signal.SIGCONT)
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.headers["retry-after"] for answer in answers} == {"2", "3"}
    # What was being computed is there for who asks again; nothing was asked twice.
    assert until(lambda: api.get("/v1/plan?epsilon=4.00").status_code == 200, "the plan", 20)


def test_a_plan_that_takes_long_keeps_no_other_waiting(api: Api) -> None:
    api.json("/v1/plan?epsilon=1.1")
    (quick,) = planners(api)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(api.get, "/v1/plan?recipe=fedavg-mlp&epsilons=&rounds=1")
        (sampled,) = until(lambda: [process for process in planners(api) if process != quick], "the other planner", 20)
        os.kill(sampled, signal.SIGSTOP)
        try:
            assert api.get("/v1/plan?epsilon=1.2").status_code == 200
        finally:
            os.kill(sampled, signal.SIGCONT)
        assert slow.result().status_code in (200, 503)


def test_what_cannot_be_planned_is_a_problem_that_says_why(api: Api) -> None:
    for query, status, words in (
        ("contract=wdbc", 404, "only breast-cancer-wisconsin@1"),
        ("site=site-9", 404, "names a site site-9"),
        ("records=1234", 422, "query.records"),
        ("epsilon=0", 422, "query.epsilon"),
        ("epsilons=" + ",".join(["1"] * 25), 422, "query.epsilons"),
        ("unit=patient", 422, "RUN_REFUSED: the unit is the patient"),
        ("strategy=krum&recipe=fedavg-mlp", 422, "krum against 1 malicious sites needs at least 5 replies"),
    ):
        answer = api.get(f"/v1/plan?{query}")
        problem = answer.json()
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), query
        assert words in problem["detail"], query
        assert problem["trace_id"]
