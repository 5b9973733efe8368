"""Scores per cluster, and predictions averaged to scored units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.metrics import compute
from bench.records.schema import READOUTS

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from bench.core.types import Ints, Strings


def clustered(
    y: Ints, predicted: Ints, cluster: Strings, names: list[str], fold: Strings
) -> dict[str, dict[str, list[float]]]:
    """Return the clustered metrics of each cluster, in the order of ``names``.

    ``values`` are the metrics of the cluster's own rows, shown as points in figures. Intervals use
    ``parts``: their mean weighted by ``weights`` equals the score, the mean of the metric over
    folds. Both metrics are weighted fractions of correct rows. With F folds, a row of a fold of n
    rows has weight 1 / (F n) for accuracy. For balanced accuracy, the mean of K recalls, a row of
    class k has weight 1 / (F K n_k), with K and n_k of its fold. A cluster without some class then
    has a lower weight, and no undefined recall is needed.

    Parameters
    ----------
    y, predicted
        True and predicted classes, ``(n,)``.
    cluster, fold
        Cluster and fold of each row, ``(n,)``.
    """
    correct = (predicted == y).astype(np.float64)
    folds = np.unique(fold)
    share = {metric: np.zeros(len(y)) for metric in ("accuracy", "balanced_accuracy")}
    for name in folds:
        rows = np.flatnonzero(fold == name)
        counts = np.bincount(y[rows])
        n_classes = np.count_nonzero(counts)
        share["accuracy"][rows] = 1.0 / (len(folds) * len(rows))
        share["balanced_accuracy"][rows] = 1.0 / (len(folds) * n_classes * counts[y[rows]])
    columns: dict[str, dict[str, list[float]]] = {"values": {}, "parts": {}, "weights": {}}
    members = [cluster == name for name in names]
    for metric, weight in share.items():
        total = [float(weight[rows].sum()) for rows in members]
        columns["values"][metric] = [
            compute(metric, y_true=y[rows], y_pred=predicted[rows]).value for rows in members
        ]
        columns["weights"][metric] = total
        columns["parts"][metric] = [
            float((weight[rows] * correct[rows]).sum()) / t
            for rows, t in zip(members, total, strict=True)
        ]
    return columns


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probabilities of logits, ``(n, n_classes)``."""
    z = logits.astype(np.float64)
    z -= z.max(axis=1, keepdims=True)
    p = np.exp(z)
    result: NDArray[np.float32] = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
    return result


def to_units(frame: pd.DataFrame) -> pd.DataFrame:
    """Average the probabilities of the rows of each score unit, within fold and class."""
    if "unit" not in frame:
        return frame
    columns = [c for c in READOUTS if c in frame]
    groups = frame.groupby(["fold", "unit", "y_true"], sort=True)
    merged = groups.first()
    for column in columns:
        merged[column] = groups[column].apply(lambda s: np.stack(s.to_list()).mean(axis=0))
    merged = merged.reset_index()
    merged["id"] = merged["unit"]
    return merged
