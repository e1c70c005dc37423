"""Where noise and sampling come from.

In production: the operating system's generator, never seeded. Opacus' secure mode needs a package that no longer
installs, and without it its noise repeats under `torch.manual_seed`.
"""

from __future__ import annotations

import os
import secrets
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Randomness(Protocol):
    """A source of Gaussian noise and of uniform draws; `is_private` tells whether its output may protect anyone."""

    is_private: bool

    def gaussian(self, size: int, standard_deviation: float) -> FloatArray:
        """Independent N(0, standard_deviation²) draws, shape (size,)."""
        ...

    def uniform(self, size: int) -> FloatArray:
        """Independent draws from (0, 1), shape (size,)."""
        ...

    def two_sided_geometric(self, size: int, epsilon: float) -> IntArray:
        """Independent draws of k with probability ∝ e^(−ε|k|), shape (size,)."""
        ...


class SystemRandomness:
    """The operating system's cryptographic generator.

    A normal draw is the sum of four independent ones over 2 (Holohan & Braghin 2021, "Secure random sampling in
    differential privacy"), each the inverse normal CDF of u = (k + ½)/2⁵³: guessing the floating-point grid that one
    draw lies on then takes all four.
    """

    is_private = True

    def gaussian(self, size: int, standard_deviation: float) -> FloatArray:
        """Independent N(0, standard_deviation²) draws, shape (size,)."""
        draws: FloatArray = ndtri(self.uniform(4 * size)).reshape(4, size)
        noise: FloatArray = draws.sum(axis=0) * (standard_deviation / 2.0)
        return noise

    def uniform(self, size: int) -> FloatArray:
        """Independent draws of (k + ½)/2⁵³ with k uniform in 0…2⁵³−1, shape (size,)."""
        words = np.frombuffer(os.urandom(8 * size), dtype=np.uint64)
        return ((words >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53

    def two_sided_geometric(self, size: int, epsilon: float) -> IntArray:
        """Independent draws of k with probability ∝ e^(−ε|k|), shape (size,), exactly: in whole numbers throughout."""
        return np.array([discrete_laplace(Fraction(epsilon)) for _ in range(size)], dtype=np.int64)


class BenchmarkRandomness:
    """A seeded generator, so that benchmarks on public data repeat. What it produces protects nobody."""

    is_private = False

    def __init__(self, seed: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(seed))

    def gaussian(self, size: int, standard_deviation: float) -> FloatArray:
        """Independent N(0, standard_deviation²) draws, shape (size,)."""
        return self._generator.normal(0.0, standard_deviation, size)

    def uniform(self, size: int) -> FloatArray:
        """Independent draws from [0, 1), shape (size,)."""
        return self._generator.random(size)

    def two_sided_geometric(self, size: int, epsilon: float) -> IntArray:
        """The difference of two geometric draws, shape (size,)."""
        one, other = self._generator.geometric(-np.expm1(-epsilon), (2, size))
        return np.asarray(one - other, dtype=np.int64)


def discrete_laplace(epsilon: Fraction) -> int:
    """One draw of k with probability ∝ e^(−ε|k|) from the operating system's generator.

    Canonne, Kamath & Steinke 2020, "The discrete Gaussian for differential privacy", algorithm 2 with scale t/s = 1/ε.
    No floating-point number is involved, so there is no grid that could tell a noisy count from another.
    """
    s, t = epsilon.numerator, epsilon.denominator
    while True:
        low = secrets.randbelow(t)
        if not _bernoulli_exp(low, t):
            continue
        high = 0
        while _bernoulli_exp(1, 1):
            high += 1
        magnitude, negative = (low + t * high) // s, secrets.randbelow(2) == 1
        if not (negative and magnitude == 0):  # zero would be drawn twice as often
            return -magnitude if negative else magnitude


def _bernoulli_exp(numerator: int, denominator: int) -> bool:
    """True with probability e^(−γ), γ = numerator/denominator in [0, 1] (the same paper, algorithm 1)."""
    k = 1
    while secrets.randbelow(denominator * k) < numerator:
        k += 1
    return k % 2 == 1
