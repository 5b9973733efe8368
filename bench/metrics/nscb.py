"""Not-same-compound-or-batch matching of treatments by cosine similarity."""

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
    "name": "nscb",
    "version": 1,
    "needs": "embedding",
    "range": [0, 1],
    "ignores": ["names", "scale", "rotation"],
    "oracle_is_best": True,
    "summary": "As nsc, with neighbours of the same batch excluded too.",
    "reference": "Ando et al. 2017, doi:10.1101/161422; Lin & Lu 2022, PMLR 200, appendix D",
}


def nscb(
    X: ArrayLike,
    *,
    label: ArrayLike,
    compound: ArrayLike,
    batch: ArrayLike,
    treatment: ArrayLike | None = None,
) -> Value:
    """Return the fraction of treatments matched across compounds and batches.

    Treatments whose label occurs in no other compound of another batch cannot be matched and are
    skipped as queries (on BBBC021, 92 of 103 remain; the others have labels of a single week). They
    remain in the gallery as wrong candidates. Tied nearest profiles (within 1e-9) count
    fractionally.

    Parameters
    ----------
    X
        ``(n, d)`` profiles of treatments, or of wells if ``treatment`` is set.
    label
        ``(n,)`` mechanism; rows without one ("" or -1: controls) are skipped.
    compound
        ``(n,)`` compound.
    batch
        ``(n,)`` batch (the week on BBBC021).
    treatment
        ``(n,)`` treatment (compound and dose); its rows within a batch are averaged first.

    Raises
    ------
    BenchError
        If the lengths of the columns differ or profiles are not finite.
    """
    table = profiles(X, label, compound, batch, treatment)
    matches = nearest_matches(table, not_same_batch=True)
    n = int(matches.scored.sum())
    used = (
        f"{n} of {count(len(table), 'treatment')}, "
        f"{len(np.unique(table.label[matches.scored]))} of "
        f"{count(len(np.unique(table.label)), 'label')}, "
        f"{count(len(np.unique(table.batch)), 'batch', 'batches')}"
    )
    used += left_out(table.unlabelled, "without a label")
    if not n:
        return Value(float("nan"), 0, f"{used}: no label occurs in two compounds and batches")
    return Value(float(matches.right[matches.scored].mean()), n, used)
