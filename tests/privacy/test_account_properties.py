"""What must hold of the account of record whatever was released."""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from fedpriv_common.accounting import Adjacency, GaussianEvent, epsilon, within

DELTA = 1e-5
sigmas = st.floats(0.5, 20)
#: A coarser grid may stand under the larger of two accounts, so they compare up to what a grid may add.
GRID = 1 + 5e-4
sampled = st.builds(GaussianEvent, st.floats(0.8, 10), st.floats(0.01, 0.5), st.integers(1, 200))
full = st.builds(GaussianEvent, sigmas, st.just(1.0), st.integers(1, 500))
EXTREMES = [
    GaussianEvent(sigma, rate, count)
    for sigma in (5e-324, 1e-3, 0.3, 1e9, 1e300)
    for rate in (1e-300, 1e-9, 0.5, 1.0)
    for count in (1, 10**4, 10**15)
]


@settings(max_examples=40, deadline=None)
@given(sigmas, st.floats(1e-4, 0.999), st.sampled_from([1e-9, 1e-5, 1e-3]))
def test_no_attacker_of_one_sampled_step_does_better_than_its_epsilon(sigma, rate, delta):
    """The mechanism's δ at our ε, in its closed form: P = (1 − q)·N(0, σ²) + q·N(1, σ²) against Q = N(0, σ²)."""
    ours = epsilon([GaussianEvent(sigma, rate, 1)], delta)
    # The likelihood ratio passes e^ε where this value does.
    edge = sigma**2 * math.log((math.expm1(ours) + rate) / rate) + 0.5
    reach = (1 - rate) * ndtr(-edge / sigma) + rate * ndtr((1 - edge) / sigma)
    assert reach - math.exp(ours) * ndtr(-edge / sigma) <= delta * (1 + 1e-6)


@settings(max_examples=15, deadline=None)
@given(sampled, st.integers(1, 300), st.floats(1.01, 2), st.floats(1.01, 1.9), st.floats(1.1, 50))
def test_epsilon_grows_with_steps_and_rate_and_falls_with_noise_and_delta(event, more, noisier, denser, laxer):
    sigma, rate, count = event.noise_multiplier, event.sample_rate, event.steps
    at = epsilon([event], DELTA)
    assert at <= GRID * epsilon([GaussianEvent(sigma, rate, count + more)], DELTA)
    assert at <= GRID * epsilon([GaussianEvent(sigma, rate * denser, count)], DELTA)
    assert epsilon([GaussianEvent(sigma * noisier, rate, count)], DELTA) <= GRID * at
    assert epsilon([event], DELTA * laxer) <= GRID * at


@settings(max_examples=15, deadline=None)
@given(st.lists(sampled, max_size=3), st.lists(full, max_size=3))
def test_a_union_costs_at_least_each_part_and_at_most_their_sum(some, others):
    assume(some or others)
    together = epsilon([*some, *others], DELTA)
    assert max(epsilon(some, DELTA), epsilon(others, DELTA)) <= GRID * together
    # Basic composition of two parts at half of delta each.
    assert together <= GRID * (epsilon(some, DELTA / 2) + epsilon(others, DELTA / 2))


@pytest.mark.parametrize("delta", [1e-300, 1e-15, 1e-5, 0.999])
@pytest.mark.parametrize("adjacency", Adjacency)
def test_no_event_is_too_extreme_to_account(delta, adjacency):
    """Infinity where nothing finite is known, but never an exception and never NaN: a site must be able to refuse."""
    for event in EXTREMES:
        assert epsilon([event], delta, adjacency) >= 0
    assert epsilon(EXTREMES, delta, adjacency) == math.inf
    assert within(EXTREMES, 1e300, delta) == (False, math.inf)
