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

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.errors import BenchError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = [
    "DERIVED",
    "SCHEMA",
    "Artifact",
    "Record",
    "Store",
    "canonical_json",
    "digest",
    "is_derived",
    "predictions_digest",
    "summarise",
    "write_files",
]

SCHEMA = 1
"""Version of ``run.json``; a record of a later version is refused, not misread."""

DERIVED = "~"
"""Stands in the names of splits that were made of another split's rows, and in no other name."""

_INDEX_VERSION = "6"
_DAY_S = 86_400.0
_ID = re.compile(r"[0-9a-f]{8,64}")
_TABLES = ("metrics", "predictions", "curves")

Kind = Literal["fit", "apply"]


# --------------------------------------------------------------------------- canonical form


def _plain(value: Any, where: str) -> Any:
    """Return ``value`` as JSON's own types, refusing what has no single spelling."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BenchError(
                f"a record cannot hold {value} at '{where}': leave the entry out, or use null"
            )
        return float(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise BenchError(f"keys of a record are text, not {key!r}, at '{where}'")
        return {str(key): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return _plain(value.tolist(), where)
    raise BenchError(f"a record cannot hold a {type(value).__name__} at '{where}'")


def canonical_json(obj: Any) -> str:
    """Return the one spelling of ``obj``: sorted keys, no spaces, ASCII, shortest exact floats.

    Parameters
    ----------
    obj
        None, bool, int, finite float, str, lists, tuples and mappings of these with text keys;
        NumPy scalars and arrays count as the Python values that they hold.

    Raises
    ------
    BenchError
        For NaN, infinity, a key that is not text, or another type; names the place.
    """
    return json.dumps(_plain(obj, "record"), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(obj: Any, length: int = 24) -> str:
    """Return the first ``length`` hex digits of the SHA-256 of the canonical JSON of ``obj``."""
    return hashlib.sha256(canonical_json(obj).encode()).hexdigest()[:length]


def predictions_digest(predictions: pd.DataFrame) -> str:
    """Return the SHA-256 of what a table of predictions says, as 64 hex digits.

    The order of rows and columns, the width of integers and the kind of text column do not
    matter; a single bit of a score does. Floating point columns count as float32.

    Parameters
    ----------
    predictions
        Columns ``id``, ``batch``, ``fold``, ``y_true``, ``y_pred``, ``scores`` (float32 vectors);
        others are hashed as well.
    """
    import numpy as np

    keys = [name for name in ("id", "fold", "batch") if name in predictions.columns]
    order = (
        np.lexsort([predictions[name].astype(str).to_numpy(dtype=str) for name in reversed(keys)])
        if keys
        else np.arange(len(predictions))
    )
    total = hashlib.sha256(f"rows={len(predictions)}".encode())
    for name in sorted(predictions.columns):
        values = predictions[name].to_numpy()[order]
        total.update(f"\x1e{name}\x1f".encode())
        if values.dtype.kind in "iub":
            total.update(values.astype("<i8").tobytes())
        elif values.dtype.kind == "f":
            total.update(values.astype("<f4").tobytes())
        elif any(isinstance(value, (list, tuple, np.ndarray)) for value in values):
            for value in values:
                row = np.asarray([] if value is None else value, dtype="<f4")
                total.update(len(row).to_bytes(8, "little") + row.tobytes())
        else:
            for value in values:
                text = str(value).encode()
                total.update(len(text).to_bytes(8, "little") + text)
    return total.hexdigest()


# --------------------------------------------------------------------------- disk


@contextlib.contextmanager
def _disk(doing: str, path: Path) -> Iterator[None]:
    """Turn what the operating system says into one line with the cure."""
    try:
        yield
    except OSError as exc:
        place = str(exc.filename2 or exc.filename or path)
        elsewhere = "choose another folder with --results DIR"
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            cure = f"the disk is full; free some space or {elsewhere}"
        elif exc.errno in (errno.EACCES, errno.EPERM):
            cure = f"no permission at {place}; change it or {elsewhere}"
        elif exc.errno == errno.EROFS:
            cure = f"{place} is on a read-only disk; {elsewhere}"
        elif exc.errno in (errno.ENOTDIR, errno.EEXIST):
            cure = (
                f"a file stands where a folder is needed ({place}); move it away or choose "
                "another folder with --results DIR"
            )
        elif exc.errno == errno.ENAMETOOLONG:
            cure = "the path is too long; choose a shorter folder with --results DIR"
        else:
            cure = f"{exc.strerror or exc}; check the disk or choose another folder with --results"
        raise BenchError(f"cannot {doing} {path}: {cure}") from exc


def _write(path: Path, data: bytes | NDArray[Any]) -> None:
    with path.open("wb") as file:
        if isinstance(data, bytes):
            file.write(data)
        else:  # straight from memory: a large array is not copied to be written
            import numpy as np

            np.save(file, data, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Make the entries of a folder durable, where the system can (not on Windows)."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _parquet(table: pd.DataFrame) -> bytes:
    """Return the bytes of a table; equal tables give equal bytes with one pyarrow version."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = pa.Table.from_pandas(table, preserve_index=False)
    for i, entry in enumerate(made.schema):
        if pa.types.is_list(entry.type) and pa.types.is_floating(entry.type.value_type):
            wanted = pa.list_(pa.float32())
            made = made.set_column(i, entry.name, made.column(i).cast(wanted))
    sink = io.BytesIO()
    # pandas' own metadata names its version: without it the bytes depend on the content alone.
    pq.write_table(made.replace_schema_metadata(None), sink, compression="zstd")
    return sink.getvalue()


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _pretty(obj: Mapping[str, Any]) -> bytes:
    text = json.dumps(_plain(obj, "record"), sort_keys=True, indent=1, allow_nan=False)
    return (text + "\n").encode()


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
    mixed, ``created`` the time, ``command`` what was typed, ``tuning`` the budget.
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
            text = _text_of(path)
            if text is None:
                raise BenchError(f"the run {path} was deleted meanwhile: start again")
            self._data = _parse(text, path)
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


