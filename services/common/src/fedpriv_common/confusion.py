"""Confusion matrices under noise: what a model does on held-out records, with intervals that include the noise.

Sites release counts with two-sided geometric noise. A rate of such counts is uncertain twice: the records are a
sample, and the counts are not exact. Both are in the posterior of the rate under a uniform prior: the true counts
(h hits, m misses) weigh as much as the noise makes them likely, and given them the rate is Beta(h + 1, m + 1). An
interval is the shortest that holds 95 % of it. Everything here is computed from released values and costs no privacy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from fedpriv_common.model import ModelSpec, predict_scores

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Probability that an interval holds.
CONFIDENCE: Final = 0.95
#: Cells of [0, 1] on which a posterior is computed.
_CELLS: Final = 250
#: True counts that are weighed on each side; where the noise spans more, evenly chosen ones stand for all.
_COUNTS: Final = 25
#: Noise less probable than this is left out of the weighing.
_TAIL: Final = 1e-6


@dataclass(frozen=True)
class Figure:
    """A rate and its interval. The value is None where the noisy counts add up to nothing."""

    value: float | None
    low: float
    high: float


def confusion_matrix(
    spec: ModelSpec, parameters: FloatArray, centre: FloatArray, z: FloatArray, labels: IntArray
) -> IntArray:
    """Counts by true class (row) and predicted class (column), shape (n_classes, n_classes).

    A record with a label is in one cell, one without (label below 0) in none.
    """
    counts = np.zeros((spec.n_classes, spec.n_classes), dtype=np.int64)
    # Parameters come from the server: where they overflow, a record still falls into one cell.
    with np.errstate(over="ignore", invalid="ignore"):
        predicted = predict_scores(spec, parameters, centre, z).argmax(axis=1)
    labelled = labels >= 0
    np.add.at(counts, (labels[labelled], predicted[labelled]), 1)
    return counts


def figures(matrices: Sequence[IntArray], epsilon: float) -> dict[str, Figure]:
    """Rates of the sum of at least one noisy matrix, shape (c, c) each, released at `epsilon` each.

    accuracy and balanced_accuracy (the mean of the classes' recalls); with two classes, of which 1 is the positive
    one, also sensitivity and specificity.
    """
    total = np.sum(matrices, axis=0)
    classes, sites = len(total), len(matrices)
    hits = np.diag(total)
    misses = total.sum(axis=1) - hits
    of_all = _posterior(hits.sum(), sites * classes, misses.sum(), sites * classes * (classes - 1), epsilon)
    of_class = [_posterior(h, sites, m, sites * (classes - 1), epsilon) for h, m in zip(hits, misses, strict=True)]
    recalls = [_rate(h, m) for h, m in zip(hits, misses, strict=True)]
    known = [recall for recall in recalls if recall is not None]
    # Intervals that hold all at once, so that the recalls' mean lies between the means of their ends.
    together = np.mean([_interval(posterior, 1.0 - (1.0 - CONFIDENCE) / classes) for posterior in of_class], axis=0)
    found = {
        "accuracy": Figure(_rate(hits.sum(), misses.sum()), *_interval(of_all, CONFIDENCE)),
        "balanced_accuracy": Figure(
            float(np.mean(known)) if len(known) == classes else None, float(together[0]), float(together[1])
        ),
    }
    if classes == 2:
        found["sensitivity"] = Figure(recalls[1], *_interval(of_class[1], CONFIDENCE))
        found["specificity"] = Figure(recalls[0], *_interval(of_class[0], CONFIDENCE))
    return found


def _rate(hits: np.int64, misses: np.int64) -> float | None:
    hits, misses = np.maximum(hits, 0), np.maximum(misses, 0)
    return float(hits / (hits + misses)) if hits + misses > 0 else None


def _posterior(hits: np.int64, hit_cells: int, misses: np.int64, miss_cells: int, epsilon: float) -> FloatArray:
    """Probability of each cell of [0, 1] for the rate, from sums of hits and misses over that many noisy cells."""
    h, h_weight = _true_counts(int(hits), hit_cells, epsilon)
    m, m_weight = _true_counts(int(misses), miss_cells, epsilon)
    edges = np.linspace(0.0, 1.0, _CELLS + 1)
    cumulative = np.einsum(
        "h,m,hme->e", h_weight, m_weight, betainc(h[:, None, None] + 1, m[None, :, None] + 1, edges[None, None, :])
    )
    return np.diff(cumulative)


def _true_counts(released: int, cells: int, epsilon: float) -> tuple[FloatArray, FloatArray]:
    """Counts that may be behind a released sum, and their probabilities; a count is never negative."""
    probabilities = noise_distribution(cells, epsilon)
    noise = np.arange(len(probabilities)) - len(probabilities) // 2
    possible = noise <= released
    if not possible.any():  # the noise is far in its tail: nothing but zero is left
        return np.zeros(1), np.ones(1)
    noise, probabilities = noise[possible], probabilities[possible]
    chosen = np.unique(np.linspace(0, len(noise) - 1, _COUNTS).round().astype(int))
    return (released - noise[chosen]).astype(np.float64), probabilities[chosen] / probabilities[chosen].sum()


def _interval(posterior: FloatArray, confidence: float) -> tuple[float, float]:
    """The cells of highest probability that together have `confidence`, from the first to the last of them."""
    order = np.argsort(posterior, kind="stable")[::-1]
    needed = int(np.searchsorted(np.cumsum(posterior[order]), confidence * posterior.sum())) + 1
    held = order[:needed]
    return float(held.min() / len(posterior)), float((held.max() + 1) / len(posterior))


@lru_cache(64)
def noise_distribution(cells: int, epsilon: float) -> FloatArray:
    """Probabilities of the sum of `cells` two-sided geometric draws, from −t to t, shape (2t + 1,).

    The inverse Fourier transform of the sum's characteristic function ((1 − a)²/(1 − 2a·cos θ + a²))^cells,
    a = e^(−ε), on a circle too long for the tails to meet. Beyond t there is less than 1e-6.
    """
    a = math.exp(-epsilon)
    reach = 12.0 * math.sqrt(2.0 * a * cells) / (1.0 - a) + 80.0 / epsilon + 2.0
    size = 1 << math.ceil(math.log2(2.0 * reach))
    angles = 2.0 * np.pi * np.arange(size // 2 + 1) / size
    transform = ((1.0 - a) ** 2 / (1.0 - 2.0 * a * np.cos(angles) + a * a)) ** cells
    probabilities = np.maximum(np.fft.irfft(transform, size), 0.0)[: size // 2]
    # P(|sum| > t), from the far end on, both signs at once.
    beyond = 2.0 * np.cumsum(probabilities[:0:-1])[::-1]
    kept = probabilities[: int(np.argmax(beyond <= _TAIL)) + 1]
    return np.concatenate([kept[:0:-1], kept])
