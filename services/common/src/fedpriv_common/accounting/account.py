"""The account of record: the smallest of all valid bounds, and the noise that keeps it below a target."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fedpriv_common.accounting.events import Adjacency, GaussianEvent, coalesce, full_batch_mu
from fedpriv_common.accounting.gaussian import gaussian_delta, gaussian_epsilon
from fedpriv_common.accounting.loss import pld_deltas, pld_epsilon
from fedpriv_common.accounting.renyi import rdp_epsilon

#: Plans aim at this share of their epsilon, so that any auditor's accountant stays below the target.
TARGET_SHARE = 0.999


def epsilon(events: Sequence[GaussianEvent], delta: float, adjacency: Adjacency = Adjacency.ADD_REMOVE) -> float:
    """Epsilon of all `events` together at `delta`; 0.0 for none, infinity where no bound is finite."""
    merged = coalesce(events)
    cheap = _cheap_epsilon(merged, delta, adjacency)
    if _full_batch(merged):
        return cheap
    return min(cheap, pld_epsilon(merged, delta, adjacency))


def within(events: Sequence[GaussianEvent], epsilon_limit: float, delta: float) -> tuple[bool, float]:
    """Whether `events` keep to the limit, and a bound that says so: refused only on the account of record.

    The cheap bounds take a millisecond for each distinct event, and mostly they suffice.
    """
    merged = coalesce(events)
    cheap = _cheap_epsilon(merged, delta, Adjacency.ADD_REMOVE)
    bound = cheap if cheap <= epsilon_limit else epsilon(merged, delta)
    return bound <= epsilon_limit, bound


def group_epsilon(events: Sequence[GaussianEvent], delta: float, group_size: int) -> float:
    """Epsilon for `group_size` records that are added or removed together, such as all records of one patient.

    Together they move a full-batch sum by group_size·C, which is a Gaussian mechanism of group_size·μ; in a sampled
    step each is present by itself with probability q, which is a mixture of Gaussians.
    """
    if group_size < 1:
        raise ValueError(f"group_size must be at least 1, got {group_size}")
    merged = coalesce(events)
    bound = gaussian_epsilon(group_size * full_batch_mu(merged), _checked(delta))
    return bound if _full_batch(merged) else min(bound, pld_epsilon(merged, delta, group_size=group_size))


def delta_profile(
    events: Sequence[GaussianEvent], epsilons: Sequence[float], adjacency: Adjacency = Adjacency.ADD_REMOVE
) -> list[float]:
    """An upper bound on delta at each of `epsilons`, which ascend: the whole guarantee rather than one point of it."""
    merged = coalesce(events)
    mu = adjacency.sensitivity * full_batch_mu(merged)
    deltas = [gaussian_delta(mu, epsilon) for epsilon in epsilons]
    if _full_batch(merged):
        return deltas
    return [min(pair) for pair in zip(deltas, pld_deltas(merged, epsilons, adjacency), strict=True)]


def calibrate_noise(plan: Callable[[float], Sequence[GaussianEvent]], epsilon_target: float, delta: float) -> float:
    """The smallest scale s, to 1e-4 relative, for which the events of plan(s) stay below TARGET_SHARE·epsilon_target.

    `plan` must give events that are more private the larger s is; history belongs into what it returns.
    Raises ValueError when no noise is enough, as when the history alone is over the target.
    """
    target = TARGET_SHARE * epsilon_target
    low, high = 0.01, 1.0
    while not within(plan(high), target, delta)[0]:
        low, high = high, 2 * high
        if high > 1e6:
            raise ValueError(f"no noise keeps epsilon at or below {epsilon_target}")
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if within(plan(middle), target, delta)[0] else (middle, high)
    return high


def _cheap_epsilon(merged: Sequence[GaussianEvent], delta: float, adjacency: Adjacency) -> float:
    """The smaller of the full-batch bound, exact where nothing is sampled, and the Rényi bound."""
    bound = gaussian_epsilon(adjacency.sensitivity * full_batch_mu(merged), _checked(delta))
    if _full_batch(merged) or adjacency is not Adjacency.ADD_REMOVE:
        return bound
    return min(bound, rdp_epsilon(merged, delta))


def _full_batch(events: Sequence[GaussianEvent]) -> bool:
    return all(event.sample_rate == 1.0 for event in events)


def _checked(delta: float) -> float:
    if not 0 < delta < 1:
        raise ValueError(f"delta must be in (0, 1), got {delta}")
    return delta
