"""Epsilon by privacy loss distributions: `dp-accounting`'s, kept so that a history is composed only once.

A distribution stands on a grid of losses. Its rounding is pessimistic, so every interval gives an upper bound; a
coarser one is cheaper and, beyond a point, looser. Composing n steps adds about n·h²/12 to a variance V of the loss,
which tells how coarse the interval h may be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from fedpriv_common.accounting.events import Adjacency, GaussianEvent, coalesce, full_batch_mu
from fedpriv_common.accounting.kept import Kept

#: The finest discretisation of the privacy loss, in units of epsilon: dp-accounting's own, so that an auditor who
#: takes its defaults finds no more than we state.
PLD_INTERVAL = 1e-4
#: This times a power of two is taken while it adds no more than this share to the variance of the loss …
_TOLERANCE = 1e-4
#: … and where finer ones would have more losses computed than these, at 6 µs each.
_MOST_POINTS = 100_000
#: So many losses a composed distribution has at most.
_MOST_COMPOSED_POINTS = 2_000_000
#: Beyond, epsilon is in the hundreds or dp-accounting's integers run out: the other bounds serve.
_MOST_VARIANCE, _MOST_STEPS = 1e4, 10**9
#: Below, the rounding of the Fourier transform is no longer small against delta.
_SMALLEST_DELTA = 1e-11
#: What dp-accounting's arithmetic ends in far outside what anybody trains with. The other bounds are valid there too.
_OUT_OF_RANGE = (ValueError, OverflowError, ZeroDivisionError)
#: Bits of an event's hash by which a composition is halved.
_HASH_BITS = 32
#: Standard deviations of noise within which dp-accounting follows the loss.
_REACH = 10.0
#: 64 MB: 8 bytes in each direction, adding and removing.
_KEPT = Kept(4_000_000)


def pld_epsilon(
    events: Sequence[GaussianEvent],
    delta: float,
    adjacency: Adjacency = Adjacency.ADD_REMOVE,
    *,
    group_size: int = 1,
) -> float:
    """Epsilon by privacy loss distributions, of `group_size` records that are added or removed together.

    Infinity where they have no bound to give: at tiny deltas, or epsilons in the hundreds.
    """
    merged = _folded(events)
    if not merged:
        return 0.0
    if delta < _SMALLEST_DELTA:
        return math.inf
    try:
        value = float(_distribution(merged, adjacency, group_size).get_epsilon_for_delta(delta))
    except _OUT_OF_RANGE:
        return math.inf
    return math.inf if math.isnan(value) else value


def pld_deltas(
    events: Sequence[GaussianEvent], epsilons: Sequence[float], adjacency: Adjacency = Adjacency.ADD_REMOVE
) -> list[float]:
    """An upper bound on delta at each of `epsilons`, which ascend; 1.0 where there is none."""
    merged = _folded(events)
    if not merged:
        return [0.0] * len(epsilons)
    try:
        values = [float(value) for value in _distribution(merged, adjacency, 1).get_delta_for_epsilon(epsilons)]
    except _OUT_OF_RANGE:
        return [1.0] * len(epsilons)
    return [1.0 if math.isnan(value) else min(1.0, max(_SMALLEST_DELTA, value)) for value in values]


def _folded(events: Sequence[GaussianEvent]) -> tuple[GaussianEvent, ...]:
    """The events with all full-batch ones as the single Gaussian that they are together."""
    merged = coalesce(events)
    full = [event for event in merged if event.sample_rate == 1.0]
    mu = full_batch_mu(full)
    if len(full) < 2 or not 0 < 1 / mu < math.inf:
        return merged
    return (*(event for event in merged if event.sample_rate < 1.0), GaussianEvent(1 / mu, 1.0, 1))


@dataclass(frozen=True)
class _Grid:
    """What distributions must have in common to be composed: who the neighbours are, and the interval of losses."""

    adjacency: Adjacency
    group_size: int
    interval: float


def _distribution(merged: tuple[GaussianEvent, ...], adjacency: Adjacency, group_size: int) -> Any:
    """The composed distribution, on the coarsest grid that is as good as exact or else affordable."""
    finest = _Grid(adjacency, group_size, PLD_INTERVAL)
    steps = sum(event.steps for event in merged)
    variance = sum(event.steps * _step_variance(event, finest) for event in merged)
    if not variance <= _MOST_VARIANCE or steps > _MOST_STEPS:
        raise OverflowError("too much loss for a grid")
    interval = max(
        PLD_INTERVAL,
        math.sqrt(12 * _TOLERANCE * variance / steps),
        sum(_step_range(event, finest) for event in merged) / _MOST_POINTS,
        _span(merged, finest) / _MOST_COMPOSED_POINTS,
    )
    power = math.floor(math.log2(interval / PLD_INTERVAL))
    return _composed(merged, replace(finest, interval=PLD_INTERVAL * 2.0**power))


def _present(event: GaussianEvent, group_size: int) -> list[float]:
    """The probability that 0, 1, …, `group_size` records of a group are in one step."""
    q = event.sample_rate
    return [math.comb(group_size, k) * q**k * (1 - q) ** (group_size - k) for k in range(group_size + 1)]


def _step_variance(event: GaussianEvent, grid: _Grid) -> float:
    """About the variance of one step's loss: its Rényi divergence of order 2, log Σ p_i·p_j·e^{ij/σ²}."""
    inverse = grid.adjacency.sensitivity / event.noise_multiplier
    exponent = inverse * inverse
    if grid.group_size**2 * exponent > 700:
        return math.inf
    present = list(enumerate(_present(event, grid.group_size)))
    return math.log1p(sum(p * r * math.expm1(i * j * exponent) for i, p in present for j, r in present))


