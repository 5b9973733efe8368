"""Scoring: the only module that reads the labels of evaluation rows.

A fold's profiles are read out by the method's own head where there is one, by the probe that all
rows of a board share (``bench.probe``), and by the class of the nearest training profile
(``bench.nearest``). Predictions of all folds are pooled, averaged to
the split's score unit, and scored overall, for each fold, batch, class and cluster.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import metrics
from bench.api import BenchError, Ints, Opened, Output, RunFailed, Split
from bench.bigarrays import blocks
from bench.data import batches_of, column_of
from bench.grouping import pieces
from bench.nearest import nearest_classes
from bench.probe import Probe, fit_probe
from bench.references import features
from bench.seeds import generator
from bench.store import canonical_json, digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from bench.data import Side
    from bench.grouping import Grouping
    from bench.registry import Registry
    from bench.splits import Fold

READOUTS = ("head", "probe", "knn1")
CLUSTERED = ("accuracy", "balanced_accuracy")
"""Metrics whose value in each cluster is recorded, for intervals and paired differences."""
TREATMENTS = "accuracy_treatments"
"""The same, where controls are classes: the one metric of runs that saw which rows are controls."""


def truth(side: Side, classes: tuple[str, ...]) -> Ints:
    """Return the true classes of a side in view order, ``(n,)`` int64, -1 without one."""
    code = {name: k for k, name in enumerate(classes)}
    labels = column_of(side.opened, "label")[side.rows]
    y = np.array([code.get(name, -1) for name in labels], dtype=np.int64)
    if not side.opened.control_classes:
        y[side.controls] = -1
    return y


def inference_batches(grouping: Grouping, side: Side, seed: int) -> Side:
    """Group the rows of the evaluation side into inference batches, as a study wants them.

    The rows of each batch of the side are dealt out by :func:`bench.grouping.pieces`, which may
    look at their classes. The method sees the batches that come of it, and no label.

    Parameters
    ----------
    grouping
        How.
    side
        The evaluation side, its batches whole.
    seed
        The run's seed. Draws depend on it, on the grouping and on the ids of the batch's rows: all
        methods with a seed meet the same inference batches, whatever the order of the rows.
    """
    opened, n = side.opened, len(side)
    names = np.full(n, "", dtype=object)
    labels = column_of(opened, "label")[side.rows].copy()
    labels[side.controls] = ""
    role = opened.columns.get("position")
    position = None if role is None else column_of(opened, role)[side.rows]
    ids = column_of(opened, "id")[side.rows]
    for whole in batches_of(side.batch):
        batch = whole[np.argsort(ids[whole], kind="stable")]
        address = (canonical_json(grouping.spec), digest(ids[batch].tolist()), seed)
        found = pieces(
            grouping,
            labels[batch],
            side.controls[batch],
            None if position is None else position[batch],
            generator("grouping", *address),
        )
        for k, part in enumerate(found):
            names[batch[part]] = f"{side.batch[batch[0]]}\x1f{k}"
    kept = np.flatnonzero(names != "")
    return replace(side, batch=names.astype(str)).take(kept)


def treatment_classes(opened: Opened, classes: tuple[str, ...]) -> NDArray[np.bool_]:
    """Return which classes are treatments, ``(n_classes,)``.

    A class is one if every row of it is a treated one, by the column in the role ``kind``; without
    such a column, if none of its rows is a negative control. Names and numbers say nothing.
    """
    column = opened.columns.get("kind")
    if column is None:
        is_control = opened.index["control"].to_numpy(bool)
    else:
        is_control = column_of(opened, column) != "treatment"
    controls = set(column_of(opened, "label")[is_control].tolist())
    return np.array([name not in controls for name in classes])


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
    parts = list(blocks(n, X.shape[1] * 4))
    if not all(np.isfinite(X[part]).all() for part in parts):
        bad = sum(int((~np.isfinite(X[part])).any(axis=1).sum()) for part in parts)
        raise RunFailed(f"{name} returned profiles that are not finite in {bad} of {n} rows")
    logits = output.logits
    if logits is not None and (logits.shape != (n, n_classes) or not np.isfinite(logits).all()):
        raise RunFailed(
            f"{name} returned logits of shape {logits.shape}, or not finite: "
            f"the contract says ({n}, {n_classes}) and finite"
        )


@dataclass
class Scores:
    """Collects the folds of one run and scores them once all are there.

    A run that is ``masked`` saw which rows are controls although these are classes: it is scored on
    the rows of treatment classes, by :data:`TREATMENTS` alone.
    """

    split: Split
    opened: Opened
    classes: tuple[str, ...]
    registry: Registry | None = None
    masked: bool = False
    frames: list[pd.DataFrame] = field(default_factory=list)
    embeddings: list[tuple[NDArray[np.float32], pd.DataFrame]] = field(default_factory=list)
    n_excluded: int = 0
    excluded_classes: set[str] = field(default_factory=set)
    probe_c: list[float] = field(default_factory=list)
    mixing: list[tuple[str, str, float, int]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    used: dict[str, dict[str, str]] = field(default_factory=dict)

    def leave_out(self, fold: Fold) -> None:
        """Count what a fold leaves out; all that there is to do with one without scored rows."""
        self.n_excluded += fold.n_excluded
        self.excluded_classes.update(fold.excluded_classes)

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

        scored = np.isin(test.rows, fold.test[fold.scored])
        if self.masked:
            treated = treatment_classes(self.opened, self.classes)
            scored &= np.append(treated, False)[truth(test, self.classes)]
        self.leave_out(fold)
        rows = test.rows[scored]
        frame = pd.DataFrame(
            {
                "id": column_of(self.opened, "id")[rows],
                "fold": fold.name,
                "y_true": truth(test, self.classes)[scored],
            }
        )
        for level in self.opened.levels:
            frame[f"level:{level}"] = column_of(self.opened, level)[rows]
        for role in ("treatment", "compound", "nscb_batch"):
            column = self.opened.columns.get(role)
            if column is not None:
                frame[f"role:{role}"] = column_of(self.opened, column)[rows]
        for step in self.split.aggregate:
            name = step.rpartition("=")[0]
            column = self.opened.columns.get(name, name)
            frame[f"step:{name}"] = column_of(self.opened, column)[rows]
        if self.split.score_unit != "row":
            frame["unit"] = column_of(self.opened, self.split.score_unit)[rows]
        if not len(frame):
            return
        if self.split.protocol != "supervised":
            self.embeddings.append((out_test.X[scored], frame))
            self.frames.append(frame)
            return
        if not self.masked:
            self.mixing += self._embedding(fold.name, out_test.X[scored], frame)
        y = truth(train, self.classes)
        labelled = y >= 0
        batch = column_of(self.opened, self.opened.level)[train.rows]
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
        votes = nearest_classes(
            out_train.X[labelled], y[labelled], out_test.X[scored], len(self.classes)
        )
        frame["knn1"] = list(votes)
        if out_test.logits is not None:
            frame["head"] = list(_softmax(out_test.logits[scored]))
        self.frames.append(frame)

    def finish(self, readout: str) -> Scored:
        """Pool the folds and score them.

        Parameters
        ----------
        readout
            ``head`` or ``probe``: whose values stand under the names without a prefix. A network
            that has no head is read out by the probe.
        """
        import pandas as pd

        frame = pd.concat(self.frames, ignore_index=True)
        frame = frame.sort_values(["fold", "id"], kind="stable", ignore_index=True)
        if self.split.protocol != "supervised":
            return self._retrieval(frame)
        merged = _to_units(frame)
        cluster_level = self.cluster_level(merged)
        if "unit" in frame:
            clusters_of = frame.groupby(["fold", "unit"])[f"level:{cluster_level}"].nunique()
            n_several = int((clusters_of > 1).sum())
            if n_several:
                self.remarks.append(
                    f"{n_several} of {len(merged)} score units have rows in several values of "
                    f"{cluster_level} and count under the first"
                )
        frame = merged
        if "head" not in frame:
            readout = "probe"
        level = f"level:{self.opened.level}"
        table: list[tuple[str, str, float, int]] = []
        clusters: dict[str, dict[str, list[float]]] = {"values": {}, "parts": {}, "weights": {}}
        names = sorted(frame[f"level:{cluster_level}"].unique())
        y = frame["y_true"].to_numpy(np.int64)
        cluster = frame[f"level:{cluster_level}"].to_numpy(str)
        for column in [c for c in READOUTS if c in frame]:
            scores = np.stack(frame[column].to_list()).astype(np.float32)
            said: dict[str, str] = {}
            block = self._classification(y, scores, frame[level].to_numpy(str), frame, said)
            if column == "knn1":  # votes are no probabilities, and one neighbour has no top five
                block = [row for row in block if row[0] in CLUSTERED]
            table += [(f"{column}.{m}", s, v, n) for m, s, v, n in block]
            predicted = scores.argmax(axis=1)
            if self.masked:
                predicted = self._among_treatments(scores)
            if column == readout:
                table += block
                self.used.update({m: {"all": text} for m, text in said.items()})
                frame["y_pred"] = predicted
                frame["scores"] = list(scores)
            elif column == "probe":
                frame["probe_pred"] = predicted
            for kind, found in self._clusters(y, scores, cluster, names).items():
                for metric, values in found.items():
                    clusters[kind][f"{column}.{metric}"] = values
                    if column == readout:
                        clusters[kind][metric] = values
        table += self._over_folds()
        predictions = frame.rename(columns={f"level:{cluster_level}": "batch"})
        keep = ["id", "batch", "fold", "y_true", "y_pred", "scores", "probe_pred"]
        counts = [int((cluster == name).sum()) for name in names]
        return Scored(
            table=pd.DataFrame(table, columns=["metric", "subset", "value", "n"]),
            predictions=predictions[[c for c in keep if c in predictions]],
            clusters={"level": cluster_level, "names": names, "n": counts, **clusters},
            n_eval=len(frame),
            readout=readout,
            used=self.remarks,
            rests_on=self.used,
        )

    def _over_folds(self) -> list[tuple[str, str, float, int]]:
        """Return the metrics of profiles: of each fold, and over folds their mean.

        Profiles of two folds come from two models and have no common space, so nothing is pooled.
        """
        if len(self.frames) == 1:
            return [(name, "all", value, n) for name, _, value, n in self.mixing]
        table = [(name, f"fold={fold}", value, n) for name, fold, value, n in self.mixing]
        for name in dict.fromkeys(row[0] for row in self.mixing):
            found = [(v, n) for m, _, v, n in self.mixing if m == name and np.isfinite(v)]
            if found:
                mean = float(np.mean([value for value, _ in found]))
                table.append((name, "all", mean, sum(n for _, n in found)))
                self.used[name]["all"] = (
                    f"mean over {len(found)} of {len(self.frames)} folds, each a model of its own"
                )
        return table

    def cluster_level(self, frame: pd.DataFrame) -> str:
        """Return the split's own level, or the highest one that varies among the scored rows."""
        if self.split.cluster:
            return self.split.cluster
        for level in reversed(self.opened.levels):
            if frame[f"level:{level}"].nunique() > 1:
                return level
        return self.opened.levels[0]

    def _classification(
        self,
        y: Ints,
        scores: NDArray[np.float32],
        batch: NDArray[np.str_],
        frame: pd.DataFrame,
        said: dict[str, str],
    ) -> list[tuple[str, str, float, int]]:
        predicted = scores.argmax(axis=1)
        rows: list[tuple[str, str, float, int]] = []
        asked = (self.split.metric, *self.split.metrics)
        wanted = metrics.scored(asked, supervised=True, n_classes=len(self.classes))
        names = [name for name in wanted if self._needs(name) != "embedding"]
        treatments = treatment_classes(self.opened, self.classes)
        by_subset = list(CLUSTERED)
        if self.masked:
            names = by_subset = [TREATMENTS]
        elif TREATMENTS in names:
            by_subset.append(TREATMENTS)
        arrays: dict[str, Any] = {
            "y_true": y,
            "y_pred": predicted,
            "scores": scores,
            "batch": batch,
            "treatments": treatments,
        }
        for name in names:
            value = metrics.compute(name, registry=self.registry, **arrays)
            rows.append((name, "all", value.value, value.n))
            said[name] = value.used
        fold = frame["fold"].to_numpy(str)
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
                value = metrics.compute(name, **some)
                rows.append((name, f"{kind}={subset}", value.value, value.n))
        of_class, answer = "accuracy", predicted
        if self.masked:
            of_class, answer = TREATMENTS, self._among_treatments(scores)
        for k in np.unique(y):
            mask = y == k
            share = float((answer[mask] == k).mean())
            rows.append((of_class, f"class={self.classes[k]}", share, int(mask.sum())))
        return rows

    def _among_treatments(self, scores: NDArray[np.float32]) -> Ints:
        """Return the predicted classes, ``(n,)``, controls being no possible answer."""
        allowed = treatment_classes(self.opened, self.classes)
        answer: Ints = np.where(allowed, scores, -np.inf).argmax(axis=1)
        return answer

    def _clusters(
        self, y: Ints, scores: NDArray[np.float32], cluster: NDArray[np.str_], names: list[str]
    ) -> dict[str, dict[str, list[Any]]]:
        """Return the clustered metrics in each cluster, as :func:`_clustered`."""
        made: dict[str, dict[str, list[Any]]] = {"values": {}, "parts": {}, "weights": {}}
        if not self.masked:
            made = _clustered(y, scores.argmax(axis=1), cluster, names)
        if self.masked or TREATMENTS in (self.split.metric, *self.split.metrics):
            # It is the accuracy on the rows of treatment classes, and no other row counts.
            kept = treatment_classes(self.opened, self.classes)[y]
            there = [name for name in names if kept[cluster == name].any()]
            answer = self._among_treatments(scores)
            found = _clustered(y[kept], answer[kept], cluster[kept], there)
            for kind, columns in found.items():
                known = dict(zip(there, columns["accuracy"], strict=True))
                made[kind][TREATMENTS] = [known.get(name) for name in names]
        return made

    def _embedding(
        self, fold: str, X: NDArray[np.float32], frame: pd.DataFrame
    ) -> list[tuple[str, str, float, int]]:
        """Score the profiles of one fold: those of two folds come from two models.

        Batch mixing is looked at wherever the rows are of several batches.
        """
        batch = frame[f"level:{self.opened.level}"].to_numpy(str)
        names = [name for name in self.split.metrics if self._needs(name) == "embedding"]
        if len(np.unique(batch)) > 1 and self.split.hold_out is None:
            names.append("batch_1nn")
        arrays: dict[str, Any] = {
            "X": X,
            "label": frame["y_true"].to_numpy(np.int64),
            "batch": batch,
        }
        for role in ("treatment", "compound"):
            if f"role:{role}" in frame:
                arrays[role] = frame[f"role:{role}"].to_numpy(str)
        rows = []
        graph = metrics.neighbours(X) if self._share_a_graph(names, X) else None
        for name in dict.fromkeys(names):
            try:
                value = metrics.compute(name, registry=self.registry, neighbours=graph, **arrays)
            except BenchError as error:
                self.remarks.append(f"{name} of fold {fold} was left out: {error}")
                continue
            rows.append((name, fold, value.value, value.n))
            self.used.setdefault(name, {})[fold] = value.used
        return rows

    def _share_a_graph(self, names: list[str], X: NDArray[np.float32]) -> bool:
        """Whether several metrics look at neighbours: the graph is then made once for all."""
        return len(X) > 1 and sum(metrics.uses_graph(name, self.registry) for name in names) > 1

    def _needs(self, metric: str) -> str:
        if metric in metrics.METRICS:
            return str(metrics.METRICS[metric]["needs"])
        if self.registry is None:
            raise BenchError(f"there is no metric '{metric}': `python -m bench list metrics`")
        return str(self.registry.entry("metric", metric).meta["needs"])

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
        if self.split.aggregate:
            X, rows = aggregated(X, rows, self.split.aggregate)
        arrays: dict[str, Any] = {
            "X": X,
            "label": rows["y_true"].to_numpy(np.int64),
            "treatment": rows["role:treatment"].to_numpy(str),
            "compound": rows["role:compound"].to_numpy(str),
            "batch": rows["role:nscb_batch"].to_numpy(str),
        }
        wanted = dict.fromkeys((self.split.metric, *self.split.metrics))
        values = {name: metrics.compute(name, registry=self.registry, **arrays) for name in wanted}
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
                **{
                    kind: {self.split.metric: [float(v) for v in queries.values]}
                    for kind in ("values", "parts")
                },
                "weights": {self.split.metric: [float(size) for size in queries.sizes]},
            },
            n_eval=values[self.split.metric].n,
            used=[f"{name}: {v.used}" for name, v in values.items()],
            rests_on={name: {"all": v.used} for name, v in values.items()},
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
    readout
        ``head`` or ``probe``: whose values have no prefix.
    used
        What each metric rests on, in words, and what was left out, as far as it is printed.
    rests_on
        The same of every metric, by subset: how many rows, labels and batches it used.
    """

    table: pd.DataFrame
    predictions: pd.DataFrame
    clusters: Mapping[str, Any]
    n_eval: int
    readout: str = "probe"
    used: list[str] = field(default_factory=list)
    rests_on: dict[str, dict[str, str]] = field(default_factory=dict)

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
) -> dict[str, dict[str, list[float]]]:
    """Return the clustered metrics in each cluster, in the order of ``names``.

    ``values`` are the metrics of the cluster's own rows: what a point in a figure shows. Intervals
    rest on ``parts``, whose mean weighted by ``weights`` is the pooled metric exactly. Both
    metrics are weighted shares of correct rows: for accuracy each row counts 1 / n; for balanced
    accuracy, the mean of K recalls, a row of class k counts 1 / (K n_k), so that a cluster without
    some class weighs less and is never asked for a recall that it does not have.
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
        of = [metrics.compute(metric, y_true=y[r], y_pred=predicted[r]).value for r in rows]
        total = [float(weight[r].sum()) for r in rows]
        made["values"][metric] = of
        made["weights"][metric] = total
        made["parts"][metric] = [
            float((weight[r] * hit[r]).sum()) / t for r, t in zip(rows, total, strict=True)
        ]
    return made


