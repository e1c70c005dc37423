"""Code with a fault in it, so that an audit can show that it would notice. Nothing else may import this module.

Each defect is one that a product of this kind has had: docs/explanation-audit.md names them. Most replace a method of
the trainer by what a careless author would have written.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedpriv_client.audit.subject import Subject, lab_contract
from fedpriv_client.data.site_data import SiteData
from fedpriv_client.privacy.randomness import BenchmarkRandomness, Randomness, SystemRandomness
from fedpriv_client.privacy.units import UnitRecords
from fedpriv_client.site import Site
from fedpriv_client.training import Gradients, Trainer
from fedpriv_common.accounting import epsilon
from fedpriv_common.plan import Plan, RunSettings, make_plan
from fedpriv_common.recipes import Recipe
from fedpriv_common.wire import Reply, Request

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Defect:
    """A fault, the code that has it, and the recipes on whose canaries a lower bound on epsilon must see it."""

    name: str
    what: str
    subject: Callable[[], Subject]
    measured_on: tuple[Recipe, ...] = ()


class NoNoise(SystemRandomness):
    """Adds nothing."""

    is_private = False

    def gaussian(self, size: int, standard_deviation: float) -> FloatArray:
        """Zeros, shape (size,)."""
        return np.zeros(size)

    def two_sided_geometric(self, size: int, epsilon: float) -> NDArray[np.int64]:
        """Zeros, shape (size,)."""
        return np.zeros(size, dtype=np.int64)


class HalfNoise(SystemRandomness):
    """Adds half of what is charged."""

    is_private = False

    def gaussian(self, size: int, standard_deviation: float) -> FloatArray:
        """Draws of half the standard deviation, shape (size,)."""
        return super().gaussian(size, standard_deviation / 2)

    def two_sided_geometric(self, size: int, epsilon: float) -> NDArray[np.int64]:
        """Draws for twice the epsilon, shape (size,)."""
        return super().two_sided_geometric(size, 2 * epsilon)


class SameNoise(BenchmarkRandomness):
    """Begins its seed anew at every draw, as a fresh process per message does."""

    def __init__(self) -> None:
        super().__init__(0)

    def gaussian(self, size: int, standard_deviation: float) -> FloatArray:
        """The same draws each time, shape (size,)."""
        return BenchmarkRandomness(0).gaussian(size, standard_deviation)

    def two_sided_geometric(self, size: int, epsilon: float) -> NDArray[np.int64]:
        """The same draws each time, shape (size,)."""
        return BenchmarkRandomness(0).two_sided_geometric(size, epsilon)


class Unclipped(Trainer):
    """Sums gradients as they are, those that are finite."""

    def _gradient_sum(self, parameters: FloatArray, records: UnitRecords) -> FloatArray:
        release, total = self._plan.train, np.zeros(self._plan.model.n_parameters)
        for chunk in self._gradients.chunks(parameters, records.features, records.labels):
            total += np.where(np.isfinite(chunk), chunk, 0.0).sum(axis=0)
        return total + self._randomness.gaussian(total.size, release.noise_multiplier * release.max_grad_norm)


class NanKept(Trainer):
    """Clips by the norm alone, so that what is not finite stays so."""

    def _gradient_sum(self, parameters: FloatArray, records: UnitRecords) -> FloatArray:
        clean = super()._gradient_sum(parameters, records)
        for chunk in self._gradients.chunks(parameters, records.features, records.labels):
            clean += np.where(np.isfinite(chunk), 0.0, np.nan).sum(axis=0)
        return clean


class SizeDependent(Trainer):
    """Derives sample rate, steps and divisor from the number of records, as Opacus' `make_private` does."""

    def __init__(self, plan: Plan, data: SiteData, randomness: Randomness, gradients: Gradients | None = None) -> None:
        if plan.batch_size is not None:
            batches = max(1, math.ceil(len(data) / plan.batch_size))
            train = plan.train.model_copy(update={"sample_rate": 1 / batches, "steps": batches})
            divisor = max(1, int(len(data) / batches))
            plan = plan.model_copy(update={"train": train, "batch_size": divisor})
        super().__init__(plan, data, randomness, gradients)


