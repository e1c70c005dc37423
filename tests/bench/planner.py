"""The planner against reality: what it foretells, and what the recipe then reaches.

The forecast is of the mean, over splits and noise, of the accuracy lost against the non-private ceiling on the same
records: logistic regression without privacy, its regularisation the best of three. A cell is one (ε, K, N); its figure
is the mean of the paired difference over 50 splits of the Wisconsin table, N of whose training records are used.
All splits are of the same 569 records, so this shows that the curve holds for new splits and new noise, not that it
holds for other tables: `--tasks` shows how it fares on those.

    python -m tests.bench.planner                        # the grid, on seeds that the curve was not fitted on
    python -m tests.bench.planner --fit                  # fit the curve again, and try it on sizes it was not fitted on
    python -m tests.bench.planner --tasks                # how high other tasks lie above the curve
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from sklearn.datasets import load_digits

from fedpriv_client.data.breast_cancer import load_table
from fedpriv_common.contract import DataContract, Feature, Label, Transform
from fedpriv_common.plan import RunSettings
from fedpriv_common.planner import PlanQuestion, forecast
from fedpriv_common.utility import CURVE, AccuracyLoss
from tests.bench.vectorised import FloatArray, Splits, accuracies, ceiling

EPSILONS = (0.5, 1.0, 2.0, 3.0, 8.0)
SITES = (1, 3, 5, 10)
#: Training records, with the nominal size of their contract; None: all of the split's.
SIZES: tuple[tuple[int | None, int], ...] = ((150, 150), (300, 300), (None, 460))

FITTED_SEEDS = range(5000, 5400)
FRESH_SEEDS = range(9000, 9050)


@dataclass(frozen=True)
class Cell:
    """One (ε, K, N): what was foretold, and what each seed lost, shape (seeds,)."""

    epsilon: float
    sites: int
    records: int
    nu: float
    foretold: AccuracyLoss
    losses: FloatArray

    @property
    def mean(self) -> float:
        """The loss that the forecast is about."""
        return float(self.losses.mean())

    @property
    def held(self) -> bool:
        """Whether it lies in the foretold interval, which does not foretell gains."""
        return self.foretold.low <= max(self.mean, 0.0) <= self.foretold.high


def measure(
    contract: DataContract,
    splits: Splits,
    epsilons: Sequence[float],
    sites: Sequence[int],
    held_out_share: float = 0.0,
) -> Iterator[Cell]:
    """Run every (ε, K) on the splits, with the plans that the planner foretells."""
    without_privacy = ceiling(splits)
    for count, epsilon in product(sites, epsilons):
        settings = RunSettings(epsilon=epsilon, sites=count)
        answer = forecast(PlanQuestion(settings=settings, contract=contract, held_out_share=held_out_share))
        assert answer.utility is not None
        yield Cell(
            epsilon=epsilon,
            sites=count,
            records=splits.train.shape[1],
            nu=answer.utility.nu,
            foretold=answer.utility.loss,
            losses=without_privacy - accuracies(answer.plan, splits),
        )


def wisconsin_grid(seeds: Sequence[int]) -> Iterator[Cell]:
    """Every (ε, K, N) of the grid on the Wisconsin table."""
    contract, table = load_table()
    z = contract.standardise(table.features)
    for records, nominal in SIZES:
        sized = contract.model_copy(update={"nominal_size": nominal})
        yield from measure(sized, Splits.of(z, table.labels, seeds, records), EPSILONS, SITES)


def tasks() -> Iterator[tuple[str, FloatArray, NDArray[np.int64]]]:
    """Other two-class tasks that scikit-learn ships, z in [−1, 1]: views of the Wisconsin table, and the digits."""
    contract, table = load_table()
    z = contract.standardise(table.features)
    for name, start in (("mean", 0), ("error", 10), ("worst", 20)):
        yield f"Wisconsin, its 10 {name} features", z[:, start : start + 10], table.labels
    linear = contract.model_copy(
        update={
            "features": [feature.model_copy(update={"transform": Transform.LINEAR}) for feature in contract.features]
        }
    )
    yield "Wisconsin, untransformed", linear.standardise(table.features), table.labels
    digits = load_digits()
    pixels, digit = digits.data / 8.0 - 1.0, digits.target
    for one in range(10):
        yield f"digits, {one} or not", pixels, (digit == one).astype(np.int64)
    yield "digits, odd or even", pixels, (digit % 2).astype(np.int64)
    yield "digits, 5 or above", pixels, (digit >= 5).astype(np.int64)
    for one, other in ((3, 8), (4, 9), (1, 7)):
        both = (digit == one) | (digit == other)
        yield f"digits, {one} or {other}", pixels[both], (digit[both] == one).astype(np.int64)


def other_table(features: int, records: int) -> DataContract:
    """A contract that stands for a table of this shape."""
    return DataContract(
        name="other",
        version="1",
        nominal_size=records,
        label=Label(column="y", classes=("0", "1")),
        features=tuple(Feature(name=f"x{number}", lo=0, hi=1) for number in range(features)),
    )


def show_grid(seeds: Sequence[int]) -> None:
    cells = list(wisconsin_grid(seeds))
    print(f"{'N':>4} {'K':>3} {'ε':>4} {'ν':>6} {'lost':>6}  foretold")
    for cell in cells:
        told = cell.foretold
        print(
            f"{cell.records:>4} {cell.sites:>3} {cell.epsilon:>4} {cell.nu:>6.3f} {100 * cell.mean:>6.2f}  "
            f"{100 * told.expected:.2f} ({100 * told.low:.2f}…{100 * told.high:.2f}) {'' if cell.held else 'MISSED'}"
        )
    beyond = np.mean([cell.losses > cell.foretold.one_in_ten for cell in cells])
    print(f"{sum(cell.held for cell in cells)} of {len(cells)} cells lie in their interval")
    print(f"{100 * beyond:.1f} % of the runs lost more than is foretold of one in ten")


def fitted_curve(cells: Sequence[Cell]) -> FloatArray:
    """Losses at the curve's ν that explain the cells best, each weighed by how surely it is known."""
    nus = np.log([nu for nu, _ in CURVE])
    at = np.log([cell.nu for cell in cells])
    means = np.array([cell.mean for cell in cells])
    errors = np.array([cell.losses.std() / math.sqrt(len(cell.losses)) for cell in cells]) + 0.05 * np.abs(means)

    def residuals(log_losses: FloatArray) -> FloatArray:
        return np.asarray((np.exp(np.interp(at, nus, log_losses)) - means) / (errors + 2e-4))

    start = np.log([loss for _, loss in CURVE])
    return np.exp(least_squares(residuals, start, bounds=(math.log(1e-4), 0.0)).x)


