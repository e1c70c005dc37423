"""A linear layer whose output for a record depends on that record alone, to the last bit.

Matrix kernels add up the last few rows of a batch in another order than the rest. One record more then changes the
last digits of others' scores, and a server that sends parameters under which scores are all cancellation turns these
digits into gradients of full length: one record would move the sum by several times C. Here every row is multiplied
and added up by itself, in numpy, in one fixed order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from opacus.grad_sample import register_grad_sampler
from torch import Tensor, nn

from fedpriv_common.model import row_by_row


class _RowByRow(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        # Where a hostile server's parameters overflow, the record's gradient is not finite, and becomes zero.
        with np.errstate(over="ignore", invalid="ignore"):
            return torch.from_numpy(row_by_row(features.detach().numpy(), weight.detach().numpy()))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        # The weight's own gradient is taken per record, by the sampler below.
        with np.errstate(over="ignore", invalid="ignore"):
            return torch.from_numpy(row_by_row(gradients[0].numpy(), weight.detach().numpy().T)), None


class RowLinear(nn.Module):
    """y = x·Wᵀ + b for x of shape (n, d), float64, with parameters named as `nn.Linear` names them."""

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_features, in_features, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(out_features, dtype=torch.float64)) if bias else None

    def forward(self, features: Tensor) -> Tensor:
        """Scores of shape (n, out_features)."""
        scores: Tensor = _RowByRow.apply(features, self.weight)  # type: ignore[no-untyped-call]
        return scores if self.bias is None else scores + self.bias


def rows_within(n_parameters: int, budget_bytes: int, most: int) -> int:
    """How many records' gradients of float64 fit a budget, at least one: memory must not follow the model's size."""
    return max(1, min(most, math.floor(budget_bytes / (8 * n_parameters))))


def _grad_sample(layer: RowLinear, activations: list[Tensor], backprops: Tensor) -> dict[nn.Parameter, Tensor]:
    """Per-record gradients: outer products, each number a single product."""
    samples = {layer.weight: backprops[:, :, None] * activations[0][:, None, :]}
    if layer.bias is not None:
        samples[layer.bias] = backprops
    return samples


register_grad_sampler(RowLinear)(_grad_sample)
