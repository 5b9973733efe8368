"""Losses shared by network methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from bench.training.statistics import Batch


def classification_loss(batch: Batch) -> Tensor:
    """Return the mean cross-entropy over the rows with a class; 0 if there are none."""
    assert batch.logits is not None
    labelled = batch.y >= 0
    if batch.y.is_cuda:  # selecting rows would synchronise in each step
        total = F.cross_entropy(batch.logits, batch.y, ignore_index=-1, reduction="sum")
        return total / labelled.sum().clamp(min=1)
    if not bool(labelled.any()):
        return batch.logits.sum() * 0.0
    return F.cross_entropy(batch.logits[labelled], batch.y[labelled])


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:  # noqa: ANN401 - torch does not type the context
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401 - torch does not type the context
        return -ctx.scale * grads[0], None


def reverse_gradient(x: Tensor, scale: float) -> Tensor:
    """Return ``x``; its gradient is multiplied by ``-scale`` (Ganin et al. 2016, JMLR 17:59)."""
    return _Reverse.apply(x, scale)  # type: ignore[no-any-return]
