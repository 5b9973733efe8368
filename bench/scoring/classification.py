"""Metrics of predicted classes, per subset and per cluster."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bench.metrics import compute, needs, scored
from bench.scoring.clusters import clustered
from bench.scoring.labels import CLUSTERED, TREATMENTS, treatment_classes

if TYPE_CHECKING:
    from bench.core.dataset import Opened
    from bench.core.registry import Registry
    from bench.core.split import Split
    from bench.core.types import Bools, Floats, Ints, Strings

__all__ = ["Classification", "Row"]

Row = tuple[str, str, float, int]
"""Metric, subset, value and number of scored units."""


@dataclass(frozen=True, eq=False)
class Classification:
    """Scores predicted classes on one split.

    Attributes
    ----------
    split, opened, classes
        The split, its data set and the label map.
    registry
        Registry with the metrics of plugins.
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
        self,
        y: Ints,
        scores: Floats,
        batch: Strings,
        fold: Strings,
        said: dict[str, str],
    ) -> list[Row]:
        """Return the metrics of predictions, overall and per fold, batch and class.

        Parameters
        ----------
        y, scores
            True classes, ``(n,)``, and class probabilities, ``(n, n_classes)``.
        batch, fold
            Batch and fold of each row, ``(n,)``.
        said
            Receives the data that each metric is based on, by metric.
        """
        predicted = scores.argmax(axis=1)
        rows: list[Row] = []
        asked = (self.split.metric, *self.split.metrics)
        wanted = scored(asked, supervised=True, n_classes=len(self.classes))
        names = [name for name in wanted if needs(name, self.registry) != "embedding"]
        treatments = self.treatments
        by_subset = list(CLUSTERED)
        if self.masked:
            names = by_subset = [TREATMENTS]
        elif TREATMENTS in names:
            by_subset.append(TREATMENTS)
        arrays: dict[str, object] = {
            "y_true": y,
            "y_pred": predicted,
            "scores": scores,
            "batch": batch,
            "treatments": treatments,
        }
        for name in names:
            value = compute(name, registry=self.registry, **arrays)
            rows.append((name, "all", value.value, value.n))
            said[name] = value.used
        subsets = (
            [("fold", name, fold == name) for name in np.unique(fold)]
            if len(np.unique(fold)) > 1
            else []
        )
        subsets += [("batch", name, batch == name) for name in np.unique(batch)]
        for kind, subset, mask in subsets:
            some = {
                "y_true": y[mask],
                "y_pred": predicted[mask],
                "scores": scores[mask],
                "treatments": treatments,
            }
            for name in by_subset:
                value = compute(name, **some)
                rows.append((name, f"{kind}={subset}", value.value, value.n))
        of_class, answer = "accuracy", predicted
        if self.masked:
            of_class, answer = TREATMENTS, self.among_treatments(scores)
        for k in np.unique(y):
            mask = y == k
            share = float((answer[mask] == k).mean())
            rows.append((of_class, f"class={self.classes[k]}", share, int(mask.sum())))
        return rows

    def among_treatments(self, scores: Floats) -> Ints:
        """Return the predicted classes, ``(n,)``, restricted to treatment classes."""
        allowed = self.treatments
        answer: Ints = np.where(allowed, scores, -np.inf).argmax(axis=1)
        return answer

    def clusters(
        self, y: Ints, scores: Floats, cluster: Strings, names: list[str]
    ) -> dict[str, dict[str, list[float | None]]]:
        """Return the metrics per cluster; see :func:`bench.scoring.clusters.clustered`."""
        by_kind: dict[str, dict[str, list[float | None]]]
        by_kind = {"values": {}, "parts": {}, "weights": {}}
        if not self.masked:
            for kind, columns in clustered(y, scores.argmax(axis=1), cluster, names).items():
                by_kind[kind] |= {name: list(column) for name, column in columns.items()}
        if self.masked or TREATMENTS in (self.split.metric, *self.split.metrics):
            # Accuracy on the rows of treatment classes; other rows are ignored.
            kept = self.treatments[y]
            there = [name for name in names if kept[cluster == name].any()]
            answer = self.among_treatments(scores)
            treated = clustered(y[kept], answer[kept], cluster[kept], there)
            for kind, columns in treated.items():
                values = dict(zip(there, columns["accuracy"], strict=True))
                by_kind[kind][TREATMENTS] = [values.get(name) for name in names]
        return by_kind
