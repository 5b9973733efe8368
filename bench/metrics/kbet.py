"""Share of neighbourhoods within a label whose batches agree with those of the label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.words import count
from bench.metrics._core import Value, codes, has_value, left_out, matrix, named, neighbours

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

META = {
    "kind": "metric",
    "name": "kbet",
    "function": "kbet",
    "version": 1,
    "needs": "embedding",
    "range": [0, 1],
    "higher_is_better": True,
    "oracle_is_best": False,
    "summary": "Acceptance rate of the chi-squared test of batches near a row, within labels.",
    "reference": "Buettner et al. 2019, doi:10.1038/s41592-018-0254-1",
}

ALPHA = 0.05
"""Level of the test of each neighbourhood."""
SMALLEST, LARGEST = 10, 70
"""Limits of the number of neighbours."""
SHARE = 3
"""Labels with fewer rows than this number times the neighbours are skipped."""


def kbet(X: ArrayLike, *, label: ArrayLike, batch: ArrayLike) -> Value:
    """Return the mean over labels of the share of rows whose neighbourhood is not rejected.

    The batches of the k nearest rows of the own label are compared with the batches of all rows of
    the label by Pearson's chi-squared test; a neighbourhood with p of at least 0.05 is accepted. k
    is a quarter of the mean number of rows per batch, from 10 to 70, as in scIB. Rows of other
    labels are not neighbours, so moving labels together is not rewarded. Without any batch effect
    the rate is about 0.95, as the test is approximate in small neighbourhoods.

    scIB finds neighbours by diffusion on the graph of each label; here they are by cosine
    similarity, and ``scib_metrics.kbet`` of these neighbours gives the same rate.

    Parameters
    ----------
    X
        ``(n, d)`` profiles.
    label
        ``(n,)`` labels; rows without one ("" or -1) are skipped. Labels with one batch, or with
        fewer than 3 k rows, are skipped and counted.
    batch
        ``(n,)`` batches.

    Raises
    ------
    BenchError
        If the lengths of the columns differ or profiles are not finite.
    """
    from scipy.stats import chi2

    table = matrix(X)
    column = named(label, "label", len(table))
    where = named(batch, "batch", len(table))
    keep = has_value(column) & has_value(where)
    table, where = table[keep], where[keep]
    code, names = codes(column[keep])
    rates, n = [], 0
    for label_code in range(len(names)):
        rows = np.flatnonzero(code == label_code)
        place, places = codes(where[rows])
        sizes = np.bincount(place)
        k = int(np.clip(sizes.mean() // 4, SMALLEST, LARGEST))
        if len(places) < 2 or len(rows) < SHARE * k:
            continue
        near = place[neighbours(table[rows], k).indices]
        observed = (near[:, :, None] == np.arange(len(places))).sum(axis=1)
        expected = k * sizes / len(rows)
        statistic = ((observed - expected) ** 2 / expected).sum(axis=1)
        rates.append(float((chi2.sf(statistic, len(places) - 1) >= ALPHA).mean()))
        n += len(rows)
    used = f"{count(n, 'row')}, {len(rates)} of {count(len(names), 'label')}"
    used += left_out(int((~keep).sum()), "without a label or batch")
    if not rates:
        reason = f"no label has two batches and {SHARE * SMALLEST} rows"
        return Value(float("nan"), 0, f"{used}: {reason}")
    return Value(float(np.mean(rates)), n, used)