def _parse(text: str, path: Path | None) -> dict[str, Any]:
    """Read a ``run.json``; a damaged one is named together with the cure."""
    try:
        data = json.loads(text, parse_constant=_no_constant)
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


@dataclass(frozen=True, eq=False)
class Artifact:
    """What can be made again but is worth keeping: a fit's weights or an apply's outputs.

    Attributes
    ----------
    arrays
        Arrays by name; of an apply at least ``embeddings`` ``(n, d)``, and ``ids`` and ``batch``
        ``(n,)`` bytes in UTF-8 where the harness wrote it.
    meta
        Small facts beside them, such as ``fit_s`` and ``steps``.
    """

    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any] = field(default_factory=dict)


# --------------------------------------------------------------------------- the store


class Store:
    """All records under one results folder. Makes nothing until something is written.

    Parameters
    ----------
    root
        The results folder; it need not exist.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    @property
    def runs(self) -> Path:
        """Folder of the committed runs."""
        return self.root / "runs"

    @property
    def reference(self) -> Path:
        """Folder of the records that are published with the source."""
        return self.root / "reference"

    def path_of(self, run_id: str) -> Path:
        """Return where the run stands, or would stand."""
        return self.runs / _checked(run_id)[:2] / run_id

    # ---------------------------------------------------------------- reading

    def find(self, run_id: str) -> Record | None:
        """Return the run if it is complete, else None.

        Raises
        ------
        BenchError
            If its ``run.json`` is damaged; says which folder to delete.
        """
        folder = self.path_of(run_id)
        text = _text_of(folder)
        return None if text is None else Record(_parse(text, folder), folder)

    def load_all(self, reference: bool = False) -> list[Record]:
        """Return all records, sorted by run id.

        Parameters
        ----------
        reference
            Read the published records of ``reference/`` as well; of a run that is in both, the
            user's own counts.

        Raises
        ------
        BenchError
            If a record is damaged, the folder cannot be read, or the published records that were
            asked for are not there.
        """
        with _disk("read", self.root):
            own = self._load_indexed()
            if not reference:
                return own
            if not self.reference.is_dir():
                raise BenchError(
                    f"{self.reference} is not there: published records stand in results/reference "
                    "of a checkout; give that results folder with --results"
                )
            known = {record.run_id: record for record in self.load_reference()}
            known.update((record.run_id, record) for record in own)
            return [known[run_id] for run_id in sorted(known)]

    def load_reference(self) -> list[Record]:
        """Return the published records of ``reference/`` alone, sorted by run id.

        Raises
        ------
        BenchError
            If a record is damaged or the folder cannot be read.
        """
        with _disk("read", self.reference):
            files = sorted(self.reference.rglob("run.json"), key=lambda file: file.parent.name)
            return [
                Record(_parse(file.read_text(encoding="utf-8"), file.parent), file.parent)
                for file in files
            ]

    def _load_indexed(self) -> list[Record]:
        """Serve records from the index as far as it agrees with the folders, and mend it."""
        stamps = _stamps(self.runs)
        if not stamps:
            return []
        known = self._read_index()
        texts = {
            run_id: text
            for run_id, (stamp, text) in known.items()
            if run_id in stamps and stamps[run_id] == stamp
        }
        missing = [run_id for run_id in stamps if run_id not in texts]
        for run_id in missing:
            record = self.find(run_id)
            if record is None:  # deleted since we looked
                del stamps[run_id]
                continue
            texts[run_id] = canonical_json(record.summary)
        if missing or len(known) != len(texts):
            self._write_index(stamps, texts)
        runs = str(self.runs)
        return [
            Record(None, f"{runs}/{run_id[:2]}/{run_id}", texts[run_id]) for run_id in sorted(texts)
        ]

    @property
    def index(self) -> Path:
        """The derived index; deleting it loses nothing."""
        return self.root / "index.parquet"

    def _read_index(self) -> dict[str, tuple[str, str]]:
        """Return ``run_id -> (stamp, summary)``; an index that cannot be used is empty."""
        if not self.index.is_file():
            return {}
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            # Not pq.read_table: it imports all that partitioned data sets need.
            names = ["run_id", "stamp", "summary"]
            with pq.ParquetFile(self.index) as file:
                about = file.schema_arrow.metadata or {}
                if about.get(b"labshift_index") != _INDEX_VERSION.encode():
                    return {}
                table = file.read(columns=names)
            columns = [table.column(name).to_pylist() for name in names]
        except (OSError, KeyError, pa.ArrowException):
            return {}
        return {run_id: (stamp, text) for run_id, stamp, text in zip(*columns, strict=True)}

    def _write_index(self, stamps: Mapping[str, str], texts: Mapping[str, str]) -> None:
        """Replace the index. It is derived, so a folder that cannot be written is no error."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = []
        for run_id in sorted(texts):
            data = json.loads(texts[run_id])
            primary = data.get("primary")
            row = {key: data.get(key) for key in ("method_id", "split_id", "edition", "recipe")}
            row |= {"run_id": run_id, "seed": data.get("seed"), "status": data.get("status")}
            values = data["metrics"]
            value = values.get(primary, values.get(f"{data.get('readout')}.{primary}"))
            row |= {"primary": primary, "value": value}
            row |= {"stamp": stamps[run_id], "summary": texts[run_id]}
            rows.append(row)
        text, number = pa.string(), pa.float64()
        schema = pa.schema(
            [
                ("run_id", text),
                ("method_id", text),
                ("split_id", text),
                ("edition", text),
                ("recipe", text),
                ("seed", pa.int64()),
                ("status", text),
                ("primary", text),
                ("value", number),
                ("stamp", text),
                ("summary", text),
            ],
            metadata={"labshift_index": _INDEX_VERSION},
        )
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema), sink, compression="zstd")
        with contextlib.suppress(OSError):
            folder = self._fresh("index")
            try:
                _write(folder / "index.parquet", sink.getvalue())
                (folder / "index.parquet").replace(self.index)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    # ---------------------------------------------------------------- writing

    def prepare(self) -> None:
        """Make the folder, try to write in it, and sweep what killed writers left behind.

        Called before a training starts, so that a folder that cannot be written costs a second,
        not an hour.

        Raises
        ------
        BenchError
            If nothing can be written there.
        """
        with _disk("write results to", self.root):
            folder = self._fresh("probe")
            try:
                _write(folder / "probe", b"x")
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        self._sweep()

    def commit(
        self,
        record: Mapping[str, Any],
        metrics: pd.DataFrame,
        predictions: pd.DataFrame | None = None,
        curves: pd.DataFrame | None = None,
        *,
        replace: bool = False,
    ) -> Path:
        """Write a complete run in one step and return its folder.

        All files are written and synchronised in a temporary folder on the same disk, which is
        then renamed. If another writer was first, its record stays and ours is dropped.

        Parameters
        ----------
        record
            Contents of ``run.json``; has ``run_id`` (hex) and ``spec``.
        metrics, predictions, curves
            The tables of the run; see :class:`Record`.
        replace
            Put this record in the place of an earlier one (a run that was asked for again).

        Raises
        ------
        BenchError
            If the record holds NaN or the like, or the disk refuses; nothing is left behind.
        """
        target = self.path_of(str(record["run_id"]))
        files = {"run.json": _pretty(record)}
        for name, table in zip(_TABLES, (metrics, predictions, curves), strict=True):
            if table is not None:
                files[f"{name}.parquet"] = _parquet(table)
        self._place(files, target, "run.json", replace=replace)
        shutil.rmtree(self.root / "failed" / target.name, ignore_errors=True)
        return target

    def fail(
        self,
        run_id: str,
        traceback: str,
        environment: Mapping[str, Any],
        about: Mapping[str, Any] | None = None,
    ) -> Path:
        """Keep why a run failed, replacing an earlier failure of the same run.

        Parameters
        ----------
        run_id
            The run that would have been committed.
        traceback
            Text of the exception.
        environment
            As from ``bench.provenance.environment``.
        about
            Further facts, such as method, split and seed.
        """
        target = self.root / "failed" / _checked(run_id)
        files = {
            "traceback.txt": traceback.encode(errors="replace"),
            "environment.json": _pretty(
                {"run_id": run_id, "about": about or {}, "environment": environment}
            ),
        }
        self._place(files, target, "traceback.txt", replace=True)
        return target

    def failures(self) -> list[dict[str, Any]]:
        """Return what is known of failed runs: ``run_id``, ``about``, ``error``, ``path``."""
        found = []
        with _disk("read", self.root):
            for file in sorted((self.root / "failed").glob("*/environment.json")):
                with contextlib.suppress(ValueError):
                    entry = json.loads(file.read_text(encoding="utf-8"))
                    lines = (file.parent / "traceback.txt").read_text(encoding="utf-8").split("\n")
                    last = [line for line in lines if line.strip()][-1:]
                    found.append(
                        {
                            "run_id": file.parent.name,
                            "about": entry.get("about", {}),
                            "error": last[0].strip() if last else "",
                            "path": file.parent,
                        }
                    )
        return found

    def remove(self, run_id: str) -> None:
        """Take a run away, whole; a run that is not there is no error."""
        target = self.path_of(run_id)
        with _disk("delete", target):
            if target.exists():
                aside = self._aside(target)
                shutil.rmtree(aside, ignore_errors=True)

    def publish(self, run_ids: Sequence[str]) -> list[Path]:
        """Copy runs without their predictions to ``reference/``, to be committed with the source.

        Raises
        ------
        BenchError
            If a run is not there.
        """
        made = []
        for run_id in run_ids:
            source = self.path_of(run_id)
            if self.find(run_id) is None:
                raise BenchError(f"there is no run {run_id} in {self.runs}: run it first")
            target = self.reference / run_id[:2] / run_id
            names = ("run.json", "metrics.parquet")
            with _disk("read", source):
                files = {
                    name: (source / name).read_bytes()
                    for name in names
                    if (source / name).is_file()
                }
            self._place(files, target, "run.json", replace=True)
            made.append(target)
        return made

    # ---------------------------------------------------------------- artifacts and scratch

    def artifact_path(self, artifact_id: str) -> Path:
        """Return where the artifact of a fit or an apply stands, or would stand."""
        return self.root / "artifacts" / _checked(artifact_id)

    def has_artifact(self, artifact_id: str) -> bool:
        """Return whether an artifact is kept, without reading it."""
        return (self.artifact_path(artifact_id) / "meta.json").is_file()

    def read_artifact(self, kind: Kind, artifact_id: str) -> Artifact | None:
        """Return a fit's weights or an apply's arrays, or None if they are not kept.

        Raises
        ------
        BenchError
            If the files are damaged; says which folder to delete.
        """
        from bench.bigarrays import load

        folder = self.artifact_path(artifact_id)
        text = _text_of(folder, "meta.json")
        if text is None:
            return None
        arrays: dict[str, NDArray[Any]] = {}
        try:
            meta = json.loads(text, parse_constant=_no_constant)
            if kind == "fit":
                from safetensors.numpy import load as weights

                arrays.update(weights((folder / "weights.safetensors").read_bytes()))
            else:
                for file in sorted(folder.glob("*.npy")):
                    arrays[file.stem] = load(file)
                if "embeddings" not in arrays:
                    raise ValueError("embeddings.npy is missing")
        except Exception as exc:
            raise BenchError(
                f"the artifact in {folder} is damaged ({exc}): delete that folder and run again"
            ) from exc
        return Artifact(arrays, meta)

    def write_artifact(
        self,
        kind: Kind,
        artifact_id: str,
        arrays: Mapping[str, NDArray[Any]],
        meta: Mapping[str, Any] | None = None,
        *,
        replace: bool = False,
    ) -> Path:
        """Keep arrays under an id in one step; if they are there already, those stay.

        Parameters
        ----------
        kind
            ``fit``: all arrays in ``weights.safetensors``. ``apply``: one ``<name>.npy`` each,
            among them ``embeddings``.
        artifact_id
            The fit id or apply id, hex.
        arrays
            Numbers, bools, or (apply only) fixed-width text; never objects.
        meta
            Small facts kept in ``meta.json``.
        replace
            Put these in the place of earlier ones: a fit that was asked for again.

        Raises
        ------
        BenchError
            If an array cannot be stored without a pickle, or the disk refuses.
        """
        import numpy as np

        files: dict[str, bytes | NDArray[Any]] = {"meta.json": _pretty(meta or {})}
        for name, array in arrays.items():
            if not re.fullmatch(r"[\w.\-/]+", name) or (kind == "apply" and "/" in name):
                raise BenchError(f"an array of an artifact cannot be named '{name}'")
            if array.dtype.hasobject:
                raise BenchError(f"the array '{name}' holds objects, which are never stored")
        if kind == "fit":
            from safetensors.numpy import save

            try:
                solid = {
                    name: np.ascontiguousarray(array).reshape(array.shape)
                    for name, array in arrays.items()
                }
                files["weights.safetensors"] = save(solid)
            except Exception as exc:
                raise BenchError(f"the state of a fit cannot be stored: {exc}") from exc
        else:
            if "embeddings" not in arrays:
                raise BenchError("an apply's artifact needs an array named 'embeddings'")
            for name, array in arrays.items():
                files[f"{name}.npy"] = array
        target = self.artifact_path(artifact_id)
        self._place(files, target, "meta.json", replace=replace)
        return target

    def scratch(self, fit_id: str) -> Path:
        """Return the folder of a fit's checkpoints, made if need be."""
        folder = self.root / "scratch" / _checked(fit_id)
        with _disk("make", folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def drop_artifacts(self, ids: Iterable[str]) -> None:
        """Delete trainings and profiles that nothing else will ask for; none is no error."""
        for artifact_id in ids:
            target = self.root / "artifacts" / _checked(artifact_id)
            with _disk("delete", target), contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self._aside(target), ignore_errors=True)

    def drop_scratch(self, fit_id: str) -> None:
        """Delete a fit's checkpoints; none is no error."""
        shutil.rmtree(self.root / "scratch" / _checked(fit_id), ignore_errors=True)

    # ---------------------------------------------------------------- one step

    def _fresh(self, stem: str) -> Path:
        """Make an empty folder of our own on the disk of the results."""
        folder = self.root / "tmp" / f"{stem}-{os.getpid()}-{secrets.token_hex(6)}"
        folder.mkdir(parents=True)
        return folder

    def _aside(self, target: Path) -> Path:
        """Move a folder out of sight in one step, and return where it is."""
        aside = self._fresh("old") / target.name
        target.rename(aside)
        return aside.parent

    def _place(
        self,
        files: Mapping[str, bytes | NDArray[Any]],
        target: Path,
        witness: str,
        *,
        replace: bool = False,
    ) -> None:
        """Make ``target`` hold ``files``, or nothing: written aside, synchronised, renamed.

        ``witness`` is the file whose presence tells a complete folder from a broken one.
        """
        with _disk("write", target):
            folder = self._fresh(target.name)
            try:
                for name, data in files.items():
                    _write(folder / name, data)
                _sync_folder(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.is_dir() and (replace or not (target / witness).is_file()):
                    # A folder without its witness was damaged by hand: it must not block a retry.
                    with contextlib.suppress(FileNotFoundError):
                        shutil.rmtree(self._aside(target), ignore_errors=True)
                try:
                    folder.rename(target)
                except OSError as exc:
                    if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not target.is_dir():
                        raise
                    return  # another writer was first; ours is dropped below
                _sync_folder(target.parent)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _sweep(self) -> None:
        """Delete what writers that were killed left behind more than a day ago."""
        with contextlib.suppress(OSError):
            for folder in (self.root / "tmp").iterdir():
                with contextlib.suppress(OSError):
                    # Wall clock, because it is compared with times of the file system.
                    if time.time() - folder.stat().st_mtime > _DAY_S:
                        shutil.rmtree(folder, ignore_errors=True)


def write_files(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write derived files, each in one step, and return their paths.

    Raises
    ------
    BenchError
        If the disk refuses; a file is then the old one or absent, never half of the new one.
    """
    made = []
    with _disk("write", folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            temporary = folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
            try:
                _write(temporary, data)
                temporary.replace(folder / name)
            finally:
                temporary.unlink(missing_ok=True)
            made.append(folder / name)
    return made


def _checked(identity: str) -> str:
    """Return an id that is safe as a folder name."""
    if not _ID.fullmatch(identity):
        raise BenchError(f"'{identity}' is not the id of a run: ids are 8 to 64 digits 0-9, a-f")
    return identity


def _text_of(folder: Path, name: str = "run.json") -> str | None:
    """Return the text of a file, or None if it is not there."""
    with _disk("read", folder):
        try:
            return (folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as exc:
            raise BenchError(
                f"the record in {folder} is damaged ({exc.reason}): delete that folder and run "
                "again"
            ) from exc


def _stamps(runs: Path) -> dict[str, str]:
    """Return a stamp of each complete run: it changes when the folder's record is replaced."""
    found: dict[str, str] = {}
    try:
        prefixes = [entry.path for entry in os.scandir(runs) if entry.is_dir()]
    except FileNotFoundError:
        return found
    for prefix in prefixes:
        with contextlib.suppress(FileNotFoundError), os.scandir(prefix) as entries:
            for entry in entries:
                if not _ID.fullmatch(entry.name):
                    continue
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    stat = os.stat(f"{entry.path}/run.json")  # noqa: PTH116 - ten thousand of them
                    found[entry.name] = f"{stat.st_mtime_ns}:{stat.st_size}:{stat.st_ino}"
    return found