def _step_range(event: GaussianEvent, grid: _Grid) -> float:
    """About the largest loss of one step that dp-accounting follows."""
    inverse = grid.adjacency.sensitivity * grid.group_size / event.noise_multiplier
    return math.log1p(event.sample_rate * math.expm1(inverse * (_REACH + inverse / 2)))


def _span(events: Sequence[GaussianEvent], grid: _Grid) -> float:
    """About how far the composed losses reach, from their mean and 8 standard deviations to either side."""
    variance = sum(event.steps * _step_variance(event, grid) for event in events)
    return variance / 2 + 17 * math.sqrt(variance) + max(_step_range(event, grid) for event in events)


def _composed(events: tuple[GaussianEvent, ...], grid: _Grid, bit: int = 0) -> Any:
    """The distribution of `events`, put together from halves that are kept.

    An event's half follows from a hash of its own, so one more event changes a single path of halves.
    """
    if (kept := _KEPT.get((events, grid))) is not None:
        return kept
    if len(events) == 1:
        (event,) = events
        distribution = _step(replace(event, steps=1), grid).self_compose(event.steps)
    elif bit == _HASH_BITS:
        distribution = reduce(lambda one, other: one.compose(other), (_composed((event,), grid) for event in events))
    else:
        halves = (tuple(event for event in events if _hash(event) >> bit & 1 == half) for half in (0, 1))
        composed = [_composed(half, grid, bit + 1) for half in halves if half]
        distribution = composed[0] if len(composed) == 1 else composed[0].compose(composed[1])
    _KEPT.put((events, grid), distribution, math.ceil(_span(events, grid) / grid.interval))
    return distribution


def _hash(event: GaussianEvent) -> int:
    return hash((event.noise_multiplier, event.sample_rate))


def _step(event: GaussianEvent, grid: _Grid) -> Any:
    """The distribution of one step, kept as long as there is room."""
    distribution = _KEPT.get((event, grid))
    if distribution is None:
        distribution = _made(event, grid)
        _KEPT.put((event, grid), distribution, math.ceil(_step_range(event, grid) / grid.interval))
    return distribution


def _made(event: GaussianEvent, grid: _Grid) -> Any:
    """dp-accounting's distribution of one step. It is imported here: it takes a second, and no round may pay it."""
    from dp_accounting import NeighboringRelation
    from dp_accounting.pld import privacy_loss_distribution as pld

    if grid.group_size > 1 and event.sample_rate < 1:
        return pld.from_mixture_gaussian_mechanism(
            standard_deviation=event.noise_multiplier,
            sensitivities=range(grid.group_size + 1),
            sampling_probs=_present(event, grid.group_size),
            value_discretization_interval=grid.interval,
        )
    relation = {
        Adjacency.ADD_REMOVE: NeighboringRelation.ADD_OR_REMOVE_ONE,
        Adjacency.REPLACE_ONE: NeighboringRelation.REPLACE_ONE,
    }[grid.adjacency]
    return pld.from_gaussian_mechanism(
        standard_deviation=event.noise_multiplier,
        sensitivity=grid.group_size,
        sampling_prob=event.sample_rate,
        value_discretization_interval=grid.interval,
        neighboring_relation=relation,
    )
