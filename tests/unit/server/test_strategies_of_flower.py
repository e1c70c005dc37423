"""The oracle: on the same inputs, our strategies give what Flower's own classes of the same name give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest
from flwr.app import Array as FlowerArray
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.app.metadata import Metadata
from flwr.serverapp import strategy as flower
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from fedpriv_server.adam import FedAdam, Memory
from fedpriv_server.aggregation import krum, mean, trimmed_mean
from fedpriv_server.strategy import Averaging, Strategy

Array = NDArray[np.float64]
SIZE = 5
#: Numbers of which sums and products are exact, so that ties are ties for both.
vectors = arrays(np.float64, SIZE, elements=st.integers(-1000, 1000).map(float))
shares = st.floats(0.0, 0.999)


def record(parameters: Array) -> ArrayRecord:
    return ArrayRecord({"w": FlowerArray(parameters)})


def theirs(oracle: flower.FedAvg, start: Array, rounds: Sequence[Sequence[Array]]) -> Array:
    """Parameters after `rounds` of changes, by Flower: its replies are whole models, of one example each."""
    parameters = start
    for number, changes in enumerate(rounds, 1):
        if hasattr(oracle, "current_arrays"):
            oracle.current_arrays = {"w": parameters}  # what its configure_train keeps of the model that it sends
        replies = []
        for node, change in enumerate(changes, 1):
            content = RecordDict({"arrays": record(parameters + change), "m": MetricRecord({"num-examples": 1.0})})
            metadata = Metadata(1, "", node, 0, "asked", "", 0.0, 60.0, "train")
            replies.append(cast(Any, Message)(metadata=metadata, content=content))
        aggregated, _ = oracle.aggregate_train(number, replies)
        assert aggregated is not None
        parameters = aggregated["w"].numpy()
    return parameters


def ours(strategy: Strategy, start: Array, rounds: Sequence[Sequence[Array]]) -> Array:
    parameters, memory = start, cast(Memory, ())
    for number, changes in enumerate(rounds, 1):
        parameters, memory = strategy.step(number, parameters, memory, changes)
    return parameters


def several(least: int, most: int = 9) -> st.SearchStrategy[list[Array]]:
    return st.lists(vectors, min_size=least, max_size=most)


@settings(max_examples=40)
@given(vectors, st.lists(several(1), min_size=1, max_size=3))
def test_fedavg_is_flowers(start: Array, rounds: list[list[Array]]) -> None:
    np.testing.assert_allclose(
        ours(Averaging(mean), start, rounds), theirs(flower.FedAvg(), start, rounds), rtol=1e-9, atol=1e-9
    )


@settings(max_examples=40)
@given(vectors, st.lists(several(1), min_size=1, max_size=5), st.floats(1e-3, 10), shares, shares, st.floats(1e-6, 1))
def test_fedadam_is_flowers_over_several_rounds(
    start: Array, rounds: list[list[Array]], eta: float, beta_1: float, beta_2: float, tau: float
) -> None:
    oracle = flower.FedAdam(eta=eta, beta_1=beta_1, beta_2=beta_2, tau=tau)
    expected = theirs(oracle, start, rounds)
    np.testing.assert_allclose(
        ours(FedAdam(mean, eta, beta_1, beta_2, tau), start, rounds), expected, rtol=1e-6, atol=1e-6
    )


@settings(max_examples=40)
@given(vectors, several(1), st.floats(0.0, 0.499))
def test_the_trimmed_mean_is_flowers(start: Array, changes: list[Array], beta: float) -> None:
    oracle = flower.FedTrimmedAvg(beta=beta)
    strategy = Averaging(lambda replies: trimmed_mean(replies, beta))
    np.testing.assert_allclose(ours(strategy, start, [changes]), theirs(oracle, start, [changes]), rtol=1e-9, atol=1e-9)


@settings(max_examples=40)
@given(vectors, st.integers(1, 3).flatmap(lambda f: st.tuples(st.just(f), several(2 * f + 3, 2 * f + 5))))
def test_krum_is_flowers(start: Array, drawn: tuple[int, list[Array]]) -> None:
    hostile, changes = drawn
    scores = np.sort(_krum_scores(changes, hostile))
    assume(scores[0] < scores[1])  # of equal ones, Flower's unstable sort may take any
    strategy = Averaging(lambda replies: krum(replies, hostile))
    expected = theirs(flower.Krum(num_malicious_nodes=hostile), start, [changes])
    assert np.array_equal(ours(strategy, start, [changes]), expected)


def _krum_scores(changes: Sequence[Array], hostile: int) -> list[float]:
    nearest = len(changes) - hostile - 2
    return [float(np.sort([np.sum((a - b) ** 2) for b in changes])[1 : nearest + 1].sum()) for a in changes]


@pytest.mark.parametrize("combine", [lambda replies: krum(replies, 1), lambda replies: trimmed_mean(replies, 0.2)])
@given(st.integers(0, 2**32 - 1), st.floats(10.0, 1e6))
def test_one_hostile_site_of_seven_cannot_carry_the_result_away(
    combine: Callable[[Sequence[Array]], Array], seed: int, length: float
) -> None:
    generator = np.random.default_rng(seed)
    honest = [1.0 + generator.normal(scale=0.1, size=SIZE) for _ in range(6)]
    hostile = -length * np.ones(SIZE)
    assert np.linalg.norm(combine([*honest, hostile]) - 1.0) < 1.0
    assert np.linalg.norm(mean([*honest, hostile]) - 1.0) > 1.0


def test_too_few_replies_and_too_large_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot choose among 4"):
        krum([np.zeros(2)] * 4, 1)
    with pytest.raises(ValueError, match="leaves nobody"):
        trimmed_mean([np.zeros(2)] * 4, 0.5)
