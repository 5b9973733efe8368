"""Mixing of batches and conservation of labels, with intervals over batches.

Metrics of :mod:`bench.metrics` on the treated rows of a data set, at its default batch level. The
interval of :data:`WITH_INTERVALS` is that of a jackknife over batches; a batch that is left out is
neither query nor neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError
from bench.core.progress import report
from bench.data.views import column_of
from bench.metrics import NEIGHBOURS, Neighbours, compute, neighbours
from bench.metrics.robustness_index import K
from bench.scoring.profiles.activity import treatments
from bench.scoring.profiles.jackknife import FEWEST, batch_groups, jackknife, limits_of

if TYPE_CHECKING:
    from bench.core.dataset import Opened
    from bench.core.types import Bools, Floats, Ints, JsonObject

WITH_INTERVALS = ("robustness_index", "cilisi", "kbet", "bras")
"""Metrics that do not reward merging labels."""
POINTS = (
    "ilisi",
    "clisi",
    "silhouette_batch",
    "silhouette_label",
    "graph_connectivity",
    "isolated_labels",
    "pcr",
    "nmi_leiden",
    "ari_leiden",
    "map",
    "map_controls",
    "arevalo_overall",
)
"""Further metrics, without an interval."""


@dataclass(frozen=True)
class Mixed:
    """A metric of mixing or of labels.

    Attributes
    ----------
    value
        The value; NaN if undefined.
    low, high
        95 % limits over batches, or None.
    used
        What the value is based on, or why there is none.
    """

    value: float
    low: float | None
    high: float | None
    used: str


def mixing(opened: Opened, X: Floats) -> dict[str, Mixed]:
    """Return metric -> value of the treated rows.

    Parameters
    ----------
    opened
        The data set.
    X
        ``(n, d)`` profiles of all rows; negative controls are used by ``map_controls`` only.
    """
    control = opened.index["control"].to_numpy(bool)
    batch = column_of(opened, opened.level)
    arrays: JsonObject = {
        "X": X[~control],
        "label": column_of(opened, "label")[~control],
        "batch": batch[~control],
        "treatment": treatments(opened)[~control],
    }
    extra: JsonObject = {"controls": X[control], "control_batch": batch[control]}
    rows = arrays["batch"]
    groups = batch_groups(rows)
    # Enough neighbours that each row keeps some when any group of batches is left out.
    largest = int(np.bincount(groups).max()) if len(np.unique(rows)) >= FEWEST else 0
    graph = neighbours(arrays["X"], max(NEIGHBOURS, K + largest))
    result = {}
    names = (*WITH_INTERVALS, *POINTS)
    for k, name in enumerate(names):
        report("metrics", k, len(names))
        try:
            own = compute(name, **arrays, **extra, neighbours=graph)
        except BenchError as error:
            result[name] = Mixed(float("nan"), None, None, str(error))
            continue
        low = high = None
        if name == "robustness_index":
            low, high = _robustness_limits(own.value, arrays, graph, groups)
        elif name in WITH_INTERVALS:

            def estimate(kept: Bools, name: str = name) -> float:
                part = {key: array[kept] for key, array in arrays.items()}
                return compute(name, **part).value

            low, high = jackknife(own.value, rows, estimate)
        result[name] = Mixed(own.value, low, high, own.used)
    return result


def _robustness_limits(
    value: float, arrays: JsonObject, graph: Neighbours, groups: Ints
) -> tuple[float | None, float | None]:
    """Return limits from the graph of all rows, of which each group of batches is removed."""
    if len(np.unique(arrays["batch"])) < FEWEST or not np.isfinite(value):
        return None, None
    estimates = []
    for group in np.unique(groups):
        kept = np.flatnonzero(groups != group)
        near = groups[graph.indices[kept]] != group
        order = np.argsort(~near, axis=1, kind="stable")[:, : min(K, len(kept) - 1)]
        place = np.full(len(groups), -1, np.int64)
        place[kept] = np.arange(len(kept))
        indices = place[np.take_along_axis(graph.indices[kept], order, axis=1)]
        distances = np.take_along_axis(graph.distances[kept], order, axis=1)
        part = {key: array[kept] for key, array in arrays.items()}
        own = compute("robustness_index", **part, neighbours=Neighbours(indices, distances))
        estimates.append(own.value)
    return limits_of(value, np.array(estimates))
