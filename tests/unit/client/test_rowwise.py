"""One record more changes nothing about the others, whatever a server asks: not their scores, not their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from opacus import GradSampleModule
from torch import nn

from fedpriv_client.audit.clipping import Silent
from fedpriv_client.data.site_data import Records, SiteData
from fedpriv_client.rowwise import RowLinear, rows_within
from fedpriv_client.training import Trainer
from fedpriv_common.contract import load_contract
from fedpriv_common.model import row_by_row
from fedpriv_common.plan import Phase, RunSettings, make_plan

PLAN = make_plan(RunSettings(), load_contract("breast-cancer-wisconsin"))


@pytest.mark.parametrize("count", range(220, 228))
def test_under_parameters_that_cancel_a_record_moves_what_it_is_charged_for(count: int) -> None:
    """With a matrix kernel a record moved the sum by 4C and seven counts."""
    rng = np.random.default_rng(count)
    z, labels = rng.uniform(-1, 1, (count, 30)), np.zeros(count, dtype=np.int64)
    for _ in range(20):
        centre = 1e17 * rng.choice([-1, 1], 30) * rng.uniform(0.5, 1, 30)
        weights = rng.normal(size=31) * 1e3
        weights[:30] -= centre * (centre @ weights[:30]) / (centre @ centre)

        def release(n: int, phase: Phase, at: tuple[np.ndarray, np.ndarray] = (weights, centre)) -> np.ndarray:
            data = SiteData(z[:n], labels[:n], Records(z[:n], labels[:n]))
            return Trainer(PLAN, data, Silent()).release(phase, *at)

        moved = release(count, Phase.TRAIN) - release(count - 1, Phase.TRAIN)
        assert np.linalg.norm(moved) <= PLAN.train.max_grad_norm * (1 + 1e-9)
        assert np.abs(release(count, Phase.EVALUATE) - release(count - 1, Phase.EVALUATE)).sum() <= 1


def test_a_row_of_a_product_depends_on_that_row_alone() -> None:
    rng = np.random.default_rng(5)
    rows, weights = rng.normal(size=(67, 31)) * 1e8, rng.normal(size=(5, 31))
    whole = row_by_row(rows, weights)
    np.testing.assert_allclose(whole, rows @ weights.T, rtol=1e-9, atol=1e-4)
    for n in range(1, 68):
        np.testing.assert_array_equal(row_by_row(rows[:n], weights), whole[:n])
        np.testing.assert_array_equal(row_by_row(np.asfortranarray(rows[:n]), weights), whole[:n])


def test_its_gradients_are_those_of_a_linear_layer() -> None:
    torch.manual_seed(2)
    ours = nn.Sequential(RowLinear(6, 4), nn.ReLU(), RowLinear(4, 3))
    theirs = nn.Sequential(nn.Linear(6, 4, dtype=torch.float64), nn.ReLU(), nn.Linear(4, 3, dtype=torch.float64))
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        mine.data = other.data.clone()
    features, labels = torch.randn(9, 6, dtype=torch.float64), torch.randint(0, 3, (9,))
    modules = [GradSampleModule(module, loss_reduction="sum") for module in (ours, theirs)]
    for module in modules:
        torch.autograd.backward(nn.CrossEntropyLoss(reduction="sum")(module(features), labels))
    for mine, other in zip(*(module.parameters() for module in modules), strict=True):
        torch.testing.assert_close(mine.grad_sample, other.grad_sample, rtol=1e-12, atol=1e-14)


def test_memory_does_not_follow_the_models_size() -> None:
    assert rows_within(31, 8 * 2**20, 1024) == 1024
    assert rows_within(2114, 8 * 2**20, 1024) == 496
    assert rows_within(10**9, 8 * 2**20, 1024) == 1
