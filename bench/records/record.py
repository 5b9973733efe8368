"""Records on disk: identity, atomic commit, loading. A run's folder exists if it is complete.

::

    results/runs/ab/ab12…/      run.json, metrics.parquet, predictions.parquet, curves.parquet
    results/artifacts/<id>/     weights.safetensors of a fit, *.npy of an apply; re-creatable
    results/scratch/<fit>/      checkpoints, gone when the record is committed
    results/failed/<run>/       traceback and environment; never a result, never blocks a retry
    results/index.parquet       derived from the runs, rebuilt whenever it is stale
    results/reference/          committed records, read only when they are asked for
    results/tmp/                what a writer has not finished; swept after a day

Nothing is ever read from a pickle. What a hit needs (``find``) imports neither NumPy, pandas nor
pyarrow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.core.canonical import canonical_json, no_constant
from bench.core.code_digest import by_folder
from bench.core.disk import disk_errors
from bench.core.errors import BenchError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DERIVED", "SCHEMA", "Record", "is_derived", "summarise"]

SCHEMA = 1
"""Version of ``run.json``; a record of a later version is refused, not misread."""

DERIVED = "~"
"""Stands in the names of splits that were made of another split's rows, and in no other name."""
RUN_ID = re.compile(r"[0-9a-f]{8,64}")

Kind = Literal["fit", "apply"]


# --------------------------------------------------------------------------- records


_SUMMARY_SPEC = (
    "method_id",
    "split_id",
    "split_digest",
    "dataset",
    "dataset_settings",
    "edition",
    "data_digest",
    "recipe",
    "recipe_overrides",
    "recipe_digest",
    "standardise",
    "seed",
    "selection",
    "score_unit",
    "metric_versions",
    "grouping",
)
_SUMMARY = (
    "method",
    "split",
    "shift",
    "params",
    "track",
    "access",
    "level",
    "badges",
    "readout",
    "status",
    "reason",
    "ranked",
    "unranked_because",
    "primary",
    "lower_is_better",
    "n_eval",
    "n_excluded",
    "n_classes",
    "chance",
    "undeclared_adaptation",
    "cautions",
    "upstream",
    "cost",
    "predictions_sha256",
)


