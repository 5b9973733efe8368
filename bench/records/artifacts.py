"""Artifacts: fitted weights and applied profiles, stored to avoid recomputing them.

::

    results/artifacts/<id>/     weights.safetensors of a fit, *.npy of an apply
    results/scratch/<fit>/      checkpoints, deleted when the record is committed
    results/locks/<id>.lock     empty; locked while a process computes what the id names
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.canonical import no_constant, pretty_json
from bench.core.disk import disk_errors
from bench.core.errors import BenchError, RunFailed
from bench.core.once import once
from bench.records.digests import DIGESTS, digests_of, with_digests
from bench.records.reading import Kind, checked_id, text_of
from bench.records.writing import discard, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench.core.types import Array, Arrays, Facts, JsonObject
    from bench.records.record import Record


@dataclass(frozen=True, eq=False)
class Artifact:
    """Weights of a fit or outputs of an apply.

    Attributes
    ----------
    arrays
        Arrays by name. An apply has ``embeddings``, shape ``(n, d)``, and optionally ``ids`` and
        ``batch``, shape ``(n,)``, UTF-8 bytes.
    """

    arrays: Arrays
    meta: JsonObject = field(default_factory=dict)


class ArtifactStore:
    """Artifacts and checkpoints in a results folder."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    @property
    def location(self) -> str:
        """Absolute path, or URL, with which another process opens the same results."""
        return str(self.root.absolute())

    @property
    def outputs(self) -> Path:
        """Folder of figures, reports, exports and studies."""
        return self.root

    def artifact_path(self, artifact_id: str) -> Path:
        """Return the folder of an artifact, whether or not it exists."""
        return self.root / "artifacts" / checked_id(artifact_id)

    def has_artifact(self, artifact_id: str) -> bool:
        """Return whether an artifact exists, without reading it."""
        return (self.artifact_path(artifact_id) / "meta.json").is_file()

    def artifact_meta(self, artifact_id: str) -> JsonObject:
        """Return the facts of an artifact without its arrays; empty if there is none."""
        text = text_of(self.artifact_path(artifact_id), "meta.json")
        with contextlib.suppress(ValueError):
            meta = json.loads(text or "{}", parse_constant=no_constant)
            return meta if isinstance(meta, dict) else {}
        return {}

    def lock(self, key: str, waiting: Callable[[], None] = lambda: None) -> Callable[[], None]:
        """Wait until no other process computes what an id names, and keep others from doing so.

        Look for the result again afterwards. The operating system releases the lock of a process
        that is killed.

        Parameters
        ----------
        key
            Id of a fit, an apply or a run.
        waiting
            Called once if another process has the lock.

        Returns
        -------
        callable
            Releases the lock and deletes its file. Processes that still wait for it find the result
            of this one.
        """
        import filelock

        path = self._lock_path(key)
        with disk_errors("lock", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(path)
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                waiting()
                lock.acquire()

        def release() -> None:
            with contextlib.suppress(OSError):  # Windows does not delete open files
                path.unlink(missing_ok=True)
            lock.release()

        return release

    def is_locked(self, key: str) -> bool:
        """Return whether a process computes what an id names."""
        import filelock

        path = self._lock_path(key)
        if not path.is_file():
            return False
        try:
            with filelock.FileLock(path, timeout=0):
                return False
        except filelock.Timeout:
            return True

    def _lock_path(self, key: str) -> Path:
        return self.root / "locks" / f"{checked_id(key)}.lock"

    def read_artifact(self, kind: Kind, artifact_id: str) -> Artifact | None:
        """Return the weights of a fit or the arrays of an apply, or None if they do not exist.

        Raises
        ------
        BenchError
            If the files are damaged; the message names the folder to delete.
        """
        folder = self.artifact_path(artifact_id)
        text = text_of(folder, "meta.json")
        if text is None:
            return None
        try:
            meta = json.loads(text, parse_constant=no_constant)
            sums = digests_of(meta, "meta.json")
            arrays = _read_fit(folder, sums) if kind == "fit" else _read_apply(folder, sums)
            return Artifact(arrays, {k: v for k, v in meta.items() if k != DIGESTS})
        except Exception as exc:
            raise BenchError(
                f"the artifact in {folder} is damaged ({exc}): delete that folder and run again"
            ) from exc

    def damaged_artifacts(self, record: Record) -> list[str]:
        """Return the errors of reading the artifacts of a record that are on disk."""
        problems = []
        for fold in record.folds:
            for stage in fold["stages"]:
                try:
                    if key := stage.get("fit_id"):
                        self.read_artifact("fit", key)
                    key = stage.get("apply_id")
                    if key and (artifact := self.read_artifact("apply", key)) is not None:
                        train = artifact.meta.get("train")
                        _ = train and self.read_artifact("apply", train)
                except BenchError as error:
                    problems.append(str(error))
        return problems

    def write_artifact(
        self,
        kind: Kind,
        artifact_id: str,
        arrays: Mapping[str, Array],
        meta: Facts | None = None,
        *,
        replace: bool = False,
    ) -> Path:
        """Write an artifact in one step and return its folder; an existing one is kept.

        Parameters
        ----------
        kind
            ``fit``: all arrays in ``weights.safetensors``. ``apply``: one ``<name>.npy`` per
            array, including ``embeddings``.
        artifact_id
            Fit id or apply id, hex.
        arrays
            Numeric or boolean arrays, or (apply only) fixed-width text; never objects.

        Raises
        ------
        BenchError
            If an array cannot be stored without a pickle, or a write fails.
        """
        _check_arrays(kind, arrays)
        files: dict[str, bytes | Array] = {}
        if kind == "fit":
            weights = _weights(arrays)
            files["weights.safetensors"] = weights
            sums = {"weights.safetensors": hashlib.sha256(weights).hexdigest()}
        elif "embeddings" in arrays:
            files |= {f"{name}.npy": array for name, array in arrays.items()}
            sums = {f"{name}.npy": _array_sum(array) for name, array in arrays.items()}
        else:
            raise BenchError("an apply's artifact needs an array named 'embeddings'")
        contents = with_digests(json.loads(pretty_json(meta or {})), sums, "meta.json")
        files["meta.json"] = pretty_json(contents)
        target = self.artifact_path(artifact_id)
        place(self.root, files, target, "meta.json", replace=replace)
        self._upload("artifacts", artifact_id, replace=replace)
        return target

    def _upload(self, kind: str, name: str, *, replace: bool) -> None:
        """Copy what was written to a store elsewhere; a folder needs nothing."""

    def drop_artifacts(self, ids: Iterable[str]) -> None:
        """Delete artifacts; missing ones are ignored."""
        for artifact_id in ids:
            discard(self.root, self.artifact_path(artifact_id))

    def scratch(self, fit_id: str) -> Path:
        """Return the folder of a fit's checkpoints, created if necessary."""
        folder = self.root / "scratch" / checked_id(fit_id)
        with disk_errors("create", folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def drop_scratch(self, fit_id: str) -> None:
        """Delete a fit's checkpoints; a missing folder is ignored."""
        shutil.rmtree(self.root / "scratch" / checked_id(fit_id), ignore_errors=True)


def _read_fit(folder: Path, sums: dict[str, str] | None) -> Arrays:
    from safetensors.numpy import load

    data = (folder / "weights.safetensors").read_bytes()
    if sums is not None and sums["weights.safetensors"] != hashlib.sha256(data).hexdigest():
        raise ValueError("weights.safetensors does not match its digest")
    return dict(load(data))


def _read_apply(folder: Path, sums: dict[str, str] | None) -> Arrays:
    from bench.core.arrays import load

    files = {file.name: file for file in sorted(folder.glob("*.npy"))}
    if "embeddings.npy" not in files:
        raise ValueError("embeddings.npy is missing")
    arrays = {name: load(file) for name, file in files.items()}
    if sums is not None:
        if {*sums} != {*files, "meta.json"}:
            raise ValueError("files were added or removed")
        for name, file in files.items():
            if sums[name] != once(file, partial(_array_sum, arrays[name])):
                raise ValueError(f"{name} does not match its digest")
    return {file.stem: arrays[name] for name, file in files.items()}


def _array_sum(array: Array) -> str:
    """Return the SHA-256 of dtype, shape and values of an array."""
    from bench.core.arrays import blocks

    total = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    rows = array.reshape(1) if array.ndim == 0 else array
    for block in blocks(len(rows), rows.nbytes // max(1, len(rows))):
        total.update(rows[block].tobytes())
    return total.hexdigest()


def _check_arrays(kind: Kind, arrays: Mapping[str, Array]) -> None:
    """Raise RunFailed if a method's arrays cannot be stored without a pickle."""
    import numpy as np

    if not isinstance(arrays, Mapping):
        raise RunFailed(f"state returned {type(arrays).__name__}: it must return arrays by name")
    for name, array in arrays.items():
        valid = isinstance(name, str) and re.fullmatch(r"[\w.\-/]+", name)
        if not valid or (kind == "apply" and "/" in name):
            raise RunFailed(f"an array of an artifact cannot be named '{name}'")
        if not isinstance(array, np.ndarray):
            raise RunFailed(f"the array '{name}' is a {type(array).__name__}, not a NumPy array")
        if array.dtype.hasobject:
            raise RunFailed(f"the array '{name}' contains objects, which are never stored")


def _weights(arrays: Mapping[str, Array]) -> bytes:
    import numpy as np
    from safetensors.numpy import save

    try:
        # ascontiguousarray turns a scalar into a vector, hence the reshape.
        solid = {
            name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()
        }
        data: bytes = save(solid)
    except Exception as exc:
        raise RunFailed(f"the state of a fit cannot be stored: {exc}") from exc
    return data
