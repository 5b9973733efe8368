"""Mixtures of pairs of rows, and their loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def beta(alpha: float, n: int, generator: torch.Generator) -> Tensor:
    """Return ``(n,)`` float32 draws of Beta(alpha, alpha) from a seeded generator.

    Jöhnk's method in logarithms: with u, v uniform, (u^(1/a), v^(1/a)) is kept if its sum is at
    most 1, and the first part over the sum is the draw. For a > 1, where few would be kept, the
    ratio of two gamma variates is used (Marsaglia and Tsang 2000).
    """
    import torch

    if alpha > 1:
        first, second = (_gamma(alpha, n, generator) for _ in range(2))
        return (first / (first + second)).float()
    found: list[Tensor] = []
    left = n
    while left > 0:
        # The 64-bit uniform is 0 with probability 2^-53; 1 minus it is never 0.
        logs = torch.log1p(-torch.rand(2, 4 * left + 16, generator=generator, dtype=torch.float64))
        logs = logs / alpha
        total = torch.logsumexp(logs, 0)
        kept = torch.exp(logs[0] - total)[total <= 0][:left]
        found.append(kept)
        left -= len(kept)
    return torch.cat(found).float()


def _gamma(shape: float, n: int, generator: torch.Generator) -> Tensor:
    """Return ``(n,)`` float64 draws of Gamma(shape, 1), shape >= 1 (Marsaglia and Tsang 2000)."""
    import torch

    d = shape - 1 / 3
    c = (9 * d) ** -0.5
    found: list[Tensor] = []
    left = n
    while left > 0:
        k = 2 * left + 16
        x = torch.randn(k, generator=generator, dtype=torch.float64)
        u = 1 - torch.rand(k, generator=generator, dtype=torch.float64)
        v = (1 + c * x) ** 3
        fits = (v > 0) & (torch.log(u) < x * x / 2 + d - d * v + d * torch.log(v.clamp(min=1e-300)))
        kept = (d * v)[fits][:left]
        found.append(kept)
        left -= len(kept)
    return torch.cat(found)


def interpolated(x: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    """Return ``weight x + (1 - weight) other`` row by row; ``weight`` is ``(n,)``."""
    w = weight.to(x.device).view(-1, *[1] * (x.dim() - 1))
    return w * x + (1 - w) * other


def mixed_loss(logits: Tensor, y: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    """Return the mean over rows of ``w CE(z, y) + (1 - w) CE(z, y')``.

    Equal to the cross-entropy with the mixed label ``w e_y + (1 - w) e_y'``.

    Parameters
    ----------
    logits
        ``(n, K)``.
    y, other
        ``(n,)`` classes of the two rows of each mixture; -1 in either excludes the row.
    weight
        ``(n,)`` share of the first row.
    """
    from torch.nn import functional as F

    kept = (y >= 0) & (other >= 0)
    if not bool(kept.any()):
        return logits.sum() * 0.0
    logits, y, other = logits[kept], y[kept], other[kept]
    w = weight.to(logits.device)[kept]
    first = F.cross_entropy(logits, y, reduction="none")
    second = F.cross_entropy(logits, other, reduction="none")
    return (w * first + (1 - w) * second).mean()
