"""The model on the sites' held-out records: their noisy confusion matrices, and what can be said from them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedpriv_common.confusion import CONFIDENCE, figures
from fedpriv_common.plan import Evaluation, Plan
from fedpriv_common.records import Estimate, HeldOutEvaluation
from fedpriv_common.wire import decode_array

IntArray = NDArray[np.int64]

#: How far beyond 2N a count may lie, in units of 1/ε: honest noise is further out with a probability below 1e-34.
_NOISE_TAIL: Final = 80.0


def planned_evaluation(plan: Plan, round_number: int) -> Evaluation | None:
    """The evaluation that the plan foresees after a round."""
    return plan.evaluate if plan.evaluate is not None and round_number in plan.evaluate.at else None


def decode_matrix(payload: bytes, plan: Plan, evaluation: Evaluation) -> IntArray | None:
    """A site's noisy confusion matrix, shape (classes, classes); None for a site that released nothing.

    Raises ValueError or BAD_PARAMETERS for what no honest site sends.
    """
    if not payload:
        return None
    classes = plan.model.n_classes
    counts = decode_array(payload, classes * classes)
    if not (counts == np.rint(counts)).all() or np.abs(counts).max() > 2 * plan.nominal_size + (
        _NOISE_TAIL / evaluation.epsilon
    ):
        raise ValueError("counts that no honest site sends")
    return counts.astype(np.int64).reshape(classes, classes)


def held_out_evaluation(
    run_id: str, round_number: int, evaluation: Evaluation, matrices: Mapping[str, IntArray | None]
) -> HeldOutEvaluation:
    """What is stored of an evaluation: every matrix as it was released, and the rates of their sum."""
    released = [matrix for _, matrix in sorted(matrices.items()) if matrix is not None]
    rates = figures(released, evaluation.epsilon) if released else {}
    return HeldOutEvaluation(
        run_id=run_id,
        round=round_number,
        released_at=datetime.now(UTC),
        mechanism=evaluation.mechanism,
        epsilon=evaluation.epsilon,
        confidence=CONFIDENCE,
        counts={
            site: None if matrix is None else tuple(tuple(int(count) for count in row) for row in matrix)
            for site, matrix in sorted(matrices.items())
        },
        figures={name: Estimate(value=rate.value, low=rate.low, high=rate.high) for name, rate in rates.items()},
    )
