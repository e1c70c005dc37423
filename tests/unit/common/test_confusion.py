"""Rates from noisy counts: the noise's distribution, the intervals' coverage, and what odd counts lead to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpriv_common.confusion import CONFIDENCE, confusion_matrix, figures, noise_distribution
from fedpriv_common.model import ModelKind, ModelSpec

SPEC = ModelSpec(kind=ModelKind.LOGREG, n_features=2)


@pytest.mark.parametrize(("cells", "epsilon"), [(1, 0.3), (1, 1.0), (2, 1.0), (3, 0.7), (1, 20.0)])
def test_the_noise_of_a_sum_is_the_convolution_of_its_cells(cells: int, epsilon: float) -> None:
    a = math.exp(-epsilon)
    reach = math.ceil(40 / epsilon)
    one = (1 - a) / (1 + a) * a ** np.abs(np.arange(-reach, reach + 1))
    expected = one
    for _ in range(cells - 1):
        expected = np.convolve(expected, one)
    found = noise_distribution(cells, epsilon)
    middle, half = len(expected) // 2, len(found) // 2
    np.testing.assert_allclose(found, expected[middle - half : middle + half + 1], atol=1e-12)
    assert 1 - 1e-5 < found.sum() <= 1 + 1e-9


def test_a_record_is_in_one_cell_and_an_unlabelled_one_in_none() -> None:
    z = np.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 1.0], [0.5, 0.0]])
    matrix = confusion_matrix(SPEC, np.array([1.0, 0.0, 0.0]), np.zeros(2), z, np.array([1, 1, 0, -1]))
    np.testing.assert_array_equal(matrix, [[0, 1], [1, 1]])
    nobody = confusion_matrix(SPEC, np.zeros(3), np.zeros(2), np.zeros((0, 2)), np.zeros(0, dtype=np.int64))
    np.testing.assert_array_equal(nobody, np.zeros((2, 2)))


@given(st.lists(st.floats(-1e308, 1e308), min_size=3, max_size=3), st.floats(-1, 1), st.integers(-1, 1))
def test_whatever_the_parameters_one_record_changes_one_cell_by_one(
    parameters: list[float], value: float, label: int
) -> None:
    z, labels = np.array([[value, -value], [value, 1.0]]), np.array([label, 1])
    both = confusion_matrix(SPEC, np.array(parameters), np.zeros(2), z, labels)
    one = confusion_matrix(SPEC, np.array(parameters), np.zeros(2), z[1:], labels[1:])
    assert np.abs(both - one).sum() == (label >= 0)


def test_rates_of_counts_without_noise_are_those_of_the_counts() -> None:
    found = figures([np.array([[90, 10], [5, 45]])], epsilon=50.0)
    assert found["accuracy"].value == 135 / 150
    assert (found["specificity"].value, found["sensitivity"].value) == (0.9, 0.9)
    assert found["balanced_accuracy"].value == pytest.approx(0.9)
    assert set(figures([np.eye(3, dtype=np.int64)], epsilon=1.0)) == {"accuracy", "balanced_accuracy"}
    # A beta posterior's 95 % interval (Wilson's, 0.842 to 0.938, to the width of a cell of the grid).
    assert found["accuracy"].low == pytest.approx(0.845, abs=0.006)
    assert found["accuracy"].high == pytest.approx(0.943, abs=0.006)


def test_intervals_hold_the_true_rate_as_often_as_they_say() -> None:
    generator = np.random.default_rng(11)
    sites, epsilon, sensitivity, specificity, trials = 3, 1.0, 0.85, 0.95, 100
    truth = {"accuracy": 0.6 * specificity + 0.4 * sensitivity, "sensitivity": sensitivity, "specificity": specificity}
    cells = [0.6 * specificity, 0.6 * (1 - specificity), 0.4 * (1 - sensitivity), 0.4 * sensitivity]
    held = dict.fromkeys(truth, 0)
    for _ in range(trials):
        noise = np.diff(generator.geometric(-math.expm1(-epsilon), (2, sites, 4)), axis=0)[0]
        found = figures([m.reshape(2, 2) for m in generator.multinomial(60 // sites, cells, sites) + noise], epsilon)
        for name, rate in truth.items():
            held[name] += found[name].low <= rate <= found[name].high
    # Three standard errors of 100 trials below what is said.
    for name, count in held.items():
        assert count / trials >= CONFIDENCE - 0.066, name


@settings(max_examples=20, deadline=None)
@given(
    st.integers(2, 3).flatmap(
        lambda c: st.lists(
            st.lists(st.lists(st.integers(-500, 500), min_size=c, max_size=c), min_size=c, max_size=c),
            min_size=1,
            max_size=3,
        )
    ),
    st.sampled_from([0.01, 0.5, 1.0, 8.0]),
)
def test_every_matrix_gives_an_interval_within_0_and_1(matrices: list[list[list[int]]], epsilon: float) -> None:
    for rate in figures([np.array(matrix) for matrix in matrices], epsilon).values():
        assert 0 <= rate.low < rate.high <= 1
        assert rate.value is None or 0 <= rate.value <= 1


def test_more_noise_makes_a_wider_interval() -> None:
    matrix = np.array([[90, 10], [5, 45]])
    widths = [figures([matrix], epsilon)["accuracy"] for epsilon in (0.1, 1.0, 8.0)]
    assert [rate.high - rate.low for rate in widths] == sorted((rate.high - rate.low for rate in widths), reverse=True)
