"""Recompute the metrics of a record from its predictions, without its data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError
from bench.metrics import needs
from bench.records.summary import parse_metric
from bench.scoring.classification import Classification, Where
from bench.scoring.clusters import clustered
from bench.scoring.labels import TREATMENTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from bench.core.registry import Registry
    from bench.core.types import Bools, Floats, Ints
    from bench.records.record import Record
    from bench.records.schema import RunRecord

Values = dict[tuple[str, str], float | None]
"""Metric (or column of the clusters) and subset (or cluster) -> value."""


def metric_values(data: RunRecord) -> Values:
    """Return the values of a record by metric and subset."""
    return {(m, s): v for m, values in data["metrics"].items() for s, v in values.items()}


def cluster_values(data: RunRecord) -> Values:
    """Return the clusters of a record by column, such as ``values accuracy``, and cluster."""
    clusters = data["clusters"]
    kinds = {"values": clusters["values"], "parts": clusters["parts"]}
    return {
        (f"{kind} {metric}", f"cluster {cluster}"): value
        for kind, metrics in (*kinds.items(), ("weights", clusters["weights"]))
        for metric, column in metrics.items()
        for cluster, value in zip(clusters["names"], column, strict=False)
    }


def recomputed(
    record: Record, predictions: pd.DataFrame, registry: Registry | None = None
) -> tuple[Values, Values]:
    """Return metrics and clusters of the readouts with stored predictions.

    Metrics that need the classes of controls are left out, as are votes of nearest neighbours,
    which are not stored.

    Parameters
    ----------
    record, predictions
        A record and its predictions, in the stored order of rows.
    registry
        Registry with the metrics of plugins.

    Raises
    ------
    BenchError
        If the stored classes are not those of the largest scores.
    """
    data, own = record.data, record.readout
    y = predictions["y_true"].to_numpy(np.int64)
    fold, cluster = (predictions[name].to_numpy(str) for name in ("fold", "batch"))
    where = Where(fold, cluster, cluster)
    if {parse_metric(metric)[1] for metric in data["metrics"]} <= {TREATMENTS, "accuracy"}:
        return {}, {}
    scores = np.stack(predictions["scores"].to_list())
    if (scores.argmax(axis=1) != predictions["y_pred"].to_numpy()).any():
        raise BenchError("predictions.parquet: y_pred is not the class of the largest score")
    by_readout: dict[str, Floats] = {own: scores}
    if "probe_pred" in predictions:
        guesses = predictions["probe_pred"].to_numpy()
        by_readout["probe"] = np.eye(scores.shape[1], dtype=np.float32)[guesses]
    metrics: Values = {}
    clusters: Values = {}
    for readout, values in by_readout.items():
        names = _names(data, registry, readout)
        prefixes = ("", f"{readout}.") if readout == own else (f"{readout}.",)
        scorer = _Stored(_Metrics(names), None, tuple(data["classes"]), registry, False)  # type: ignore[arg-type]
        for metric, subset, value, _ in scorer.rows(y, values, where, {}):
            if math.isfinite(value):
                metrics |= {(prefix + metric, subset): value for prefix in prefixes}
        clusters |= _columns(data, y, values.argmax(axis=1), where, prefixes)
    batches = [
        {s for _, s in side if s.startswith("batch=")} for side in (metric_values(data), metrics)
    ]
    if batches[0] != batches[1]:  # clusters are another level than the default batches
        metrics = {key: v for key, v in metrics.items() if not key[1].startswith("batch=")}
    return metrics, clusters


@dataclass(frozen=True)
class _Metrics:
    """The metrics of a split, without its data set."""

    metrics: tuple[str, ...]


class _Stored(Classification):
    """Scores stored predictions by metrics that do not distinguish controls."""

    def _names(self) -> list[str]:
        return list(self.split.metrics)

    @property
    def treatments(self) -> Bools:
        """All classes."""
        return np.ones(len(self.classes), bool)


def _names(data: RunRecord, registry: Registry | None, readout: str) -> tuple[str, ...]:
    """Return the metrics of a readout that its stored predictions determine."""
    # Of other readouts than the record's own, only the classes are stored.
    kinds = ("predictions", "scores") if readout == data["readout"] else ("predictions",)
    names = []
    for metric in data["metrics"]:
        prefix, name = parse_metric(metric)
        if prefix != readout or name == TREATMENTS:
            continue
        try:
            if needs(name, registry) in kinds:
                names.append(name)
        except BenchError:
            continue  # a metric of a plugin that is not loaded
    return tuple(sorted(names))


def _columns(
    data: RunRecord, y: Ints, predicted: Ints, where: Where, prefixes: Iterable[str]
) -> Values:
    names = data["clusters"]["names"]
    if set(names) != set(where.cluster.tolist()):
        return {}
    kinds = clustered(y, predicted, where.cluster, names, where.fold)
    return {
        (f"{kind} {prefix}{metric}", f"cluster {cluster}"): value
        for kind, metrics in kinds.items()
        for metric, column in metrics.items()
        for cluster, value in zip(names, column, strict=True)
        for prefix in prefixes
    }
