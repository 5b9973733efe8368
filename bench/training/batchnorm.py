"""BatchNorm layers with configurable statistics.

A network's BatchNorm layers are replaced by :class:`BatchStatistics`, which has the same names,
parameters and buffers, and reads from one shared :class:`Scope` which mean and variance to use. By
default a layer behaves as in PyTorch.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from bench.core.errors import BenchError, RunFailed
from bench.training.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "BatchStatistics",
    "Scope",
    "convert",
    "normalisation_layers",
    "refuse_without_batch_norm",
]


class LayerVisitor(Protocol):
    """Replaces the layers while statistics of a large batch are collected."""

    def visit(self, layer: BatchStatistics, x: Tensor) -> Tensor: ...


class Scope:
    """State shared by all layers of one network: the statistics in use."""

    def __init__(self) -> None:
        self.statistics = Statistics()
        self.stream: LayerVisitor | None = None

    @contextmanager
    def using(self, statistics: Statistics) -> Iterator[None]:
        """Use these statistics inside a ``with`` block."""
        before = self.statistics
        self.statistics = statistics
        try:
            yield
        finally:
            self.statistics = before


class BatchStatistics(_BatchNorm):
    """BatchNorm over the rows and pixels of ``(n, C, ...)``, with statistics from a scope.

    For channel c and the set S of rows used for the statistics of a row,
    ``y = weight_c (x - mean_c(S)) / sqrt(var_c(S) + eps) + bias_c``, where mean and biased variance
    are over S and all pixels (Ioffe and Szegedy 2015, arXiv 1502.03167, algorithm 1). Gradients
    flow through mean and variance. In training, running averages are updated as in PyTorch, with
    the mean over groups if there are several.
    """

    scope: Scope

    @classmethod
    def of(cls, layer: _BatchNorm, scope: Scope) -> BatchStatistics:
        """Return a layer that shares the parameters and buffers of ``layer``."""
        made = cls(
            layer.num_features,
            layer.eps,
            layer.momentum,
            affine=layer.affine,
            track_running_stats=True,
        )
        if layer.affine:
            made.weight, made.bias = layer.weight, layer.bias
        # Without running averages, a layer would use the statistics of the call at test.
        if layer.track_running_stats:
            made.running_mean, made.running_var = layer.running_mean, layer.running_var
            made.num_batches_tracked = layer.num_batches_tracked
        made.scope = scope
        made.train(layer.training)
        return made

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2 or input.shape[1] != self.num_features:
            raise RunFailed(
                f"a BatchNorm layer of {self.num_features} channels met rows of shape "
                f"{tuple(input.shape[1:])}"
            )

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised rows, of the shape and dtype of ``input``."""
        self._check_input_dim(input)
        if self.scope.stream is not None:
            return self.scope.stream.visit(self, input)
        use = self.scope.statistics
        plain = use.mask is None and use.group is None
        if plain and use.source == "running" and not self.training:
            return super().forward(input)
        if plain and input.numel() > input.shape[1]:
            if self.training:
                return super().forward(input)
            return F.batch_norm(
                input, None, None, self.weight, self.bias, training=True, eps=self.eps
            )
        mean, var, count, code = moments(input, use.mask, use.group)
        if self.training:
            self._track(mean, var, count)
        return self.normalise(input, mean, var, code)

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        rate = self.momentum
        if rate is None:
            rate = 1.0 / float(self.num_batches_tracked)
        unbiased = var * (count / (count - 1).clamp(min=1))[:, None]
        self.running_mean.lerp_(mean.mean(0).to(self.running_mean.dtype), rate)
        self.running_var.lerp_(unbiased.mean(0).to(self.running_var.dtype), rate)

    def normalise(self, x: Tensor, mean: Tensor, var: Tensor, code: Tensor | None = None) -> Tensor:
        """Normalise ``(n, C, ...)`` by ``(g, C)`` statistics; ``code`` ``(n,)`` selects a group."""
        tail = (1,) * (x.dim() - 2)
        if code is None:
            code = torch.zeros(1, dtype=torch.long, device=x.device)
        scale = torch.rsqrt(var + self.eps)
        if self.affine:
            scale = scale * self.weight
        mean, scale = mean[code], scale[code]
        # Subtract the mean first: scale x - scale mean loses precision for large offsets.
        out = (x.float() - mean.view(*mean.shape, *tail)) * scale.view(*scale.shape, *tail)
        bias: Tensor | None = self.bias  # newer layers may have a scale and no bias
        if bias is not None:
            out = out + bias.view(1, -1, *tail)
        return out.to(x.dtype)


