"""Share of neighbourhoods within a label with the batches of the label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.metrics._core import Value, neighbours
from bench.metrics._within_labels import labels_with_batches

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

META = {
    "kind": "metric",
    "name": "kbet",
    "version": 1,
    "needs": "embedding",
    "range": [0, 1],
    "ignores": ["names", "scale", "rotation"],
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
    """Return the mean over labels of the share of rows with an accepted neighbourhood.

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

    groups, used = labels_with_batches(X, label, batch)
    rates, n = [], 0
    for rows, place, n_batches in groups:
        sizes = np.bincount(place)
        k = int(np.clip(sizes.mean() // 4, SMALLEST, LARGEST))
        if n_batches < 2 or len(rows) < SHARE * k:
            continue
        near = place[neighbours(rows, k).indices]
        observed = (near[:, :, None] == np.arange(n_batches)).sum(axis=1)
        expected = k * sizes / len(rows)
        statistic = ((observed - expected) ** 2 / expected).sum(axis=1)
        rates.append(float((chi2.sf(statistic, n_batches - 1) >= ALPHA).mean()))
        n += len(rows)
    text = used(n, len(rates))
    if not rates:
        reason = f"no label has two batches and {SHARE * SMALLEST} rows"
        return Value(float("nan"), 0, f"{text}: {reason}")
    return Value(float(np.mean(rates)), n, text)
