"""From released mechanisms to epsilon, under add/remove adjacency.

Every bound here is a valid upper bound on the true epsilon, so the smallest may be reported:
  * full-batch Gaussian releases compose to one Gaussian with μ² = Σ steps/σ², whose epsilon is exact
    (Balle & Wang 2018, "Improving the Gaussian mechanism for differential privacy", theorem 8);
  * otherwise the privacy loss distribution of `dp-accounting` (Poisson sampling), with Rényi as a second bound.
Opacus' GDP accountant is never used: its central-limit epsilon under-reports by up to 40 %.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

#: Discretisation of the privacy loss distribution, in units of epsilon.
PLD_INTERVAL = 1e-4
#: Plans aim at this share of their epsilon, so that any auditor's accountant stays below the target.
TARGET_SHARE = 0.999
#: Epsilon is searched up to here; beyond, a statement protects nobody.
MAX_EPSILON = 1e4


@dataclass(frozen=True, order=True)
class GaussianEvent:
    """`steps` releases of a clipped sum with noise σ·C, each on a Poisson sample of rate q (1: every record)."""

    noise_multiplier: float
    sample_rate: float
    steps: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier > 0):
            raise ValueError(f"noise_multiplier must be positive, got {self.noise_multiplier}")
        if not 0 < self.sample_rate <= 1:
            raise ValueError(f"sample_rate must be in (0, 1], got {self.sample_rate}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")


def coalesce(events: Iterable[GaussianEvent]) -> tuple[GaussianEvent, ...]:
    """Add up the steps of events with equal parameters; accounting time grows with distinct ones."""
    steps: dict[tuple[float, float], int] = {}
    for event in events:
        key = (event.noise_multiplier, event.sample_rate)
        steps[key] = steps.get(key, 0) + event.steps
    return tuple(sorted(GaussianEvent(sigma, rate, count) for (sigma, rate), count in steps.items()))


def gaussian_delta(mu: float, epsilon: float) -> float:
    """The delta of a μ-GDP Gaussian mechanism at epsilon: Φ(μ/2 − ε/μ) − e^ε·Φ(−μ/2 − ε/μ)."""
    return _normal_cdf(mu / 2 - epsilon / mu) - math.exp(epsilon + _log_normal_cdf(-mu / 2 - epsilon / mu))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The smallest epsilon of a μ-GDP Gaussian mechanism at delta, to 1e-10, from above."""
    if gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while gaussian_delta(mu, high) > delta:
        low, high = high, 2 * high
        if high > MAX_EPSILON:
            return math.inf
    return _bisect(lambda epsilon: gaussian_delta(mu, epsilon) <= delta, low, high)


def gaussian_mu(epsilon: float, delta: float) -> float:
    """The largest μ whose Gaussian mechanism is (epsilon, delta)-DP, to 1e-10, from below."""
    low, high = 1e-6, 1.0
    while gaussian_delta(high, epsilon) <= delta:
        low, high = high, 2 * high
    return -_bisect(lambda negative: gaussian_delta(-negative, epsilon) <= delta, -high, -low)


def epsilon(events: Sequence[GaussianEvent], delta: float, interval: float = PLD_INTERVAL) -> float:
    """Epsilon of all `events` together at `delta`; 0.0 for none, infinity where no bound is finite."""
    if not 0 < delta < 1:
        raise ValueError(f"delta must be in (0, 1), got {delta}")
    merged = coalesce(events)
    if not merged:
        return 0.0
    if all(event.sample_rate == 1.0 for event in merged):
        mu = math.sqrt(sum(event.steps / event.noise_multiplier**2 for event in merged))
        return gaussian_epsilon(mu, delta)
    bounds = (pld_epsilon(merged, delta, interval), rdp_epsilon(merged, delta))
    return min(bound for bound in bounds if not math.isnan(bound))


def pld_epsilon(events: Sequence[GaussianEvent], delta: float, interval: float = PLD_INTERVAL) -> float:
    """Epsilon by privacy loss distributions (pessimistic rounding, so an upper bound)."""
    from dp_accounting import pld

    accountant = pld.PLDAccountant(value_discretization_interval=interval)
    return float(accountant.compose(_composed(events)).get_epsilon(delta))


def rdp_epsilon(events: Sequence[GaussianEvent], delta: float) -> float:
    """Epsilon by Rényi divergences; looser than PLD but independent of its discretisation."""
    from dp_accounting import rdp

    # Orders whose series does not converge are left out, which is sound; a warning for each would drown the log.
    logging.getLogger("absl").setLevel(logging.ERROR)
    return float(rdp.RdpAccountant().compose(_composed(events)).get_epsilon(delta))


def calibrate_noise(plan: Callable[[float], Sequence[GaussianEvent]], epsilon_target: float, delta: float) -> float:
    """The smallest scale s, to 1e-4 relative, for which the events of plan(s) stay below TARGET_SHARE·epsilon_target.

    `plan` must give events that are more private the larger s is; history belongs into what it returns.
    Raises ValueError when no noise is enough, as when the history alone is over the target.
    """
    target = TARGET_SHARE * epsilon_target
    # A coarse discretisation is pessimistic, so what it lets through is safe, in a tenth of the time.
    interval = max(PLD_INTERVAL, 10 * PLD_INTERVAL * min(1.0, epsilon_target))
    low, high = 0.01, 1.0
    while _calibration_epsilon(plan(high), delta, interval) > target:
        low, high = high, 2 * high
        if high > 1e6:
            raise ValueError(f"no noise keeps epsilon at or below {epsilon_target}")
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if _calibration_epsilon(plan(middle), delta, interval) <= target else (middle, high)
    return high


def _calibration_epsilon(events: Sequence[GaussianEvent], delta: float, interval: float) -> float:
    """Epsilon without the Rényi bound, which is never the tighter one near a target and costs as much again."""
    merged = coalesce(events)
    if all(event.sample_rate == 1.0 for event in merged):
        return epsilon(merged, delta)
    return pld_epsilon(merged, delta, interval)


def _composed(events: Sequence[GaussianEvent]) -> Any:
    """The events as one dp-accounting event. Imported here: it takes a second, and no round may pay it."""
    import dp_accounting

    composed = []
    for event in coalesce(events):
        release = dp_accounting.GaussianDpEvent(event.noise_multiplier)
        if event.sample_rate < 1.0:
            release = dp_accounting.PoissonSampledDpEvent(event.sample_rate, release)
        composed.append(dp_accounting.SelfComposedDpEvent(release, event.steps))
    return dp_accounting.ComposedDpEvent(composed)


def _bisect(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The smallest point of (low, high] where `holds`, to 1e-10; it must hold at `high` and stay so."""
    while high - low > 1e-10 * max(1.0, abs(high)):
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
