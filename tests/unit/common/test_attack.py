"""What an epsilon means to a person: published anchors, and bounds that hold for every attacker."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from fedpriv_common import attack
from fedpriv_common.accounting import Adjacency, GaussianEvent, delta_profile, epsilon, gaussian_mu, group_epsilon

DELTA = 1e-5
epsilons = st.floats(0, 30)
deltas = st.sampled_from([1e-9, 1e-5, 1e-3])
rates = st.floats(1e-4, 0.999)


@pytest.mark.parametrize(("at", "rate"), [(1, 0.020), (3, 0.054), (8, 0.255), (14, 0.615)])
def test_at_one_percent_false_alarms_the_best_attack_on_full_batch_releases_finds(at, rate):
    mu = gaussian_mu(at, DELTA)
    assert attack.gaussian(mu) == pytest.approx(rate, abs=5e-4)
    assert attack.releases([GaussianEvent(math.sqrt(30) / mu, 1.0, 30)]) == pytest.approx(rate, abs=5e-4)


def test_a_bound_that_holds_for_every_mechanism_says_little_at_large_epsilon():
    assert attack.any_mechanism(8, DELTA) == pytest.approx(0.9997, abs=1e-4)
    assert attack.any_mechanism(1, DELTA) == pytest.approx(0.0272, abs=1e-4)
    assert attack.any_mechanism(0, 0, 0.3) == pytest.approx(0.3)
    assert attack.any_mechanism(math.inf, DELTA) == 1.0


@given(epsilons, deltas, rates)
def test_what_holds_for_every_mechanism_holds_for_the_gaussian(at, delta, rate):
    assert rate - 1e-12 <= attack.gaussian(gaussian_mu(at, delta), rate) <= attack.any_mechanism(at, delta, rate) + 1e-9


@given(st.floats(0, 10), rates)
def test_the_gaussian_bound_is_attained_by_a_threshold_on_the_released_value(mu, rate):
    """Without the record the value is N(0, 1), with it N(μ, 1): the attacker says "was there" above a threshold."""
    threshold = -ndtri(rate)
    assert attack.gaussian(mu, rate) == pytest.approx(ndtr(mu - threshold), rel=1e-9)


def test_sampled_releases_are_bounded_by_their_own_profile():
    """σ 1.397, q 1/8, 240 steps have ε 8 like a Gaussian mechanism of μ 1.666, but are easier to hide in."""
    events = [GaussianEvent(1.397, 1 / 8, 240)]
    assert epsilon(events, DELTA) == pytest.approx(8.0, abs=0.01)
    assert attack.releases(events) == pytest.approx(0.218, abs=0.002)
    assert attack.releases(events) < attack.gaussian(gaussian_mu(8, DELTA)) < attack.any_mechanism(8, DELTA)
    assert attack.releases(events, adjacency=Adjacency.REPLACE_ONE) > attack.releases(events)


def test_no_threshold_on_a_sampled_release_beats_its_bound():
    """One step at q: the value is N(0, σ²) without the record, (1 − q)·N(0, σ²) + q·N(1, σ²) with it."""
    sigma, q = 0.8, 0.3
    for rate in (0.001, 0.01, 0.1):
        threshold = -sigma * ndtri(rate)
        attained = (1 - q) * rate + q * ndtr((1 - threshold) / sigma)
        assert attained <= attack.releases([GaussianEvent(sigma, q, 1)], rate) <= 1.02 * attained + 0.002


def test_a_profile_falls_with_epsilon_and_meets_epsilon_at_delta():
    events = [GaussianEvent(2.0, 0.1, 300), GaussianEvent(10.0, 1.0, 5)]
    at = epsilon(events, DELTA)
    profile = delta_profile(events, [0.0, at, 2 * at, 400.0])
    assert profile == sorted(profile, reverse=True)
    assert profile[1] == pytest.approx(DELTA, rel=1e-3)
    assert delta_profile([], [0.0, 1.0]) == [0.0, 0.0]


@pytest.mark.parametrize(("size", "expected"), [(1, 8.0), (2, 19.12), (5, 69.42)])
def test_all_records_of_a_patient_together_have_a_larger_epsilon(size, expected):
    sigma = math.sqrt(20) / gaussian_mu(8, DELTA)
    assert group_epsilon([GaussianEvent(sigma, 1.0, 20)], DELTA, size) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_sampled_group_is_bounded_by_its_records_in_every_step(size):
    sampled, full = [GaussianEvent(3.0, 0.2, 40)], [GaussianEvent(3.0, 1.0, 40)]
    assert group_epsilon(sampled, DELTA, size) < group_epsilon(full, DELTA, size)
    assert group_epsilon(sampled, DELTA, size) >= size * epsilon(sampled, DELTA) - 1e-9


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_group_of_one_step_is_no_better_than_its_best_distinguisher(size):
    """The attacker sees one sum in which each of the group's records is present with probability q."""
    sigma, q, threshold = 1.5, 0.2, np.linspace(-2, 12, 60)
    present = [math.comb(size, k) * q**k * (1 - q) ** (size - k) for k in range(size + 1)]
    found = sum(p * ndtr((k - threshold) / sigma) for k, p in enumerate(present))
    at = group_epsilon([GaussianEvent(sigma, q, 1)], DELTA, size)
    assert np.all(found - math.exp(at) * ndtr(-threshold / sigma) <= DELTA * (1 + 1e-3))


def test_what_is_no_rate_and_no_group_is_refused():
    with pytest.raises(ValueError, match="false_positive_rate"):
        attack.gaussian(1.0, 0.0)
    with pytest.raises(ValueError, match="group_size"):
        group_epsilon([], DELTA, 0)
