"""Distances between the feature distributions of two groups of rows."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

GAMMAS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
"""Inverse widths of the Gaussian kernels whose sum is used, as in DomainBed."""


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean ``(d,)`` and covariance ``(d, d)`` (n - 1) of ``(n, d)``, n at least 2."""
    mean = x.mean(0)
    centred = x - mean
    return mean, centred.T @ centred / (len(x) - 1)


def coral(parts: list[Tensor], pairs: Iterable[tuple[int, int]] | None = None) -> Tensor:
    """Return the mean CORAL distance over pairs of groups.

    For groups with means m and covariances C in d dimensions it is
    ``|m_i - m_j|^2 / d + |C_i - C_j|_F^2 / d^2`` (Koh et al. 2021, WILDS; after Sun and Saenko
    2016, whose loss is the second term over 4).

    Parameters
    ----------
    parts
        ``(n_i, d)`` features of each group, n_i at least 2.
    pairs
        Pairs of positions in ``parts``; None is all.
    """
    import torch

    found = [moments(part) for part in parts]
    gaps = [
        (found[i][0] - found[j][0]).square().mean() + (found[i][1] - found[j][1]).square().mean()
        for i, j in (combinations(range(len(parts)), 2) if pairs is None else pairs)
    ]
    return torch.stack(gaps).mean()


def mmd(
    features: Tensor, group: Tensor, *, relative: bool = False, unbiased: bool = False
) -> Tensor:
    """Return the mean squared maximum mean discrepancy over pairs of groups.

    With ``k(x, y) = sum_g exp(-g |x - y|^2)`` over :data:`GAMMAS`,
    ``MMD^2(i, j) = mean k(x_i, x_i') + mean k(x_j, x_j') - 2 mean k(x_i, x_j)``, means running
    over all pairs of rows (Gretton et al. 2012, JMLR 13:723).

    Parameters
    ----------
    features
        ``(k, d)``.
    group
        ``(k,)`` codes, at least two different ones.
    relative
        Whether squared distances are first divided by their mean over the pairs of different
        rows, through which no gradient flows.
    unbiased
        Whether to exclude pairs of a row with itself; each group then requires two rows.
    """
    import torch
    from torch.nn import functional as F

    n = len(features)
    # |x|^2 + |y|^2 - 2 x y loses digits, and the narrowest kernel multiplies them by 1000.
    centred = features.double() - features.double().mean(0).detach()
    norm = centred.square().sum(1)
    distance = (norm[:, None] + norm[None] - 2 * centred @ centred.T).clamp(min=0)
    distance = distance.masked_fill(torch.eye(n, dtype=torch.bool, device=features.device), 0.0)
    if relative:
        mean = distance.detach().sum() / max(n * (n - 1), 1)
        distance = distance / torch.where(mean > 0, mean, torch.ones_like(mean))
    kernel = torch.stack([torch.exp(-gamma * distance) for gamma in GAMMAS]).sum(0)
    names, code = torch.unique(group, return_inverse=True)
    member = F.one_hot(code, len(names)).to(kernel.dtype)
    share = (member / member.sum(0)).T
    block = share @ kernel @ share.T
    within = block.diagonal()
    if unbiased:
        n_rows = member.sum(0)
        within = (n_rows * within - len(GAMMAS)) / (n_rows - 1)  # k(x, x) is 1 for each width
    gap = within[:, None] + within[None] - 2 * block
    i, j = torch.triu_indices(len(names), len(names), 1, device=features.device)
    return gap[i, j].mean().to(features.dtype)