def summarise(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what boards need of a record, flat and small; the index keeps exactly this.

    Fields of ``spec`` stand beside the others. ``metrics`` and ``clusters`` hold values over all
    rows, and hold each once: as ``head.NAME`` or ``probe.NAME`` where the record has that too. A
    column of clusters is the JSON of its list, since a board needs one of many.
    ``versions`` is the version of each stage's method, ``machine`` what a board says when it is
    mixed, ``code`` the digest of the code and of its folders (empty in records that have none),
    ``created`` the time, ``command`` what was typed, ``tuning`` the budget.
    """
    spec = record["spec"]
    provenance = record.get("provenance") or {}
    made: dict[str, Any] = {"run_id": record["run_id"]}
    made.update((key, spec[key]) for key in _SUMMARY_SPEC if key in spec)
    made.update((key, record[key]) for key in _SUMMARY if key in record)
    # What the record's own read-out says under both its names is kept once.
    own = f"{record.get('readout')}."
    values = record.get("metrics", {})
    made["metrics"] = {
        name: entry["all"]
        for name, entry in values.items()
        if "all" in entry and own + name not in values
    }
    clusters = dict(record.get("clusters") or {})
    for kind in ("values", "parts", "weights"):
        columns = clusters.get(kind) or {}
        clusters[kind] = {
            name: canonical_json(column)
            for name, column in columns.items()
            if own + name not in columns
        }
    made["clusters"] = clusters
    versions: dict[str, Any] = {}
    for fold in spec.get("folds", ()):
        for stage in fold.get("stages", ()):
            versions[stage["method"]] = stage.get("version")
    made["versions"] = versions
    made["machine"] = {
        **{key: provenance.get(key) for key in ("device", "precision", "threads", "platform")},
        "torch": (provenance.get("packages") or {}).get("torch"),
    }
    # Two runs were made by the same code of the harness if the folders that both name agree.
    code = record.get("code") or {}
    made["code"] = {
        "digest": code.get("digest", ""),
        "folders": by_folder(code.get("files") or {}),
    }
    made["created"] = provenance.get("created", "")
    made["command"] = provenance.get("command", "")
    made["tuning"] = record.get("tuning")
    return made


def is_derived(split_id: str) -> bool:
    """Whether a split was made of another's rows, for validation or a study: on no board."""
    return DERIVED in split_id


def saw_test_batches(upstream: Iterable[str]) -> bool:
    """Whether a declared step of processing was fitted over all batches, those of the test too."""
    return any("all plates" in step or "all batches" in step for step in upstream)


class Record(Mapping[str, Any]):
    """A committed run: a read-only mapping over ``run.json``, and its tables on demand.

    Parameters
    ----------
    data
        What ``run.json`` holds, or None to read it when it is first needed.
    path
        The run's folder; None for a record made by hand.
    summary
        JSON of :func:`summarise`, where the index has it.
    """

    __slots__ = ("_data", "_path", "_summary")

    def __init__(
        self,
        data: Mapping[str, Any] | None,
        path: Path | str | None = None,
        summary: str | None = None,
    ) -> None:
        self._data = data
        self._summary = summary
        self._path = path

    @property
    def path(self) -> Path | None:
        """The run's folder; None for a record made by hand."""
        return None if self._path is None else Path(self._path)

    @property
    def data(self) -> Mapping[str, Any]:
        """The whole of ``run.json``, read when it is first needed."""
        if self._data is None:
            path = self.path
            assert path is not None
            text = text_of(path)
            if text is None:
                raise BenchError(f"the run {path} was deleted meanwhile: start again")
            self._data = parse_record(text, path)
        return self._data

    @property
    def summary(self) -> dict[str, Any]:
        """What boards need, as from :func:`summarise`; from the index where it came from there."""
        if self._summary is not None:
            found: dict[str, Any] = json.loads(self._summary)
            return found
        return summarise(self.data)

    @property
    def run_id(self) -> str:
        """Identity of the run, hex."""
        path = self.path
        return path.name if path is not None else str(self.data["run_id"])

    def __getitem__(self, key: str) -> Any:
        return self.data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"Record({self.get('method')!r}, {self.get('split')!r}, {self.get('run_id')!r})"

    def _table(self, name: str) -> pd.DataFrame | None:
        path = self.path
        if path is None:
            return None
        file = path / f"{name}.parquet"
        if not file.is_file():
            return None
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.read_table(file, partitioning=None).to_pandas()  # type: ignore[no-any-return]
        except (OSError, pa.ArrowException) as exc:
            raise BenchError(
                f"{file} cannot be read ({exc}): delete the folder {path} and run again"
            ) from exc

    def metrics_table(self) -> pd.DataFrame | None:
        """Return ``metric, subset, value, n``: subset is ``all``, ``fold=…``, ``batch=…``, …."""
        return self._table("metrics")

    def predictions(self) -> pd.DataFrame | None:
        """Return ``id, batch, fold, y_true, y_pred, scores``, or None if none were kept."""
        return self._table("predictions")

    def curves(self) -> pd.DataFrame | None:
        """Return ``fold, stage, step, name, value``, or None if nothing was logged."""
        return self._table("curves")


def parse_record(text: str, path: Path | None) -> dict[str, Any]:
    """Read a ``run.json``; a damaged one is named together with the cure."""
    try:
        data = json.loads(text, parse_constant=no_constant)
        if not isinstance(data, dict) or "run_id" not in data or "spec" not in data:
            raise ValueError("it is not a record")
        if int(data.get("schema", 0)) > SCHEMA:
            raise BenchError(
                f"the record {path} has schema {data['schema']}, this labshift reads up to "
                f"{SCHEMA}: install a newer labshift"
            )
        if path is not None and data["run_id"] != path.name:
            raise ValueError(f"it holds the record of {data['run_id']}")
    except ValueError as exc:
        raise BenchError(
            f"the record in {path} is damaged ({exc}): delete that folder and run again"
        ) from exc
    return data


def checked_id(identity: str) -> str:
    """Return an id that is safe as a folder name."""
    if not RUN_ID.fullmatch(identity):
        raise BenchError(f"'{identity}' is not the id of a run: ids are 8 to 64 digits 0-9, a-f")
    return identity


def text_of(folder: Path, name: str = "run.json") -> str | None:
    """Return the text of a file, or None if it is not there."""
    with disk_errors("read", folder):
        try:
            return (folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as exc:
            raise BenchError(
                f"the record in {folder} is damaged ({exc.reason}): delete that folder and run "
                "again"
            ) from exc
