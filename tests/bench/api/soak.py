"""Two hundred requests a second over all routes, for minutes, while a run goes on and viewers watch it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass

from tests.bench.api.consortium import RUNS
from tests.bench.api.corpus import run_id
from tests.bench.api.live import Live
from tests.bench.rounds.measure import cpu_ms, memory_mb
from tests.crowd import Crowd

RATE, VIEWERS = 200, 50
#: Seconds between rounds of the live run.
ROUND_S = 2.0
#: Memory is looked at so often, seconds; until the first look, caches fill.
LOOK_S = 60.0
#: How much more memory than at the first look there may ever be later.
DRIFT = 0.05


@dataclass(frozen=True)
class Soak:
    """Latencies in milliseconds from when a request was due, by route; memory in MB, before and then every minute;
    `cores`: how many the API was busy on, of a core."""

    rate: int
    seconds: float
    latency: dict[str, float]
    routes: dict[str, dict[str, float]]
    statuses: dict[str, int]
    memory_mb: list[float]
    cores: float
    viewers: int
    rounds: int
    missed: int

    @property
    def growth(self) -> float:
        """How much larger the memory became after the first look."""
        return max(self.memory_mb[1:]) / self.memory_mb[1] - 1

    @property
    def flat(self) -> bool:
        """Whether it did not grow by more than DRIFT, and every request was answered."""
        return self.growth <= DRIFT and set(self.statuses) <= {"200", "304"}


def soak(live: Live, seconds: float) -> Soak:
    """Load from a process of its own, rounds and viewers from this one."""
    api = live.api
    assert api.process is not None
    pid = api.process.pid
    asked = {"port": api.port, "rate": RATE, "seconds": seconds, "paths": paths(live)}
    memory, rounds = [memory_mb(pid)], 0
    with ExitStack() as stack:
        crowd = stack.enter_context(Crowd([api.port], live.path, VIEWERS, last_event_id=live.seq()))
        cpu, began = cpu_ms(pid), time.monotonic()
        load = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "tests.bench.api.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        assert load.stdin is not None
        assert load.stdout is not None
        load.stdin.write(json.dumps(asked))
        load.stdin.close()
        look = min(LOOK_S, seconds / 4)
        while load.poll() is None:
            now = time.monotonic() - began
            if now >= len(memory) * look and now < seconds:
                memory.append(memory_mb(pid))
            if now >= rounds * ROUND_S and now < seconds - ROUND_S:
                live.round()
                rounds += 1
            time.sleep(0.05)
        took = time.monotonic() - began
        memory.append(memory_mb(pid))
        told = json.loads(load.stdout.read())
        events = rounds * 5
        missed = crowd.behind(events)
        cores = (cpu_ms(pid) - cpu) / 1000 / took
    return Soak(
        rate=RATE,
        seconds=seconds,
        latency=told["all"],
        routes=told["routes"],
        statuses=told["statuses"],
        memory_mb=memory,
        cores=cores,
        viewers=VIEWERS,
        rounds=rounds,
        missed=missed,
    )


def paths(live: Live) -> list[tuple[str, str, str]]:
    """What is asked for, in turn: what the page asks of runs that have ended and of the one that goes on, half of it
    with an ETag that still holds; the seed's route, the records, the lists over runs; and /healthz, to compare with."""
    api = live.api
    found: list[tuple[str, str, str]] = []
    for run in range(RUNS):
        ended, now = f"/v1/runs/{run_id(run)}", f"/v1/runs/{live.run_id}"
        of_run = [
            ("run", ended),
            ("metric", f"{ended}/metrics/accuracy"),
            ("metric", f"{ended}/metrics/epsilon_spent?site=site-{1 + run % 20:02d}"),
            ("privacy", f"{ended}/privacy"),
            ("log", f"{ended}/log"),
        ]
        found += [(name, path, "") for name, path in of_run]
        found += [(f"{name}, 304", path, api.get(path).headers["etag"]) for name, path in of_run]
        found += [
            ("runs", "/v1/runs?limit=20", ""),
            ("live run", now, ""),
            ("live metric", f"{now}/metrics/accuracy", ""),
            ("live privacy", f"{now}/privacy", ""),
            ("live log", f"{now}/log", ""),
            ("frontier", "/v1/frontier", ""),
            ("ledger", "/v1/privacy/ledger", ""),
            ("sites", "/v1/sites", ""),
            ("records", f"{ended}/records?limit=100", ""),
            ("seed", f"/metrics?run_id={run_id(run)}", ""),
            ("healthz", "/healthz", ""),
            ("healthz", "/healthz", ""),
        ]
    return found
