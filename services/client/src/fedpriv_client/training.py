"""The two recipes: what a site computes on its records in one round, and the only code that sees them.

Per-record gradients come from Opacus' GradSampleModule; `make_private` is not used, because it derives sample rate,
steps and divisor from the number of records. Here they are public constants of the plan.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from torch import Tensor, nn

from fedpriv_client.data.site_data import SiteData
from fedpriv_client.privacy.randomness import Randomness, SystemRandomness
from fedpriv_client.privacy.release import clip, noisy_sum
from fedpriv_client.privacy.units import UnitRecords, by_unit, unit_means
from fedpriv_client.rowwise import RowLinear, rows_within
from fedpriv_common.confusion import confusion_matrix
from fedpriv_common.model import ModelKind, ModelSpec, inputs
from fedpriv_common.plan import Phase, Plan
from fedpriv_common.recipes import Recipe
from fedpriv_common.table import UNLABELLED

# Opacus hooks the first layer, whose inputs are data and have no gradient by intention; torch warns of that each time.
warnings.filterwarnings("ignore", message="Full backward hook is firing when gradients are computed")

FloatArray = NDArray[np.float64]

#: Most records whose gradients are held in memory at once, and most bytes of them.
_CHUNK, _CHUNK_BYTES = 1024, 8 * 2**20


class Gradients(Protocol):
    """Where per-record gradients come from: the plan's model or, in an audit, canaries."""

    def chunks(self, parameters: FloatArray, features: FloatArray, labels: NDArray[np.int64]) -> Iterator[FloatArray]:
        """One row per record, not clipped yet, in chunks of shape (n, n_parameters)."""
        ...


class Trainer:
    """Computes the releases of one plan on one site's records. Keeps no state between rounds."""

    def __init__(self, plan: Plan, data: SiteData, randomness: Randomness, gradients: Gradients | None = None) -> None:
        self._plan = plan
        self._records = by_unit(data, plan.unit)
        self._held_out = data.evaluation(plan.unit)
        self._randomness = randomness
        self._gradients = gradients or PerRecordGradients(plan.model)

    def release(self, phase: Phase, parameters: FloatArray, centre: FloatArray) -> FloatArray:
        """What leaves the site for one round.

        centre: Σ clip(zᵢ, R) + noise, shape (d,). train, FedSGD: Σ clip(∇ᵢ, C) + noise, shape (n_parameters,);
        train, MLP: the change of the parameters after the local steps, shape (n_parameters,). evaluate: the held-out
        records' confusion matrix + noise, whole numbers, shape (n_classes²,), row by row, a row for each true class.
        i runs over the plan's units; a patient's term is the mean of their records' terms.
        """
        match phase:
            case Phase.CENTRE:
                return self._centring_sum()
            case Phase.EVALUATE:
                return self._confusion_matrix(parameters, centre)
            case Phase.TRAIN:
                return self._training_step(parameters, centre)

    def _training_step(self, parameters: FloatArray, centre: FloatArray) -> FloatArray:
        match self._plan.recipe:
            case Recipe.FEDSGD_LOGREG:
                features = inputs(self._records.features, centre)
                return self._gradient_sum(parameters, replace(self._records, features=features))
            case Recipe.FEDAVG_MLP:
                return self._local_steps(parameters)

    def _centring_sum(self) -> FloatArray:
        release = self._plan.centre
        assert release is not None  # noqa: S101 - the ledger reserved it, so the plan has it
        return noisy_sum(
            self._contributions([self._records.features], self._records, release.max_grad_norm),
            self._plan.model.n_features,
            max_norm=release.max_grad_norm,
            noise_multiplier=release.noise_multiplier,
            randomness=self._randomness,
        )

    def _confusion_matrix(self, parameters: FloatArray, centre: FloatArray) -> FloatArray:
        evaluation, records, model = self._plan.evaluate, self._held_out, self._plan.model
        assert evaluation is not None  # noqa: S101 - the ledger reserved it, so the plan has it
        counts = np.zeros((model.n_classes, model.n_classes), dtype=np.int64)
        if records is not None:
            counts += confusion_matrix(model, parameters, centre, records.z, records.labels)
        noise = self._randomness.two_sided_geometric(counts.size, evaluation.epsilon)
        return (counts.ravel() + noise).astype(np.float64)

    def _gradient_sum(self, parameters: FloatArray, records: UnitRecords) -> FloatArray:
        release = self._plan.train
        gradients = self._gradients.chunks(parameters, records.features, records.labels)
        return noisy_sum(
            self._contributions(gradients, records, release.max_grad_norm),
            self._plan.model.n_parameters,
            max_norm=release.max_grad_norm,
            noise_multiplier=release.noise_multiplier,
            randomness=self._randomness,
        )

    def _contributions(
        self, chunks: Iterable[FloatArray], records: UnitRecords, max_norm: float
    ) -> Iterable[FloatArray]:
        """One row per unit: a record's vector, still to be clipped, or the mean of a patient's clipped ones."""
        if self._plan.unit == "record":
            return chunks
        return unit_means((clip(chunk, max_norm) for chunk in chunks), records.units)

    def _local_steps(self, parameters: FloatArray) -> FloatArray:
        """DP-SGD from `parameters`: Poisson samples of public rate, public divisor; an empty sample is noise alone.

        The proximal term (μ/2)·‖w − w_global‖² (Li et al. 2020, equation 2) has the gradient μ·change, which depends
        on earlier noisy values only: it is added after the noise and costs no epsilon.
        """
        release, learning_rate, divisor = self._plan.train, self._plan.local_learning_rate, self._plan.batch_size
        assert learning_rate is not None  # noqa: S101 - every plan of this recipe has both
        assert divisor is not None  # noqa: S101
        # The change is summed on its own: as a difference of parameters it would drown next to huge ones.
        change = np.zeros_like(parameters)
        for _ in range(release.steps):
            sampled = self._randomness.uniform(self._records.n_units) < release.sample_rate
            total = self._gradient_sum(parameters + change, self._records.of(sampled))
            change -= learning_rate * (total / divisor + self._plan.proximal_mu * change)
        return change


