"""Lower bounds on epsilon from what an attacker can tell: scores of canaries that were in, and of others that were not.

Both bounds hold at a stated confidence for the mechanism that was run, so one above the ledger's epsilon refutes the
ledger, and one below proves nothing by itself; how far it would have risen for half the noise is the test's power.

  * Clopper–Pearson: an (ε, δ)-private mechanism keeps TPR ≤ e^ε·FPR + δ and TNR ≤ e^ε·FNR + δ at every threshold
    (Kairouz, Oh & Viswanath 2015). The threshold is chosen on one half of the canaries, and the rates are bounded on
    the other, by Clopper & Pearson's exact intervals (1934): no multiplicity is left to correct for.
  * Gaussian: the scores of both kinds are normal with equal variance, as sums of Gaussian releases are; their distance
    in standard deviations is then the μ of Gaussian differential privacy (Dong, Roth & Su 2022), and epsilon follows
    from μ at δ. The standardised difference d of two samples has variance 1/n₁ + 1/n₂ + d²/(2(n₁ + n₂))
    (Hedges & Olkin 1985, large samples). Sharper by a factor of three at ε = 1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from fedpriv_common.accounting import gaussian_epsilon

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Reported for what has no bound that is worth a number: without noise, scores of the two kinds do not even touch.
LARGEST = 100.0
_THRESHOLDS = 200


def clopper_pearson_lower(successes: FloatArray, trials: int, alpha: float) -> FloatArray:
    """The exact one-sided lower limit on a probability at confidence 1 − alpha, elementwise."""
    limits = special.betaincinv(np.maximum(successes, 1), trials - successes + 1, alpha)
    return np.where(successes == 0, 0.0, limits)


def clopper_pearson_upper(successes: FloatArray, trials: int, alpha: float) -> FloatArray:
    """The exact one-sided upper limit on a probability at confidence 1 − alpha, elementwise."""
    return 1.0 - clopper_pearson_lower(trials - successes, trials, alpha)


def clopper_pearson_epsilon(
    scores: FloatArray, included: BoolArray, chosen: BoolArray, delta: float, alpha: float
) -> float:
    """Lower bound on epsilon at confidence 1 − alpha; a threshold is looked for where `chosen`, and used elsewhere.

    All arrays have shape (canaries,); scores are higher for canaries that were included.
    """
    candidates = np.quantile(scores[chosen], np.linspace(0.0, 1.0, _THRESHOLDS))
    looked_at = _at_thresholds(scores[chosen], included[chosen], candidates, delta, alpha)
    side, place = np.unravel_index(int(np.argmax(looked_at)), looked_at.shape)
    used = _at_thresholds(scores[~chosen], included[~chosen], candidates[place : place + 1], delta, alpha)
    return float(np.clip(used[side, 0], 0.0, LARGEST))


def _at_thresholds(
    scores: FloatArray, included: BoolArray, thresholds: FloatArray, delta: float, alpha: float
) -> FloatArray:
    """The bound from either side of each threshold, shape (2, thresholds): each needs two limits, at alpha/2."""
    above_in = _count_above(scores[included], thresholds)
    above_out = _count_above(scores[~included], thresholds)
    n_in, n_out = int(included.sum()), int((~included).sum())
    tpr, fpr = (
        clopper_pearson_lower(above_in, n_in, alpha / 2),
        clopper_pearson_upper(above_out, n_out, alpha / 2),
    )
    tnr, fnr = (
        clopper_pearson_lower(n_out - above_out, n_out, alpha / 2),
        clopper_pearson_upper(n_in - above_in, n_in, alpha / 2),
    )
    with np.errstate(divide="ignore"):
        return np.log(np.maximum(np.stack([(tpr - delta) / fpr, (tnr - delta) / fnr]), 0.0))


def _count_above(scores: FloatArray, thresholds: FloatArray) -> FloatArray:
    return len(scores) - np.searchsorted(np.sort(scores), thresholds, side="right").astype(np.float64)


def gaussian_mu_lower(scores: FloatArray, included: BoolArray, alpha: float) -> float:
    """Lower bound on μ at confidence 1 − alpha; infinity where the scores do not vary at all."""
    inside, outside = scores[included], scores[~included]
    n_in, n_out = len(inside), len(outside)
    variance = ((n_in - 1) * inside.var(ddof=1) + (n_out - 1) * outside.var(ddof=1)) / (n_in + n_out - 2)
    difference = float(inside.mean() - outside.mean())
    if variance <= 0.0:
        return math.inf if difference > 0 else 0.0
    distance = difference / math.sqrt(float(variance))
    deviation = math.sqrt(1 / n_in + 1 / n_out + distance**2 / (2 * (n_in + n_out)))
    return max(0.0, distance + float(special.ndtri(alpha)) * deviation)


def gaussian_mu_epsilon(scores: FloatArray, included: BoolArray, delta: float, alpha: float) -> float:
    """Lower bound on epsilon at `delta` and confidence 1 − alpha, for scores that are normal."""
    mu = gaussian_mu_lower(scores, included, alpha)
    if mu <= 0.0:
        return 0.0
    # Far beyond any epsilon that means something the bisection would only look for its own end.
    return LARGEST if mu > 15.0 else min(LARGEST, gaussian_epsilon(mu, delta))
