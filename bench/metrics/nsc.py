"""Not-same-compound matching of treatments by cosine similarity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.words import count
from bench.metrics._core import Value, left_out
from bench.metrics._retrieval import nearest_matches, profiles

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

META = {
    "kind": "metric",
    "name": "nsc",
    "version": 1,
    "needs": "embedding",
    "range": [0, 1],
    "ignores": ["names", "scale", "rotation"],
    "oracle_is_best": True,
    "summary": "1-nearest-neighbour accuracy among treatments, same compound excluded (cosine).",
    "reference": "Ljosa et al. 2013, doi:10.1177/1087057113503553",
}


def nsc(
    X: ArrayLike, *, label: ArrayLike, compound: ArrayLike, treatment: ArrayLike | None = None
) -> Value:
    """Return the fraction of treatments whose nearest other-compound treatment has their label.

    Treatments whose label occurs in no other compound cannot be matched and are skipped. Tied
    nearest profiles (within 1e-9) count fractionally.

    Parameters
    ----------
    X
        ``(n, d)`` profiles of treatments, or of wells if ``treatment`` is set.
    label
        ``(n,)`` mechanism; rows without one ("" or -1: controls) are skipped.
    compound
        ``(n,)`` compound.
    treatment
        ``(n,)`` treatment (compound and dose); its rows are averaged first.

    Raises
    ------
    BenchError
        If the lengths of the columns differ or profiles are not finite.
    """
    table = profiles(X, label, compound, None, treatment)
    matches = nearest_matches(table, not_same_batch=False)
    n = int(matches.scored.sum())
    used = (
        f"{n} of {count(len(table), 'treatment')}, "
        f"{count(len(np.unique(table.label[matches.scored])), 'label')}"
    )
    used += left_out(table.unlabelled, "without a label")
    if not n:
        return Value(float("nan"), 0, f"{used}: no label occurs in two compounds")
    return Value(float(matches.right[matches.scored].mean()), n, used)
