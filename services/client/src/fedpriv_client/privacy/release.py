"""The release step: the one function whose output may leave a site."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fedpriv_client.privacy.randomness import Randomness

FloatArray = NDArray[np.float64]


def noisy_sum(
    contributions: Iterable[FloatArray],
    size: int,
    *,
    max_norm: float,
    noise_multiplier: float,
    randomness: Randomness,
) -> FloatArray:
    """Gaussian mechanism for a sum: Σ clip(xᵢ, C) + N(0, (σC)²), shape (size,), float64.

    `contributions` are chunks of per-record vectors, each (n, size); no chunk or an empty one gives noise alone.
    Adding or removing a record changes the sum by at most C = `max_norm`, whatever the record holds.
    """
    total = np.zeros(size)
    for chunk in contributions:
        total += clip(chunk, max_norm).sum(axis=0)
    return total + randomness.gaussian(size, noise_multiplier * max_norm)


def clip(vectors: FloatArray, max_norm: float) -> FloatArray:
    """Scale each row of `vectors`, shape (n, size), to an L2 norm of at most `max_norm`.

    A row with anything that is not finite becomes zero: left in, one such record would turn every sum into NaN, which
    tells that it is there.
    """
    largest = np.abs(vectors).max(axis=1, initial=0.0)
    finite = np.isfinite(largest)
    # Norms are taken relative to the largest component, or squares of components above 1e154 would overflow.
    scale = np.where(finite & (largest > 0), largest, 1.0)
    relative = np.where(finite[:, None], vectors, 0.0) / scale[:, None]
    norms = np.linalg.norm(relative, axis=1)
    with np.errstate(over="ignore"):
        limits = np.minimum(scale, max_norm / np.maximum(norms, np.finfo(np.float64).tiny))
    clipped: FloatArray = relative * limits[:, None]
    return clipped
