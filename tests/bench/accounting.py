"""How long a site's account takes, beside dp-accounting composing the same releases with its defaults.

A ledger of 10,000 releases with 1, 10 or 100 distinct (σ, q < 1). Each repetition draws another history, and times in
turn, in processor seconds of the same process:

* `naive`: dp-accounting's PLDAccountant over the coalesced history and the plan;
* `start`: our epsilon of the history, as a site composes it before it says that it is ready;
* `record`: the admission of a run after that, on the account of record, as near the limit;
* `cheap`: the same admission where a cheap bound already shows that it fits.

    python -m tests.bench.accounting [--repeats 5] [--distinct 1 10 100]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import dp_accounting
import numpy as np
from dp_accounting.pld import PLDAccountant

from fedpriv_common.accounting import GaussianEvent, coalesce, epsilon, within

RESULT = Path("var/results/bench-accounting.json")
RELEASES = 10_000
DELTA = 1e-5
#: design line: the longest that an admission may take, in seconds.
ADMISSION_S = 2.0


def history(distinct: int, seed: int) -> list[GaussianEvent]:
    """RELEASES releases of 1 to 3 steps."""
    generator = np.random.default_rng(seed)
    kinds = list(
        zip(generator.uniform(2, 10, distinct), generator.choice([0.01, 0.05, 0.1, 0.125], distinct), strict=True)
    )
    chosen = generator.integers(0, distinct, RELEASES)
    return [GaussianEvent(*map(float, kinds[kind]), int(generator.integers(1, 4))) for kind in chosen]


def naive(events: list[GaussianEvent]) -> float:
    accountant = PLDAccountant()
    for event in coalesce(events):
        release = dp_accounting.PoissonSampledDpEvent(
            event.sample_rate, dp_accounting.GaussianDpEvent(event.noise_multiplier)
        )
        accountant.compose(release, event.steps)
    return float(accountant.get_epsilon(DELTA))


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def measure(distinct: int, seed: int) -> dict[str, float]:
    events = history(distinct, seed)
    plan = [GaussianEvent(9.0 + seed / 100, 0.1, 100)]
    found: dict[str, float] = {}
    times = {
        "start": seconds(lambda: epsilon(events, DELTA)),
        "cheap": seconds(lambda: within([*events, *plan], 1e3, DELTA)),
        "record": seconds(lambda: found.update(ours=epsilon([*events, *plan], DELTA))),
        "naive": seconds(lambda: found.update(naive=naive([*events, *plan]))),
    }
    ratio, above = times["naive"] / times["record"], found["ours"] / found["naive"] - 1
    return {**times, "ratio": ratio, "epsilon": found["ours"], "above": above}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--distinct", type=int, nargs="+", default=[1, 10, 100])
    asked = parser.parse_args()
    epsilon([GaussianEvent(1.0, 0.1, 1)], DELTA)  # imports dp-accounting
    results = {}
    for distinct in asked.distinct:
        runs = [measure(distinct, seed) for seed in range(asked.repeats)]
        results[distinct] = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        row = results[distinct]
        print(
            f"{distinct:>4} distinct: naive {row['naive']:.2f} s; start {row['start']:.2f} s, "
            f"admission {row['record']:.3f} s on record (1/{row['ratio']:.0f}), {row['cheap']:.3f} s cheap; "
            f"ε {row['epsilon']:.3f}, {row['above']:+.2%}",
            flush=True,
        )
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps({"releases": RELEASES, "median": results}, indent=2))
    slowest = max(row["record"] for row in results.values())
    print(f"Slowest admission {slowest:.2f} s of {ADMISSION_S:.0f} s.")


if __name__ == "__main__":
    main()
