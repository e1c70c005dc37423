"""How the server turns the sites' noisy releases into the next model. Pure functions over numpy arrays.

Weights are constants of the plan, never counts that a site reports. Everything after the release is post-processing
and costs no privacy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol, Self

import numpy as np

from fedpriv_common.model import ModelKind
from fedpriv_common.plan import Phase, Plan
from fedpriv_common.recipes import Recipe, resolve_strategy
from fedpriv_common.wire import MOST_CENTRE, FloatArray
from fedpriv_server.adam import FedAdam, Memory
from fedpriv_server.aggregation import krum, mean, total, trimmed_mean

__all__ = [
    "Averaging",
    "FedAdam",
    "FedSGD",
    "FloatArray",
    "Iterate",
    "Memory",
    "Strategy",
    "centre_from_sums",
    "make_strategy",
    "remembers",
    "reply_bound",
    "reply_size",
]

#: How many standard deviations beyond its root-mean-square the norm of honest noise may lie: odds below 1e-22.
_NOISE_TAIL: Final = 10.0


class Strategy(Protocol):
    """One step of the server."""

    def step(
        self, round_number: int, parameters: FloatArray, memory: Memory, replies: Sequence[FloatArray]
    ) -> tuple[FloatArray, Memory]:
        """The next parameters, and what the step after needs to know, from at least one reply.

        Arrays are of shape (n_parameters,). `round_number` counts from 1; `memory` is empty before the first step.
        """
        ...


@dataclass(frozen=True)
class Averaging:
    """w ← w + combine(changes): every site proposes a change of the parameters, the rule makes one of them.

    `scale` turns a reply into the change that it proposes: 1 where sites send changes, −K·η/(N·C) where they send
    sums of gradients.
    """

    combine: Callable[[Sequence[FloatArray]], FloatArray]
    scale: float = 1.0

    def step(
        self, _round_number: int, parameters: FloatArray, memory: Memory, replies: Sequence[FloatArray]
    ) -> tuple[FloatArray, Memory]:
        """Keeps no memory."""
        return parameters + self.scale * self.combine(replies), memory


@dataclass(frozen=True)
class FedSGD:
    """w ← w − η·ΣSum/(N·C): a step along the mean of clipped gradients, over the declared number of records N."""

    learning_rate: float
    nominal_size: int
    max_grad_norm: float

    def __post_init__(self) -> None:
        values = (self.learning_rate, self.nominal_size, self.max_grad_norm)
        if not all(math.isfinite(value) and value > 0 for value in values):
            raise ValueError(f"parameters of a strategy must be positive, got {values}")

    def step(
        self, _round_number: int, parameters: FloatArray, memory: Memory, replies: Sequence[FloatArray]
    ) -> tuple[FloatArray, Memory]:
        """Replies are noisy gradient sums. Keeps no memory."""
        step = self.learning_rate * total(replies) / (self.nominal_size * self.max_grad_norm)
        return parameters - step, memory


def make_strategy(plan: Plan) -> Strategy:
    """The plan's strategy; raises ValueError for an unknown name or one that does not fit the recipe."""
    name, options = resolve_strategy(plan.recipe, plan.strategy, plan.strategy_options)
    divisor = plan.nominal_size * plan.train.max_grad_norm
    sends_changes = plan.recipe is Recipe.FEDAVG_MLP
    match name:
        case "fedsgd":
            return FedSGD(plan.learning_rate, plan.nominal_size, plan.train.max_grad_norm)
        case "fedadam":
            # The pseudo-gradient of summed gradients is −ΣSum/(N·C); eta takes the place of the plan's learning rate.
            combine = mean if sends_changes else lambda sums: -total(sums) / divisor
            return FedAdam(combine, **options)
        case "fedtrimmedavg":
            return Averaging(partial(trimmed_mean, beta=options["beta"]))
        case "krum":
            return Averaging(partial(krum, num_malicious_nodes=int(options["num_malicious_nodes"])))
        case _:  # fedavg, and fedprox, which differs at the sites only
            return Averaging(mean, 1.0 if sends_changes else -plan.sites * plan.learning_rate / divisor)


def remembers(plan: Plan, iterate: Iterate) -> bool:
    """Whether the iterate's memory is what the plan's strategy has after so many rounds."""
    shapes = [array.shape for array in iterate.memory]
    expected = 2 if plan.strategy == "fedadam" and iterate.round > 0 else 0
    return shapes == expected * [(plan.model.n_parameters,)]


def centre_from_sums(plan: Plan, sums: Sequence[FloatArray]) -> FloatArray:
    """The public centre of the features, shape (d,), from the sites' noisy sums of clipped features.

    The sum over the declared N has known noise variance v = K·(σ₀R/N)² per coordinate; the positive-part James–Stein
    estimator (James & Stein 1961) shrinks it to the origin by max(0, 1 − (d−2)·v/‖x‖²).
    """
    if plan.centre is None:
        raise ValueError(f"{plan.recipe} has no centring round")
    mean = total(sums) / plan.nominal_size
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

    `average` is the running sum of `averaged` iterates from the plan's `average_from` on; `memory` is the strategy's.
    """

    round: int
    parameters: FloatArray
    centre: FloatArray
    average: FloatArray
    averaged: int = 0
    memory: Memory = ()

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
        round_number = self.round + 1
        parameters, memory = strategy.step(round_number, self.parameters, self.memory, replies)
        in_tail = round_number >= plan.average_from
        return replace(
            self,
            round=round_number,
            parameters=parameters,
            average=self.average + parameters if in_tail else self.average,
            averaged=self.averaged + in_tail,
            memory=memory,
        )

    def published(self) -> FloatArray:
        """The parameters to publish now: the average of the tail where it has begun, else the current ones."""
        return self.average / self.averaged if self.averaged else self.parameters
