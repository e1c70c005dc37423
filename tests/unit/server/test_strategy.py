"""Strategies against their formulas, and what no site can make of them."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from fedpriv_common.contract import load_contract
from fedpriv_common.plan import Phase, Plan, RunSettings, make_plan
from fedpriv_common.recipes import Recipe
from fedpriv_server.aggregation import mean, trimmed_mean
from fedpriv_server.strategy import (
    Averaging,
    FedAdam,
    FedSGD,
    Iterate,
    Strategy,
    centre_from_sums,
    make_strategy,
    reply_bound,
    reply_size,
)

CONTRACT = load_contract("breast-cancer-wisconsin")
PLAN = make_plan(RunSettings(), CONTRACT)
#: The MLP recipe with constants instead of a calibration, which takes seconds and is not what is tested.
MLP = Plan.model_validate(
    {
        **make_plan(RunSettings(), CONTRACT).model_dump(),
        "recipe": Recipe.FEDAVG_MLP,
        "strategy": "fedavg",
        "centre": None,
        "model": {"kind": "mlp", "n_features": 30, "n_classes": 2, "hidden": 64},
        "train": {**PLAN.train.model_dump(), "max_grad_norm": 1.0, "sample_rate": 0.2, "steps": 5, "rounds": 4},
        "local_learning_rate": 0.5,
        "batch_size": 32,
        "average_from": 4,
        "evaluate": None,
    }
)
Array = NDArray[np.float64]
SIZE = 7
vectors = arrays(np.float64, SIZE, elements=st.floats(-1e6, 1e6))
replies = st.lists(vectors, min_size=1, max_size=6)
FEDAVG = Averaging(mean)


def stepped(strategy: Strategy, parameters: Array, answers: list[Array]) -> Array:
    """The parameters after a first round."""
    return strategy.step(1, parameters, (), answers)[0]


@given(vectors, replies)
def test_fedsgd_steps_along_the_sum_over_declared_records(parameters: Array, sums: list[Array]) -> None:
    strategy = FedSGD(learning_rate=3.0, nominal_size=460, max_grad_norm=0.1)
    expected = parameters - 3.0 * np.sum(sums, axis=0) / (460 * 0.1)
    np.testing.assert_allclose(stepped(strategy, parameters, sums), expected, rtol=1e-9, atol=1e-6)


@given(vectors, replies)
def test_fedavg_moves_by_the_plain_mean_whoever_answers(parameters: Array, deltas: list[Array]) -> None:
    expected = parameters + np.mean(deltas, axis=0)
    np.testing.assert_allclose(stepped(FEDAVG, parameters, deltas), expected, rtol=1e-9, atol=1e-6)


@given(vectors, replies)
def test_a_step_changes_nothing_that_it_was_given(parameters: Array, deltas: list[Array]) -> None:
    before = parameters.copy(), [delta.copy() for delta in deltas]
    memory = (np.ones(SIZE), np.ones(SIZE))
    robust = Averaging(lambda answers: trimmed_mean(answers, 0.2))
    strategies: tuple[Strategy, ...] = (FEDAVG, FedSGD(1.0, 1, 1.0), robust, FedAdam(mean, 0.1, 0.9, 0.99, 1e-3))
    for strategy in strategies:
        strategy.step(2, parameters, memory, deltas)
    assert all((array == 1.0).all() for array in memory)
    assert np.array_equal(parameters, before[0])
    assert all(np.array_equal(delta, old) for delta, old in zip(deltas, before[1], strict=True))


def test_a_step_without_replies_or_of_mixed_shapes_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one reply"):
        stepped(FEDAVG, np.zeros(3), [])
    with pytest.raises(ValueError, match="shapes"):
        stepped(FEDAVG, np.zeros(3), [np.zeros(3), np.zeros(4)])


@pytest.mark.parametrize("field", ["learning_rate", "nominal_size", "max_grad_norm"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_fedsgd_refuses_parameters_that_are_not_positive(field: str, value: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        FedSGD(**cast(Any, {"learning_rate": 1.0, "nominal_size": 1, "max_grad_norm": 1.0, field: value}))


def with_strategy(plan: Plan, name: str, **options: float) -> Plan:
    return Plan.model_validate({**plan.model_dump(), "strategy": name, "strategy_options": options})


ADAM = {"eta": 0.1, "beta_1": 0.9, "beta_2": 0.99, "tau": 1e-3}


def test_strategies_are_chosen_by_name() -> None:
    assert make_strategy(PLAN) == FedSGD(PLAN.learning_rate, PLAN.nominal_size, PLAN.train.max_grad_norm)
    assert make_strategy(MLP) == FEDAVG
    assert make_strategy(with_strategy(MLP, "fedprox", proximal_mu=0.1)) == FEDAVG
    assert make_strategy(with_strategy(MLP, "fedadam", **ADAM)) == FedAdam(mean, **ADAM)


@given(st.lists(arrays(np.float64, 31, elements=st.floats(-1e3, 1e3)), min_size=3, max_size=3))
def test_with_every_reply_fedavg_of_one_full_batch_step_is_fedsgd(sums: list[Array]) -> None:
    expected = stepped(make_strategy(PLAN), np.zeros(31), sums)
    fedavg = make_strategy(with_strategy(PLAN, "fedavg"))
    np.testing.assert_allclose(stepped(fedavg, np.zeros(31), sums), expected, rtol=1e-9, atol=1e-9)


def test_of_summed_gradients_fedadam_sees_the_step_over_declared_records_downhill() -> None:
    sums = [np.full(31, 2.0), np.full(31, 4.0)]
    change = -6.0 / (PLAN.nominal_size * PLAN.train.max_grad_norm)
    _, (m, v) = make_strategy(with_strategy(PLAN, "fedadam", **ADAM)).step(1, np.zeros(31), (), sums)
    np.testing.assert_allclose(m, 0.1 * change)
    np.testing.assert_allclose(v, 0.01 * change**2)


# -- centring ----------------------------------------------------------------------------------------------------------

sums_of_features = st.lists(arrays(np.float64, 30, elements=st.floats(-1e4, 1e4)), min_size=1, max_size=5)


@given(sums_of_features)
def test_shrinking_keeps_the_direction_and_never_lengthens(sums: list[Array]) -> None:
    mean, centre = np.sum(sums, axis=0) / PLAN.nominal_size, centre_from_sums(PLAN, sums)
    assert np.linalg.norm(centre) <= np.linalg.norm(mean) * (1 + 1e-12)
    assert np.abs(centre).max() <= 1.0
    if np.abs(centre).max() == 1.0:
        return  # some features were beyond what features can be
    np.testing.assert_allclose(
        centre * np.linalg.norm(mean), mean * np.linalg.norm(centre), rtol=1e-7, atol=1e-9 * (1 + mean @ mean)
    )


def test_shrinking_is_the_positive_part_james_stein_estimator() -> None:
    assert PLAN.centre is not None
    rng = np.random.default_rng(1)
    sums = [rng.normal(size=30) * 200 for _ in range(3)]
    mean = np.sum(sums, axis=0) / PLAN.nominal_size
    variance = 3 * (PLAN.centre.noise_multiplier * PLAN.centre.max_grad_norm / PLAN.nominal_size) ** 2
    factor = 1 - 28 * variance / (mean @ mean)
    assert 0 < factor < 1
    np.testing.assert_allclose(centre_from_sums(PLAN, sums), np.clip(factor * mean, -1, 1), rtol=1e-12)
    assert not centre_from_sums(PLAN, [sums[0] * 1e-4]).any(), "what is all noise is shrunk to nothing"
    assert not centre_from_sums(PLAN, [np.zeros(30)]).any()


def test_shrinking_brings_the_centre_nearer_to_the_truth() -> None:
    assert PLAN.centre is not None
    rng = np.random.default_rng(2)
    truth = np.full(30, 0.1)
    noise = PLAN.centre.noise_multiplier * PLAN.centre.max_grad_norm
    raw, shrunk = 0.0, 0.0
    for _ in range(200):
        sums = [truth * PLAN.nominal_size / 3 + rng.normal(size=30) * noise for _ in range(3)]
        raw += np.sum((np.sum(sums, axis=0) / PLAN.nominal_size - truth) ** 2)
        shrunk += np.sum((centre_from_sums(PLAN, sums) - truth) ** 2)
    assert shrunk < raw


# -- the bound on replies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan, phase", [(PLAN, Phase.CENTRE), (PLAN, Phase.TRAIN), (MLP, Phase.TRAIN)])
def test_an_honest_reply_of_twice_the_declared_records_is_below_the_bound(plan: Plan, phase: Phase) -> None:
    release, size = plan.release(phase), reply_size(plan, phase)
    assert release is not None
    rng = np.random.default_rng(3)
    for _ in range(200):
        noise = rng.normal(size=size) * release.noise_multiplier * release.max_grad_norm
        records = np.eye(size)[0] * release.max_grad_norm * 2 * plan.nominal_size
        scale = 1.0
        if plan.recipe is Recipe.FEDAVG_MLP:
            assert plan.local_learning_rate is not None
            assert plan.batch_size is not None
            scale = release.steps * plan.local_learning_rate / plan.batch_size
        assert np.linalg.norm(scale * (records + noise)) < reply_bound(plan, phase)


def test_the_bound_keeps_a_hostile_reply_from_making_the_model_infinite() -> None:
    hostile = np.full(PLAN.model.n_parameters, reply_bound(PLAN, Phase.TRAIN))
    iterate = Iterate.first(PLAN, b"seed")
    for _ in range(PLAN.rounds):
        iterate = iterate.trained(PLAN, make_strategy(PLAN), [hostile] * 3)
    assert np.abs(iterate.published()).max() < 1e5
    with pytest.raises(ValueError, match="no evaluate phase"):
        reply_bound(PLAN, Phase.EVALUATE)


# -- averaging ---------------------------------------------------------------------------------------------------------


@given(st.data())
def test_the_published_model_is_the_mean_of_the_tails_iterates(data: st.DataObject) -> None:
    size = PLAN.model.n_parameters
    iterate, iterates = Iterate.first(PLAN, b"seed"), []
    for _ in range(PLAN.rounds):
        seed = data.draw(st.integers(0, 2**32 - 1))
        before = iterate
        iterate = iterate.trained(PLAN, make_strategy(PLAN), [np.random.default_rng(seed).normal(size=size)])
        iterates.append(iterate.parameters)
        if iterate.round < PLAN.average_from:
            assert np.array_equal(iterate.published(), iterate.parameters)
        assert before.round == iterate.round - 1, "an iterate is a value"
    tail = iterates[PLAN.average_from - 1 :]
    np.testing.assert_allclose(iterate.published(), np.mean(tail, axis=0), rtol=1e-9, atol=1e-12)


def test_the_start_of_a_model_that_needs_a_draw_follows_from_its_seed() -> None:
    assert np.array_equal(Iterate.first(MLP, b"a").parameters, Iterate.first(MLP, b"a").parameters)
    assert not np.array_equal(Iterate.first(MLP, b"a").parameters, Iterate.first(MLP, b"b").parameters)
    assert not Iterate.first(PLAN, b"a").parameters.any()