class Shuffled(Trainer):
    """Takes mini-batches from a shuffled table, and accounts them as Poisson samples."""

    def _local_steps(self, parameters: FloatArray) -> FloatArray:
        release, change, order = self._plan.train, np.zeros_like(parameters), np.zeros(0, dtype=np.int64)
        records = self._records
        size = max(1, round(release.sample_rate * records.n_units))
        step = (self._plan.local_learning_rate or 0.0) / (self._plan.batch_size or 1)
        for _ in range(release.steps):
            if len(order) < size:
                order = np.argsort(self._randomness.uniform(records.n_units))
            batch, order = order[:size], order[size:]
            chosen = np.isin(np.arange(records.n_units), batch)
            change -= step * self._gradient_sum(parameters + change, records.of(chosen))
        return change


class PatientByRecord(Trainer):
    """Takes, clips and adds up a patient's records one by one."""

    def __init__(self, plan: Plan, data: SiteData, randomness: Randomness, gradients: Gradients | None = None) -> None:
        super().__init__(plan.model_copy(update={"unit": "record"}), data, randomness, gradients)


class Forgetful(Site):
    """Tells the epsilon of one round, as an accountant does that is made anew for every message."""

    def handle(self, request: Request) -> Reply:
        """The site's reply, with an epsilon that never grows."""
        reply = super().handle(request)
        if reply.facts is None or self._run is None:
            return reply
        plan = self._run[1].plan
        once = [release.event() for release in (plan.centre, plan.train) if release is not None]
        spent = epsilon(once, reply.facts.delta)
        return replace(reply, facts=reply.facts.model_copy(update={"epsilon_run": spent, "epsilon_spent": spent}))


def calibrated_for_one_round(plan: Plan) -> Plan:
    """The plan with the noise that would keep its epsilon if there were one round."""
    settings = RunSettings(recipe=plan.recipe, rounds=1, local_steps=plan.train.steps, min_reply_ms=0)
    once = make_plan(settings, lab_contract(plan.model.n_features))
    noise = {"noise_multiplier": once.train.noise_multiplier}
    changed = plan.model_copy(update={"train": plan.train.model_copy(update=noise), "centre": once.centre})
    return changed.model_copy(update={"epsilon": 1.001 * epsilon(changed.events(), plan.delta)})


#: The defect that the power of the bounds is measured on.
HALF_NOISE = "half_noise"
# The longest first, so that the last ones end together.
DEFECTS = (
    Defect(HALF_NOISE, "half the noise is added", lambda: Subject(randomness=HalfNoise), tuple(Recipe)),
    Defect("no_noise", "no noise is added", lambda: Subject(randomness=NoNoise), (Recipe.FEDSGD_LOGREG,)),
    Defect("no_clip", "gradients are not clipped", lambda: Subject(trainer=Unclipped), (Recipe.FEDSGD_LOGREG,)),
    Defect(
        "accountant_reset",
        "σ and ε are those of one round, however many there are",
        lambda: Subject(site=Forgetful, plan=calibrated_for_one_round),
        (Recipe.FEDSGD_LOGREG,),
    ),
    Defect("fixed_seed", "noise of a seeded generator", lambda: Subject(randomness=lambda: BenchmarkRandomness(0))),
    Defect("same_noise", "the same noise in every round", lambda: Subject(randomness=SameNoise)),
    Defect("nan_kept", "gradients that are not finite are kept", lambda: Subject(trainer=NanKept)),
    Defect("size_dependent_rate", "q, steps and divisor follow the records", lambda: Subject(trainer=SizeDependent)),
    Defect("patient_by_record", "a patient's records count one by one", lambda: Subject(trainer=PatientByRecord)),
    Defect("shuffled_batches", "a shuffle accounted as Poisson sampling", lambda: Subject(trainer=Shuffled)),
)
