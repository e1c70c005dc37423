"""How the server turns the sites' noisy releases into the next model. Pure functions over numpy arrays.

Weights are constants of the plan, never counts that a site reports. Everything after the release is post-processing
and costs no privacy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fedpriv_common.model import ModelKind
from fedpriv_common.plan import Phase, Plan, Recipe
from fedpriv_common.wire import MOST_CENTRE

FloatArray = NDArray[np.float64]

#: How many standard deviations beyond its root-mean-square the norm of honest noise may lie: odds below 1e-22.
_NOISE_TAIL: Final = 10.0


class Strategy(Protocol):
    """One step of the server."""

    def step(self, parameters: FloatArray, replies: Sequence[FloatArray]) -> FloatArray:
        """The next parameters from the current ones and at least one reply, all of shape (n_parameters,)."""
        ...


@dataclass(frozen=True)
class FedSGD:
    """w ← w − η·ΣSum/(N·C): a step along the mean of clipped gradients, over the declared number of records N."""

    learning_rate: float
    nominal_size: int
    max_grad_norm: float

    def __post_init__(self) -> None:
        _require_positive(self.learning_rate, self.nominal_size, self.max_grad_norm)

    def step(self, parameters: FloatArray, replies: Sequence[FloatArray]) -> FloatArray:
        """Replies are noisy gradient sums."""
        total = _total(replies)
        return parameters - self.learning_rate * total / (self.nominal_size * self.max_grad_norm)


@dataclass(frozen=True)
class FedAvg:
    """w ← w + (1/K)·ΣΔ over the K replies received: every site weighs the same, whatever it holds."""

    def step(self, parameters: FloatArray, replies: Sequence[FloatArray]) -> FloatArray:
        """Replies are changes of the parameters."""
        return parameters + _total(replies) / len(replies)


def _fedsgd(plan: Plan) -> Strategy:
    return FedSGD(plan.learning_rate, plan.nominal_size, plan.train.max_grad_norm)


#: Strategy by name: what its replies must be, and how it is made from a plan.
STRATEGIES: Final[dict[str, tuple[Recipe, Callable[[Plan], Strategy]]]] = {
    "fedsgd": (Recipe.FEDSGD_LOGREG, _fedsgd),
    "fedavg": (Recipe.FEDAVG_MLP, lambda _: FedAvg()),
}


def make_strategy(plan: Plan) -> Strategy:
    """The plan's strategy; raises ValueError for an unknown name or one that does not fit the recipe."""
    if plan.strategy not in STRATEGIES:
        raise ValueError(f"strategy {plan.strategy!r} is not one of {', '.join(STRATEGIES)}")
    recipe, make = STRATEGIES[plan.strategy]
    if recipe is not plan.recipe:
        raise ValueError(f"strategy {plan.strategy!r} works on the replies of {recipe}, not of {plan.recipe}")
    return make(plan)


def centre_from_sums(plan: Plan, sums: Sequence[FloatArray]) -> FloatArray:
    """The public centre of the features, shape (d,), from the sites' noisy sums of clipped features.

    The sum over the declared N has known noise variance v = K·(σ₀R/N)² per coordinate; the positive-part James–Stein
    estimator (James & Stein 1961) shrinks it to the origin by max(0, 1 − (d−2)·v/‖x‖²).
    """
    if plan.centre is None:
        raise ValueError(f"{plan.recipe} has no centring round")
    mean = _total(sums) / plan.nominal_size
    noise_scale = plan.centre.noise_multiplier * plan.centre.max_grad_norm / plan.nominal_size
    variance = len(sums) * noise_scale**2
    norm_squared = float(mean @ mean)
    if norm_squared == 0.0:
        return mean
    shrunk = max(0.0, 1.0 - max(0, mean.size - 2) * variance / norm_squared) * mean
    # Features are between −1 and 1; sites take no centre beyond.
    return np.clip(shrunk, -MOST_CENTRE, MOST_CENTRE)


def reply_bound(plan: Plan, phase: Phase) -> float:
    """The Euclidean norm that an honest reply stays below, from public constants only.

    At most 2N records, each clipped to C, plus Gaussian noise σC whose norm in n dimensions is at most √n + 10 of
    its standard deviation. A longer reply is hostile or broken; without a bound one site could make the model infinite.
    """
    release = plan.release(phase)
    if release is None:
        raise ValueError(f"the plan has no {phase} phase")
    size = reply_size(plan, phase)
    noise = release.noise_multiplier * (math.sqrt(size) + _NOISE_TAIL)
    one_sum = release.max_grad_norm * (2 * plan.nominal_size + noise)
    if plan.recipe is Recipe.FEDAVG_MLP and plan.local_learning_rate is not None and plan.batch_size is not None:
        return release.steps * plan.local_learning_rate / plan.batch_size * one_sum
    return one_sum


def reply_size(plan: Plan, phase: Phase) -> int:
    """Number of float64 values in a reply of `phase`."""
    return plan.model.n_features if phase is Phase.CENTRE else plan.model.n_parameters


@dataclass(frozen=True)
class Iterate:
    """The model after a round, and all that the next round needs. Arrays are never changed in place.

    `average` is the running sum of `averaged` iterates from the plan's `average_from` on.
    """

    round: int
    parameters: FloatArray
    centre: FloatArray
    average: FloatArray
    averaged: int = 0

    @classmethod
    def first(cls, plan: Plan, seed: bytes) -> Self:
        """Before any training: public starting parameters, drawn from `seed` where the model needs a draw."""
        generator = np.random.default_rng(np.frombuffer(seed, dtype=np.uint8))
        return cls(
            round=0,
            parameters=plan.model.initial_parameters(generator),
            centre=np.zeros(plan.model.n_features if plan.model.kind is ModelKind.LOGREG else 0),
            average=np.zeros(plan.model.n_parameters),
        )

    def centred(self, plan: Plan, sums: Sequence[FloatArray]) -> Self:
        """After the centring round."""
        return replace(self, centre=centre_from_sums(plan, sums))

    def trained(self, plan: Plan, strategy: Strategy, replies: Sequence[FloatArray]) -> Self:
        """After one more training round."""
        round_number, parameters = self.round + 1, strategy.step(self.parameters, replies)
        in_tail = round_number >= plan.average_from
        return replace(
            self,
            round=round_number,
            parameters=parameters,
            average=self.average + parameters if in_tail else self.average,
            averaged=self.averaged + in_tail,
        )

    def published(self) -> FloatArray:
        """The parameters to publish now: the average of the tail where it has begun, else the current ones."""
        return self.average / self.averaged if self.averaged else self.parameters


def _total(replies: Sequence[FloatArray]) -> FloatArray:
    """The sum, in the order given: floating-point addition is not associative, and a resumed run must agree."""
    if not replies:
        raise ValueError("a step needs at least one reply")
    total = np.zeros_like(replies[0])
    for reply in replies:
        if reply.shape != total.shape:
            raise ValueError(f"replies of shapes {total.shape} and {reply.shape}")
        total = total + reply
    return total


def _require_positive(*values: float) -> None:
    if not all(math.isfinite(value) and value > 0 for value in values):
        raise ValueError(f"parameters of a strategy must be positive, got {values}")
