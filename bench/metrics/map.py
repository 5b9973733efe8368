"""Mean average precision of retrieving rows with the same label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError
from bench.core.words import count
from bench.metrics._core import (
    TIE,
    Doubles,
    Value,
    chunks,
    codes,
    has_value,
    left_out,
    matrix,
    named,
    unit_rows,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

META = {
    "kind": "metric",
    "name": "map",
    "function": "mean_average_precision",
    "version": 1,
    "needs": "embedding",
    "range": [0, 1],
    "ignores": ["names", "scale", "rotation"],
    "summary": "Mean average precision of retrieving replicates from other batches (cosine).",
    "reference": "Kalinin et al. 2025 (copairs), doi:10.1038/s41467-025-60306-2",
}

NEGATIVES = ("all", "batch")


def average_precisions(
    X: ArrayLike,
    *,
    label: ArrayLike,
    batch: ArrayLike | None = None,
    treatment: ArrayLike | None = None,
    negatives: str = "all",
) -> Doubles:
    """Return the average precision of each row as a query, ``(n,)`` float64, NaN if undefined.

    The parameters and the definition are those of :func:`mean_average_precision`.
    """
    if negatives not in NEGATIVES:
        raise BenchError(f"negatives is one of {' | '.join(NEGATIVES)}, not '{negatives}'")
    if negatives == "batch" and batch is None:
        raise BenchError("negatives of the same batch need the batch column")
    table = matrix(X)
    n = len(table)
    column = named(label, "label", n)
    rows = np.flatnonzero(has_value(column))
    group = named(label if treatment is None else treatment, "treatment", n)
    what = codes(group[rows])[0]
    where = None if batch is None else codes(named(batch, "batch", n)[rows])[0]
    unit = unit_rows(table[rows])
    m = len(rows)
    precision = np.full(n, np.nan)
    for block in chunks(m, m, 8 * 4):
        similarity = unit[block] @ unit.T
        same = what[block, None] == what[None]
        positive, negative = same.copy(), ~same
        positive[np.arange(block.stop - block.start), np.arange(block.start, block.stop)] = False
        if where is not None:
            elsewhere = where[block, None] != where[None]
            positive &= elsewhere
            if negatives == "batch":
                negative &= ~elsewhere
        for i in range(block.stop - block.start):
            own = np.sort(similarity[i, positive[i]])
            others = np.sort(similarity[i, negative[i]])
            if len(own) and len(others):
                precision[rows[block.start + i]] = precision_of(own, others)
    return precision


def precision_of(own: Doubles, others: Doubles) -> float:
    """Return the average precision of sorted similarities of positives and negatives.

    Rows ranked at or above each positive are counted. Ties count as retrieved, so their order is
    irrelevant and a constant embedding scores the prevalence.
    """
    hits = len(own) - np.searchsorted(own, own - TIE)
    misses = len(others) - np.searchsorted(others, own - TIE)
    return float((hits / (hits + misses)).mean())


def mean_average_precision(
    X: ArrayLike,
    *,
    label: ArrayLike,
    batch: ArrayLike | None = None,
    treatment: ArrayLike | None = None,
    negatives: str = "all",
) -> Value:
    """Return the mean average precision over queries, averaged within groups first.

    Each row is a query that ranks the others by cosine similarity. Positives are rows of the same
    treatment (or the same label, if there is no treatment column) in another batch, or all of them
    if there are no batches. Negatives are rows of another treatment. The average precision is the
    mean over positives of the fraction of positives among the rows ranked at least as high. Queries
    without a positive or a negative are skipped. Queries are averaged per treatment first, so that
    all treatments have the same weight. Chance level is about the fraction of positives.

    Parameters
    ----------
    X
        ``(n, d)`` profiles.
    label
        ``(n,)`` labels; rows without one ("" or -1: controls) are neither query nor candidate.
    batch
        ``(n,)`` batches.
    treatment
        ``(n,)`` group of the replicates, if finer than the label.
    negatives
        ``all`` rows of other treatments, or only those of the query's own ``batch``.

    Raises
    ------
    BenchError
        If the lengths of the columns differ or profiles are not finite.
    """
    precision = average_precisions(
        X, label=label, batch=batch, treatment=treatment, negatives=negatives
    )
    n = len(precision)
    has_label = has_value(named(label, "label", n))
    scored = ~np.isnan(precision)
    total = int(scored.sum())
    group = np.asarray(label if treatment is None else treatment)
    all_groups = len(codes(group[has_label])[1])
    code, names = codes(group[scored])
    across = "" if batch is None else " across batches"
    used = (
        f"{total} of {count(int(has_label.sum()), 'query', 'queries')}{across}, "
        f"{len(names)} of {count(all_groups, 'group')}"
        + left_out(int((~has_label).sum()), "without a label")
    )
    if not total:
        return Value(float("nan"), 0, f"{used}: no query has both a positive and a negative")
    means = np.bincount(code, weights=precision[scored]) / np.bincount(code)
    return Value(float(means.mean()), total, used)