def private_trainer(plan: Plan, data: SiteData) -> Trainer:
    """The trainer that a site runs: its noise is the operating system's."""
    return Trainer(plan, data, SystemRandomness())


class PerRecordGradients:
    """Gradients of the cross-entropy (nats) of each record, in float64."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._module = GradSampleModule(_torch_module(spec), loss_reduction="sum")
        self._loss = _summed_loss(spec)

    def chunks(self, parameters: FloatArray, features: FloatArray, labels: NDArray[np.int64]) -> Iterator[FloatArray]:
        """Gradients at `parameters` in chunks of shape (≤ 1024, n_parameters); zero for unlabelled records."""
        self._load(parameters)
        rows = rows_within(self._spec.n_parameters, _CHUNK_BYTES, _CHUNK)
        for start in range(0, len(labels), rows):
            yield self._compute(features[start : start + rows], labels[start : start + rows])

    def _load(self, parameters: FloatArray) -> None:
        with torch.no_grad():
            for target, values in zip(self._module.parameters(), self._spec.unflatten(parameters), strict=True):
                target.copy_(torch.from_numpy(np.ascontiguousarray(values)))

    def _compute(self, features: FloatArray, labels: NDArray[np.int64]) -> FloatArray:
        labelled = labels != UNLABELLED
        self._module.zero_grad()
        scores = self._module(torch.from_numpy(np.ascontiguousarray(features)))
        torch.autograd.backward(self._loss(scores, torch.from_numpy(np.where(labelled, labels, 0))))
        samples = [parameter.grad_sample.flatten(1) for parameter in self._module.parameters()]
        gradients: FloatArray = torch.cat(samples, dim=1).numpy()
        gradients[~labelled] = 0.0
        return gradients


def _torch_module(spec: ModelSpec) -> nn.Module:
    match spec.kind:
        case ModelKind.LOGREG:
            return RowLinear(spec.n_features + 1, spec.shapes[0][0], bias=False)
        case ModelKind.MLP:
            return nn.Sequential(
                RowLinear(spec.n_features, spec.hidden), nn.ReLU(), RowLinear(spec.hidden, spec.n_classes)
            )


def _summed_loss(spec: ModelSpec) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy summed over records, for one score per record (two classes) or one per class."""
    if spec.shapes[-1][0] == 1:
        binary = nn.BCEWithLogitsLoss(reduction="sum")
        return lambda scores, labels: binary(scores[:, 0], labels.to(torch.float64))
    return nn.CrossEntropyLoss(reduction="sum")
