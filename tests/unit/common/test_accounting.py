"""Epsilon against independent accountants, and the properties every accountant must have."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant

from fedpriv_common.accounting import (
    TARGET_SHARE,
    GaussianEvent,
    calibrate_noise,
    coalesce,
    epsilon,
    gaussian_delta,
    gaussian_epsilon,
    gaussian_mu,
    pld_epsilon,
    rdp_epsilon,
)

DELTA = 1e-5
sigmas = st.floats(0.5, 20)
steps = st.integers(1, 500)


@pytest.mark.parametrize(("target", "mu"), [(0.5, 0.142), (1, 0.268), (2, 0.502), (3, 0.719), (8, 1.666)])
def test_mu_matches_published_values_of_the_analytic_gaussian(target, mu):
    assert gaussian_mu(target, DELTA) == pytest.approx(mu, abs=6e-4)


@given(st.floats(0.05, 20), st.sampled_from([1e-9, 1e-6, 1e-5, 1e-3]))
def test_mu_and_epsilon_are_inverse(target, delta):
    assert gaussian_epsilon(gaussian_mu(target, delta), delta) == pytest.approx(target, rel=1e-6)


@given(st.floats(0.01, 30), st.floats(0, 200))
def test_delta_is_a_probability_and_falls_with_epsilon(mu, at):
    assert -1e-15 <= gaussian_delta(mu, at + 0.5) <= gaussian_delta(mu, at) + 1e-15 <= 1 + 1e-14


@pytest.mark.parametrize("events", [[(14.2, 13), (11.8, 1)], [(4.5, 50)], [(1.0, 1)], [(2.0, 7), (3.0, 9), (0.9, 1)]])
def test_full_batch_epsilon_is_exact(events):
    """PLD is an upper bound within its discretisation; the closed form must lie on it from below."""
    charged = [GaussianEvent(sigma, 1.0, count) for sigma, count in events]
    exact, oracle = epsilon(charged, DELTA), pld_epsilon(charged, DELTA)
    assert exact <= oracle + 1e-9
    assert exact == pytest.approx(oracle, rel=1e-4)


@pytest.mark.parametrize(("sigma", "rate", "count"), [(1.0, 32 / 228, 7), (1.0, 32 / 228, 214), (2.3, 0.2, 50)])
def test_sampled_epsilon_agrees_with_opacus_prv(sigma, rate, count):
    oracle = PRVAccountant()
    oracle.history = [(sigma, rate, count)]
    assert epsilon([GaussianEvent(sigma, rate, count)], DELTA) == pytest.approx(
        oracle.get_epsilon(delta=DELTA, eps_error=0.01), abs=0.02
    )


def test_a_fresh_accountant_per_round_would_under_report():
    """The published trap: σ 1, 8 steps of q = 1/8 a round say 3.17 every round; 30 rounds are 14.07."""
    assert epsilon([GaussianEvent(1.0, 1 / 8, 8)], DELTA) == pytest.approx(3.175, abs=0.005)
    assert epsilon([GaussianEvent(1.0, 1 / 8, 8)] * 30, DELTA) == pytest.approx(14.07, abs=0.01)


@settings(max_examples=25, deadline=None)
@given(sigmas, st.floats(0.01, 0.5), steps)
def test_pld_is_never_above_rdp(sigma, rate, count):
    event = [GaussianEvent(sigma, rate, count)]
    assert pld_epsilon(event, DELTA) <= rdp_epsilon(event, DELTA) * 1.001 + 1e-3


@given(st.lists(st.tuples(sigmas, steps), min_size=1, max_size=5), sigmas, steps)
def test_releasing_more_never_costs_less(history, sigma, count):
    charged = [GaussianEvent(s, 1.0, c) for s, c in history]
    assert epsilon([*charged, GaussianEvent(sigma, 1.0, count)], DELTA) >= epsilon(charged, DELTA)


@given(st.lists(st.tuples(st.sampled_from([1.0, 2.0]), st.sampled_from([0.1, 1.0]), steps), min_size=1, max_size=8))
def test_coalescing_keeps_every_step(history):
    events = [GaussianEvent(*event) for event in history]
    merged = coalesce(events)
    assert sum(event.steps for event in merged) == sum(event.steps for event in events)
    assert len({(event.noise_multiplier, event.sample_rate) for event in merged}) == len(merged)
    assert coalesce(reversed(events)) == merged


def test_calibration_stays_below_the_target_and_close_to_it():
    scale = calibrate_noise(lambda s: [GaussianEvent(s, 1.0, 20)], 1.0, DELTA)
    assert 0.998 <= epsilon([GaussianEvent(scale, 1.0, 20)], DELTA) <= TARGET_SHARE


def test_calibration_counts_history():
    history = [GaussianEvent(1.0, 1 / 8, 40)]
    scale = calibrate_noise(lambda s: [*history, GaussianEvent(s, 1 / 8, 200)], 8.0, DELTA)
    assert scale == pytest.approx(1.696, abs=0.01)  # ignoring history gives 1.313 and a true epsilon of 9.91


def test_no_noise_can_mend_an_exhausted_history():
    with pytest.raises(ValueError, match="no noise"):
        calibrate_noise(lambda s: [GaussianEvent(0.5, 1.0, 10), GaussianEvent(s, 1.0, 1)], 1.0, DELTA)


@pytest.mark.parametrize("event", [(0, 1, 1), (math.nan, 1, 1), (1, 0, 1), (1, 1.1, 1), (1, 1, 0)])
def test_impossible_events_are_refused(event):
    with pytest.raises(ValueError, match="must be"):
        GaussianEvent(*event)
