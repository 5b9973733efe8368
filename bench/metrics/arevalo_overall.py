"""Overall score of Arevalo et al., computed only on request and always with its components."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.metrics._core import NEIGHBOURS, Neighbours, Value, has_value, left_out, matrix, named
from bench.metrics._core import neighbours as graph_of
from bench.metrics.clisi import clisi
from bench.metrics.graph_connectivity import graph_connectivity
from bench.metrics.ilisi import ilisi
from bench.metrics.map import mean_average_precision
from bench.metrics.silhouette_batch import silhouette_batch
from bench.metrics.silhouette_label import silhouette_label

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

META = {
    "kind": "metric",
    "name": "arevalo_overall",
    "function": "arevalo_overall",
    "version": 2,
    "needs": "embedding",
    "range": [0, 1],
    "higher_is_better": True,
    "oracle_is_best": False,
    "summary": "0.4 x mean batch-mixing + 0.6 x mean biology, as Arevalo et al. weigh them.",
    "reference": "Arevalo et al. 2024, Nature Communications 15:6516",
}

MIXING_WEIGHT, BIOLOGY_WEIGHT = 0.4, 0.6
LACKING = "kBET, Leiden NMI and ARI, and mAP against controls"
"""Components of the published ten that are not computed."""


def arevalo_overall(
    X: ArrayLike,
    *,
    label: ArrayLike,
    batch: ArrayLike,
    treatment: ArrayLike | None = None,
    neighbours: Neighbours | None = None,
) -> Value:
    """Return ``0.4 * mean(mixing) + 0.6 * mean(biology)``.

    Mixing is ``graph_connectivity``, ``ilisi`` and ``silhouette_batch``. Biology is
    ``silhouette_label``, ``clisi`` and ``map``. The published score has four and six components.
    kBET, the two Leiden scores and the mAP against controls are not included, and the paper also
    scales over the compared methods, so values differ from the paper. An undefined component is
    excluded from its mean and listed. Without any component that compares batches, as in a single
    batch, the mixing half and the score are undefined.

    Parameters
    ----------
    X
        ``(n, d)`` profiles.
    label, batch, treatment
        ``(n,)`` columns, as for the components. Rows without a label (controls) or a batch are
        excluded from all components.
    neighbours
        Precomputed neighbour graph of these rows; computed by default.

    Raises
    ------
    BenchError
        If the lengths of the columns differ or profiles are not finite.
    """
    table = matrix(X)
    column = named(label, "label", len(table))
    where = named(batch, "batch", len(table))
    keep = has_value(column) & has_value(where)
    if not keep.all():
        neighbours = None  # a graph over all rows is not valid for a subset
    X, label, batch = table[keep], column[keep], where[keep]
    if treatment is not None:
        treatment = named(treatment, "treatment", len(table))[keep]
    if neighbours is None and len(X) > 1:
        neighbours = graph_of(X, NEIGHBOURS)
    mixing = {
        "graph_connectivity": graph_connectivity(X, label=label, neighbours=neighbours),
        "ilisi": ilisi(X, batch=batch, neighbours=neighbours),
        "silhouette_batch": silhouette_batch(X, label=label, batch=batch),
    }
    biology = {
        "silhouette_label": silhouette_label(X, label=label),
        "clisi": clisi(X, label=label, neighbours=neighbours),
        "map": mean_average_precision(X, label=label, batch=batch, treatment=treatment),
    }
    means, halves, undefined = [], [], []
    for half, components in (("mixing", mixing), ("biology", biology)):
        defined = {name: v.value for name, v in components.items() if np.isfinite(v.value)}
        undefined += [name for name in components if name not in defined]
        # graph_connectivity compares no batches: alone, it is not a score of mixing.
        complete = bool(set(defined) - {"graph_connectivity"})
        means.append(float(np.mean(list(defined.values()))) if complete else float("nan"))
        values = " ".join(f"{name} {v:.3f}" for name, v in defined.items())
        halves.append(f"{half} {values}" if complete else f"no {half} half")
    used = f"{'; '.join(halves)}; without {LACKING}"
    used += left_out(int((~keep).sum()), "without a label or batch")
    if undefined:
        used += f"; undefined and left out: {', '.join(undefined)}"
    n = max(v.n for v in (*mixing.values(), *biology.values()))
    value = MIXING_WEIGHT * means[0] + BIOLOGY_WEIGHT * means[1]
    return Value(value, n if np.isfinite(value) else 0, used)
