"""IBN-a: half of the channels normalised image by image, the other half batch by batch.

The normalisation after the first convolution is split in each residual block, except those of the
last stage. Its first ``share`` of channels goes through instance normalisation, ``y = gamma (x -
mean) / sqrt(var + eps) + beta``. Its mean and biased var are over the pixels of one image. The
other channels go through BatchNorm. All other layers keep BatchNorm. Early layers represent
appearance (staining, illumination), which instance normalisation removes; the second half and the
last stage retain what distinguishes classes. At test BatchNorm uses its running averages: nothing
about the test batch is needed.

Pan, Luo, Shi and Tang 2018, Two at once: enhancing learning and generalization capacities via
IBN-Net, ECCV, arXiv 1807.09441, section 3.3, IBN-Net-a. There the network is ResNet-50 and the
blocks those of conv2_x to conv4_x. Here a block is any module with conv1, bn1, conv2 and bn2. The
last stage is the blocks with most channels; for torchvision's residual networks that is the same.
Pretrained layers keep their gamma and beta. On tables it is not applicable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.api import BenchError, param
from bench.network import NetworkMethod

from ._instance_norm import instance_norm, refuse_profiles

if TYPE_CHECKING:
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm

META = {
    "kind": "method",
    "name": "ibn",
    "class": "IBN",
    "level": "network",
    "version": 1,
    "summary": "ERM in a residual network with half instance, half batch normalisation (IBN-a).",
    "reference": "Pan et al. 2018, ECCV, arXiv 1807.09441",
    "url": "https://arxiv.org/abs/1807.09441",
    "access": [],
}


@dataclass(frozen=True)
class Params:
    """How much of a layer is normalised image by image."""

    share: float = param(
        0.5,
        "share of the channels with instance normalisation",
        low=0.05,
        high=0.95,
        search=(0.25, 0.75),
    )


class IBN(NetworkMethod):
    """ERM in a network whose early blocks normalise half of their channels by instance."""

    Params = Params
    needs_batch_norm = True

    @classmethod
    def needs(cls, params: Any) -> frozenset[str]:
        """Return that rows must be images."""
        return frozenset({"images"})

    def modify(self, network: nn.Module) -> nn.Module:
        """Return the network with the first normalisation of its early blocks split.

        Raises
        ------
        NotApplicable
            If rows are profiles.
        BenchError
            If the network has no residual blocks before its last stage.
        """
        refuse_profiles(network, "ibn")
        blocks = early_blocks(network)
        if not blocks:
            raise BenchError(
                f"ibn splits the normalisation of residual blocks, and {type(network).__name__} "
                "has none before its last stage: take small-resnet, resnet18, resnet34, resnet50, "
                "resnet101, resnext50_32x4d or wide_resnet50_2"
            )
        for block in blocks:
            block.bn1 = split_norm(block.bn1, self.params.share)  # type: ignore[arg-type]
        return network


def early_blocks(network: nn.Module) -> list[nn.Module]:
    """Return the residual blocks of a network without those of its last stage."""
    from torch.nn.modules.batchnorm import _BatchNorm

    parts = ("conv1", "bn1", "conv2", "bn2")
    width = {
        block: block.bn1.num_features
        for block in network.modules()
        if all(hasattr(block, part) for part in parts) and isinstance(block.bn1, _BatchNorm)
    }
    return [block for block, n in width.items() if n != max(width.values())]


def split_norm(layer: _BatchNorm, share: float) -> nn.Module:
    """Return instance normalisation of the first channels and BatchNorm of the others."""
    import torch
    from torch import Tensor, nn

    first = min(max(int(layer.num_features * share), 1), layer.num_features - 1)

    class SplitNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.instance = instance_norm(layer, first)
            self.batch = nn.BatchNorm2d(
                layer.num_features - first, layer.eps, layer.momentum, affine=layer.affine
            )
            if layer.affine:
                with torch.no_grad():
                    self.batch.weight.copy_(layer.weight[first:])
                    self.batch.bias.copy_(layer.bias[first:])
            if self.batch.running_mean is not None and layer.running_mean is not None:
                self.batch.running_mean.copy_(layer.running_mean[first:])
            if self.batch.running_var is not None and layer.running_var is not None:
                self.batch.running_var.copy_(layer.running_var[first:])

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.instance(x[:, :first]), self.batch(x[:, first:])], 1)

    return SplitNorm()