def moments(
    x: Tensor, mask: Tensor | None, group: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return mean, biased variance and number of values per group and channel.

    Parameters
    ----------
    x
        ``(n, C, ...)``.
    mask
        ``(n,)`` bool, rows used for the statistics; None means all rows.
    group
        ``(n,)`` integer codes; None means one group.

    Returns
    -------
    tuple
        mean and var ``(g, C)`` float32, count ``(g,)``, and ``(n,)`` index of each row's group.

    Raises
    ------
    RunFailed
        If a group has no row to compute statistics from.
    """
    n = x.shape[0]
    for name, given in (("mask", mask), ("group", group)):
        if given is not None and given.shape[0] != n:
            raise RunFailed(
                f"normalisation has a {name} of {given.shape[0]} rows for {n} rows of activations: "
                "the network changes the number of rows, so rows cannot be distinguished"
            )
    flat = x.float().reshape(n, x.shape[1], -1)
    row_mean = flat.mean(2)
    row_var = flat.var(2, unbiased=False)
    if group is None:
        code = torch.zeros(n, dtype=torch.long, device=x.device)
        n_groups = 1
    else:
        names, code = torch.unique(group, return_inverse=True)
        n_groups = len(names)
    member = F.one_hot(code, n_groups).to(flat.dtype)
    if mask is not None:
        member = member * mask.to(flat.dtype)[:, None]
    rows = member.sum(0)
    # On an accelerator the check would synchronise in every layer. Without rows the loss is not
    # finite, which the training loop reports.
    if not x.is_cuda and bool((rows == 0).any()):
        raise RunFailed("a batch has no rows that give normalisation statistics, such as controls")
    weight = (member / rows).T
    mean = weight @ row_mean
    # Within-row plus between-row variance avoids differences of large squares.
    var = weight @ (row_var + (row_mean - mean[code]).square())
    return mean, var, rows * flat.shape[2], code


def convert(network: nn.Module, scope: Scope) -> nn.Module:
    """Replace every BatchNorm layer (1d, 2d, 3d, Sync) of a network, in place; return it.

    A layer that is used in two places is converted once. Parameters and buffers are shared with
    the replaced layers, so frozen parameters remain frozen.
    """
    made: dict[int, BatchStatistics] = {}

    def replacement(layer: _BatchNorm) -> BatchStatistics:
        if id(layer) not in made:
            made[id(layer)] = BatchStatistics.of(layer, scope)
        return made[id(layer)]

    if isinstance(network, _BatchNorm):
        return replacement(network)
    for parent in list(network.modules()):
        for name, child in list(parent._modules.items()):  # including shared children
            if isinstance(child, _BatchNorm):
                setattr(parent, name, replacement(child))
    return network


def normalisation_layers(network: nn.Module) -> dict[str, str]:
    """Return the path and class name of every normalisation layer of a network."""
    return {
        name or "(the network)": type(layer).__name__
        for name, layer in network.named_modules()
        if "norm" in type(layer).__name__.lower() or isinstance(layer, _BatchNorm)
    }


def refuse_without_batch_norm(network: nn.Module, described: str, method: str) -> None:
    """Raise if a network has no BatchNorm layer. The message lists its normalisation layers."""
    if any(isinstance(layer, _BatchNorm) for layer in network.modules()):
        return
    found = normalisation_layers(network)
    shown = ", ".join(f"{name} ({kind})" for name, kind in list(found.items())[:6])
    more = f" and {len(found) - 6} more" if len(found) > 6 else ""
    has = f"its normalisation layers are {shown}{more}" if found else "it normalises nowhere"
    raise BenchError(
        f"{method} works through BatchNorm layers and network '{described}' has none: {has}; "
        "take a network with BatchNorm such as small-resnet, resnet50 or mlp"
    )
