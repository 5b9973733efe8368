"""A committed run: typed access to ``run.json`` and its tables.

:class:`Record` is the only class that depends on the layout of ``run.json``. Use its attributes
instead of keys:

========================================== =========================================================
``record.method``, ``.split_id``, ``.seed`` any key of :attr:`Record.summary`; served
                                           from the index, without reading ``run.json``
``record.spec``, ``.folds``, ``.notes``,   other keys of :class:`bench.records.schema.RunRecord`;
``.provenance``, ...                       ``run.json`` is read on first use
``record.value(metric, readout)``          value of a metric over all scored units, or None
``record.scores(metric, readout)``         values of a metric per cluster, with their weights
``record.subsets(metric, readout)``        values per subset (``fold=...``, ``batch=...``, ...)
``record.has(metric, readout)``            whether there is such a value
``record.metric_names``                    names of the metrics, without prefixes
``record.predictions()``, ``.curves()``    tables of the run as data frames
``record["key"]``, ``dict(record)``        ``run.json`` as a mapping, for JSON output
========================================== =========================================================

A *readout* is ``head``, ``probe``, ``knn1``, ``embedding`` for a metric of the profiles, or None
for the record's own readout. :func:`as_record` converts a plain mapping and checks it against
the schema.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, cast, overload

from bench.core.canonical import canonical_json
from bench.core.errors import BenchError
from bench.records.checking import check, migrated
from bench.records.reading import PackedLine, parse_record, read_line, text_of
from bench.records.schema import (
    Aggregation,
    Batches,
    Clusters,
    CodeSummary,
    Cost,
    Json,
    Machine,
    Params,
    Provenance,
    RunRecord,
    Spec,
    Status,
    Tuning,
    Units,
)
from bench.records.summary import ClusterScores, clusters_of, parse_metric, summarise
from bench.records.tables import read_table, unpacked_table

if TYPE_CHECKING:
    import pandas as pd

    from bench.records.schema import Fold


T = TypeVar("T")


class _Field(Generic[T]):
    """An attribute of a record that is a key of its summary."""

    def __init__(self, doc: str) -> None:
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name.removeprefix("_")

    @overload
    def __get__(self, record: None, owner: type) -> _Field[T]: ...
    @overload
    def __get__(self, record: Record, owner: type) -> T: ...
    def __get__(self, record: Record | None, owner: type) -> T | _Field[T]:
        if record is None:
            return self
        # Boards of thousands of records read attributes a million times.
        summary = record._summary
        value: T = (record.summary if summary is None else summary)[self._name]  # type: ignore[assignment]
        return value


class _Key(_Field[T]):
    """An attribute of a record that is a key of ``run.json``."""

    @overload
    def __get__(self, record: None, owner: type) -> _Field[T]: ...
    @overload
    def __get__(self, record: Record, owner: type) -> T: ...
    def __get__(self, record: Record | None, owner: type) -> T | _Field[T]:
        if record is None:
            return self
        return cast("T", record[self._name])


class Record(Mapping[str, object]):
    """A committed run: a read-only mapping over ``run.json`` with typed attributes.

    Parameters
    ----------
    data
        The contents of ``run.json``, or None to read the file on first use.
    path
        Folder of the run, or position in a packed file; None for a record that is not on disk.
    brief
        JSON of the summary and of the clusters, if the index has them.
    """

    __slots__ = ("_brief", "_clusters", "_data", "_path", "_summary")

    def __init__(
        self,
        data: RunRecord | None,
        path: Path | str | PackedLine | None = None,
        brief: tuple[str, str] | None = None,
    ) -> None:
        self._data = data
        self._path = path
        self._brief = brief
        self._summary: Mapping[str, object] | None = None
        self._clusters: Clusters | None = None

    method = _Field[str]("Chain of methods as typed.")
    method_id = _Field[str]("Chain of methods joined by ``+``.")
    split = _Field[str]("Split as typed.")
    split_id = _Field[str]("Canonical name of the split.")
    split_digest = _Field[str]("Digest of the split's rows.")
    dataset = _Field[str]("Name of the data set.")
    dataset_settings = _Field[dict[str, Json]]("Settings that differ from their defaults.")
    edition = _Field[str]("Variant of the data: real, simulated or fixture.")
    data_digest = _Field[str]("Digest of the data.")
    recipe = _Field[str]("Name of the training recipe.")
    recipe_overrides = _Field[dict[str, Json]]("Recipe values set by hand.")
    recipe_digest = _Field[str]("Digest of the resolved recipe.")
    standardise = _Field[str]("Standardisation of the inputs.")
    seed = _Field[int]("Seed of the run.")
    selection = _Field[str]("Rule that selected the parameters; ``last`` is none.")
    score_unit = _Field[str]("Unit that is scored: ``row``, or the column that groups rows.")
    metric_versions = _Field[dict[str, int]]("Version of each metric.")
    numerics = _Field[int]("Version of the numerics.")
    grouping = _Field[dict[str, Json] | None]("Inference batches of a study, or None.")
    shift = _Field[str]("Difference between training and test data.")
    deterministic = _Field[bool](
        "Whether no stage draws random numbers: one seed represents all. False in older records."
    )
    n_folds = _Field[int]("Number of folds; each has a training of its own.")
    held_out = _Field[str]("Column of the held-out values; empty for a fixed test set.")
    units = _Field[dict[str, Units]](
        "Tested and new values per batch level; empty in older records."
    )
    params = _Field[Params]("Parameters that differ from their defaults, by stage.")
    track = _Field[str]("Track: what the method may use of the test set.")
    access = _Field[list[str]]("Information that the method used.")
    level = _Field[str]("Batch level of the last stage.")
    badges = _Field[list[str]]("Marks shown next to the method's name.")
    readout = _Field[str]("Readout head whose metrics also have names without a prefix.")
    classifier = _Field[bool]("Whether the method is a classifier on its own, not a network.")
    status = _Field[Status]("``ok``, ``not-applicable`` or ``failed``.")
    reason = _Field[str]("Reason of a status other than ``ok``.")
    ranked = _Field[bool]("Whether the run may be ranked.")
    unranked_because = _Field[list[str]]("Reasons for not ranking the run.")
    primary = _Field[str]("Primary metric of the run.")
    lower_is_better = _Field[list[str]]("Metrics for which lower is better.")
    n_eval = _Field[int]("Number of scored units.")
    n_excluded = _Field[int]("Number of test rows of classes without training rows.")
    n_classes = _Field[int]("Number of classes.")
    chance = _Field[float]("Score of guessing.")
    undeclared_adaptation = _Field[str | None]("Undeclared use of the test set, if detected.")
    cautions = _Field[list[str]]("Warnings of the data set, and code of others in this process.")
    upstream = _Field[list[str]]("Preprocessing done before the data were published.")
    cost = _Field[Cost]("Cost of the run.")
    predictions_sha256 = _Field[str]("Digest of the predictions.")
    tuning = _Field[Tuning | None]("Parameter search of a tuned run, or None.")
    metrics = _Field[dict[str, float]]("Metric name with its readout prefix -> overall value.")
    aggregation = _Field[Aggregation]("How the primary score combines folds: ``mean``, ``pooled``.")
    versions = _Field[dict[str, int]]("Version of each stage's method.")
    machine = _Field[Machine]("Parts of the provenance that boards compare.")
    code = _Field[CodeSummary]("Digests of the code that made the run.")
    created = _Field[str]("Time of the run (UTC, ISO 8601).")
    command = _Field[str]("Command line of the run.")
    _pooled = _Field[dict[str, float]]("The same of the predictions of all folds together.")
    spec = _Key[Spec]("Everything that identifies the run.")
    classes = _Key[list[str]]("Names of the classes, in the order of the scores.")
    notes = _Key[list[str]]("Notes of the run.")
    batches = _Key[Batches]("Sizes of the test batches.")
    sources = _Key[dict[str, str]]("SHA-256 of the method's source files by name.")
    provenance = _Key[Provenance]("Machine, versions and command.")

    @property
    def summary(self) -> Mapping[str, object]:
        """The part of the record that boards use, computed once; do not modify it."""
        if self._summary is None:
            if self._brief is not None:
                self._summary = cast("Mapping[str, object]", json.loads(self._brief[0]))
            else:
                self._summary = summarise(self.data)
        return self._summary

    @property
    def clusters(self) -> Clusters:
        """Metrics within each cluster, each value once; do not modify it."""
        if self._clusters is None:
            if self._brief is not None:
                self._clusters = cast("Clusters", json.loads(self._brief[1]))
            else:
                self._clusters = clusters_of(self.data)
        return self._clusters

    @property
    def brief(self) -> tuple[str, str]:
        """JSON of the summary and of the clusters, as the index stores them."""
        if self._brief is None:
            self._brief = canonical_json(self.summary), canonical_json(self.clusters)
        return self._brief

    @property
    def run_id(self) -> str:
        """Identity of the run, hex."""
        if isinstance(self._path, PackedLine):
            return self._path.run_id
        if isinstance(self._path, str):
            return self._path.replace("\\", "/").rpartition("/")[2]
        return str(self.summary["run_id"]) if self._path is None else self._path.name

    @property
    def ok(self) -> bool:
        """Whether the run has scores."""
        return self.status == "ok"

    def _key(self, names: Container[str], metric: str, readout: str | None) -> str | None:
        """Return the name under which a metric of a readout is stored, or None."""
        prefix, bare = parse_metric(metric)
        head, own = prefix or readout or self.readout, f"{self.readout}.{bare}"
        if head == "embedding":
            return bare if bare in names and own not in names else None
        if f"{head}.{bare}" in names:
            return f"{head}.{bare}"
        return bare if head == self.readout and bare in names else None

    def value(
        self, metric: str | None = None, readout: str | None = None, *, pooled: bool = False
    ) -> float | None:
        """Return a metric over all scored units, or None if the record has no such value.

        For a split with several folds it is the mean over folds.

        Parameters
        ----------
        metric
            Name of the metric, also as ``READOUT.NAME``; the primary metric by default.
        readout
            ``head``, ``probe``, ``knn1``, or ``embedding`` for a metric of the profiles
            themselves; the record's own readout by default.
        pooled
            Whether to return the metric of the predictions of all folds together; the same for a
            single fold.
        """
        values = self.metrics
        if pooled:
            values = {**values, **self._pooled}
        key = self._key(values, metric or self.primary, readout)
        return None if key is None else values[key]

    def has(self, metric: str, readout: str | None = None) -> bool:
        """Return whether the record has a value of a metric; parameters as for :meth:`value`."""
        return self._key(self.metrics, metric, readout) is not None

    @property
    def metric_names(self) -> set[str]:
        """Names of the metrics that have a value, without the prefixes of readout heads."""
        return {parse_metric(name)[1] for name in self.metrics}

    def subsets(self, metric: str | None = None, readout: str | None = None) -> dict[str, float]:
        """Return a metric per subset.

        Subsets are ``all``, ``pooled``, ``fold=...``, ``batch=...`` and ``class=...``.
        Parameters are those of :meth:`value`. The dictionary is empty without such a metric.
        """
        values = self.data["metrics"]
        key = self._key(values, metric or self.primary, readout)
        return {} if key is None else values[key]

    def scores(self, metric: str | None = None, readout: str | None = None) -> ClusterScores:
        """Return a metric per cluster, with the weights that pool it.

        Parameters are those of :meth:`value`. The values are empty without such a metric.
        """
        clusters, name = self.clusters, metric or self.primary

        def column(columns: Mapping[str, list[float | None]]) -> dict[str, float]:
            key = self._key(columns, name, readout)
            entries = zip(clusters["names"], columns[key] if key else (), strict=False)
            return {cluster: float(value) for cluster, value in entries if value is not None}

        return ClusterScores(
            level=clusters["level"],
            names=tuple(clusters["names"]),
            sizes=dict(zip(clusters["names"], clusters["n"], strict=False)),
            values=column(clusters["values"]),
            parts=column(clusters["parts"]),
            weights=column(clusters["weights"]),
        )

    @property
    def path(self) -> Path | None:
        """Folder of the run; None for a record without a folder, such as a published record."""
        if self._path is None or isinstance(self._path, PackedLine):
            return None
        return Path(self._path)

    @property
    def data(self) -> RunRecord:
        """Contents of ``run.json``, read on first use; do not modify it."""
        if self._data is None and isinstance(self._path, PackedLine):
            self._data, _ = read_line(self._path)
        if self._data is None:
            path = self.path
            assert path is not None
            text = text_of(path)
            if text is None:
                raise BenchError(f"the run {path} was deleted in the meantime: start again")
            self._data = parse_record(text, path)
        return self._data

    @property
    def folds(self) -> list[Fold]:
        """Folds of the split with the stages of the chain."""
        return self.spec["folds"]

    def renamed(self, method: str, split: str) -> Record:
        """Return the record with the method and split spelled as in the present call."""
        data = self.data.copy()
        data["method"], data["split"] = method, split
        return Record(data, self._path)

    def __getitem__(self, key: str) -> object:
        return self.data[key]  # type: ignore[literal-required]

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"Record({self.method!r}, {self.split!r}, {self.run_id!r})"

    def _table(self, name: str) -> pd.DataFrame | None:
        path = self.path
        if path is None:
            return None
        return read_table(path / f"{name}.parquet")

    def metrics_table(self) -> pd.DataFrame | None:
        """Return columns ``metric, subset, value, n``; subset is ``all``, ``pooled``, ...."""
        if isinstance(self._path, PackedLine):
            record, n = read_line(self._path)
            return unpacked_table(record["metrics"], n)
        return self._table("metrics")

    def predictions(self) -> pd.DataFrame | None:
        """Return columns ``id, batch, fold, y_true, y_pred, scores``, or None without the file."""
        return self._table("predictions")

    def curves(self) -> pd.DataFrame | None:
        """Return columns ``fold, stage, step, name, value``, or None without the file."""
        return self._table("curves")


def as_record(entry: Record | Mapping[str, object]) -> Record:
    """Return ``entry`` as a record.

    Raises
    ------
    BenchError
        If a mapping does not follow the schema of ``run.json``; the message names the key.
    """
    if isinstance(entry, Record):
        return entry
    return Record(check(migrated(cast("dict[str, Json]", dict(entry)))))
