"""Rounds of fedpriv and of the stock stack, side by side; growth with the number of sites; memory over 200 rounds.

Real processes on loopback, TLS and node authentication for both stacks, real ledgers on disk, a real S3 emulator. The
two stacks take turns, so that whatever else the machine does hits both. A round is the time from its close to the next
one's, so all that lies between two rounds counts.

    python -m tests.bench.rounds [--quick]

Results go to var/results/bench-rounds.json; those of a whole bench to docs/benchmarks/ as well.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fedpriv_client.data.breast_cancer import write_files
from fedpriv_common.plan import RunSettings
from fedpriv_common.recipes import Recipe
from tests.bench.rounds.lab import Lab, Measured, lab
from tests.bench.rounds.measure import machine, memory_mb
from tests.bench.rounds.report import Figures, Row, publish, table, write
from tests.bench.rounds.soak import DRIFT, soak
from tests.bench.rounds.stock import Stock
from tests.emulator import Emulator

SITES = ("site-1", "site-2", "site-3")
SEED_MODEL = RunSettings(name="seed-model", recipe=Recipe.FEDAVG_MLP, sites=2, epsilon=0.5, evaluations=0)
TORCH_COUNTS = (1, 2, 3, 5, 10)
LIGHT_COUNTS = (10, 50, 100, 200)
#: Light sites of one process: more of them would wait for each other rather than for the server.
PER_PROCESS = 50

#: Told of what begins.
Say = Callable[[str], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="about a minute: no growth, no soak, two stock rounds")
    quick = parser.parse_args().quick
    figures = Figures(machine=machine(), quick=quick)
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {what}", file=sys.stderr, flush=True)

    results = Path("var/results")
    results.mkdir(parents=True, exist_ok=True)
    # Beside the results, so on the disk that ledgers are on: a folder for temporary files may be in memory.
    with tempfile.TemporaryDirectory(dir=results) as name:
        folder = Path(name).resolve()
        write_files(folder)
        emulator = Emulator(folder)
        emulator.start()
        try:
            os.environ.update(emulator.environment)
            with lab(folder / "three", emulator.store(), folder, SITES) as three:
                say("three sites start")
                three.start_sites(len(SITES))
                pairs(three, Stock(folder / "stock", folder), figures, quick=quick, say=say)
                default_recipe(three, figures, runs=2 if quick else 5, say=say)
                if not quick:
                    say("200 rounds")
                    figures.soak = soak(three)
                figures.peak_mb = three.peak()
            if not quick:
                with lab(folder / "ten", emulator.store(), folder, [f"site-{n}" for n in range(1, 11)]) as ten:
                    grow_torch(ten, figures, say)
                with lab(folder / "light", emulator.store(), folder, [f"site-{n}" for n in range(1, 201)]) as light:
                    grow_light(light, figures, say)
        finally:
            emulator.stop()
            figures.took_s = time.monotonic() - began
            write(figures, results / "bench-rounds.json")  # what was measured before a failure, too
    print(table(figures))
    if not quick:
        publish(figures, Path("docs/benchmarks"))
    if figures.soak and not figures.soak.flat:
        sys.exit(f"Memory is not flat: it grew by more than {DRIFT:.0%} between round 20 and round 200.")


def pairs(three: Lab, stock: Stock, figures: Figures, *, quick: bool, say: Say) -> None:
    """The seed's model at two sites, in turns with the stock stack."""
    whole: list[float] = []
    training: list[float] = []
    ours: list[Measured] = []
    say("stock stack starts")
    with stock.running():
        for _ in range(1 if quick else 2):
            say("two rounds of the stock stack")
            of_pair = stock.run(2)
            whole += of_pair[0]
            training += of_pair[1]
            say("ten rounds of fedpriv")
            ours.append(three.run(SEED_MODEL))
    figures.rows.append(Row.of("stock", "seed model", 2, whole))
    figures.rows.append(Row.of("stock", "seed model, training alone", 2, training))
    figures.rows.append(_row("seed model", 2, ours))
    figures.ratio = statistics.median(whole) / _median(ours)
    figures.ratio_training = statistics.median(training) / _median(ours)
    figures.steps["seed model, 2 sites"] = three.steps([each.run_id for each in ours])


def default_recipe(three: Lab, figures: Figures, runs: int, say: Say) -> None:
    """The demo's run, by the command line: how long it takes as a whole, and a round of it."""
    ours = []
    for number in range(runs):
        say(f"default run {number + 1} of {runs}")
        run_id, took_s = three.run_by_command({"name": f"default-{number}"})
        figures.default_runs_s.append(took_s)
        ours.append(three.measured(run_id))
    figures.rows.append(_row("default", 3, ours))
    figures.steps["default recipe, 3 sites"] = three.steps([each.run_id for each in ours])


def grow_torch(ten: Lab, figures: Figures, say: Say) -> None:
    """The default recipe at 1, 2, … sites of ten that are online."""
    say("ten sites start")
    ten.start_sites(10)
    for count in TORCH_COUNTS:
        say(f"{count} sites with torch")
        measured = ten.run(RunSettings(name=f"torch-{count}", sites=count, epsilon=0.5, rounds=20))
        largest = max(memory_mb(site.popen.pid) for site in ten.sites.values())
        row = _row("growth, torch", count, [measured])
        figures.rows.append(row.with_costs(measured.server_cpu_ms, memory_mb(ten.server_pid), largest))


def grow_light(light: Lab, figures: Figures, say: Say) -> None:
    """The default recipe's messages with 10, 50, … light sites, which come one group after another."""
    started = 0
    for count in LIGHT_COUNTS:
        say(f"{count} light sites")
        while started < count:
            group = range(started + 1, min(count, started + PER_PROCESS) + 1)
            light.start_light([f"site-{number}" for number in group])
            started = group[-1]
        measured = light.run(RunSettings(name=f"light-{count}", sites=count, rounds=10, evaluations=0))
        row = _row("growth, light", count, [measured])
        figures.rows.append(row.with_costs(measured.server_cpu_ms, memory_mb(light.server_pid), None))


def _row(what: str, sites: int, runs: Sequence[Measured]) -> Row:
    return Row.of("fedpriv", what, sites, [ms for each in runs for ms in each.periods_ms])


def _median(runs: Sequence[Measured]) -> float:
    return statistics.median(ms for each in runs for ms in each.periods_ms)


if __name__ == "__main__":
    main()
