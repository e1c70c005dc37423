"""FedAdam: the server treats the sites' combined change as a gradient, and takes Adam's step along it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fedpriv_common.wire import FloatArray

#: What a strategy remembers from one round to the next, in a fixed order. Part of every checkpoint.
Memory = tuple[FloatArray, ...]


@dataclass(frozen=True)
class FedAdam:
    """Reddi et al. 2021, algorithm 2, with bias correction as in Kingma and Ba 2015, before section 2.1:

    m ← β₁m + (1−β₁)Δ,  v ← β₂v + (1−β₂)Δ²,  w ← w + η·√(1−β₂ᵗ⁺¹)/(1−β₁ᵗ⁺¹) · m/(√v + τ)

    with t the round, counted from 1, as Flower's FedAdam has it. m and v are made of noisy values only.
    """

    combine: Callable[[Sequence[FloatArray]], FloatArray]
    eta: float
    beta_1: float
    beta_2: float
    tau: float

    def step(
        self, round_number: int, parameters: FloatArray, memory: Memory, replies: Sequence[FloatArray]
    ) -> tuple[FloatArray, Memory]:
        """Remembers m and v, both zero before the first round."""
        change = self.combine(replies)
        m, v = memory or (np.zeros_like(change), np.zeros_like(change))
        m = self.beta_1 * m + (1.0 - self.beta_1) * change
        v = self.beta_2 * v + (1.0 - self.beta_2) * change**2
        exponent = round_number + 1
        eta = self.eta * np.sqrt(1.0 - self.beta_2**exponent) / (1.0 - self.beta_1**exponent)
        return parameters + eta * m / (np.sqrt(v) + self.tau), (m, v)
