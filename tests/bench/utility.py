"""Accuracy against epsilon, with the trainer and the strategies of the product, over fixed seeds.

Each seed is one stratified 80/20 split of the public Wisconsin table, its training part shared out to K disjoint
sites, and one draw of noise from the benchmark generator. The results are not private and say so; the held-out part
is used for the figures and for nothing else. Beside the default recipe stands the configuration that the project
started from (MLP 30-64-2, learning rate 0.01, batches of 32, 3 rounds) under the same epsilon.

    python -m tests.bench.utility [--seeds 1000:1100] [--sites 3]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from fedpriv_client.data.breast_cancer import load_table
from fedpriv_client.data.site_data import SiteData
from fedpriv_client.privacy.randomness import BenchmarkRandomness
from fedpriv_client.training import Trainer
from fedpriv_common.model import Evaluation, evaluate
from fedpriv_common.plan import Phase, Plan, RunSettings, make_plan
from fedpriv_common.recipes import Recipe
from fedpriv_server.strategy import Iterate, make_strategy

IndexArray = NDArray[np.int64]

RESULT = Path("var/results/bench-utility.json")
EPSILONS = (0.5, 1.0, 3.0, 8.0)
#: design lines: mean accuracy that the default recipe must reach at each epsilon, three sites.
LINES = {0.5: 0.938, 1.0: 0.951, 3.0: 0.968, 8.0: 0.972}


def plans(epsilon: float, sites: int) -> dict[str, Plan]:
    contract, _ = load_table()
    first = {"recipe": Recipe.FEDAVG_MLP, "local_learning_rate": 0.01, "rounds": 3, "batch_size": 32}
    return {
        "default": make_plan(RunSettings(epsilon=epsilon, sites=sites), contract),
        "first configuration": make_plan(RunSettings(epsilon=epsilon, sites=sites, **first), contract),
    }


def split(labels: NDArray[np.int64], seed: int, records: int | None = None) -> tuple[IndexArray, IndexArray]:
    """Indices of training records in random order, at most `records` of them, and of the held-out fifth."""
    train, test = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=seed)
    return np.random.default_rng(seed).permutation(train)[:records], test


def randomness(seed: int, site: int) -> BenchmarkRandomness:
    """The noise of one site in the run of `seed`."""
    return BenchmarkRandomness(1000 * seed + site)


def run(plan: Plan, seed: int, records: int | None = None) -> Evaluation:
    """One whole federated run on the split of `seed`, with at most `records` training records."""
    contract, table = load_table()
    z = contract.standardise(table.features)
    train, test = split(table.labels, seed, records)
    trainers = [
        Trainer(plan, SiteData(z[share], table.labels[share]), randomness(seed, site))
        for site, share in enumerate(np.array_split(train, plan.sites))
    ]
    strategy, iterate = make_strategy(plan), Iterate.first(plan, seed.to_bytes(4, "big"))
    if plan.centre is not None:
        nothing = np.zeros(0)
        iterate = iterate.centred(plan, [trainer.release(Phase.CENTRE, nothing, nothing) for trainer in trainers])
    for _ in range(plan.rounds):
        releases = [trainer.release(Phase.TRAIN, iterate.parameters, iterate.centre) for trainer in trainers]
        iterate = iterate.trained(plan, strategy, releases)
    return evaluate(plan.model, iterate.published(), iterate.centre, z[test], table.labels[test])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1000:1100")
    parser.add_argument("--sites", type=int, default=3)
    arguments = parser.parse_args()
    seeds = range(*(int(part) for part in arguments.seeds.split(":")))
    rows = []
    print(f"{'ε':>4} {'recipe':<20} {'accuracy':>9} {'sd':>6} {'AUC':>6} {'line':>6}")
    for epsilon in EPSILONS:
        for name, plan in plans(epsilon, arguments.sites).items():
            began = time.perf_counter()
            figures = [run(plan, seed) for seed in seeds]
            accuracies = [figure.accuracy for figure in figures]
            rows.append(
                {
                    "epsilon": epsilon,
                    "recipe": name,
                    "sites": arguments.sites,
                    "seeds": len(seeds),
                    "rounds": plan.rounds,
                    "accuracy_mean": float(np.mean(accuracies)),
                    "accuracy_sd": float(np.std(accuracies, ddof=1)),
                    "auc_mean": float(np.mean([figure.auc for figure in figures])),
                    "line": LINES[epsilon] if name == "default" else None,
                    "private": BenchmarkRandomness.is_private,
                    "seconds": time.perf_counter() - began,
                }
            )
            row = rows[-1]
            line = f"{row['line']:.3f}" if row["line"] else "–"
            print(
                f"{epsilon:>4} {name:<20} {row['accuracy_mean']:>9.4f} {row['accuracy_sd']:>6.3f} "
                f"{row['auc_mean']:>6.3f} {line:>6}",
                flush=True,
            )
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps({"rows": rows}, indent=2) + "\n")
    print(f"{RESULT} (benchmark generator: not private)")


if __name__ == "__main__":
    main()
