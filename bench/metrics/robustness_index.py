"""Share of biology among the neighbours that share either the label or the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.words import count
from bench.metrics._core import (
    Neighbours,
    Value,
    codes,
    has_value,
    left_out,
    matrix,
    named,
    shared_graph,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

META = {
    "kind": "metric",
    "name": "robustness_index",
    "version": 1,
    "needs": "embedding",
    "range": [0, 1],
    "ignores": ["names", "scale", "rotation"],
    "summary": "Neighbours of the same label and another batch, against the reverse (cosine).",
    "reference": "de Jong et al. 2025, arXiv:2501.18055; PathoROB, arXiv:2507.17845",
}

K = 15


def robustness_index(
    X: ArrayLike,
    *,
    label: ArrayLike,
    batch: ArrayLike,
    neighbours: Neighbours | None = None,
    k: int = K,
) -> Value:
    """Return SO / (SO + OS) over the k nearest neighbours of all rows.

    SO counts neighbours with the same label from another batch, OS those with another label from
    the same batch. Neighbours that share both or neither are ignored, so mixing batches without
    keeping labels is not rewarded. The value of a random order, from the numbers of rows, is in
    ``used``. PathoROB chooses k per model by its accuracy; here it is fixed, so that methods are
    compared at one k.

    Parameters
    ----------
    X
        ``(n, d)`` profiles.
    label, batch
        ``(n,)`` labels and batches; rows without either ("" or -1) are skipped.
    neighbours
        Precomputed neighbour graph of these rows; computed by default.
    k
        Number of neighbours per row.

    Raises
    ------
    BenchError
        If the lengths of the columns differ or profiles are not finite.
    """
    table = matrix(X)
    labels, batches = named(label, "label", len(table)), named(batch, "batch", len(table))
    keep = has_value(labels) & has_value(batches)
    what, names = codes(labels[keep])
    where, places = codes(batches[keep])
    n = len(what)
    used = (
        f"{count(n, 'row')}, {count(len(names), 'label')}, {count(len(places), 'batch', 'batches')}"
    )
    used += left_out(int((~keep).sum()), "without a label or batch")
    table_of = np.zeros((len(names), len(places)))
    np.add.at(table_of, (what, where), 1)
    both = float((table_of**2).sum())
    same_label = float((table_of.sum(axis=1) ** 2).sum()) - both
    same_batch = float((table_of.sum(axis=0) ** 2).sum()) - both
    if not same_label or not same_batch:
        return Value(
            float("nan"), 0, f"{used}: needs a label in two batches and a batch with two labels"
        )
    graph = shared_graph(table, keep, neighbours, k)
    biology = what[graph.indices] == what[:, None]
    nuisance = where[graph.indices] == where[:, None]
    so, os = int((biology & ~nuisance).sum()), int((nuisance & ~biology).sum())
    used += f", {graph.k} neighbours, random order {same_label / (same_label + same_batch):.3f}"
    if not so + os:
        return Value(float("nan"), 0, f"{used}: no neighbour shares exactly one of the two")
    return Value(so / (so + os), n, used)
