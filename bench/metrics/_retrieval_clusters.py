"""Retrieval scores by query, grouped by cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.core.types import JsonObject


@dataclass(frozen=True, eq=False)
class QueryClusters:
    """A retrieval metric by groups of queries; all groups share the same gallery.

    Attributes
    ----------
    names
        Compounds (for ``map``, the treatments or labels that are averaged first).
    sizes
        ``(n_clusters,)`` weight in the metric: the number of scored queries (for ``map``, 1).
    values
        ``(n_clusters,)`` mean over queries. The mean weighted by ``sizes`` is the metric.
    """

    names: list[str]
    sizes: NDArray[np.float64]
    values: NDArray[np.float64]


def query_clusters(name: str, /, **arrays: Any) -> QueryClusters:  # noqa: ANN401 - arrays of several dtypes, as for compute
    """Return ``nsc``, ``nscb`` or ``map`` by compound, for intervals over compounds.

    Resampling or excluding a compound as a query does not remove it from the gallery.

    Parameters
    ----------
    name
        ``nsc``, ``nscb`` or ``map``.
    **arrays
        As for :func:`compute`.

    Raises
    ------
    BenchError
        For another metric, or arrays of different lengths.
    """
    from bench.metrics._core import codes, has_value
    from bench.metrics._retrieval import nearest_matches, profiles
    from bench.metrics.map import average_precisions

    def take(*wanted: str) -> JsonObject:
        return {key: arrays[key] for key in wanted if arrays.get(key) is not None}

    if name in ("nsc", "nscb"):
        batch = arrays.get("batch") if name == "nscb" else None
        table = profiles(
            arrays["X"], arrays["label"], arrays["compound"], batch, arrays.get("treatment")
        )
        values = nearest_matches(table, not_same_batch=name == "nscb").right
        group = table.names
    elif name == "map":
        values = average_precisions(**take("X", "label", "batch", "treatment", "negatives"))
        key = "label" if arrays.get("treatment") is None else "treatment"
        group = np.asarray(arrays[key])
        values = np.where(has_value(np.asarray(arrays["label"])), values, np.nan)
    else:
        raise BenchError(f"'{name}' is not a retrieval metric: choose nsc, nscb or map")
    scored = ~np.isnan(values)
    code, names = codes(group[scored])
    counts = np.bincount(code, minlength=len(names)).astype(np.float64)
    means = np.bincount(code, weights=values[scored], minlength=len(names)) / counts
    sizes = np.ones(len(names)) if name == "map" else counts
    return QueryClusters([str(n) for n in names], sizes, means)
