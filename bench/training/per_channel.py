"""A network that treats all channels alike: one encoder for every channel, averaged over channels.

``--network bench.training.per_channel:network`` trains it. Which marker is in which channel is not
an input, so a marker that was never seen can take the place of another, and channels can be absent:
a channel of a row that is 0 in all pixels is left out of the mean of that row. In exchange, the
network cannot learn that one marker matters more than another.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 16


class _Convolution(nn.Conv2d):
    """A convolution of every channel by itself: ``(n, n_in, C, H, W)`` to ``(n, n_out, C, …)``.

    The weights have four axes, so that the recipe's memory format applies to them.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the response in each channel."""
        n, _, channels = x.shape[:3]
        response = super().forward(x.transpose(1, 2).flatten(0, 1))
        return response.reshape(n, channels, *response.shape[1:]).transpose(1, 2)


def _convolution(n_in: int, n_out: int, size: int, stride: int) -> _Convolution:
    return _Convolution(n_in, n_out, size, stride, size // 2, bias=False)


def _normalised(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply BatchNorm over rows, channels and pixels of ``(n, d, C, H, W)``."""
    result: Tensor = layer(x.flatten(2, 3)).unflatten(2, (x.shape[2], x.shape[3]))
    return result


class _Residual(nn.Module):
    """Two 3x3 convolutions per channel and a shortcut (He et al. 2016, arXiv 1512.03385)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(n_in, n_out, 3, stride)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = _convolution(n_out, n_out, 3, 1)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.shortcut = _convolution(n_in, n_out, 1, stride) if n_in != n_out else None
        self.bn3 = nn.BatchNorm2d(n_out) if n_in != n_out else None

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(n, n_out, C, H', W')`` of ``(n, n_in, C, H, W)``."""
        inner = F.relu(_normalised(self.bn1, self.conv1(x)))
        outer = _normalised(self.bn2, self.conv2(inner))
        if self.shortcut is not None and self.bn3 is not None:
            x = _normalised(self.bn3, self.shortcut(x))
        return F.relu(outer + x)


class PerChannelResNet(nn.Module):
    """The small residual network on every channel by itself: ``(n, C, H, W)`` -> logits.

    The encoder of all channels is the same, for any number of them. BatchNorm statistics are over
    rows, channels and pixels: with ``ben``, of the rows of one batch. Features are means over
    pixels and over the channels that are present. An absent channel is replaced by the first one
    that is present, so that empty pixels do not enter the statistics.
    """

    def __init__(self, n_classes: int, width: int = WIDTH) -> None:
        super().__init__()
        self.conv = _convolution(1, width, 5, 2)
        self.bn = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(
            _Residual(width, width, 1),
            _Residual(width, 2 * width, 2),
            _Residual(2 * width, 4 * width, 2),
        )
        self.head = nn.Linear(4 * width, n_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(n, n_classes)`` logits of ``(n, C, H, W)``."""
        present = x.flatten(2).abs().amax(2) > 0
        present = present | ~present.any(1, keepdim=True)  # an empty image keeps all channels
        first = present.float().argmax(1)
        replaced = x[torch.arange(len(x), device=x.device), first][:, None]
        filled = torch.where(present[:, :, None, None], x, replaced)[:, None]
        stem = F.relu(_normalised(self.bn, self.conv(filled)))
        pixels = self.blocks(F.max_pool3d(stem, (1, 3, 3), (1, 2, 2), (0, 1, 1)))
        weight = present.to(pixels.dtype)[:, None]
        mean = (pixels.mean((3, 4)) * weight).sum(2) / weight.sum(2)
        logits: Tensor = self.head(mean)
        return logits


def network(n_channels: int, n_classes: int) -> nn.Module:  # noqa: ARG001 - any number of channels
    """Return an untrained network for images with any number of channels."""
    return PerChannelResNet(n_classes)
