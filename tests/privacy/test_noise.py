"""The noise of whole sites, as the bytes of 2,000 replies: its size, its shape, and that nothing repeats it."""

import random
from functools import cache

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats

from fedpriv_client.audit.noise import check_no_seed, standard_correlation, unlabelled
from fedpriv_client.audit.restart import Restarts
from fedpriv_client.audit.subject import Subject, lab_contract, lab_plan, lab_site, values
from fedpriv_client.privacy.policy import Policy
from fedpriv_common.plan import Phase, Plan, RunSettings
from fedpriv_common.recipes import Recipe

FEATURES, ROUNDS, SITES = 100, 500, 4
PLAN = lab_plan(Recipe.FEDSGD_LOGREG, FEATURES, ROUNDS)
#: Five standard errors: a correlation of independent noise passes it once in two million.
LIMIT = 5.0


def seed_everything():
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


@cache  # 2,000 replies, fsynced twice each
def noise():
    """Replies of four sites on records without gradient, all seeds set before each; shape (sites, rounds, values)."""
    sites = []
    for _ in range(SITES):
        with lab_site(Subject(), PLAN, unlabelled(50, FEATURES)) as site:
            site.admit()
            rounds = []
            for number in range(1, ROUNDS + 1):
                seed_everything()
                rounds.append(values(site.release(number, Phase.TRAIN).payload))
            sites.append(rounds)
    return np.array(sites) / (PLAN.train.noise_multiplier * PLAN.train.max_grad_norm)


def test_its_standard_deviation_is_within_one_percent_of_what_is_charged():
    assert noise().size == SITES * ROUNDS * PLAN.model.n_parameters >= 200_000
    assert abs(np.sqrt(np.mean(noise() ** 2)) - 1) < 0.01


def test_it_is_normal():
    assert stats.kstest(noise().ravel(), "norm").pvalue > 1e-4


def test_it_is_independent_from_site_to_site():
    for one in range(SITES):
        for other in range(one):
            assert abs(standard_correlation(noise()[one].ravel(), noise()[other].ravel())) < LIMIT


@pytest.mark.parametrize("lag", [1, 2, 10, 250])
def test_it_is_independent_from_round_to_round(lag):
    assert abs(standard_correlation(noise()[:, lag:].ravel(), noise()[:, :-lag].ravel())) < LIMIT


def test_no_two_of_all_replies_have_noise_in_common():
    rows = noise().reshape(-1, PLAN.model.n_parameters)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    products = np.abs(unit @ unit.T)
    np.fill_diagonal(products, 0.0)
    # Two million pairs: 7 standard errors are passed by chance once in 100,000 times.
    assert products.max() * np.sqrt(rows.shape[1]) < 7.0
    assert np.unique(rows).size >= rows.size - 2


def test_two_processes_started_alike_have_nothing_in_common():
    with Restarts() as restarts:
        check = restarts.check()
    assert check.passed, check.figures


@pytest.mark.parametrize("name", ["seed", "random_seed", "noise_seed", "secure_mode", "generator"])
@pytest.mark.parametrize("model", [Plan, RunSettings, Policy])
def test_no_key_of_a_plan_run_or_policy_can_seed_it(model, name):
    valid = {Plan: PLAN.model_dump(), RunSettings: {}, Policy: {}}[model]
    model.model_validate(valid)
    with pytest.raises(ValidationError, match=name):
        model.model_validate(valid | {name: 0})
    assert check_no_seed().passed


def test_a_contract_cannot_name_a_seed_either():
    contract = lab_contract(2).model_dump()
    with pytest.raises(ValidationError, match="seed"):
        type(lab_contract(2)).model_validate(contract | {"seed": 0})
