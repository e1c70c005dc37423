"""Is each step's sample a Poisson sample of the plan's rate? Canaries cannot see a shuffle; these counts can.

With n records, rate q and S steps, the sizes of a Poisson scheme's samples are S independent Binomial(n, q) draws, and
whether a record is in one step says nothing about the next. A shuffle takes the same number each step, and no record
twice before all were taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fedpriv_client.audit.subject import Subject, lab_plan
from fedpriv_client.data.site_data import SiteData
from fedpriv_common.audit_result import Check
from fedpriv_common.plan import Phase
from fedpriv_common.recipes import Recipe

FloatArray = NDArray[np.float64]

RECORDS, STEPS = 200, 3000
#: Allowed distance from what is expected, in standard errors.
LIMIT = 6.0

_FEATURES = 2


class NotingGradients:
    """In place of a model: notes which records a step takes (by their label), and gives zero gradients."""

    def __init__(self, size: int) -> None:
        self.taken: list[NDArray[np.int64]] = []
        self._size = size

    def chunks(self, parameters: FloatArray, features: FloatArray, labels: NDArray[np.int64]) -> Iterator[FloatArray]:
        """One chunk of zeros, shape (n, size)."""
        self.taken.append(labels.copy())
        yield np.zeros((len(labels), self._size))


def check_sampling(subject: Subject, steps: int = STEPS) -> list[Check]:
    """Rate, spread and independence of the mini-batches; and that a full batch is full."""
    return [poisson("sampling.poisson", *membership(subject, steps)), _full_batch(subject)]


def membership(
    subject: Subject, steps: int, patients: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.bool_], float]:
    """Which records each local step took, shape (steps or as many as were made, RECORDS), and the plan's rate.

    With `patients`, shape (RECORDS,), under a plan whose unit is the patient.
    """
    plan = subject.plan(lab_plan(Recipe.FEDAVG_MLP, _FEATURES))
    plan = plan.model_copy(update={"train": plan.train.model_copy(update={"steps": 100})})
    if patients is not None:
        plan = plan.model_copy(update={"unit": "patient"})
    noting = NotingGradients(plan.model.n_parameters)
    data = SiteData(z=np.zeros((RECORDS, _FEATURES)), labels=np.arange(RECORDS), patients=patients)
    trainer = subject.trainer(plan, data, subject.randomness(), noting)
    for _ in range(steps // plan.train.steps):
        trainer.release(Phase.TRAIN, np.zeros(plan.model.n_parameters), np.zeros(_FEATURES))
    taken = np.zeros((len(noting.taken), RECORDS), dtype=np.bool_)
    for step, records in enumerate(noting.taken):
        taken[step, records] = True
    return taken, plan.train.sample_rate


def poisson(name: str, taken: NDArray[np.bool_], rate: float) -> Check:
    """The check that `taken`, shape (steps, units), is of independent draws with probability `rate`."""
    count, n = taken.shape
    spread = n * rate * (1.0 - rate)
    sizes = taken.sum(axis=1)
    centred = taken - rate
    per_unit = taken.sum(axis=0)
    # Each in its own standard errors; that of a variance of normal draws is √(2/degrees of freedom).
    figures = {
        "rate": (float(sizes.sum()) - count * n * rate) / math.sqrt(count * spread),
        "spread_of_sizes": (float(sizes.var(ddof=1)) / spread - 1.0) * math.sqrt((count - 1) / 2),
        "step_to_step": float((centred[:-1] * centred[1:]).sum()) / (rate * (1 - rate) * math.sqrt(n * (count - 1))),
        "spread_over_units": (float(((per_unit - count * rate) ** 2).sum()) / (count * rate * (1 - rate)) - n)
        / math.sqrt(2 * n),
    }
    return Check(
        name=name,
        expects=f"sample sizes with mean nq and variance nq(1−q), steps and units independent: within {LIMIT:g} "
        "standard errors",
        passed=all(abs(value) <= LIMIT for value in figures.values()),
        figures={"steps": count, "planned_rate": rate, "observed_rate": float(taken.mean())} | figures,
    )


def _full_batch(subject: Subject) -> Check:
    plan = subject.plan(lab_plan(Recipe.FEDSGD_LOGREG, _FEATURES))
    noting = NotingGradients(plan.model.n_parameters)
    data = SiteData(z=np.zeros((RECORDS, _FEATURES)), labels=np.arange(RECORDS))
    trainer = subject.trainer(plan, data, subject.randomness(), noting)
    trainer.release(Phase.TRAIN, np.zeros(plan.model.n_parameters), np.zeros(_FEATURES))
    taken = np.concatenate(noting.taken)
    return Check(
        name="sampling.full_batch",
        expects="a step at rate 1 takes every record once",
        passed=np.array_equal(np.sort(taken), np.arange(RECORDS)),
        figures={"records": RECORDS, "taken": len(taken)},
    )
