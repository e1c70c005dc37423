"""Epsilon by Rényi divergences: a valid bound in a millisecond, at any delta.

The moments of the Poisson-sampled Gaussian are those of Mironov, Talwar, Zhang 2019, "Rényi differential privacy of
the sampled Gaussian mechanism", section 3.3, for integer orders, written so that nothing cancels. Between integers the
logarithm of a moment is convex in its order, so a straight line bounds it from above. The conversion to (ε, δ) is
proposition 12 of Canonne, Kamath, Steinke 2020, "The discrete Gaussian for differential privacy".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fedpriv_common.accounting.events import GaussianEvent, coalesce

FloatArray = NDArray[np.float64]

#: Beyond 64 three to each doubling; the largest serve long runs of faint releases.
_LARGE = [2 ** (exponent / 3) for exponent in range(19, 40)]
_INTEGERS = np.array([*range(1, 65), *(round(order) for order in _LARGE)], dtype=np.float64)
_ORDERS = np.unique(np.concatenate([1 + np.geomspace(0.01, 10, 120), _INTEGERS[1:]]))
_LOG_FACTORIAL = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, int(_INTEGERS[-1]) + 1)))])
#: Relative error, with room to spare, of the logarithm of a moment. It is added, never neglected.
_ROUNDING = 1e-9


def rdp_epsilon(events: Sequence[GaussianEvent], delta: float) -> float:
    """Epsilon by Rényi divergences under add/remove adjacency; infinity where no order gives a finite one."""
    merged = coalesce(events)
    if not merged:
        return 0.0
    each = [float(event.steps) * _log_moments(event.noise_multiplier, event.sample_rate) for event in merged]
    moments = (1 + _ROUNDING) * np.interp(_ORDERS, _INTEGERS, np.sum(each, axis=0))
    above = _ORDERS - 1
    bounds = moments / above + np.log1p(-1 / _ORDERS) - (math.log(delta) + np.log(_ORDERS)) / above
    return max(0.0, float(np.min(bounds, initial=math.inf, where=~np.isnan(bounds))))


@lru_cache(4096)
def _log_moments(noise_multiplier: float, sample_rate: float) -> FloatArray:
    """log E[(dP/dQ)^α] under Q, for each integer order α: (α − 1)·D_α of one step.

    E = 1 + Σ_{k=2..α} C(α, k)·(1 − q)^(α−k)·q^k·(e^{k(k−1)/(2σ²)} − 1), every term of it positive.
    """
    inverse = 1 / noise_multiplier
    exponent = 0.5 * inverse * inverse
    if sample_rate == 1.0:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(_INTEGERS * (_INTEGERS - 1) * exponent)
    k = np.arange(2, int(_INTEGERS[-1]) + 1)
    with np.errstate(divide="ignore", over="ignore"):
        gain = k * (k - 1.0) * exponent
        log_gain = gain + np.log(-np.expm1(-gain))
    # What of each term does not depend on the order.
    common = log_gain - _LOG_FACTORIAL[k] + k * (math.log(sample_rate) - math.log1p(-sample_rate))
    moments = [0.0]
    for order in _INTEGERS[1:].astype(int):
        terms = common[: order - 1] - _LOG_FACTORIAL[order - 2 :: -1]
        whole = _LOG_FACTORIAL[order] + order * math.log1p(-sample_rate)
        moments.append(float(np.logaddexp(0.0, whole + _log_sum_exp(terms))))
    return np.array(moments)


def _log_sum_exp(terms: FloatArray) -> float:
    largest = np.max(terms)
    return float(largest + np.log(np.sum(np.exp(terms - largest)))) if math.isfinite(largest) else float(largest)
