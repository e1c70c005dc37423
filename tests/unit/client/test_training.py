"""The recipes against straightforward computations of the same formulas."""

import numpy as np
import pytest
import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import nn

from fedpriv_client.data.site_data import SiteData
from fedpriv_client.privacy.randomness import BenchmarkRandomness
from fedpriv_client.training import PerRecordGradients, Trainer
from fedpriv_common.model import ModelSpec, inputs
from fedpriv_common.plan import Phase, Plan
from fedpriv_common.table import UNLABELLED

from .conftest import plan_of, records

GENERATOR = np.random.default_rng(11)


class Noiseless(BenchmarkRandomness):
    """Draws samples from a seed and adds no noise, so that sums can be compared."""

    def gaussian(self, size, standard_deviation):
        return np.zeros(size)


def test_logistic_gradients_are_the_closed_form():
    data, spec = records(), ModelSpec(kind="logreg", n_features=30)
    weights, features = GENERATOR.normal(size=31), inputs(data.z, np.full(30, 0.1))
    (gradients,) = PerRecordGradients(spec).chunks(weights, features, data.labels)
    residuals = 1 / (1 + np.exp(-features @ weights)) - data.labels
    np.testing.assert_allclose(gradients, residuals[:, None] * features, atol=1e-12)


@pytest.mark.parametrize(
    "spec", [ModelSpec(kind="mlp", n_features=30), ModelSpec(kind="logreg", n_features=29, n_classes=4)]
)
def test_per_record_gradients_are_those_of_one_record_at_a_time(spec):
    data = records(8)
    labels = data.labels + (2 if spec.n_classes == 4 else 0)
    parameters = GENERATOR.normal(size=spec.n_parameters) * 0.1
    engine = PerRecordGradients(spec)
    (together,) = engine.chunks(parameters, data.z, labels)
    for index in range(8):
        (alone,) = engine.chunks(parameters, data.z[index : index + 1], labels[index : index + 1])
        np.testing.assert_allclose(together[index], alone[0], atol=1e-12)


def test_chunks_add_up_to_all_records():
    data, spec = records(2500), ModelSpec(kind="logreg", n_features=29)
    chunks = list(PerRecordGradients(spec).chunks(np.zeros(30), data.z, data.labels))
    assert [len(chunk) for chunk in chunks] == [1024, 1024, 452]


@pytest.mark.parametrize("proximal_mu", [0.0, 0.3])
def test_mlp_steps_are_those_of_opacus_dp_optimizer(proximal_mu):
    """Same samples, no noise: our step and DPOptimizer's end at the same parameters, with FedProx's term or not."""
    plan = plan_of(recipe="fedavg-mlp", rounds=1, local_steps=4)
    if proximal_mu:
        chosen = {"strategy": "fedprox", "strategy_options": {"proximal_mu": proximal_mu}}
        plan = Plan.model_validate(plan.model_dump() | chosen)
    data, start = records(), GENERATOR.normal(size=2114) * 0.2
    ours = start + Trainer(plan, data, Noiseless(5)).release(Phase.TRAIN, start, np.zeros(0))

    module = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 2)).double()
    with torch.no_grad():
        for target, values in zip(module.parameters(), plan.model.unflatten(start), strict=True):
            target.copy_(torch.from_numpy(values))
    wrapped = GradSampleModule(module, loss_reduction="sum")
    optimizer = DPOptimizer(
        torch.optim.SGD(wrapped.parameters(), lr=plan.local_learning_rate),
        noise_multiplier=0.0,
        max_grad_norm=plan.train.max_grad_norm,
        expected_batch_size=plan.batch_size,
        loss_reduction="mean",
    )
    sampler = BenchmarkRandomness(5)
    for _ in range(4):
        sampled = sampler.uniform(len(data)) < plan.train.sample_rate
        optimizer.zero_grad()
        scores = wrapped(torch.from_numpy(data.z[sampled]))
        torch.autograd.backward(
            nn.functional.cross_entropy(scores, torch.from_numpy(data.labels[sampled]), reduction="sum")
        )
        optimizer.pre_step()
        for parameter, values in zip(module.parameters(), plan.model.unflatten(start), strict=True):
            parameter.grad += proximal_mu * (parameter.detach() - torch.from_numpy(values))
        optimizer.original_optimizer.step()
    theirs = torch.cat([parameter.detach().flatten() for parameter in wrapped.parameters()]).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_the_centring_sum_is_clipped_per_record():
    plan, data = plan_of(), records()
    total = Trainer(plan, data, Noiseless(1)).release(Phase.CENTRE, np.zeros(0), np.zeros(0))
    bound = 0.4 * np.sqrt(30)
    expected = sum(z * min(1.0, bound / np.linalg.norm(z)) for z in data.z)
    np.testing.assert_allclose(total, expected)


@pytest.mark.parametrize("recipe", ["fedsgd-logreg", "fedavg-mlp"])
@pytest.mark.parametrize(
    "data",
    [
        SiteData(np.zeros((0, 30)), np.zeros(0, dtype=np.int64)),
        SiteData(np.zeros((5, 30)), np.full(5, UNLABELLED)),
        SiteData(np.ones((5, 30)), np.ones(5, dtype=np.int64)),
    ],
    ids=["empty", "unlabelled", "one class"],
)
def test_no_table_stops_a_round(recipe, data):
    plan = plan_of(recipe=recipe, **({"rounds": 1} if recipe == "fedavg-mlp" else {}))
    size = plan.model.n_parameters
    released = Trainer(plan, data, BenchmarkRandomness(2)).release(Phase.TRAIN, np.full(size, 0.1), np.zeros(30))
    assert released.shape == (size,)
    assert np.isfinite(released).all()


def test_empty_and_unlabelled_tables_release_the_same_noise():
    plan = plan_of()
    empty = SiteData(np.zeros((0, 30)), np.zeros(0, dtype=np.int64))
    unlabelled = SiteData(np.ones((9, 30)), np.full(9, UNLABELLED))
    trainers = [Trainer(plan, data, BenchmarkRandomness(2)) for data in (empty, unlabelled)]
    released = [trainer.release(Phase.TRAIN, np.ones(31), np.zeros(30)) for trainer in trainers]
    np.testing.assert_array_equal(*released)


@pytest.mark.parametrize("recipe", ["fedsgd-logreg", "fedavg-mlp"])
@pytest.mark.parametrize("value", [1e300, -1e300, 1e-320])
def test_hostile_parameters_give_a_bounded_answer(recipe, value):
    plan = plan_of(recipe=recipe, **({"rounds": 1} if recipe == "fedavg-mlp" else {}))
    data, size = records(), plan.model.n_parameters
    released = Trainer(plan, data, Noiseless(2)).release(Phase.TRAIN, np.full(size, value), np.zeros(30))
    steps = plan.train.steps
    scale = 1.0 if plan.batch_size is None else plan.local_learning_rate / plan.batch_size
    assert np.linalg.norm(released) <= steps * scale * len(data) * plan.train.max_grad_norm * (1 + 1e-9)
