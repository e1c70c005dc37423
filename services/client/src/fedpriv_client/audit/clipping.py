"""Does any record move a release by more than C? Asked with the noise at zero and with records made to break it.

The noise is silenced at its source: what is left of the release is the code's own clipped sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedpriv_client.audit.subject import Subject, lab_plan
from fedpriv_client.data.site_data import SiteData
from fedpriv_client.privacy.randomness import SystemRandomness
from fedpriv_common.audit_result import Check
from fedpriv_common.plan import Phase, Plan
from fedpriv_common.recipes import Recipe

FloatArray = NDArray[np.float64]

#: Rounding of float64 sums, relative to C.
ROUNDING = 1e-9

_FEATURES = 12
_LARGEST, _SMALLEST = np.finfo(np.float64).max, 5e-324
#: Values that overflow, vanish, or are none.
EXTREMES = {
    "outlier": 1e6,
    "squares overflow": 1e160,
    "largest": _LARGEST,
    "negative largest": -_LARGEST,
    "subnormal": 1e-310,
    "smallest": _SMALLEST,
    "squares vanish": 1e-170,
    "infinite": np.inf,
    "negative infinite": -np.inf,
    "no number": np.nan,
}


class Silent(SystemRandomness):
    """No noise, and every record in every sample: what is left is what the records contribute."""

    is_private = False

    def gaussian(self, size: int, standard_deviation: float) -> FloatArray:
        """Zeros, shape (size,)."""
        return np.zeros(size)

    def two_sided_geometric(self, size: int, epsilon: float) -> NDArray[np.int64]:
        """Zeros, shape (size,)."""
        return np.zeros(size, dtype=np.int64)

    def uniform(self, size: int) -> FloatArray:
        """Zeros, which are below every sample rate, shape (size,)."""
        return np.zeros(size)


class GivenGradients:
    """In place of a model: the gradient of a record is the row that its label names."""

    def __init__(self, rows: FloatArray) -> None:
        self._rows = rows

    def chunks(self, parameters: FloatArray, features: FloatArray, labels: NDArray[np.int64]) -> Iterator[FloatArray]:
        """Chunks of shape (≤ 16, n_parameters)."""
        for start in range(0, len(labels), 16):
            yield self._rows[labels[start : start + 16]]


@dataclass(frozen=True)
class _Extreme:
    name: str
    row: FloatArray


def one_step(plan: Plan) -> Plan:
    """The plan with a single local step: more steps answer to each other, so that only one has a bound of its own."""
    return plan.model_copy(update={"train": plan.train.model_copy(update={"steps": 1})})


def in_clips(plan: Plan, phase: Phase, release: FloatArray) -> FloatArray:
    """A release in units of C, with the step's learning rate and divisor taken out."""
    planned = plan.release(phase)
    if planned is None:
        raise ValueError(f"the plan has no {phase}")
    scale = planned.max_grad_norm
    if phase is Phase.TRAIN and plan.local_learning_rate is not None and plan.batch_size is not None:
        scale *= plan.local_learning_rate / plan.batch_size
    return release / scale


def check_clipping(subject: Subject) -> list[Check]:
    """Checks of each recipe's gradients, of the model behind them, and of the centring sum."""
    fedsgd, mlp = (one_step(subject.plan(lab_plan(recipe, _FEATURES))) for recipe in Recipe)
    return [
        _within("clipping.gradients_of_logreg", _gradients(subject, fedsgd)),
        _within("clipping.gradients_of_mlp", _gradients(subject, mlp)),
        _within("clipping.records_of_logreg", _records(subject, fedsgd, Phase.TRAIN)),
        _within("clipping.records_of_mlp", _records(subject, mlp, Phase.TRAIN)),
        _within("clipping.records_of_centring", _records(subject, fedsgd, Phase.CENTRE)),
    ]


def _extremes(size: int) -> list[_Extreme]:
    """Each extreme value everywhere, alone among ordinary values, and against its own negative."""
    rows = []
    for name, value in EXTREMES.items():
        alone = np.full(size, 0.1)
        alone[size // 2] = value
        against = np.full(size, value)
        against[::2] = -value
        rows += [_Extreme(name, np.full(size, value)), _Extreme(name, alone), _Extreme(name, against)]
    return rows


def _gradients(subject: Subject, plan: Plan) -> dict[str, float]:
    """How far each extreme gradient moves the release of five others, in units of C."""
    size = plan.model.n_parameters
    ordinary = np.linspace(-1.0, 1.0, 5 * size).reshape(5, size)
    moves: dict[str, float] = {}
    for extreme in _extremes(size):
        gradients = GivenGradients(np.vstack([ordinary, extreme.row]))

        def release(count: int, gradients: GivenGradients = gradients) -> FloatArray:
            data = SiteData(z=np.zeros((count, plan.model.n_features)), labels=np.arange(count))
            trainer = subject.trainer(plan, data, Silent(), gradients)
            return trainer.release(Phase.TRAIN, np.zeros(size), np.zeros(plan.model.n_features))

        moved_at_most(moves, extreme.name, in_clips(plan, Phase.TRAIN, release(6) - release(5)))
    return moves


def _records(subject: Subject, plan: Plan, phase: Phase) -> dict[str, float]:
    """How far a record of extreme features moves the release of none, at ordinary and at extreme parameters."""
    moves: dict[str, float] = {}
    parameters = [np.zeros(plan.model.n_parameters)]
    if phase is Phase.TRAIN:
        parameters += [np.full(plan.model.n_parameters, value) for value in (1.0, 1e300, -1e300, 1e-320)]
    for extreme in _extremes(plan.model.n_features):
        data = SiteData(z=extreme.row[None, :], labels=np.array([1], dtype=np.int64))
        trainer = subject.trainer(plan, data, Silent())
        for at in parameters:
            moved_at_most(
                moves, extreme.name, in_clips(plan, phase, trainer.release(phase, at, np.zeros(plan.model.n_features)))
            )
    return moves


def moved_at_most(moves: dict[str, float], name: str, moved: FloatArray) -> None:
    """Keep the largest norm seen under a name; what is not finite counts as the largest number there is."""
    norm = float(np.linalg.norm(moved)) if np.isfinite(moved).all() else float(_LARGEST)
    moves[name] = max(moves.get(name, 0.0), min(norm, float(_LARGEST)))


def _within(name: str, moves: dict[str, float]) -> Check:
    return within_the_clip(name, "no record", moves)


def within_the_clip(name: str, who: str, moves: dict[str, float]) -> Check:
    """The check that the largest of `moves`, in units of C by kind, is at most 1."""
    worst = max(moves, key=moves.__getitem__)
    return Check(
        name=name,
        expects=f"{who} moves the sum by more than C, and the sum stays finite",
        passed=moves[worst] <= 1.0 + ROUNDING,
        figures={"kinds": len(moves), "worst": worst, "moved_in_units_of_C": moves[worst]},
    )
