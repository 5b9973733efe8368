"""Mean average precision of retrieving replicates among negative controls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.words import count
from bench.metrics._core import (
    Value,
    chunks,
    codes,
    has_value,
    left_out,
    matrix,
    named,
    unit_rows,
)
from bench.metrics.map import precision_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

META = {
    "kind": "metric",
    "name": "map_controls",
    "version": 1,
    "needs": "embedding",
    "range": [0, 1],
    "ignores": ["names", "scale", "rotation"],
    "summary": "Mean average precision of replicates among negative controls of the own batch.",
    "reference": "Kalinin et al. 2025 (copairs), doi:10.1038/s41467-025-60306-2",
}


def map_controls(
    X: ArrayLike,
    *,
    label: ArrayLike,
    batch: ArrayLike,
    controls: ArrayLike | None = None,
    control_batch: ArrayLike | None = None,
    treatment: ArrayLike | None = None,
) -> Value:
    """Return the mean average precision against controls, averaged within treatments first.

    Each row is a query that ranks the other rows of its treatment and the negative controls of its
    batch by cosine similarity. Positives may be in any batch, also in the own one, so an effect of
    the batch that all replicates share raises the value. ``study activity`` has p values of the
    same precision.

    Parameters
    ----------
    X
        ``(n, d)`` profiles of treated rows.
    label
        ``(n,)`` labels; rows without one ("" or -1) are skipped.
    batch
        ``(n,)`` batches.
    controls, control_batch
        ``(m, d)`` profiles and ``(m,)`` batches of negative controls; undefined without any.
    treatment
        ``(n,)`` group of the replicates, if finer than the label.

    Raises
    ------
    BenchError
        If the lengths of the columns differ or profiles are not finite.
    """
    table = matrix(X)
    n = len(table)
    column, where = named(label, "label", n), named(batch, "batch", n)
    group = named(label if treatment is None else treatment, "treatment", n)
    keep = has_value(column) & has_value(where)
    used = count(int(keep.sum()), "row")
    used += left_out(int((~keep).sum()), "without a label or batch")
    if controls is None or control_batch is None or not len(np.asarray(controls)):
        return Value(float("nan"), 0, f"{used}: no negative controls")
    others = matrix(controls)
    elsewhere = named(control_batch, "control_batch", len(others)).astype(str)
    code, names = codes(group[keep])
    place = where[keep].astype(str)
    unit, references = unit_rows(table[keep]), unit_rows(others)
    precision = np.full(len(unit), np.nan)
    for block in chunks(len(unit), len(unit) + len(others)):
        own, negative = unit[block] @ unit.T, unit[block] @ references.T
        for i in range(block.stop - block.start):
            row = block.start + i
            same = code == code[row]
            same[row] = False
            near = elsewhere == place[row]
            if same.any() and near.any():
                precision[row] = precision_of(np.sort(own[i, same]), np.sort(negative[i, near]))
    scored = ~np.isnan(precision)
    used += f", {count(len(others), 'control')}"
    if not scored.any():
        return Value(float("nan"), 0, f"{used}: no replicates with controls in their batch")
    sizes = np.bincount(code[scored], minlength=len(names))
    means = np.bincount(code[scored], precision[scored], len(names))[sizes > 0] / sizes[sizes > 0]
    used += f", {len(means)} of {count(len(names), 'group')}"
    return Value(float(means.mean()), int(scored.sum()), used)
