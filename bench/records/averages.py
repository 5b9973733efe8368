"""The mean over held-out batches, for records that have only pooled scores.

Earlier versions computed a metric of a split with several folds from the predictions of all folds
together. Such a record has the value of each fold, so the mean follows without the predictions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from bench.records.schema import Json


POOLED = "pooled"
"""Subset of a metric: all predictions together, where ``all`` is the mean over folds."""
_AVERAGED = ("accuracy", "balanced_accuracy", "accuracy_treatments")
"""Metrics that earlier versions recorded per fold and pooled over folds."""
_WORST = "worst_batch_accuracy"
Metrics = dict[str, dict[str, float]]
Clusters = dict[str, dict[str, list[float | None]]]


def averaged(data: dict[str, Json]) -> dict[str, Json]:
    """Return a record in which ``all`` is the mean over folds, and ``pooled`` the pooled value.

    The worst batch becomes the fold of lowest accuracy. Contributions of clusters to the pooled
    metric are replaced if each cluster is one fold, and removed otherwise.

    Parameters
    ----------
    data
        The contents of ``run.json``; not modified. A record with pooled values next to means, with
        one fold, or without values per fold is returned as it is.
    """
    metrics = data.get("metrics")
    if not isinstance(metrics, dict):
        return data
    old = cast("Metrics", metrics)
    if any(POOLED in values for values in old.values()):
        return data
    new: Metrics = {}
    for name, values in old.items():
        bare = name.rpartition(".")[2]
        per_fold = _per_fold(values)
        if bare in _AVERAGED and len(per_fold) > 1:
            mean = math.fsum(per_fold.values()) / len(per_fold)
            new[name] = {**values, "all": mean, POOLED: values["all"]}
        elif bare == _WORST:
            per_fold = _per_fold(old.get(name.replace(_WORST, "accuracy"), {}))
            if len(per_fold) > 1:
                new[name] = {**values, "all": min(per_fold.values())}
    if not new:
        return data
    result = {**data, "metrics": cast("Json", {**old, **new})}
    if isinstance(data.get("clusters"), dict):
        result["clusters"] = cast("Json", _clusters(data, new))
    return result


def _per_fold(values: dict[str, float]) -> dict[str, float]:
    """Return the values of a metric by name of the fold."""
    prefix = "fold="
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}


def _clusters(data: dict[str, Json], new: Metrics) -> dict[str, object]:
    """Return the clusters of a record with contributions to the mean over folds."""
    clusters = cast("Clusters", data["clusters"])
    parts, weights = dict(clusters.get("parts", {})), dict(clusters.get("weights", {}))
    for metric, subsets in new.items():
        values = clusters.get("values", {}).get(metric, [])
        # A cluster that is a fold has the fold's value; the names of the column may differ.
        same = sorted(v for v in values if v is not None) == sorted(_per_fold(subsets).values())
        if same and POOLED in subsets:
            parts[metric] = list(values)
            n = len(_per_fold(subsets))
            weights[metric] = [None if v is None else 1 / n for v in values]
        else:
            parts.pop(metric, None)
            weights.pop(metric, None)
    return {**clusters, "parts": parts, "weights": weights}
