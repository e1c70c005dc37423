"""Five hundred viewers of one run, cut off again and again: each is told everything once, in order."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fedpriv_common.store import ObjectStore
from tests.crowd import Crowd
from tests.emulator import Emulator
from tests.integration.metrics_process import Api, running, until
from tests.run_writer import Script, new_run_id, wall, write_steps

VIEWERS = 500
#: These are cut off after every single event; the others each after every 13th, so that some are cut at any of them.
RESTLESS = 25
LAST_ROUND = 9
#: `run.json` and three admissions are there before anybody looks.
BEFORE = 4
#: Three sites' records, the model's figures and the close of each training round; in round 0 there are no figures.
EVENTS = 4 + 5 * LAST_ROUND + 1


def cut(viewer: int, seen: int) -> bool:
    return viewer < RESTLESS or (seen + viewer) % 13 == 0


@pytest.fixture
def two(object_store: ObjectStore, emulator: Emulator, tmp_path: Path) -> Iterator[tuple[Api, Api]]:
    """Two processes over one bucket that read at other moments."""
    with ExitStack() as stack:
        # All of them come from one address.
        shared = {"STREAMS_PER_VIEWER": "1000", "REQUESTS_PER_SECOND": "0"}
        one = stack.enter_context(running(Api.over(object_store, emulator, tmp_path / "one", **shared)))
        other = stack.enter_context(
            running(Api.over(object_store, emulator, tmp_path / "two", POLL_SECONDS="0.17", **shared))
        )
        yield one, other


def test_every_viewer_of_two_processes_is_told_each_event_once_over_cuts_kills_and_restarts(
    two: tuple[Api, Api], object_store: ObjectStore
) -> None:
    run_id = new_run_id(wall())
    steps = write_steps(object_store, run_id, Script(last_round=LAST_ROUND), clock=wall)
    assert [next(steps), next(steps)] == ["run", "admissions"]
    begun = until(lambda: seq_of_both(two, run_id, BEFORE), "both processes at the admissions")
    path = f"/v1/runs/{run_id}/events"
    with Crowd([api.port for api in two], path, VIEWERS, cut, last_event_id=begun) as crowd:
        for step in steps:
            if step in ("round 3", "round 6"):
                killed = two[0] if step == "round 3" else two[1]
                killed.end(signal.SIGKILL)
                next(steps)  # a round that comes while one process is away
                killed.launch()
        until(lambda: crowd.behind(EVENTS) == 0, f"{EVENTS} events at each of {VIEWERS} viewers", 90)
        told = crowd.viewers[0]
        assert len(set(told.ids)) == EVENTS, "an event came twice"
        assert "reset" not in told.kinds
        assert (told.kinds.count("round_closed"), told.kinds[-1]) == (LAST_ROUND + 1, "run_status")
        assert told.ids[-1] == seq_of_both(two, run_id, BEFORE + EVENTS)
        different = [viewer.number for viewer in crowd.viewers if viewer.ids != told.ids]
        assert not different, "viewers that were told something else, or in another order"
        assert sum(viewer.connections for viewer in crowd.viewers) > RESTLESS * EVENTS + VIEWERS * EVENTS // 13


def seq_of_both(two: tuple[Api, Api], run_id: str, objects: int) -> str | None:
    """The run's state, once both processes have read so many of its objects."""
    answers = [api.get(f"/v1/runs/{run_id}") for api in two]
    states = {str(answer.json().get("seq")) for answer in answers}
    state = states.pop()
    return state if not states and state.startswith(f"{objects}-") else None
