"""Score the outputs of all folds of a run.

Profiles of a fold are evaluated by the method's own head, by the shared probe
(:mod:`bench.scoring.probe`), and by the class of the nearest training profile
(:mod:`bench.scoring.nearest`). Predictions are averaged to the split's score unit and scored per
fold, batch, class and cluster. The score of a run is the mean over its folds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError
from bench.data.views import column_of
from bench.metrics import compute, needs, neighbours, uses_graph
from bench.records.schema import READOUTS
from bench.scoring.classification import Classification, Row, Where
from bench.scoring.clusters import softmax, to_units
from bench.scoring.labels import CLUSTERED, treatment_classes, truth
from bench.scoring.nearest import nearest_classes
from bench.scoring.probe import Probe, fit_probe
from bench.scoring.result import Scored
from bench.scoring.retrieval import score_retrieval
from bench.scoring.tested import tested_column

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from bench.core.dataset import Opened
    from bench.core.registry import Registry
    from bench.core.samples import Output
    from bench.core.split import Split
    from bench.core.types import JsonObject
    from bench.data.partitions import Fold
    from bench.data.views import Partition


@dataclass
class Scores:
    """Collects the folds of one run and scores them.

    A ``masked`` run sees which rows are controls although controls are classes. It is scored on the
    rows of treatment classes only, by :data:`TREATMENTS`.
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
    mixing: list[Row] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    used: dict[str, dict[str, str]] = field(default_factory=dict)
    not_computed: dict[str, str] = field(default_factory=dict)

    def leave_out(self, fold: Fold) -> None:
        """Count the excluded rows of a fold; sufficient for a fold without scored rows."""
        self.n_excluded += fold.n_excluded
        self.excluded_classes.update(fold.excluded_classes)

    def add(
        self,
        fold: Fold,
        train: Partition,
        out_train: Output,
        test: Partition,
        out_test: Output,
        seed: int,
        *,
        key: str = "",
        probes: dict[str, Probe] | None = None,
    ) -> None:
        """Add one fold: fit the probe on training rows and predict the evaluation rows.

        Parameters
        ----------
        fold, train, out_train, test, out_test
            The fold, and both sides with the outputs of the last stage.
        key, probes
            Identity of the training profiles, and probes already fitted on them. Test sets that
            share a training set and the tested batch level also share the probe.
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
            self.mixing += self._embedding(
                fold.name, out_test.X[scored], frame, self._controls(test, out_test)
            )
        y = truth(train, self.classes)
        labelled = y >= 0
        level = tested_column(self.split, self.opened, train.rows, fold.test)
        batch = column_of(self.opened, level)[train.rows]
        shared = {} if probes is None else probes
        address = f"{key}/{level}"
        probe = shared.get(address) if key else None
        if probe is None:
            probe = fit_probe(
                out_train.X[labelled], y[labelled], batch[labelled], len(self.classes), seed
            )
            if key:
                shared[address] = probe
        self.probe_c.append(probe.C)
        frame["probe"] = list(probe.scores(out_test.X[scored]))
        votes = nearest_classes(
            out_train.X[labelled], y[labelled], out_test.X[scored], len(self.classes)
        )
        frame["knn1"] = list(votes)
        if out_test.logits is not None:
            frame["head"] = list(softmax(out_test.logits[scored]))
        self.frames.append(frame)

    def _by_unit(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
        """Return one row per score unit, and the level of the clusters."""
        units = to_units(rows)
        level = self.cluster_level(units)
        if "unit" in rows:
            per_unit = rows.groupby(["fold", "unit"])[f"level:{level}"].nunique()
            n_several = int((per_unit > 1).sum())
            if n_several:
                self.remarks.append(
                    f"{n_several} of {len(units)} score units have rows in several values of "
                    f"{level} and count under the first"
                )
        return units, level

    def finish(self, readout: str) -> Scored:
        """Score all folds.

        Parameters
        ----------
        readout
            ``head`` or ``probe``: the readout whose metric names have no prefix. For a network
            without a head, the probe is used.
        """
        import pandas as pd

        frame = pd.concat(self.frames, ignore_index=True)
        frame = frame.sort_values(["fold", "id"], kind="stable", ignore_index=True)
        if self.split.protocol != "supervised":
            X, rows = self.embeddings[0]
            return score_retrieval(self.split, X, rows, self.registry)
        frame, cluster_level = self._by_unit(frame)
        if "head" not in frame:
            readout = "probe"
        scorer = Classification(self.split, self.opened, self.classes, self.registry, self.masked)
        where = Where(
            frame["fold"].to_numpy(str),
            frame[f"level:{self.opened.level}"].to_numpy(str),
            frame[f"level:{cluster_level}"].to_numpy(str),
        )
        table: list[Row] = []
        clusters: dict[str, dict[str, list[float | None]]] = {
            "values": {},
            "parts": {},
            "weights": {},
        }
        names = sorted(frame[f"level:{cluster_level}"].unique())
        y = frame["y_true"].to_numpy(np.int64)
        for column in [c for c in READOUTS if c in frame]:
            scores = np.stack(frame[column].to_list()).astype(np.float32)
            details: dict[str, dict[str, str]] = {}
            block = scorer.rows(y, scores, where, details)
            if column == "knn1":  # votes are not probabilities, and top five needs more neighbours
                block = [row for row in block if row[0] in CLUSTERED]
            table += [(f"{column}.{m}", s, v, n) for m, s, v, n in block]
            predicted = scores.argmax(axis=1)
            if self.masked:
                predicted = scorer.among_treatments(scores)
            if column == readout:
                table += block
                self.used.update(details)
                frame["y_pred"] = predicted
                frame["scores"] = list(scores)
            elif column == "probe":
                frame["probe_pred"] = predicted
            for kind, by_metric in scorer.clusters(y, scores, where, names).items():
                for metric, values in by_metric.items():
                    clusters[kind][f"{column}.{metric}"] = values
                    if column == readout:
                        clusters[kind][metric] = values
        table += self._over_folds()
        undefined = self._undefined(table)
        predictions = frame.rename(columns={f"level:{cluster_level}": "batch"})
        keep = ["id", "batch", "fold", "y_true", "y_pred", "scores", "probe_pred"]
        counts = [int((where.cluster == name).sum()) for name in names]
        return Scored(
            table=pd.DataFrame(table, columns=["metric", "subset", "value", "n"]),
            predictions=predictions[[c for c in keep if c in predictions]],
            clusters={"level": cluster_level, "names": names, "n": counts, **clusters},
            n_eval=len(frame),
            readout=readout,
            used=[
                *self.remarks,
                *(f"{name} is undefined: {undefined[name]}" for name in undefined),
            ],
            rests_on=self.used,
            undefined=undefined,
        )

    def _undefined(self, table: list[Row]) -> dict[str, str]:
        """Return the requested metrics without a value, with the reason."""
        defined = {
            name for name, subset, value, _ in table if subset == "all" and np.isfinite(value)
        }
        reasons = {
            name: f"{next(iter(self.used[name].values()))}"
            for name, _, _, _ in (*table, *self.mixing)
            if name in self.used and name not in defined
        }
        return {**self.not_computed, **reasons}

    def _over_folds(self) -> list[Row]:
        """Return the metrics of profiles per fold, and their mean over folds.

        Profiles of different folds come from different models, so they are not pooled.
        """
        if len(self.frames) == 1:
            return [(name, "all", value, n) for name, _, value, n in self.mixing]
        table = [(name, f"fold={fold}", value, n) for name, fold, value, n in self.mixing]
        for name in dict.fromkeys(row[0] for row in self.mixing):
            defined = [(v, n) for m, _, v, n in self.mixing if m == name and np.isfinite(v)]
            if defined:
                mean = float(np.mean([value for value, _ in defined]))
                table.append((name, "all", mean, sum(n for _, n in defined)))
                self.used[name]["all"] = (
                    f"mean over {len(defined)} of {len(self.frames)} folds, each with its own model"
                )
        return table

    def cluster_level(self, frame: pd.DataFrame) -> str:
        """Return the split's cluster level; default: the highest that varies among scored rows."""
        if self.split.cluster:
            return self.split.cluster
        for level in reversed(self.opened.levels):
            if frame[f"level:{level}"].nunique() > 1:
                return level
        return self.opened.levels[0]

    def _controls(self, test: Partition, out_test: Output) -> JsonObject:
        """Return the profiles and batches of the negative controls among the test rows."""
        rows = test.controls
        batch = column_of(self.opened, self.opened.level)[test.rows[rows]]
        return {"controls": out_test.X[rows], "control_batch": batch}

    def _embedding(
        self, fold: str, X: NDArray[np.float32], frame: pd.DataFrame, controls: JsonObject
    ) -> list[Row]:
        """Score the profiles of one fold separately, since each fold has its own model.

        Batch mixing is scored if the rows are from several batches.
        """
        batch = frame[f"level:{self.opened.level}"].to_numpy(str)
        names = [name for name in self.split.metrics if needs(name, self.registry) == "embedding"]
        if len(np.unique(batch)) > 1 and self.split.hold_out is None:
            names.append("batch_1nn")
        arrays: JsonObject = {"X": X, "label": frame["y_true"].to_numpy(np.int64), "batch": batch}
        arrays |= controls
        for role in ("treatment", "compound"):
            if f"role:{role}" in frame:
                arrays[role] = frame[f"role:{role}"].to_numpy(str)
        rows = []
        graph = neighbours(X) if self._share_a_graph(names, X) else None
        for name in dict.fromkeys(names):
            try:
                value = compute(name, registry=self.registry, neighbours=graph, **arrays)
            except BenchError as error:
                self.not_computed[name] = str(error)
                continue
            rows.append((name, fold, value.value, value.n))
            self.used.setdefault(name, {})[fold] = value.used
        return rows

    def _share_a_graph(self, names: list[str], X: NDArray[np.float32]) -> bool:
        """Whether several metrics use a neighbour graph, which is then computed once."""
        return len(X) > 1 and sum(uses_graph(name, self.registry) for name in names) > 1
