"""A run that goes on: how soon what is in the bucket is at one viewer and at five hundred, for how many requests."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fedpriv_common.plan import RunSettings
from fedpriv_common.store import ObjectStore
from tests.bench.rounds.measure import memory_mb, p90
from tests.crowd import Crowd
from tests.integration.metrics_process import Api
from tests.run_writer import Script, new_run_id, wall, write_steps
from tests.waiting import until

SETTINGS = RunSettings(name="live", sites=3, rounds=400, evaluations=0)
VIEWERS = 500
#: Three sites' records, the model's figures, and the close.
EVENTS_PER_ROUND = 5


@dataclass
class Live:
    """A run that is written round by round while an API follows it."""

    api: Api
    run_id: str
    steps: Iterator[str]
    #: Events after the admissions so far, and when the last object of each round was in the bucket.
    events: int = 0
    written: list[float] = field(default_factory=list)

    @property
    def path(self) -> str:
        return f"/v1/runs/{self.run_id}/events"

    def seq(self) -> str:
        """The run's state, as the API has it."""
        return str(self.api.json(f"/v1/runs/{self.run_id}")["seq"])

    def round(self) -> float:
        """Write one round; when it was written, on the clock of the crowd's loop."""
        step = next(self.steps)
        assert step.startswith("round"), step
        self.events += EVENTS_PER_ROUND
        self.written.append(time.monotonic())
        return self.written[-1]


@contextmanager
def going_on(api: Api, store: ObjectStore) -> Iterator[Live]:
    """A run after its centring round, which the API has seen; it ends with the context."""
    run_id = new_run_id(wall())
    steps = write_steps(store, run_id, Script(settings=SETTINGS, last_round=SETTINGS.rounds), clock=wall)
    assert [next(steps) for _ in range(3)][-1] == "round 0"
    live = Live(api, run_id, steps)
    until(lambda: api.get(f"/v1/runs/{run_id}").status_code == 200 and live.seq().startswith("8-"), "the live run")
    yield live


@dataclass(frozen=True)
class Delay:
    """Milliseconds from a round's last object in the bucket to its close at the only viewer."""

    rounds: int
    median_ms: float
    p90_ms: float
    largest_ms: float


def delay(live: Live, rounds: int) -> Delay:
    """How soon one viewer is told."""
    told: list[float] = []
    with Crowd([live.api.port], live.path, 1, last_event_id=live.seq()) as crowd:
        viewer = crowd.viewers[0]
        for number in range(rounds):
            written = live.round()
            count = EVENTS_PER_ROUND * (number + 1)
            until(lambda count=count: len(viewer.ids) >= count, f"round {number + 1}", tick_s=0.005)  # type: ignore[misc]
            told.append(1000 * (viewer.times[-1] - written))
            # Where the next one falls between two readings is left to chance.
            time.sleep(0.37 * (number % 5) / 5)
    return Delay(rounds, statistics.median(told), p90(told), max(told))


@dataclass(frozen=True)
class Many:
    """Five hundred viewers. `last_*`: milliseconds from an event's arrival at the first of them to that at the last.
    `cpu_ms`: of the API for each round and viewer. `wrong`: viewers that were told anything but each event once, in
    order, in the part with cuts at every event."""

    viewers: int
    rounds: int
    opened_s: float
    kb_each: float
    last_median_ms: float
    last_p90_ms: float
    last_largest_ms: float
    reconnects: int
    wrong: int
    resets: int


def many(live: Live, rounds: int, cut_rounds: int) -> Many:
    """First left alone, then cut at every event."""
    assert live.api.process is not None
    pid = live.api.process.pid
    before = memory_mb(pid)
    began = time.monotonic()
    with Crowd([live.api.port], live.path, VIEWERS, last_event_id=live.seq()) as crowd:
        opened_s = time.monotonic() - began
        for number in range(rounds):
            live.round()
            until(lambda number=number: crowd.behind(EVENTS_PER_ROUND * (number + 1)) == 0, "a round at everybody")  # type: ignore[misc]
        kb_each = 1000 * (memory_mb(pid) - before) / VIEWERS
        spread = [
            1000 * (max(times) - min(times)) for times in zip(*(viewer.times for viewer in crowd.viewers), strict=True)
        ]

    def cut(viewer: int, seen: int) -> bool:
        return viewer < VIEWERS // 10 or (seen + viewer) % 7 == 0

    with Crowd([live.api.port], live.path, VIEWERS, cut, last_event_id=live.seq()) as crowd:
        for _ in range(cut_rounds):
            live.round()
        count = EVENTS_PER_ROUND * cut_rounds
        until(lambda: crowd.behind(count) == 0, f"{count} events at everybody")
        last = live.seq()
        right = max((viewer.ids for viewer in crowd.viewers), key=lambda ids: (len(set(ids)) == count, ids[-1] == last))
        wrong = sum(viewer.ids != right or len(set(viewer.ids)) != count for viewer in crowd.viewers)
        reconnects = sum(viewer.connections - 1 for viewer in crowd.viewers)
        resets = sum(viewer.kinds.count("reset") for viewer in crowd.viewers)
    return Many(
        viewers=VIEWERS,
        rounds=rounds,
        opened_s=opened_s,
        kb_each=kb_each,
        last_median_ms=statistics.median(spread),
        last_p90_ms=p90(spread),
        last_largest_ms=max(spread),
        reconnects=reconnects,
        wrong=wrong,
        resets=resets,
    )


@dataclass(frozen=True)
class Requests:
    """Requests to S3, counted by the API: a second while nothing is new, without viewers and with a hundred; and for
    each object that is new."""

    idle_per_s: float
    viewed_per_s: float
    gets_per_object: float
    viewers: int


def requests(live: Live, seconds: float) -> Requests:
    """Count while a run is active."""
    api, viewers = live.api, 100

    def count() -> float:
        return sum(value for name, value in api.prometheus().items() if name.startswith("fl_s3_requests_total"))

    def per_s() -> float:
        live.round()  # a run that is silent is asked less and less
        until(lambda: live.seq().startswith(f"{8 + live.events}-"), "the round")
        before, began = count(), time.monotonic()
        time.sleep(seconds)
        return (count() - before) / (time.monotonic() - began)

    idle = per_s()
    with Crowd([api.port], live.path, viewers, last_event_id=live.seq()):
        viewed = per_s()
    gets = 'fl_s3_requests_total{op="GetObject"}'
    before = api.prometheus()[gets]
    for _ in range(4):
        live.round()
    until(lambda: live.seq().startswith(f"{8 + live.events}-"), "four rounds")
    per_object = (api.prometheus()[gets] - before) / (4 * EVENTS_PER_ROUND)
    return Requests(idle, viewed, per_object, viewers)
