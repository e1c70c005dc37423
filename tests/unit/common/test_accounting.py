"""Epsilon against independent accountants, and the properties every accountant must have.

The whole range of parameters, and what takes longer, is in tests/privacy/.
"""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant

from fedpriv_common.accounting import (
    TARGET_SHARE,
    Adjacency,
    GaussianEvent,
    calibrate_noise,
    coalesce,
    epsilon,
    gaussian_delta,
    gaussian_epsilon,
    gaussian_mu,
    pld_epsilon,
    rdp_epsilon,
    within,
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


def test_exchanging_a_record_costs_more_than_adding_one():
    """The published example: 30 rounds of σ 1, q 1/8, 8 steps."""
    events = [GaussianEvent(1.0, 1 / 8, 240)]
    assert epsilon(events, DELTA) == pytest.approx(14.07, abs=0.01)
    assert epsilon(events, DELTA, Adjacency.REPLACE_ONE) == pytest.approx(23.38, abs=0.04)


@given(sigmas, steps)
def test_exchanging_a_record_of_a_full_batch_doubles_its_mu(sigma, count):
    doubled = epsilon([GaussianEvent(sigma / 2, 1.0, count)], DELTA)
    assert epsilon([GaussianEvent(sigma, 1.0, count)], DELTA, Adjacency.REPLACE_ONE) == pytest.approx(doubled, rel=1e-9)


sampled = st.builds(GaussianEvent, st.floats(0.8, 10), st.floats(0.01, 0.5), st.integers(1, 200))
full = st.builds(GaussianEvent, sigmas, st.just(1.0), steps)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.one_of(sampled, full), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_neither_order_nor_splitting_of_steps_matters(events, random):
    pieces = []
    for event in events:
        cut = random.randint(0, event.steps)
        parts = [part for part in (cut, event.steps - cut) if part]
        pieces += [GaussianEvent(event.noise_multiplier, event.sample_rate, part) for part in parts]
    random.shuffle(pieces)
    assert epsilon(pieces, DELTA) == epsilon(coalesce(pieces), DELTA) == epsilon(events, DELTA)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.one_of(sampled, full), min_size=1, max_size=3), st.floats(0.1, 30))
def test_admission_agrees_with_the_account_of_record(events, limit):
    total = epsilon(events, DELTA)
    fits, bound = within(events, limit, DELTA)
    assert fits == (total <= limit)
    assert bound >= total
    assert fits == (bound <= limit)


def test_faint_releases_are_not_lost_in_rounding():
    """10^15 steps of σ 1e9 at q 1/2 are a Gaussian mechanism of μ 0.0158, though a step's divergence is below 1e-18."""
    at_least = gaussian_epsilon(0.5 * math.sqrt(1e15) / 1e9, DELTA)
    assert at_least <= epsilon([GaussianEvent(1e9, 0.5, 10**15)], DELTA) <= 1.5 * at_least


@pytest.mark.parametrize("delta", [1e-15, 1e-12, 1e-9])
def test_a_tiny_delta_is_accounted(delta):
    events = [GaussianEvent(1.0, 0.01, 1000)]
    assert epsilon(events, 1e-8) < epsilon(events, delta) <= rdp_epsilon(events, delta) < 10


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
def test_an_impossible_delta_is_refused(delta):
    with pytest.raises(ValueError, match="delta must be"):
        epsilon([GaussianEvent(1.0, 1.0, 1)], delta)


@pytest.mark.parametrize("at", [0.0, 1e-9, 1e-3, 50.0, 5e3])
@pytest.mark.parametrize("delta", [1e-15, 1e-5])
def test_the_mu_of_an_epsilon_never_exceeds_it(at, delta):
    assert gaussian_epsilon(gaussian_mu(at, delta), delta) <= at * (1 + 1e-9)


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


@pytest.mark.parametrize(
    "history", [[GaussianEvent(30.0, 1.0, 10)], [GaussianEvent(4.0, 0.1, 60), GaussianEvent(30.0, 1.0, 3)]]
)
@pytest.mark.parametrize("target", [1.0, 8.0])
def test_a_history_and_the_plan_calibrated_on_it_use_the_target_and_no_more(history, target):
    def charges(scale):
        return [*history, GaussianEvent(scale, 0.2, 50)]

    total = epsilon(charges(calibrate_noise(charges, target, DELTA)), DELTA)
    assert 0.99 * target < total <= TARGET_SHARE * target


def test_calibration_counts_history():
    history = [GaussianEvent(1.0, 1 / 8, 40)]
    scale = calibrate_noise(lambda s: [*history, GaussianEvent(s, 1 / 8, 200)], 8.0, DELTA)
    assert scale == pytest.approx(1.696, abs=0.005)  # ignoring history gives 1.313 and a true epsilon of 9.91


def test_no_noise_can_mend_an_exhausted_history():
    with pytest.raises(ValueError, match="no noise"):
        calibrate_noise(lambda s: [GaussianEvent(0.5, 1.0, 10), GaussianEvent(s, 1.0, 1)], 1.0, DELTA)


@pytest.mark.parametrize("event", [(0, 1, 1), (math.nan, 1, 1), (1, 0, 1), (1, 1.1, 1), (1, 1, 0)])
def test_impossible_events_are_refused(event):
    with pytest.raises(ValueError, match="must be"):
        GaussianEvent(*event)
