"""Scores per cluster, and predictions averaged to scored units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.metrics import compute
from bench.records.schema import READOUTS

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from bench.core.types import Ints


def clustered(
    y: Ints, predicted: Ints, cluster: NDArray[np.str_], names: list[str]
) -> dict[str, dict[str, list[float]]]:
    """Return the clustered metrics of each cluster, in the order of ``names``.

    ``values`` are the metrics of the cluster's own rows, shown as points in figures. Intervals use
    ``parts``: their mean weighted by ``weights`` equals the pooled metric. Both metrics are
    weighted fractions of correct rows. For accuracy, each row has weight 1 / n. For balanced
    accuracy, the mean of K recalls, a row of class k has weight 1 / (K n_k). A cluster without
    some class then has a lower weight, and no undefined recall is needed.
    """
    hit = (predicted == y).astype(np.float64)
    present, codes = np.unique(y, return_inverse=True)
    counts = np.bincount(codes)
    share = {
        "accuracy": np.full(len(y), 1.0 / len(y)),
        "balanced_accuracy": 1.0 / (len(present) * counts[codes]),
    }
    made: dict[str, dict[str, list[float]]] = {"values": {}, "parts": {}, "weights": {}}
    rows = [cluster == name for name in names]
    for metric, weight in share.items():
        of = [compute(metric, y_true=y[r], y_pred=predicted[r]).value for r in rows]
        total = [float(weight[r].sum()) for r in rows]
        made["values"][metric] = of
        made["weights"][metric] = total
        made["parts"][metric] = [
            float((weight[r] * hit[r]).sum()) / t for r, t in zip(rows, total, strict=True)
        ]
    return made


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
