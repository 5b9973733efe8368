"""Store: the records in a results folder. A run's folder exists only if it is complete.

::

    results/runs/ab/ab12…/      run.json, metrics.parquet, predictions.parquet, curves.parquet
    results/failed/<run>/       traceback and environment; never a result, never blocks a retry
    results/damaged/<run>-…/    damaged records of runs that were repeated
    results/index.parquet       derived from the runs, rebuilt when it is out of date
    results/reference.parquet   the same for published records
    results/reference/          published records, one file per split, read only on request
    results/tmp/                unfinished files, deleted after a day

Artifacts are in :mod:`bench.records.artifacts`, published records in
:mod:`bench.records.published`. Nothing is ever read from a pickle. ``find``
imports neither NumPy, pandas nor pyarrow.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import shutil
import sys
from typing import TYPE_CHECKING, TypedDict

from bench.core.canonical import pretty_json
from bench.core.disk import disk_errors, new_file, write_synced
from bench.core.errors import BenchError
from bench.core.words import printable
from bench.records.artifacts import ArtifactStore
from bench.records.digests import FILES, with_digests
from bench.records.folder import read_folder
from bench.records.index import index_bytes, read_index, run_stamps
from bench.records.published import load_packed, pack, packed_files, unpacked_folders
from bench.records.reading import checked_id, text_of
from bench.records.record import Record
from bench.records.tables import parquet_bytes
from bench.records.writing import check_writable, discard, place, temporary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import pandas as pd

    from bench.records.schema import Json


class Failure(TypedDict):
    """A failed run."""

    run_id: str
    about: dict[str, Json]
    error: str
    path: Path


def _failure(folder: Path) -> Failure | None:
    """Return a failed run; None without its environment."""
    text = text_of(folder, "environment.json")
    if text is None:
        return None
    facts = json.loads(text)
    about = facts.get("about") if isinstance(facts, dict) else None
    if not isinstance(about, dict):
        raise ValueError("environment.json does not describe a run")
    lines = (text_of(folder, "traceback.txt") or "").strip().splitlines()
    error = lines[-1].strip() if lines else ""
    return {"run_id": folder.name, "about": about, "error": error, "path": folder}


def to_stderr(line: str) -> None:
    """Write a warning."""
    sys.stderr.write(f"{printable(line)}\n")


class Store(ArtifactStore):
    """All records in a results folder. Folders are created on the first write.

    Parameters
    ----------
    root
        The results folder; it is created if needed.
    warn
        Called with one line per record that is skipped; writes to stderr by default.
    """

    def __init__(self, root: Path | str, warn: Callable[[str], None] = to_stderr) -> None:
        super().__init__(root)
        self._warn = warn
        self._skipped: set[str] = set()

    @property
    def runs(self) -> Path:
        """Folder of the committed runs."""
        return self.root / "runs"

    @property
    def shown(self) -> str:
        """Where the records are, for people."""
        return str(self.runs)

    @property
    def reference(self) -> Path:
        """Folder of the published records."""
        return self.root / "reference"

    def path_of(self, run_id: str) -> Path:
        """Return the folder of a run, whether or not it exists."""
        return self.runs / checked_id(run_id)[:2] / run_id

    def find(self, run_id: str) -> Record | None:
        """Return the run if it is complete and undamaged, otherwise None.

        A damaged run is reported as by :meth:`load_all`. A new commit of the run moves it to
        ``damaged/``.
        """
        self._update("runs", [run_id])
        return self._readable(self.path_of(run_id))

    def read(self, run_id: str) -> Record | None:
        """Return the run if it is complete, otherwise None.

        Raises
        ------
        BenchError
            If the record is damaged, does not match its digests or was written by a later labshift.
            The message names its folder.
        """
        self._update("runs", [run_id])
        return read_folder(self.path_of(run_id))

    def refresh(self) -> None:
        """Bring a local copy of records elsewhere up to date; a folder needs nothing."""

    def _update(self, kind: str, names: Iterable[str] | None = None) -> None:
        """Make local copies of runs or failures equal to records elsewhere; default: all."""

    def _forget(self, kind: str, name: str) -> None:
        """Delete a run or failure elsewhere after its local copy."""

    def load_all(self, reference: bool = False) -> list[Record]:
        """Return all records, sorted by run id.

        A record that is damaged, does not match its digests or was written by a later labshift is
        skipped with a warning.

        Parameters
        ----------
        reference
            Include the published records of ``reference/``; the user's own copy of a run takes
            precedence.

        Raises
        ------
        BenchError
            If the folder cannot be read, or published records are requested but missing.
        """
        self.refresh()
        with disk_errors("read", self.root):
            own = self._load_indexed()
            if not reference:
                return own
            if not self.reference.is_dir():
                raise BenchError(
                    f"{self.reference} does not exist: published records are in results/reference "
                    "of a checkout; choose that results folder with --results"
                )
            records = {record.run_id: record for record in (*self.load_reference(), *own)}
            return [records[run_id] for run_id in sorted(records)]

    def load_reference(self) -> list[Record]:
        """Return only the published records of ``reference/``, sorted by run id.

        Records that cannot be read are skipped with a warning.
        """
        with disk_errors("read", self.reference):
            index = read_index(self.reference_index) if packed_files(self.reference) else {}
            records, stamps = load_packed(self.reference, index, self._skip)
            folders = unpacked_folders(self.reference)
        if stamps != {run_id: stamp for run_id, (stamp, _) in index.items()}:
            self._write_index(self.reference_index, records, stamps)
        for folder in folders:
            record = self._readable(folder)
            if record is not None:
                records[record.run_id] = record
        return [records[run_id] for run_id in sorted(records)]

    def _load_indexed(self) -> list[Record]:
        """Return the user's records from the index, after updating it."""
        stamps = run_stamps(self.runs)
        if not stamps:
            return []
        index, runs = read_index(self.index), str(self.runs)
        records = {
            run_id: Record(None, f"{runs}/{run_id[:2]}/{run_id}", brief)
            for run_id, (stamp, brief) in index.items()
            if stamps.get(run_id) == stamp
        }
        changed = len(index) != len(records)
        for run_id in stamps.keys() - records.keys():
            record = self._readable(self.path_of(run_id))
            if record is not None:
                records[run_id] = record
                changed = True
        if changed:
            self._write_index(self.index, records, {run_id: stamps[run_id] for run_id in records})
        return [records[run_id] for run_id in sorted(records)]

    def _readable(self, folder: Path) -> Record | None:
        """Return the record of a folder; None if it was deleted, or is damaged and skipped."""
        try:
            return read_folder(folder)
        except BenchError as exc:
            self._skip(str(folder), exc)
            return None

    def _skip(self, key: str, problem: BenchError) -> None:
        """Report a record that cannot be read, once."""
        if key not in self._skipped:
            self._skipped.add(key)
            self._warn(f"warning: record skipped: {problem}")

    @property
    def index(self) -> Path:
        """The derived index; it is rebuilt if deleted."""
        return self.root / "index.parquet"

    @property
    def reference_index(self) -> Path:
        """The derived index of the published records; it is rebuilt if deleted."""
        return self.root / "reference.parquet"

    def _write_index(
        self, path: Path, records: Mapping[str, Record], stamps: Mapping[str, str]
    ) -> None:
        """Replace an index; errors are ignored, because it is derived."""
        data = index_bytes({run_id: records[run_id] for run_id in stamps}, stamps)
        with contextlib.suppress(OSError), new_file(path, inside=temporary(self.root)) as file:
            write_synced(file, data)

    def prepare(self) -> None:
        """Create the folder, check that it is writable and delete old unfinished files.

        Called before a training starts, so that a read-only folder raises immediately and not
        after the training.
        """
        check_writable(self.root)

    def commit(
        self,
        record: Mapping[str, object],
        metrics: pd.DataFrame,
        predictions: pd.DataFrame | None = None,
        curves: pd.DataFrame | None = None,
        *,
        replace: bool = False,
    ) -> Path:
        """Write a complete run in one step and return its folder.

        If another process has already written the run, its record is kept and this one is dropped.

        Parameters
        ----------
        record
            Contents of ``run.json``.
        metrics, predictions, curves
            Tables of the run; see :class:`Record`.

        Raises
        ------
        BenchError
            If the record contains NaN or infinity, or a write fails. No files are left then.
        """
        target = self.path_of(str(record["run_id"]))
        tables = {
            name: parquet_bytes(table)
            for name, table in zip(FILES[1:], (metrics, predictions, curves), strict=True)
            if table is not None
        }
        sums = {name: hashlib.sha256(data).hexdigest() for name, data in tables.items()}
        contents = with_digests(json.loads(pretty_json(record)), sums)
        self._set_aside_damaged(target)
        files = {"run.json": pretty_json(contents), **tables}
        place(self.root, files, target, "run.json", replace=replace)
        shutil.rmtree(self.root / "failed" / target.name, ignore_errors=True)
        self._upload("runs", target.name, replace=replace)
        self._forget("failed", target.name)
        return target

    def _set_aside_damaged(self, folder: Path) -> None:
        """Move a damaged record to ``damaged/``, so that a new one can take its place."""
        try:
            read_folder(folder)
        except BenchError:
            aside = self.root / "damaged" / f"{folder.name}-{secrets.token_hex(3)}"
            with disk_errors("move", folder):
                aside.parent.mkdir(parents=True, exist_ok=True)
                folder.rename(aside)
            self._warn(f"note: the damaged record is kept in {aside}")

    def fail(
        self,
        run_id: str,
        traceback: str,
        environment: Mapping[str, object],
        about: Mapping[str, object] | None = None,
    ) -> Path:
        """Save why a run failed and return the folder; an earlier failure is replaced.

        Parameters
        ----------
        environment
            From ``bench.runs.provenance.environment``.
        """
        target = self.root / "failed" / checked_id(run_id)
        facts = {"run_id": run_id, "about": about or {}, "environment": environment}
        files = {
            "traceback.txt": traceback.encode(errors="replace"),
            "environment.json": pretty_json(facts),
        }
        place(self.root, files, target, "traceback.txt", replace=True)
        self._upload("failed", run_id, replace=True)
        return target

    def failures(self) -> list[Failure]:
        """Return the failed runs; ``error`` is the last line of the traceback."""
        self._update("failed")
        failures: list[Failure] = []
        with disk_errors("read", self.root):
            for folder in sorted((self.root / "failed").glob("*/")):
                try:
                    failure = _failure(folder)
                except (BenchError, ValueError, RecursionError) as exc:
                    self._skip(str(folder), BenchError(f"{folder} ({exc}): delete that folder"))
                    continue
                if failure is not None:
                    failures.append(failure)
        return failures

    def drop_failure(self, run_id: str) -> None:
        """Delete the traceback of a failed run; a missing one is ignored."""
        discard(self.root, self.root / "failed" / checked_id(run_id))
        self._forget("failed", run_id)

    def remove(self, run_id: str) -> None:
        """Delete a run; a missing run is ignored."""
        discard(self.root, self.path_of(run_id))
        self._forget("runs", run_id)

    def publish(self, run_ids: Iterable[str], *, replace: bool = False) -> list[Path]:
        """Copy runs without their predictions to the packed files of ``reference/``.

        Parameters
        ----------
        replace
            Whether other published records of the same splits are removed.

        Raises
        ------
        BenchError
            If a run does not exist or is damaged, or a file cannot be written.
        """
        return pack(self.reference, map(self.path_of, run_ids), replace=replace)
