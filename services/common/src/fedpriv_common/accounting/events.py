"""What was released, as far as it costs privacy."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Adjacency(StrEnum):
    """Which two data sets must be hard to tell apart. Every guarantee names its own; add-remove is the default."""

    #: One record more or less. A clipped sum moves by at most C.
    ADD_REMOVE = "add-remove"
    #: One record exchanged for another. A clipped sum moves by at most 2C, so this epsilon is the larger one.
    REPLACE_ONE = "replace-one"

    @property
    def sensitivity(self) -> int:
        """How far a full-batch clipped sum moves between neighbours, in units of C."""
        return 1 if self is Adjacency.ADD_REMOVE else 2


@dataclass(frozen=True, order=True)
class GaussianEvent:
    """`steps` releases of a clipped sum with noise σ·C, each on a Poisson sample of rate q (1: every record)."""

    noise_multiplier: float
    sample_rate: float
    steps: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier > 0):
            raise ValueError(f"noise_multiplier must be positive, got {self.noise_multiplier}")
        if not 0 < self.sample_rate <= 1:
            raise ValueError(f"sample_rate must be in (0, 1], got {self.sample_rate}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")


def coalesce(events: Iterable[GaussianEvent]) -> tuple[GaussianEvent, ...]:
    """Add up the steps of events with equal parameters; accounting time grows with distinct ones."""
    steps: dict[tuple[float, float], int] = {}
    for event in events:
        key = (event.noise_multiplier, event.sample_rate)
        steps[key] = steps.get(key, 0) + event.steps
    return tuple(sorted(GaussianEvent(sigma, rate, count) for (sigma, rate), count in steps.items()))


def full_batch_mu(events: Iterable[GaussianEvent]) -> float:
    """The μ of the Gaussian mechanism to which the events compose when every record is in every step.

    μ² = Σ steps/σ² (Dong, Roth, Su 2022, corollary 3.3). For sampled events it is an upper bound: a sample is a mixture
    of full batches and of releases that the record had no part in, and mixing never adds to a hockey-stick divergence.
    """
    return math.hypot(*(math.sqrt(event.steps) / event.noise_multiplier for event in events))