def aggregated(
    X: NDArray[np.float32], rows: pd.DataFrame, steps: tuple[str, ...]
) -> tuple[NDArray[np.float32], pd.DataFrame]:
    """Average rows step by step, such as crops to images and images to treatments.

    Parameters
    ----------
    X
        ``(n, d)`` profiles.
    rows
        ``(n,)`` rows that describe them. Rows of one name that differ in class, treatment, compound
        or retrieval batch stay apart.
    steps
        ``COLUMN=mean`` or ``COLUMN=median``, element-wise.

    Returns
    -------
    tuple
        Profiles ``(m, d)`` and their ``m`` rows, in the order of the last step's names.
    """
    kept = ["y_true", *[name for name in rows.columns if name.startswith("role:")]]
    for step in steps:
        name, _, how = step.rpartition("=")
        keys = [f"step:{name}", *kept]
        code = rows.groupby(keys, sort=True).ngroup().to_numpy()
        average = np.mean if how == "mean" else np.median
        members = np.split(np.argsort(code, kind="stable"), np.cumsum(np.bincount(code))[:-1])
        X = np.stack([average(X[m].astype(np.float64), axis=0) for m in members])
        rows = rows.iloc[[m[0] for m in members]].reset_index(drop=True)
        rows["id"] = rows[f"step:{name}"]
    return X.astype(np.float32), rows


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
    columns = [c for c in READOUTS if c in frame]
    groups = frame.groupby(["fold", "unit", "y_true"], sort=True)
    merged = groups.first()
    for column in columns:
        merged[column] = groups[column].apply(lambda s: np.stack(s.to_list()).mean(axis=0))
    merged = merged.reset_index()
    merged["id"] = merged["unit"]
    return merged
