"""Replace batch normalisation by instance normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.api import BenchError, NotApplicable

if TYPE_CHECKING:
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm


def refuse_profiles(network: nn.Module, method: str) -> None:
    """Raise :class:`NotApplicable` if a network normalises profiles, which have no pixels."""
    from torch.nn import BatchNorm1d

    if any(isinstance(layer, BatchNorm1d) for layer in network.modules()):
        raise NotApplicable(
            f"{method} averages over the pixels of one image, and a profile has one value for "
            "each feature: it is for images"
        )


def instance_norm(layer: _BatchNorm, first: int) -> nn.Module:
    """Return instance normalisation for the first channels of a BatchNorm layer.

    ``y = gamma (x - mean) / sqrt(var + eps) + beta`` with mean and biased var over the pixels of
    one image and channel; gamma and beta are initialised from the layer.

    Raises
    ------
    BenchError
        When it is applied to a feature map of a single pixel: its output would be zero.
    """
    import torch
    from torch import Tensor, nn

    class InstanceNorm(nn.InstanceNorm2d):
        def forward(self, input: Tensor) -> Tensor:
            if input.shape[2] * input.shape[3] < 2:
                raise BenchError(
                    "instance normalisation meets a feature map of one pixel, which it would turn "
                    "into zeros: take larger images or a network that shrinks them less"
                )
            return super().forward(input)

    made = InstanceNorm(first, layer.eps, affine=layer.affine)
    if layer.affine:
        with torch.no_grad():
            made.weight.copy_(layer.weight[:first])
            made.bias.copy_(layer.bias[:first])
    return made
