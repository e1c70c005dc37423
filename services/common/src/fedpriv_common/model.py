"""Model specifications and their forward pass in numpy, for whoever has no torch: server and `predict`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

FloatArray = NDArray[np.float64]

#: The constant input that plays the intercept's part; its size weighs the intercept in the clipping norm.
BIAS_FEATURE = 0.3


class ModelKind(StrEnum):
    """Architectures that server and sites both know."""

    LOGREG = "logreg"
    MLP = "mlp"


class ModelSpec(BaseModel):
    """An architecture. Parameters travel as one flat float64 vector in the order of `shapes`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ModelKind
    n_features: Annotated[int, Field(gt=0, le=10_000)]
    n_classes: Annotated[int, Field(ge=2, le=100)] = 2
    hidden: Annotated[int, Field(gt=0, le=4096)] = 64

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the parameter tensors, in torch's `named_parameters` order."""
        match self.kind:
            case ModelKind.LOGREG:
                outputs = 1 if self.n_classes == 2 else self.n_classes
                return ((outputs, self.n_features + 1),)
            case ModelKind.MLP:
                return (
                    (self.hidden, self.n_features),
                    (self.hidden,),
                    (self.n_classes, self.hidden),
                    (self.n_classes,),
                )

    @property
    def n_parameters(self) -> int:
        """Length of the flat parameter vector."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    def unflatten(self, parameters: FloatArray) -> list[FloatArray]:
        """Split the flat vector, shape (n_parameters,), into tensors of `shapes`."""
        tensors, start = [], 0
        for shape in self.shapes:
            size = int(np.prod(shape))
            tensors.append(parameters[start : start + size].reshape(shape))
            start += size
        return tensors

    def initial_parameters(self, generator: np.random.Generator) -> FloatArray:
        """Public starting point: zeros for logistic regression, U(±1/√fan_in) for the MLP (torch's default)."""
        if self.kind is ModelKind.LOGREG:
            return np.zeros(self.n_parameters)
        parts = []
        for shape, fan_in in zip(
            self.shapes, (self.n_features, self.n_features, self.hidden, self.hidden), strict=True
        ):
            bound = 1.0 / np.sqrt(fan_in)
            parts.append(generator.uniform(-bound, bound, size=int(np.prod(shape))))
        return np.concatenate(parts)


def inputs(z: FloatArray, centre: FloatArray) -> FloatArray:
    """Logistic regression's inputs, shape (n, d + 1): centred features and the bias feature."""
    return np.hstack([z - centre, np.full((z.shape[0], 1), BIAS_FEATURE)])


def row_by_row(rows: FloatArray, weights: FloatArray) -> FloatArray:
    """rows·weightsᵀ, shape (n, k), for rows (n, d) and weights (k, d); row i of it depends on row i alone, to the bit.

    Matrix kernels add up the last rows of a batch in another order, so that one record more changes others' scores.
    """
    rows = np.ascontiguousarray(rows, dtype=np.float64)
    return np.stack([(rows * weight).sum(axis=1) for weight in weights], axis=1)


def predict_scores(spec: ModelSpec, parameters: FloatArray, centre: FloatArray, z: FloatArray) -> FloatArray:
    """Scores before softmax, shape (n, n_classes), of standardised features z, shape (n, d)."""
    match spec.kind:
        case ModelKind.LOGREG:
            (weights,) = spec.unflatten(parameters)
            scores = row_by_row(inputs(z, centre), weights)
            return np.hstack([np.zeros_like(scores), scores]) if spec.n_classes == 2 else scores
        case ModelKind.MLP:
            first, first_bias, second, second_bias = spec.unflatten(parameters)
            hidden = np.maximum(row_by_row(z, first) + first_bias, 0.0)
            return row_by_row(hidden, second) + second_bias


def predict_probabilities(spec: ModelSpec, parameters: FloatArray, centre: FloatArray, z: FloatArray) -> FloatArray:
    """Class probabilities, shape (n, n_classes), of standardised features z, shape (n, d)."""
    scores = predict_scores(spec, parameters, centre, z)
    scores = scores - scores.max(axis=1, keepdims=True)
    exponentials = np.exp(scores)
    probabilities: FloatArray = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


@dataclass(frozen=True)
class Evaluation:
    """Figures of a model on a public validation set."""

    accuracy: float
    loss: float
    auc: float | None


def evaluate(
    spec: ModelSpec, parameters: FloatArray, centre: FloatArray, z: FloatArray, labels: NDArray[np.int64]
) -> Evaluation:
    """Accuracy, mean cross-entropy (nats) and, for two classes, the area under the ROC curve."""
    probabilities = predict_probabilities(spec, parameters, centre, z)
    of_label = probabilities[np.arange(len(labels)), labels]
    return Evaluation(
        accuracy=float(np.mean(probabilities.argmax(axis=1) == labels)),
        loss=float(-np.log(np.maximum(of_label, 1e-12)).mean()),
        auc=area_under_curve(probabilities[:, 1], labels) if spec.n_classes == 2 else None,
    )


def area_under_curve(scores: FloatArray, labels: NDArray[np.int64]) -> float | None:
    """Probability that a positive record scores above a negative one, ties counted half; None if one class is absent.

    Mann–Whitney U over n₊·n₋, from average ranks.
    """
    positive = labels == 1
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if n_positive == 0 or n_negative == 0:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    u_statistic = ranks[positive].sum() - n_positive * (n_positive + 1) / 2.0
    return float(u_statistic / (n_positive * n_negative))
