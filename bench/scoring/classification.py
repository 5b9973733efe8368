"""Metrics of predicted classes, per subset and per cluster."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bench.metrics import Value, compute, needs, scored, takes_batch
from bench.scoring.clusters import clustered
from bench.scoring.labels import CLUSTERED, TREATMENTS, treatment_classes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.core.dataset import Opened
    from bench.core.registry import Registry
    from bench.core.split import Split
    from bench.core.types import Bools, Floats, Ints, Strings


Row = tuple[str, str, float, int]
"""Metric, subset, value and number of scored units."""


@dataclass(frozen=True, eq=False)
class Where:
    """Fold, batch and cluster of each scored unit, ``(n,)`` each.

    Attributes
    ----------
    batch
        Batch at the default level of the data set.
    cluster
        Cluster of confidence intervals; the column ``batch`` of the stored predictions.
    """

    fold: Strings
    batch: Strings
    cluster: Strings

    @property
    def unit(self) -> Strings:
        """The held-out unit of each row: its fold, or its cluster if there is one fold."""
        return self.fold if len(np.unique(self.fold)) > 1 else self.cluster


@dataclass(frozen=True, eq=False)
class Classification:
    """Scores predicted classes on one split.

    Attributes
    ----------
    masked
        Whether only treatment classes are scored; see :class:`bench.scoring.scorer.Scores`.
    """

    split: Split
    opened: Opened
    classes: tuple[str, ...]
    registry: Registry | None
    masked: bool

    @cached_property
    def treatments(self) -> Bools:
        """Which classes are treatments, ``(n_classes,)``."""
        return treatment_classes(self.opened, self.classes)

    def rows(
        self, y: Ints, scores: Floats, where: Where, details: dict[str, dict[str, str]]
    ) -> list[Row]:
        """Return the metrics of predictions, overall and per fold, batch and class.

        Over several folds, the value of ``all`` is the mean over folds, as in WILDS and DomainBed:
        each held-out batch has the same weight. ``pooled`` is the metric of all predictions
        together. A metric that takes ``batch``, such as the worst batch, is computed from all
        predictions, with the held-out unit of each row as its batch.

        Parameters
        ----------
        y, scores
            True classes, ``(n,)``, and class probabilities, ``(n, n_classes)``.
        where
            Fold, batch and cluster of each row.
        details
            Receives the data that each metric uses, by metric and subset.
        """
        predicted = scores.argmax(axis=1)
        names = self._names()
        arrays: dict[str, NDArray[np.generic]] = {
            "y_true": y,
            "y_pred": predicted,
            "scores": scores,
            "batch": where.unit,
        }

        def value(name: str, mask: Bools | slice) -> Value:
            rows = {key: array[mask] for key, array in arrays.items()}
            return compute(name, registry=self.registry, treatments=self.treatments, **rows)

        rows: list[Row] = []
        folds = np.unique(where.fold)
        for name in names:
            pooled = value(name, slice(None))
            details[name] = {"all": pooled.used}
            if len(folds) == 1 or takes_batch(name, self.registry):
                rows.append((name, "all", pooled.value, pooled.n))
                continue
            per_fold = [(fold, value(name, where.fold == fold)) for fold in folds]
            defined = [v.value for _, v in per_fold if np.isfinite(v.value)]
            mean = float(np.mean(defined)) if defined else float("nan")
            rows.append((name, "all", mean, sum(v.n for _, v in per_fold)))
            rows.append((name, "pooled", pooled.value, pooled.n))
            rows += [(name, f"fold={fold}", v.value, v.n) for fold, v in per_fold]
            details[name] = {
                "all": f"mean over {len(defined)} of {len(folds)} held-out batches",
                "pooled": pooled.used,
            }
        for batch in np.unique(where.batch):
            for name in names:
                if name in (*CLUSTERED, TREATMENTS):
                    v = value(name, where.batch == batch)
                    rows.append((name, f"batch={batch}", v.value, v.n))
        of_class, answer = "accuracy", predicted
        if self.masked:
            of_class, answer = TREATMENTS, self.among_treatments(scores)
        for k in np.unique(y):
            mask = y == k
            recall = float((answer[mask] == k).mean())
            rows.append((of_class, f"class={self.classes[k]}", recall, int(mask.sum())))
        return rows

    def _names(self) -> list[str]:
        """Return the metrics of predictions that are computed."""
        if self.masked:
            return [TREATMENTS]
        requested = (self.split.metric, *self.split.metrics)
        names = scored(requested, supervised=True, n_classes=len(self.classes))
        return [name for name in names if needs(name, self.registry) != "embedding"]

    def among_treatments(self, scores: Floats) -> Ints:
        """Return the predicted classes, ``(n,)``, restricted to treatment classes."""
        allowed = self.treatments
        answer: Ints = np.where(allowed, scores, -np.inf).argmax(axis=1)
        return answer

    def clusters(
        self, y: Ints, scores: Floats, where: Where, names: list[str]
    ) -> dict[str, dict[str, list[float | None]]]:
        """Return the metrics per cluster; see :func:`bench.scoring.clusters.clustered`."""
        by_kind: dict[str, dict[str, list[float | None]]]
        by_kind = {"values": {}, "parts": {}, "weights": {}}
        if not self.masked:
            columns = clustered(y, scores.argmax(axis=1), where.cluster, names, where.fold)
            for kind, metrics in columns.items():
                by_kind[kind] |= {name: list(column) for name, column in metrics.items()}
        if self.masked or TREATMENTS in (self.split.metric, *self.split.metrics):
            # Accuracy on the rows of treatment classes; other rows are ignored.
            kept = self.treatments[y]
            fold, cluster = where.fold[kept], where.cluster[kept]
            treated = [name for name in names if (cluster == name).any()]
            answer = self.among_treatments(scores)[kept]
            for kind, metrics in clustered(y[kept], answer, cluster, treated, fold).items():
                values = dict(zip(treated, metrics["accuracy"], strict=True))
                by_kind[kind][TREATMENTS] = [values.get(name) for name in names]
        return by_kind
