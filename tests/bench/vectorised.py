"""The default recipe for many seeds at once, in numpy: what sites and server do together, a hundred times faster.

Splits and noise are those of `tests.bench.utility.run`, so each seed gives the very model that the product's trainer
and strategies give (`tests/privacy/test_planner_reality.py` shows it). A full-batch sum over sites is the sum over all
records, so sites differ only in their noise. Like every benchmark: seeded noise, public data, nothing private.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from fedpriv_common.model import BIAS_FEATURE
from fedpriv_common.plan import Plan, Release
from tests.bench.utility import randomness, split

FloatArray = NDArray[np.float64]

#: Inverse strengths of regularisation among which the non-private ceiling takes the best.
_STRENGTHS = (1.0, 3.0, 10.0)


@dataclass(frozen=True)
class Splits:
    """A two-class table, z of shape (n, d) in [−1, 1], and for each seed its training and held-out records."""

    z: FloatArray
    labels: NDArray[np.int64]
    seeds: tuple[int, ...]
    train: NDArray[np.int64]
    test: NDArray[np.int64]

    @classmethod
    def of(cls, z: FloatArray, labels: NDArray[np.int64], seeds: Sequence[int], records: int | None = None) -> Splits:
        """The splits of `tests.bench.utility`; arrays of shape (seeds, records) and (seeds, held-out records)."""
        pairs = [split(labels, seed, records) for seed in seeds]
        return cls(
            z, labels, tuple(seeds), np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])
        )


def ceiling(splits: Splits) -> FloatArray:
    """Accuracy without privacy for each seed: logistic regression, with the best regularisation in the mean."""
    z, labels = splits.z, splits.labels
    figures = [
        [
            LogisticRegression(C=strength, max_iter=5000).fit(z[train], labels[train]).score(z[test], labels[test])
            for train, test in zip(splits.train, splits.test, strict=True)
        ]
        for strength in _STRENGTHS
    ]
    return np.array(max(figures, key=np.mean))


def accuracies(plan: Plan, splits: Splits) -> FloatArray:
    """Accuracy of the published model on the held-out records, for each seed."""
    centre, weights = _train(plan, splits)
    scores = _inputs(splits.z[splits.test], centre) @ weights[:, :, None]
    return np.mean((scores[:, :, 0] > 0) == (splits.labels[splits.test] == 1), axis=1)


def _train(plan: Plan, splits: Splits) -> tuple[FloatArray, FloatArray]:
    """The published models: centres, shape (seeds, d), and weights, shape (seeds, d + 1)."""
    assert plan.centre is not None
    noise = _Noise(plan, splits.seeds)
    bound = plan.centre.max_grad_norm
    clipped = splits.z * np.minimum(1.0, bound / np.linalg.norm(splits.z, axis=1))[:, None]
    centre = _shrunk(plan, (clipped[splits.train].sum(axis=1) + noise.of(plan.centre, clipped.shape[1])))
    features = _inputs(splits.z[splits.train], centre)
    # The gradient of a record is (p − y)·x, so clipping it bounds p − y by C/‖x‖.
    limits = plan.train.max_grad_norm / np.linalg.norm(features, axis=2)
    targets = splits.labels[splits.train]
    transposed = np.ascontiguousarray(features.transpose(0, 2, 1))
    weights = np.zeros((len(splits.seeds), features.shape[2]))
    average = np.zeros_like(weights)
    for number in range(1, plan.rounds + 1):
        residuals = 1.0 / (1.0 + np.exp(-(features @ weights[:, :, None])[:, :, 0])) - targets
        total = (transposed @ np.clip(residuals, -limits, limits)[:, :, None])[:, :, 0]
        total += noise.of(plan.train, weights.shape[1])
        weights = weights - plan.learning_rate * total / (plan.nominal_size * plan.train.max_grad_norm)
        if number >= plan.average_from:
            average += weights
    return centre, average / (plan.rounds - plan.average_from + 1)


class _Noise:
    """The sites' noise, summed over sites, drawn in the order in which they release."""

    def __init__(self, plan: Plan, seeds: Sequence[int]) -> None:
        self._sites = [[randomness(seed, site) for site in range(plan.sites)] for seed in seeds]

    def of(self, release: Release, size: int) -> FloatArray:
        """Shape (seeds, size)."""
        deviation = release.noise_multiplier * release.max_grad_norm
        return np.array([sum(site.gaussian(size, deviation) for site in sites) for sites in self._sites])


def _shrunk(plan: Plan, sums: FloatArray) -> FloatArray:
    """`fedpriv_server.strategy.centre_from_sums` for each row of `sums`, shape (seeds, d)."""
    assert plan.centre is not None
    mean = sums / plan.nominal_size
    scale = plan.centre.noise_multiplier * plan.centre.max_grad_norm / plan.nominal_size
    shrink = 1.0 - max(0, mean.shape[1] - 2) * plan.sites * scale**2 / (mean**2).sum(axis=1)
    return np.maximum(0.0, shrink)[:, None] * mean


def _inputs(z: FloatArray, centre: FloatArray) -> FloatArray:
    """Shape (seeds, records, d + 1): centred features and the bias feature."""
    bias = np.full((*z.shape[:2], 1), BIAS_FEATURE)
    return np.concatenate([z - centre[:, None, :], bias], axis=2)
