"""Lower bounds on epsilon: published intervals, mechanisms whose epsilon is known, and what no bound may do."""

import numpy as np
import pytest
from scipy import stats

from fedpriv_client.audit.bounds import (
    LARGEST,
    clopper_pearson_epsilon,
    clopper_pearson_lower,
    clopper_pearson_upper,
    gaussian_mu_epsilon,
    gaussian_mu_lower,
)
from fedpriv_common.accounting import gaussian_epsilon, gaussian_mu

GENERATOR = np.random.default_rng(7)
DELTA = 1e-5


def normal_scores(mu, count=20_000):
    """What canaries of a μ-GDP Gaussian mechanism score, which were in, and on which a threshold is chosen."""
    included = np.arange(count) % 2 == 0
    return GENERATOR.normal(size=count) + mu * included, included, np.arange(count) % 4 < 2


@pytest.mark.parametrize(
    # Clopper & Pearson 1934, as in every table since: two-sided 95 %, so each side at 2.5 %.
    ("successes", "trials", "lower", "upper"),
    [
        (0, 10, 0.0, 0.3085),
        (1, 10, 0.0025, 0.4450),
        (5, 10, 0.1871, 0.8129),
        (10, 10, 0.6915, 1.0),
        (2, 100, 0.0024, 0.0704),
    ],
)
def test_limits_are_the_published_ones(successes, trials, lower, upper):
    found = float(successes)
    assert float(clopper_pearson_lower(np.array(found), trials, 0.025)) == pytest.approx(lower, abs=5e-5)
    assert float(clopper_pearson_upper(np.array(found), trials, 0.025)) == pytest.approx(upper, abs=5e-5)


@pytest.mark.parametrize("claim", [1.0, 3.0, 8.0])
def test_the_gaussian_bound_is_close_to_the_truth_and_rarely_above(claim):
    """At 95 % over 40 audits of 20,000 canaries: on average within a fifth, and above the truth in a few."""
    mu = gaussian_mu(claim, DELTA)
    bounds = np.array([gaussian_mu_epsilon(*normal_scores(mu)[:2], DELTA, 0.05) for _ in range(40)])
    assert 0.8 * claim < bounds.mean() < claim
    assert np.mean(bounds > claim) <= 0.05 + 5 * np.sqrt(0.05 * 0.95 / 40)


def test_the_gaussian_bound_covers_mu_as_often_as_it_says():
    """At 90 % confidence the bound is above the truth in 10 % of audits: 400 audits, ±6 standard errors."""
    above = [gaussian_mu_lower(*normal_scores(0.5, 2000)[:2], 0.1) > 0.5 for _ in range(400)]
    assert abs(np.mean(above) - 0.1) < 6 * np.sqrt(0.09 / 400)


def test_choosing_the_threshold_costs_no_confidence():
    """Without any difference to find, a threshold chosen and used on the same canaries would claim one."""
    bounds = [clopper_pearson_epsilon(*normal_scores(0.0, 2000), DELTA, 0.05) for _ in range(200)]
    assert np.mean(np.array(bounds) > 0) <= 0.05 + 6 * np.sqrt(0.05 * 0.95 / 200)


@pytest.mark.parametrize("mu", [0.27, 1.0, 3.0])
def test_no_bound_is_above_the_truth_at_the_audits_confidence(mu):
    scores, included, chosen = normal_scores(mu)
    truth = gaussian_epsilon(mu, DELTA)
    assert clopper_pearson_epsilon(scores, included, chosen, DELTA, 5e-6) <= truth
    assert gaussian_mu_epsilon(scores, included, DELTA, 5e-6) <= truth


def test_a_mechanism_without_noise_is_refuted_whatever_it_claims():
    scores, included, chosen = normal_scores(0.0)
    scores = included.astype(float)
    assert gaussian_mu_epsilon(scores, included, DELTA, 5e-6) == LARGEST
    # All that 5,000 canaries on each side can show without assumptions.
    assert 5.5 < clopper_pearson_epsilon(scores, included, chosen, DELTA, 5e-6) < 7.5


def test_canaries_that_score_lower_when_they_are_in_show_nothing():
    scores, included, chosen = normal_scores(-2.0)
    assert gaussian_mu_epsilon(scores, included, DELTA, 0.05) == 0.0
    assert clopper_pearson_epsilon(np.zeros(20_000), included, chosen, DELTA, 0.05) == 0.0


def test_randomised_response_is_bounded_by_its_epsilon():
    """A pure mechanism whose whole trade-off is two points: the Clopper–Pearson bound must find ε, from below."""
    _, included, chosen = normal_scores(0.0)
    epsilon = 2.0
    truthful = GENERATOR.random(20_000) < np.exp(epsilon) / (1 + np.exp(epsilon))
    scores = np.where(truthful, included, ~included).astype(float)
    assert 1.7 < clopper_pearson_epsilon(scores, included, chosen, 0.0, 0.05) < epsilon
    assert stats.binomtest(int(truthful.sum()), 20_000, np.exp(epsilon) / (1 + np.exp(epsilon))).pvalue > 1e-6
