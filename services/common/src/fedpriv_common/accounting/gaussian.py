"""The Gaussian mechanism in closed form: its delta, its epsilon and its μ.

Source: Balle & Wang 2018, "Improving the Gaussian mechanism for differential privacy", theorem 8.
"""

from __future__ import annotations

import math
from collections.abc import Callable

#: Epsilon is searched up to here; beyond, a statement protects nobody.
MAX_EPSILON = 1e4
#: Relative error, with room to spare, of the two terms whose difference is delta. It is added, never neglected.
_ROUNDING = 1e-13


def gaussian_delta(mu: float, epsilon: float) -> float:
    """The delta of a μ-GDP Gaussian mechanism at epsilon: Φ(μ/2 − ε/μ) − e^ε·Φ(−μ/2 − ε/μ), rounded up."""
    if mu == 0 or math.isinf(epsilon):
        return 0.0
    reach = _normal_cdf(mu / 2 - epsilon / mu)
    # Both terms are probabilities, whatever rounding says of the exponent.
    tail = math.exp(min(0.0, epsilon + _log_normal_cdf(-mu / 2 - epsilon / mu)))
    return min(1.0, max(0.0, (1 + _ROUNDING) * reach - tail))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The smallest epsilon of a μ-GDP Gaussian mechanism at delta, to 1e-10 of it, from above; infinity over 10,000."""
    if gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while gaussian_delta(mu, high) > delta:
        low, high = high, 2 * high
        if high > MAX_EPSILON:
            return math.inf
    return _bisect(lambda epsilon: gaussian_delta(mu, epsilon) <= delta, low, high)


def gaussian_mu(epsilon: float, delta: float) -> float:
    """The largest μ whose Gaussian mechanism is (epsilon, delta)-DP, to 1e-10 of it, from below."""
    if math.isinf(epsilon):
        return math.inf
    low, high = 0.0, 1.0
    while gaussian_delta(high, epsilon) <= delta:
        low, high = high, 2 * high
    return -_bisect(lambda negative: gaussian_delta(-negative, epsilon) <= delta, -high, -low)


def _bisect(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The smallest point of (low, high] where `holds`, to 1e-10 of it; it must hold at `high` and stay so."""
    for _ in range(200):
        if high - low <= 1e-10 * abs(high):
            break
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _log_normal_cdf(x: float) -> float:
    """log Φ(x); far in the lower tail φ(x)/|x|·(1 − 1/x²), a lower bound, so that delta is never understated."""
    if x > -35:
        return math.log(_normal_cdf(x))
    return -x * x / 2 - math.log(-x) - 0.5 * math.log(2 * math.pi) + math.log1p(-1 / (x * x))
