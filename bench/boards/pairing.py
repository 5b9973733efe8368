"""Paired comparison of two methods."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.boards.board import (
    BASELINE,
    MIN_SEEDS,
    Row,  # TC
)
from bench.boards.stats.intervals import interval
from bench.boards.stats.scores import MIN_CLUSTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Comparison", "compare"]


# --------------------------------------------------------------------------- comparing rows


def baseline(rows: Sequence[Row]) -> int | None:
    """Return the position of ERM at its defaults; of several versions the last."""
    found = [
        i
        for i, row in enumerate(rows)
        if row.method_id == BASELINE and not row.params and row.seeds
    ]
    return found[-1] if found else None


@dataclass(frozen=True)
class Comparison:
    """A paired difference between two rows of a board, over the seeds and clusters of both.

    Attributes
    ----------
    difference
        Mean over the common seeds of the first minus the second.
    low, high, p
        Interval of 95 % over seeds crossed with clusters, and its p; None with one common seed or
        fewer than :data:`MIN_CLUSTERS` common clusters.
    n_seeds
        Number of common seeds.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None
    n_seeds: int


def compare(row: Row, other: Row) -> Comparison | None:
    """Return the paired difference between two rows of one board, or None without a common seed.

    Parameters
    ----------
    row, other
        From the same board: rows of different boards have nothing in common to pair.
    """
    mine = dict(zip(row.seeds, row.values, strict=True))
    theirs = dict(zip(other.seeds, other.values, strict=True))
    seeds = [seed for seed in row.seeds if seed in theirs]
    if not seeds:
        return None
    difference = math.fsum(mine[seed] - theirs[seed] for seed in seeds) / len(seeds)
    table, base = row.table, other.table
    theirs_too = set(base.names)
    names = [name for name in table.names if name in theirs_too]
    if (table.parts is None) != (base.parts is None):
        names = []  # a part of a pooled metric and a value cannot be subtracted
    gaps = table.array(seeds, names) - base.array(seeds, names)
    span = row_span(gaps, table.weights(names), difference)
    return Comparison(difference, span.low, span.high, span.p, len(seeds))


def compared(row: Row, base: Row, *, higher: bool) -> Row:
    """Add the paired difference to ERM over the seeds and clusters that both have."""
    if row is base or row.mean is None:
        return row
    found = compare(row, base)
    if found is None:
        return row
    verdict = ""
    if found.low is not None and found.high is not None and found.n_seeds >= MIN_SEEDS:
        if found.low <= 0 <= found.high:
            verdict = "cannot be told apart from ERM"
        else:
            verdict = "helps" if (found.low > 0) == higher else "hurts"
    return dataclasses.replace(
        row,
        diff_to_erm=found.difference,
        diff_low=found.low,
        diff_high=found.high,
        diff_p=found.p,
        diff_seeds=found.n_seeds,
        verdict=verdict,
    )


@dataclass(frozen=True)
class _Span:
    low: float | None = None
    high: float | None = None
    p: float | None = None


def row_span(
    values: NDArray[np.float64], weights: NDArray[np.float64] | None, centre: float
) -> _Span:
    """Return the interval over seeds crossed with clusters, moved to ``centre``, and its p.

    Without parts that add up to it, the clusters' mean is close to the pooled metric, but not it:
    the width comes from the clusters, the centre is the number that the board shows. With one
    seed there is no interval, since how much another training would differ is not known.
    """
    if values.size == 0 or values.shape[0] < 2 or values.shape[1] < MIN_CLUSTERS:
        return _Span()
    found = interval(values, weights)
    if found.low is None or found.high is None or found.se is None or found.df is None:
        return _Span()
    from scipy.special import stdtr

    half = (found.high - found.low) / 2
    p = 2 * float(stdtr(found.df, -abs(centre) / found.se))
    return _Span(centre - half, centre + half, p)
