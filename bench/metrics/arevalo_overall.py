"""Overall score of Arevalo et al., computed only on request and always with its components."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.metrics._core import NEIGHBOURS, Neighbours, Value, has_value, left_out, matrix, named
from bench.metrics._core import neighbours as graph_of
from bench.metrics._leiden import agreement
from bench.metrics.clisi import clisi
from bench.metrics.graph_connectivity import graph_connectivity
from bench.metrics.ilisi import ilisi
from bench.metrics.kbet import kbet
from bench.metrics.map import mean_average_precision
from bench.metrics.map_controls import map_controls
from bench.metrics.silhouette_batch import silhouette_batch
from bench.metrics.silhouette_label import silhouette_label

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

META = {
    "kind": "metric",
    "name": "arevalo_overall",
    "version": 3,
    "needs": "embedding",
    "range": [0, 1],
    "ignores": ["names", "scale", "rotation"],
    "summary": "0.4 x mean batch-mixing + 0.6 x mean biology, as Arevalo et al. weigh them.",
    "reference": "Arevalo et al. 2024, Nature Communications 15:6516",
}

MIXING_WEIGHT, BIOLOGY_WEIGHT = 0.4, 0.6
RESOLUTION = 1.0
"""Resolution of the Leiden clusters, as in the paper."""


def arevalo_overall(
    X: ArrayLike,
    *,
    label: ArrayLike,
    batch: ArrayLike,
    treatment: ArrayLike | None = None,
    controls: ArrayLike | None = None,
    control_batch: ArrayLike | None = None,
    neighbours: Neighbours | None = None,
) -> Value:
    """Return ``0.4 * mean(mixing) + 0.6 * mean(biology)``.

    Mixing is ``graph_connectivity``, ``kbet``, ``ilisi`` and ``silhouette_batch``. Biology is
    ``silhouette_label``, ``clisi``, ``nmi_leiden`` and ``ari_leiden`` (resolution 1), ``map`` and
    ``map_controls``: the ten components of the paper. Values differ from the paper, which uses the
    R package of kBET, allows positives of the mAP in the same batch, and scales scores over the
    compared methods. Undefined components are excluded and listed. Without a component that
    compares batches, the mixing half and the score are undefined.

    Parameters
    ----------
    X, label, batch, treatment
        ``(n, d)`` profiles and ``(n,)`` columns. Rows without label or batch are excluded.
    controls, control_batch
        Negative controls, as for ``map_controls``, which is undefined without any.
    neighbours
        Precomputed neighbour graph of these rows.

    Raises
    ------
    BenchError
        If the extra ``scib`` is not installed, lengths differ, or profiles are not finite.
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
    clusters = agreement(X, label, neighbours, RESOLUTION)
    mixing = {
        "graph_connectivity": graph_connectivity(X, label=label, neighbours=neighbours),
        "kbet": kbet(X, label=label, batch=batch),
        "ilisi": ilisi(X, batch=batch, neighbours=neighbours),
        "silhouette_batch": silhouette_batch(X, label=label, batch=batch),
    }
    biology = {
        "silhouette_label": silhouette_label(X, label=label),
        "clisi": clisi(X, label=label, neighbours=neighbours),
        "nmi_leiden": clusters["nmi"],
        "ari_leiden": clusters["ari"],
        "map": mean_average_precision(X, label=label, batch=batch, treatment=treatment),
        "map_controls": map_controls(
            X,
            label=label,
            batch=batch,
            controls=controls,
            control_batch=control_batch,
            treatment=treatment,
        ),
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
    used = "; ".join(halves) + left_out(int((~keep).sum()), "without a label or batch")
    if undefined:
        used += f"; undefined and left out: {', '.join(undefined)}"
    n = max(v.n for v in (*mixing.values(), *biology.values()))
    value = MIXING_WEIGHT * means[0] + BIOLOGY_WEIGHT * means[1]
    return Value(value, n if np.isfinite(value) else 0, used)
