"""The release step against Opacus and plain numpy; the noise against its distribution."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from scipy import stats
from torch import nn

from fedpriv_client.privacy.randomness import BenchmarkRandomness, SystemRandomness
from fedpriv_client.privacy.release import clip, noisy_sum

any_float = st.floats(allow_nan=True, allow_infinity=True, width=64)


class Silent:
    """No noise: what is left is the clipped sum."""

    is_private = False

    def gaussian(self, size, standard_deviation):
        return np.zeros(size)

    def uniform(self, size):
        return np.full(size, 0.5)


def test_clipped_sum_is_that_of_opacus():
    """Same records, same bound: DPOptimizer.clip_and_accumulate sums what we sum."""
    torch.manual_seed(1)
    module = GradSampleModule(nn.Linear(7, 3, bias=False, dtype=torch.float64), loss_reduction="sum")
    optimizer = DPOptimizer(
        torch.optim.SGD(module.parameters(), lr=1.0),
        noise_multiplier=0.0,
        max_grad_norm=0.5,
        expected_batch_size=1,
        loss_reduction="sum",
    )
    x, y = torch.randn(40, 7, dtype=torch.float64), torch.randint(0, 3, (40,))
    torch.autograd.backward(nn.functional.cross_entropy(module(x), y, reduction="sum"))
    (parameter,) = module.parameters()
    samples = parameter.grad_sample.flatten(1).numpy().copy()
    optimizer.clip_and_accumulate()
    ours = noisy_sum([samples], 21, max_norm=0.5, noise_multiplier=1.0, randomness=Silent())
    # Opacus adds 1e-6 to each norm before it divides.
    np.testing.assert_allclose(ours, parameter.summed_grad.flatten().numpy(), rtol=1e-5, atol=1e-9)


def test_clipped_sum_is_that_of_plain_numpy():
    vectors = np.random.default_rng(3).normal(size=(50, 11))
    expected = sum(vector * min(1.0, 2.0 / np.linalg.norm(vector)) for vector in vectors)
    ours = noisy_sum([vectors[:20], vectors[20:]], 11, max_norm=2.0, noise_multiplier=1.0, randomness=Silent())
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


@given(arrays(np.float64, (5, 3), elements=any_float), st.floats(1e-3, 1e3))
def test_no_record_moves_the_sum_by_more_than_the_bound(vectors, bound):
    clipped = clip(vectors, bound)
    assert np.isfinite(clipped).all()
    assert (np.linalg.norm(clipped, axis=1) <= bound * (1 + 1e-12)).all()


@given(arrays(np.float64, (4, 3), elements=any_float))
def test_adding_a_record_changes_nothing_about_the_others(vectors):
    np.testing.assert_array_equal(clip(vectors, 1.0)[:-1], clip(vectors[:-1], 1.0))


def test_a_record_within_the_bound_is_kept_and_one_that_is_not_finite_is_zero():
    vectors = np.array([[0.3, -0.4], [np.nan, 0.1], [np.inf, 0.0], [3e200, 4e200], [0.0, 0.0]])
    np.testing.assert_allclose(clip(vectors, 1.0), [[0.3, -0.4], [0, 0], [0, 0], [0.6, 0.8], [0, 0]])


def test_no_records_release_noise_alone():
    released = noisy_sum([], 2000, max_norm=2.0, noise_multiplier=3.0, randomness=SystemRandomness())
    assert stats.kstest(released / 6.0, "norm").pvalue > 1e-6


def test_noise_is_normal_independent_and_never_the_same():
    source = SystemRandomness()
    first, second = source.gaussian(20_000, 1.0), source.gaussian(20_000, 1.0)
    for draws in (first, second, (first + second) / np.sqrt(2), (first - second) / np.sqrt(2)):
        assert stats.kstest(draws, "norm").pvalue > 1e-6
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


@pytest.mark.parametrize("seed", [torch.manual_seed, np.random.seed])
def test_seeding_the_process_does_not_seed_the_noise(seed):
    draws = []
    for _ in range(2):
        seed(0)
        draws.append(SystemRandomness().gaussian(8, 1.0))
    assert not np.array_equal(*draws)


def test_uniform_draws_lie_inside_the_interval():
    draws = SystemRandomness().uniform(50_000)
    assert 0 < draws.min() < draws.max() < 1
    assert stats.kstest(draws, "uniform").pvalue > 1e-6


def test_only_the_benchmark_generator_repeats_and_it_says_so():
    assert np.array_equal(BenchmarkRandomness(5).gaussian(9, 1.0), BenchmarkRandomness(5).gaussian(9, 1.0))
    assert SystemRandomness.is_private
    assert not BenchmarkRandomness.is_private
