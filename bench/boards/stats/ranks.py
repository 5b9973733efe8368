"""Average ranks over splits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from bench.boards.stats.scores import Doubles


_POINTS = """
2.771807648699355 3.314493155398122 3.6331595749026278 3.857655510378623 4.030092053180576
4.169554155006547 4.286309409349043 4.38650911549537 4.474124221725907 4.551863584065974
4.621655471868518 4.684919847313499 4.7427317076846975 4.795923860431186 4.845154183957343
4.890951125576789 4.933745358126922 4.973892348748306 5.0116887941184425 5.0473848150087655
5.081193155799909 5.1132962282719765 5.143851577247147 5.17299617312959 5.200849820280358
5.227517890554401 5.25309353580552 5.27765949383823 5.30128957403117 5.324049888290209
5.345999877836653 5.367193175047121 5.387678331063073 5.4074994334281214 5.426696633056341
5.445306596002232 5.463362892514628 5.480896333509614 5.4979352627407465 5.5145058114663055
5.530632121228646 5.546336539405832 5.561639791421669 5.576561132869737 5.591118484290078
5.605328550912587 5.619206929329286 5.63276820276599 5.646026026380527 5.65899320381105
5.6716817560264055 5.684102983386625 5.696267521699102 5.708185392951983 5.7198660513184985
5.731318424949656 5.742550954008434 5.753571625342619 5.764388004145548 5.7750072629123945
5.785436207963822 5.795681303777319 5.805748695339599 5.815644228709457 5.825373469959842
5.834941722649524 5.844354043958875 5.853615259610169 5.862729977680204 5.8717026014022595
5.880537341044561 5.889238224943818 5.897809109764721 5.906253690049516 5.914575507115471
5.9227779573530706 5.930864299972216 5.938837664240136 5.946701056250147 5.954457365257337
"""
STUDENTIZED_RANGE = tuple(map(float, _POINTS.split()))
"""95 % points of the studentized range with infinite degrees of freedom, for 2, 3, ... means.

They are those of ``scipy.stats.studentized_range``, which takes a second to import.
"""


@dataclass(frozen=True, eq=False)
class Ranks:
    """Average ranks of methods over blocks; 1 is best.

    Attributes
    ----------
    ranks
        ``(n_methods,)`` average rank.
    low, high
        ``(n_methods,)`` 95 % percentile limits from resampling blocks.
    statistic, p
        Friedman's chi-squared, corrected for ties, and its p value.
    critical_difference
        Nemenyi: average ranks that differ by at least this much differ at 5 %.
    n_blocks, n_left_out
        Blocks used, and blocks excluded because a method has no value there.
    """

    ranks: Doubles
    low: Doubles
    high: Doubles
    statistic: float
    p: float
    critical_difference: float
    n_blocks: int
    n_left_out: int


def rank_columns(values: Doubles) -> Doubles:
    """Return the rank of each value in its column, 1 for the smallest; ties have their mean rank.

    Parameters
    ----------
    values
        ``(n, m)``, without NaN.
    """
    below = (values[:, None] > values[None]).sum(axis=1)
    equal = (values[:, None] == values[None]).sum(axis=1)
    return np.asarray(below + (equal + 1) / 2)


def _studentized_range(k: int) -> float:
    """Return the 95 % point of the studentized range of ``k`` means."""
    if k - 2 < len(STUDENTIZED_RANGE):
        return STUDENTIZED_RANGE[k - 2]
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(0.95, k, np.inf))


def average_ranks(values: ArrayLike, *, higher_is_better: bool = True) -> Ranks:
    """Return the average ranks of methods over blocks (Demsar 2006, JMLR 7:1-30).

    Parameters
    ----------
    values
        ``(n_methods, n_blocks)``, at least 2 x 2; blocks are clusters or data sets.

    Raises
    ------
    BenchError
        For fewer than two methods, or fewer than two blocks with a value of every method.
    """
    from scipy.special import chdtrc

    from bench.core.seeds import generator

    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or len(table) < 2:
        raise BenchError(f"ranks need methods x blocks, at least two methods, not {table.shape}")
    usable = np.isfinite(table).all(axis=0)
    used = table[:, usable]
    k, n = used.shape
    if n < 2:
        raise BenchError(f"ranks need two blocks in which every method has a value, not {n}")
    ranks = rank_columns(-used if higher_is_better else used)
    mean = ranks.mean(axis=1)
    # Sum of squares between methods over the mean square within blocks; this corrects for ties.
    within = float(((ranks - (k + 1) / 2) ** 2).sum() / (n * (k - 1)))
    statistic = n * float(((mean - (k + 1) / 2) ** 2).sum()) / within if within > 0 else 0.0
    draws = generator("ranks", k, n).integers(0, n, (2000, n))
    low, high = np.percentile(ranks[:, draws].mean(axis=2), [2.5, 97.5], axis=1)
    q = _studentized_range(k) / math.sqrt(2)
    return Ranks(
        mean,
        low,
        high,
        statistic,
        float(chdtrc(k - 1, statistic)),
        q * math.sqrt(k * (k + 1) / (6 * n)),
        n,
        int((~usable).sum()),
    )