def show_fit() -> None:
    cells = list(wisconsin_grid(FITTED_SEEDS))
    for (nu, now), loss in zip(CURVE, fitted_curve(cells), strict=True):
        print(f"    ({nu:.3f}, {loss:.4f}),  # now {now:.4f}")
    nus = np.log([nu for nu, _ in CURVE])
    for left_out in sorted({cell.records for cell in cells}):
        others = [cell for cell in cells if cell.records != left_out]
        curve = np.log(fitted_curve(others))
        known = min(cell.nu for cell in others), max(cell.nu for cell in others)
        away = [
            cell.mean - math.exp(np.interp(math.log(cell.nu), nus, curve))
            for cell in cells
            if cell.records == left_out and known[0] <= cell.nu <= known[1]
        ]
        print(f"N {left_out} from the other sizes: off by {100 * np.sqrt(np.mean(np.square(away))):.2f} points (rms)")
    batches = [range(start, start + 50) for start in range(FITTED_SEEDS.start, FITTED_SEEDS.stop, 50)]
    held = [cell.held for batch in batches for cell in wisconsin_grid(batch)]
    print(f"{100 * np.mean(held):.1f} % of {len(held)} cells of 50 fitted seeds lie in their interval now")


def show_tasks() -> None:
    medians, held, beyond = [], [], []
    for name, z, labels in tasks():
        cells: list[Cell] = []
        most = int(0.8 * len(labels))
        for records in (size for size in (140, 300, 600, 1400) if size <= most):
            contract = other_table(z.shape[1], records)
            cells += measure(contract, Splits.of(z, labels, FRESH_SEEDS, records), (0.5, 1.0, 3.0, 8.0), (1, 3, 10))
        curve = np.interp(np.log([cell.nu for cell in cells]), np.log(CURVE).T[0], [loss for _, loss in CURVE])
        ratios = [cell.mean / line for cell, line in zip(cells, curve, strict=True) if 0.02 < cell.nu < 0.3]
        medians.append(np.median(ratios))
        held += [cell.held for cell in cells]
        beyond += [np.mean(cell.losses > cell.foretold.one_in_ten) for cell in cells]
        low, middle, high = np.quantile(ratios, (0.05, 0.5, 0.95))
        print(
            f"{name:<34} times the curve: {middle:.1f} ({low:.1f}…{high:.1f}); "
            f"{sum(cell.held for cell in cells)} of {len(cells)} cells in their interval",
            flush=True,
        )
    print(
        f"median task {np.median(medians):.2f} times the curve; {100 * np.mean(held):.1f} % of {len(held)} cells held"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default=f"{FRESH_SEEDS.start}:{FRESH_SEEDS.stop}")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--tasks", action="store_true")
    arguments = parser.parse_args()
    if arguments.fit:
        show_fit()
    elif arguments.tasks:
        show_tasks()
    else:
        show_grid(range(*(int(part) for part in arguments.seeds.split(":"))))


if __name__ == "__main__":
    main()
