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

    pass


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
    from scipy import stats

    from bench.core.seeds import generator

    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or len(table) < 2:
        raise BenchError(f"ranks need methods x blocks, at least two methods, not {table.shape}")
    usable = np.isfinite(table).all(axis=0)
    used = table[:, usable]
    k, n = used.shape
    if n < 2:
        raise BenchError(f"ranks need two blocks in which every method has a value, not {n}")
    ranks = stats.rankdata(-used if higher_is_better else used, axis=0)
    mean = ranks.mean(axis=1)
    # Sum of squares between methods over the mean square within blocks; this corrects for ties.
    within = float(((ranks - (k + 1) / 2) ** 2).sum() / (n * (k - 1)))
    statistic = n * float(((mean - (k + 1) / 2) ** 2).sum()) / within if within > 0 else 0.0
    draws = generator("ranks", k, n).integers(0, n, (2000, n))
    low, high = np.percentile(ranks[:, draws].mean(axis=2), [2.5, 97.5], axis=1)
    q = float(stats.studentized_range.ppf(0.95, k, np.inf)) / math.sqrt(2)
    return Ranks(
        mean,
        low,
        high,
        statistic,
        float(stats.chi2.sf(statistic, k - 1)),
        q * math.sqrt(k * (k + 1) / (6 * n)),
        n,
        int((~usable).sum()),
    )
