"""The metrics API over 100,000 records, beside MLflow over the same ones; its viewers, its memory, its S3 requests.

Real processes on loopback, a real S3 emulator. Questions to both stores are asked in turns, so that whatever else the
machine does hits both.

    python -m tests.bench.api [--quick] [--soak MINUTES]

Results go to var/results/bench-api.json; those of a whole bench to docs/benchmarks/ as well. MLflow's store is filled
once (two minutes) and kept in var/bench/api.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fedpriv_common.store import ObjectStore
from tests.bench.api import corpus, mlflow_server, pairs
from tests.bench.api.cold import cold
from tests.bench.api.consortium import RECORDS, ROUNDS, SITES
from tests.bench.api.live import delay, going_on, many, requests
from tests.bench.api.report import Figures, publish, table, write
from tests.bench.api.soak import soak
from tests.bench.rounds.measure import machine, memory_mb
from tests.emulator import Emulator
from tests.integration.metrics_process import Api, running

CACHE = Path("var/bench/api")
#: Runs that are read object by object: all fifty would take minutes, most of them the emulator's.
LOOSE_RUNS = 2
_START_S = 300.0

#: Told of what begins.
Say = Callable[[str], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="about a minute: few of each, ten seconds of load")
    parser.add_argument("--soak", type=float, default=10.0, metavar="MINUTES", help="how long the load is (10)")
    arguments = parser.parse_args()
    figures = Figures(machine=machine(), quick=arguments.quick)
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {what}", file=sys.stderr, flush=True)

    results = Path("var/results")
    results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=results) as name:
        folder = Path(name).resolve()
        emulator = Emulator(folder)
        emulator.start()
        try:
            bench(emulator, folder, figures, 1 / 6 if arguments.quick else arguments.soak, say)
        finally:
            emulator.stop()
            figures.took_s = time.monotonic() - began
            write(figures, results / "bench-api.json")  # what was measured before a failure, too
    print(table(figures))
    if not arguments.quick:
        publish(figures, Path("docs/benchmarks"))


def bench(emulator: Emulator, folder: Path, figures: Figures, soak_minutes: float, say: Say) -> None:
    """Everything, one after the other, on one bucket."""
    quick = figures.quick
    say(f"{RECORDS:,} records into the bucket")
    store = emulator.store()
    corpus.fill(store)
    cold_starts(emulator, folder, store, figures, say)
    api = Api.over(store, emulator, folder / "api.log", POLL_SECONDS="0.5", LOG_LEVEL="WARNING", **_UNBOUNDED)
    with running(api, _START_S):
        assert api.process is not None
        pid = api.process.pid
        ready_mb = memory_mb(pid)
        say("MLflow starts")
        with mlflow_server.serving(CACHE) as mlflow:
            figures.mlflow = mlflow.version
            say("the same points from both, in turns")
            figures.pairs = pairs.measure(api.port, mlflow, 5 if quick else 25)
        with going_on(api, store) as live:
            say("rounds to one viewer")
            figures.delay = delay(live, 5 if quick else 20)
            say("requests to S3")
            figures.requests = requests(live, 5 if quick else 10)
            say("five hundred viewers")
            figures.many = many(live, 5 if quick else 20, 3 if quick else 10)
            say(f"load for {soak_minutes:.1f} minutes")
            figures.soak = soak(live, 60 * soak_minutes)
        figures.memory_mb = {"ready": ready_mb, "end": memory_mb(pid), "peak": memory_mb(pid, "VmHWM")}


def cold_starts(emulator: Emulator, folder: Path, store: ObjectStore, figures: Figures, say: Say) -> None:
    """Over segments, and over some runs that are not compacted."""
    starts = 2 if figures.quick else 3
    empty = emulator.store()
    say("cold starts over segments")
    figures.segments = cold(empty, store, emulator, folder, RECORDS, starts, _START_S)
    if figures.quick:
        return
    say("cold starts over loose objects")
    loose = emulator.store()
    corpus.fill_loose(loose, LOOSE_RUNS)
    figures.loose = cold(empty, loose, emulator, folder, LOOSE_RUNS * SITES * ROUNDS, 2, _START_S)


#: Settings of an API whose load comes from one address.
_UNBOUNDED = {"REQUESTS_PER_SECOND": "0", "STREAMS_PER_VIEWER": "1000"}


if __name__ == "__main__":
    main()
