"""Results folder: records, failures, artifacts and scratch files."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.canonical import no_constant, pretty_json
from bench.core.disk import disk_errors, sync_folder, write_synced
from bench.core.errors import BenchError
from bench.records.artifacts import Artifact
from bench.records.index import index_bytes, read_index, run_stamps
from bench.records.record import (
    Kind,  # TC
    Record,
    checked_id,
    parse_record,
    text_of,
)
from bench.records.tables import parquet_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["Store"]
_DAY_S = 86_400.0
_TABLES = ("metrics", "predictions", "curves")


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")


class Store:
    """All records under one results folder. Makes nothing until something is written.

    Parameters
    ----------
    root
        The results folder; it need not exist.
    warn
        Called with one line per record that is skipped; writes to stderr by default.
    """

    def __init__(self, root: Path | str, warn: Callable[[str], None] = _to_stderr) -> None:
        self.root = Path(root)
        self._warn = warn
        self._skipped: set[Path] = set()

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
        return self.runs / checked_id(run_id)[:2] / run_id

    # ---------------------------------------------------------------- reading

    def find(self, run_id: str) -> Record | None:
        """Return the run if it is complete, else None.

        Raises
        ------
        BenchError
            If its ``run.json`` is damaged; says which folder to delete.
        """
        folder = self.path_of(run_id)
        text = text_of(folder)
        return None if text is None else Record(parse_record(text, folder), folder)

    def load_all(self, reference: bool = False) -> list[Record]:
        """Return all records, sorted by run id.

        A record that is damaged or was written by a later labshift is skipped with a warning.

        Parameters
        ----------
        reference
            Read the published records of ``reference/`` as well; of a run that is in both, the
            user's own counts.

        Raises
        ------
        BenchError
            If the folder cannot be read or has no published records although they are requested.
        """
        with disk_errors("read", self.root):
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

        Records that cannot be read are skipped with a warning.

        Raises
        ------
        BenchError
            If the folder cannot be read.
        """
        with disk_errors("read", self.reference):
            folders = sorted(
                (file.parent for file in self.reference.rglob("run.json")),
                key=lambda folder: folder.name,
            )
        records = map(self._readable, folders)
        return [record for record in records if record is not None]

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
            self._write_index(records, stamps)
        return [records[run_id] for run_id in sorted(records)]

    def _readable(self, folder: Path) -> Record | None:
        """Return the record of a folder; None if it was deleted, or is damaged and skipped."""
        try:
            text = text_of(folder)
            return None if text is None else Record(parse_record(text, folder), folder)
        except BenchError as exc:
            if folder not in self._skipped:
                self._skipped.add(folder)
                self._warn(f"warning: record skipped: {exc}")
            return None

    @property
    def index(self) -> Path:
        """The derived index; deleting it loses nothing."""
        return self.root / "index.parquet"

    def _write_index(self, records: Mapping[str, Record], stamps: Mapping[str, str]) -> None:
        """Replace the index; errors are ignored, because it is derived."""
        data = index_bytes(records, stamps)
        with contextlib.suppress(OSError):
            folder = self._fresh("index")
            try:
                write_synced(folder / "index.parquet", data)
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
        with disk_errors("write results to", self.root):
            folder = self._fresh("probe")
            try:
                write_synced(folder / "probe", b"x")
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
        files = {"run.json": pretty_json(record)}
        for name, table in zip(_TABLES, (metrics, predictions, curves), strict=True):
            if table is not None:
                files[f"{name}.parquet"] = parquet_bytes(table)
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
            As from ``bench.runs.provenance.environment``.
        about
            Further facts, such as method, split and seed.
        """
        target = self.root / "failed" / checked_id(run_id)
        files = {
            "traceback.txt": traceback.encode(errors="replace"),
            "environment.json": pretty_json(
                {"run_id": run_id, "about": about or {}, "environment": environment}
            ),
        }
        self._place(files, target, "traceback.txt", replace=True)
        return target

    def failures(self) -> list[dict[str, Any]]:
        """Return what is known of failed runs: ``run_id``, ``about``, ``error``, ``path``."""
        found = []
        with disk_errors("read", self.root):
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
        with disk_errors("delete", target):
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
            with disk_errors("read", source):
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
        return self.root / "artifacts" / checked_id(artifact_id)

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
        from bench.core.arrays import load

        folder = self.artifact_path(artifact_id)
        text = text_of(folder, "meta.json")
        if text is None:
            return None
        arrays: dict[str, NDArray[Any]] = {}
        try:
            meta = json.loads(text, parse_constant=no_constant)
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

        files: dict[str, bytes | NDArray[Any]] = {"meta.json": pretty_json(meta or {})}
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
        folder = self.root / "scratch" / checked_id(fit_id)
        with disk_errors("make", folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def drop_artifacts(self, ids: Iterable[str]) -> None:
        """Delete trainings and profiles that nothing else will ask for; none is no error."""
        for artifact_id in ids:
            target = self.root / "artifacts" / checked_id(artifact_id)
            with disk_errors("delete", target), contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self._aside(target), ignore_errors=True)

    def drop_scratch(self, fit_id: str) -> None:
        """Delete a fit's checkpoints; none is no error."""
        shutil.rmtree(self.root / "scratch" / checked_id(fit_id), ignore_errors=True)

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
        with disk_errors("write", target):
            folder = self._fresh(target.name)
            try:
                for name, data in files.items():
                    write_synced(folder / name, data)
                sync_folder(folder)
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
                sync_folder(target.parent)
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
