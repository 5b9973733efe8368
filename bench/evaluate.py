"""Scoring: the only module that reads the labels of evaluation rows.

A fold's profiles are read out twice: by the method's own head where there is one, and by the probe
that all rows of a board share (``bench.probe``). Predictions of all folds are pooled, averaged to
the split's score unit, and scored overall, for each fold, batch, class and cluster.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import metrics
from bench.api import BenchError, Ints, Opened, Output, RunFailed, Split
from bench.probe import Probe, fit_probe
from bench.references import features

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from bench.data import Side
    from bench.splits import Fold

CLUSTERED = ("accuracy", "balanced_accuracy")
"""Metrics whose value in each cluster is recorded, for intervals and paired differences."""
FEW_CLASSES = 5
"""Top-5 accuracy is left out for tasks with at most so many classes: it would be 1."""


def truth(side: Side, classes: tuple[str, ...]) -> Ints:
    """Return the true classes of a side in view order, ``(n,)`` int64, -1 without one."""
    code = {name: k for k, name in enumerate(classes)}
    labels = side.opened.index["label"].to_numpy(str)[side.rows]
    y = np.array([code.get(name, -1) for name in labels], dtype=np.int64)
    y[side.controls] = -1
    return y


def reference_outputs(
    name: str, opened: Opened, train: Side, test: Side, classes: tuple[str, ...], seed: int
) -> tuple[Output, Output]:
    """Return the two outputs of a reference row (see ``bench.references``)."""
    X_train, X_test = features(name, opened, train, test, lambda s: truth(s, classes), seed)
    return Output(X_train), Output(X_test)


def check_output(name: str, output: Output, n: int, n_classes: int) -> None:
    """Raise :class:`RunFailed` if an output has the wrong shape, type or a value not finite."""
    X = output.X
    if X.ndim != 2 or len(X) != n:
        raise RunFailed(f"{name} returned profiles of shape {X.shape} for {n} rows")
    if X.dtype != np.float32:
        raise RunFailed(f"{name} returned {X.dtype} profiles: the contract says float32")
    if not np.isfinite(X).all():
        bad = int((~np.isfinite(X)).any(axis=1).sum())
        raise RunFailed(f"{name} returned profiles that are not finite in {bad} of {n} rows")
    logits = output.logits
    if logits is not None and (logits.shape != (n, n_classes) or not np.isfinite(logits).all()):
        raise RunFailed(
            f"{name} returned logits of shape {logits.shape}, or not finite: "
            f"the contract says ({n}, {n_classes}) and finite"
        )


@dataclass
class Scores:
    """Collects the folds of one run and scores them once all are there."""

    split: Split
    opened: Opened
    classes: tuple[str, ...]
    frames: list[pd.DataFrame] = field(default_factory=list)
    embeddings: list[tuple[NDArray[np.float32], pd.DataFrame]] = field(default_factory=list)
    n_excluded: int = 0
    excluded_classes: set[str] = field(default_factory=set)
    probe_c: list[float] = field(default_factory=list)

    def add(
        self,
        fold: Fold,
        train: Side,
        out_train: Output,
        test: Side,
        out_test: Output,
        seed: int,
        *,
        key: str = "",
        probes: dict[str, Probe] | None = None,
    ) -> None:
        """Read out one fold: fit the probe on training rows, predict the evaluation rows.

        Parameters
        ----------
        fold, train, out_train, test, out_test
            The fold, and both sides with the outputs of the last stage.
        seed
            The run's seed.
        key, probes
            Identity of the training profiles, and probes that were fitted on them already: tests
            that share a training set share the probe too.
        """
        import pandas as pd

        index = self.opened.index
        scored_rows = set(fold.test[fold.scored].tolist())
        scored = np.array([row in scored_rows for row in test.rows.tolist()])
        self.n_excluded += fold.n_excluded
        self.excluded_classes.update(fold.excluded_classes)
        rows = test.rows[scored]
        frame = pd.DataFrame(
            {
                "id": index["id"].to_numpy(str)[rows],
                "fold": fold.name,
                "y_true": truth(test, self.classes)[scored],
            }
        )
        for level in self.opened.levels:
            frame[f"level:{level}"] = index[level].to_numpy(str)[rows]
        for role in ("treatment", "compound", "nscb_batch"):
            column = self.opened.columns.get(role)
            if column is not None:
                frame[f"role:{role}"] = index[column].to_numpy(str)[rows]
        if self.split.score_unit != "row":
            frame["unit"] = index[self.split.score_unit].to_numpy(str)[rows]
        if not len(frame):
            return
        self.embeddings.append((out_test.X[scored], frame))
        if self.split.protocol == "unsupervised":
            self.frames.append(frame)
            return
        y = truth(train, self.classes)
        labelled = y >= 0
        batch = index[self.opened.level].to_numpy(str)[train.rows]
        known = {} if probes is None else probes
        probe = known.get(key) if key else None
        if probe is None:
            probe = fit_probe(
                out_train.X[labelled], y[labelled], batch[labelled], len(self.classes), seed
            )
            if key:
                known[key] = probe
        self.probe_c.append(probe.C)
        frame["probe"] = list(probe.scores(out_test.X[scored]))
        if out_test.logits is not None:
            frame["head"] = list(_softmax(out_test.logits[scored]))
        self.frames.append(frame)

    def finish(self, readout: str) -> Scored:
        """Pool the folds and score them.

        Parameters
        ----------
        readout
            ``head`` or ``probe``: whose values stand under the names without a prefix.
        """
        import pandas as pd

        frame = pd.concat(self.frames, ignore_index=True)
        frame = frame.sort_values(["fold", "id"], kind="stable", ignore_index=True)
        if self.split.protocol == "unsupervised":
            return self._retrieval(frame)
        frame = _to_units(frame)
        level = f"level:{self.opened.level}"
        cluster_level = self.cluster_level(frame)
        table: list[tuple[str, str, float, int]] = []
        clusters: dict[str, list[float]] = {}
        names = sorted(frame[f"level:{cluster_level}"].unique())
        y = frame["y_true"].to_numpy(np.int64)
        cluster = frame[f"level:{cluster_level}"].to_numpy(str)
        for column in [c for c in ("head", "probe") if c in frame]:
            scores = np.stack(frame[column].to_list()).astype(np.float32)
            block = _classification(y, scores, frame[level].to_numpy(str), frame)
            table += [(f"{column}.{m}", s, v, n) for m, s, v, n in block]
            if column == readout:
                table += block
                frame["y_pred"] = scores.argmax(axis=1)
                frame["scores"] = list(scores)
            elif column == "probe":
                frame["probe_pred"] = scores.argmax(axis=1)
            for metric, values in _clustered(y, scores.argmax(axis=1), cluster, names).items():
                clusters[f"{column}.{metric}"] = values
                if column == readout:
                    clusters[metric] = values
        table += self._embedding()
        predictions = frame.rename(columns={f"level:{cluster_level}": "batch"})
        keep = ["id", "batch", "fold", "y_true", "y_pred", "scores", "probe_pred"]
        counts = [int((cluster == name).sum()) for name in names]
        return Scored(
            table=pd.DataFrame(table, columns=["metric", "subset", "value", "n"]),
            predictions=predictions[[c for c in keep if c in predictions]],
            clusters={"level": cluster_level, "names": names, "n": counts, "values": clusters},
            n_eval=len(frame),
        )

    def cluster_level(self, frame: pd.DataFrame) -> str:
        """Return the highest batch level that varies among the scored rows."""
        for level in reversed(self.opened.levels):
            if frame[f"level:{level}"].nunique() > 1:
                return level
        return self.opened.levels[0]

    def _embedding(self) -> list[tuple[str, str, float, int]]:
        """Score batch mixing, where one model saw all evaluation rows and batches differ."""
        if len(self.embeddings) != 1:
            return []
        X, frame = self.embeddings[0]
        batch = frame[f"level:{self.opened.level}"].to_numpy(str)
        if len(np.unique(batch)) < 2:
            return []
        value = metrics.compute("batch_1nn", X=X, batch=batch)
        return [("batch_1nn", "all", value.value, value.n)]

    def _retrieval(self, frame: pd.DataFrame) -> Scored:
        """Score retrieval over treatments: wells of one treatment are averaged by the metric."""
        import pandas as pd

        X, rows = self.embeddings[0]
        missing = [r for r in ("treatment", "compound", "nscb_batch") if f"role:{r}" not in rows]
        if missing:
            raise BenchError(
                f"{self.split.name} scores retrieval, which needs the columns "
                f"{', '.join(missing)}: name them in the data set"
            )
        arrays: dict[str, Any] = {
            "X": X,
            "label": rows["y_true"].to_numpy(np.int64),
            "treatment": rows["role:treatment"].to_numpy(str),
            "compound": rows["role:compound"].to_numpy(str),
            "batch": rows["role:nscb_batch"].to_numpy(str),
        }
        wanted = dict.fromkeys((self.split.metric, *self.split.metrics))
        values = {name: metrics.compute(name, **arrays) for name in wanted}
        table = [(name, "all", v.value, v.n) for name, v in values.items()]
        queries = metrics.query_clusters(self.split.metric, **arrays)
        predictions = rows[["id", "fold", "y_true"]].assign(
            batch=arrays["batch"], treatment=arrays["treatment"], profile=list(X)
        )
        return Scored(
            table=pd.DataFrame(table, columns=["metric", "subset", "value", "n"]),
            predictions=predictions,
            clusters={
                "level": "compound",
                "names": queries.names,
                "n": [int(size) for size in queries.sizes],
                "values": {self.split.metric: [float(v) for v in queries.values]},
            },
            n_eval=values[self.split.metric].n,
            used=[f"{name}: {v.used}" for name, v in values.items()],
        )


@dataclass(frozen=True, eq=False)
class Scored:
    """Everything that the record holds of the scores.

    Attributes
    ----------
    table
        Columns metric, subset, value, n.
    predictions
        Columns id, batch, fold, y_true, y_pred, scores (and probe_pred).
    clusters
        Level, names, sizes and metric values of the clusters.
    n_eval
        Number of score units.
    used
        What each metric rests on, in words.
    """

    table: pd.DataFrame
    predictions: pd.DataFrame
    clusters: Mapping[str, Any]
    n_eval: int
    used: list[str] = field(default_factory=list)

    def metrics(self) -> dict[str, dict[str, float]]:
        """Return ``{metric: {subset: value}}`` of the values that are defined."""
        result: dict[str, dict[str, float]] = {}
        for metric, subset, value, _ in self.table.itertuples(index=False):
            if not np.isfinite(value):
                continue
            result.setdefault(str(metric), {})[str(subset)] = float(value)
        return result


def _clustered(
    y: Ints, predicted: Ints, cluster: NDArray[np.str_], names: list[str]
) -> dict[str, list[float]]:
    """Return the value of each clustered metric in each cluster, in the order of ``names``.

    Accuracy is that of the cluster's rows: its mean weighted by their number is the pooled value.
    Balanced accuracy pools over clusters before it averages over classes, so a cluster has no such
    part of it; its jackknife pseudo-values stand in its place (see ``bench.statistics``).
    """
    from bench.statistics import cluster_pseudo_values

    hit = predicted == y
    accuracy = [float(hit[cluster == name].mean()) for name in names]
    if len(names) < 2:
        value = metrics.compute("balanced_accuracy", y_true=y, y_pred=predicted).value
        return {"accuracy": accuracy, "balanced_accuracy": [value]}
    found, values = cluster_pseudo_values(
        lambda y_true, y_pred: (
            metrics.compute("balanced_accuracy", y_true=y_true, y_pred=y_pred).value
        ),
        cluster,
        {"y_true": y, "y_pred": predicted},
    )
    of = dict(zip(found, values.tolist(), strict=True))
    return {"accuracy": accuracy, "balanced_accuracy": [of[name] for name in names]}


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    z = logits.astype(np.float64)
    z -= z.max(axis=1, keepdims=True)
    p = np.exp(z)
    result: NDArray[np.float32] = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
    return result


def _to_units(frame: pd.DataFrame) -> pd.DataFrame:
    """Average the probabilities of the rows of one score unit, within fold and class."""
    if "unit" not in frame:
        return frame
    columns = [c for c in ("head", "probe") if c in frame]
    groups = frame.groupby(["fold", "unit", "y_true"], sort=True)
    merged = groups.first()
    for column in columns:
        merged[column] = groups[column].apply(lambda s: np.stack(s.to_list()).mean(axis=0))
    merged = merged.reset_index()
    merged["id"] = merged["unit"]
    return merged


def _classification(
    y: Ints, scores: NDArray[np.float32], batch: NDArray[np.str_], frame: pd.DataFrame
) -> list[tuple[str, str, float, int]]:
    predicted = scores.argmax(axis=1)
    rows: list[tuple[str, str, float, int]] = []
    names = ["accuracy", "balanced_accuracy", "worst_batch_accuracy", "calibration_error"]
    if scores.shape[1] > FEW_CLASSES:
        names.append("top5_accuracy")
    arrays: dict[str, Any] = {
        "y_true": y,
        "y_pred": predicted,
        "scores": scores,
        "batch": batch,
    }
    for name in names:
        value = metrics.compute(name, **arrays)
        rows.append((name, "all", value.value, value.n))
    fold = frame["fold"].to_numpy(str)
    subsets = (
        [("fold", name, fold == name) for name in np.unique(fold)]
        if len(np.unique(fold)) > 1
        else []
    )
    subsets += [("batch", name, batch == name) for name in np.unique(batch)]
    for kind, subset, mask in subsets:
        for name in CLUSTERED:
            value = metrics.compute(name, y_true=y[mask], y_pred=predicted[mask])
            rows.append((name, f"{kind}={subset}", value.value, value.n))
    for k in np.unique(y):
        mask = y == k
        rows.append(
            ("accuracy", f"class={k}", float((predicted[mask] == k).mean()), int(mask.sum()))
        )
    return rows
