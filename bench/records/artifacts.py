"""Artifacts: fitted weights and applied profiles, stored to avoid recomputing them.

::

    results/artifacts/<id>/     weights.safetensors of a fit, *.npy of an apply
    results/scratch/<fit>/      checkpoints, deleted when the record is committed
    results/locks/<id>.lock     empty; locked while a process computes what the id names
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.canonical import no_constant, pretty_json
from bench.core.disk import disk_errors
from bench.core.errors import BenchError
from bench.records.reading import Kind, checked_id, text_of
from bench.records.writing import discard, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bench.core.types import Array, Arrays, Facts, JsonObject


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
            return Artifact(_read_fit(folder) if kind == "fit" else _read_apply(folder), meta)
        except Exception as exc:
            raise BenchError(
                f"the artifact in {folder} is damaged ({exc}): delete that folder and run again"
            ) from exc

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
        for name, array in arrays.items():
            if not re.fullmatch(r"[\w.\-/]+", name) or (kind == "apply" and "/" in name):
                raise BenchError(f"an array of an artifact cannot be named '{name}'")
            if array.dtype.hasobject:
                raise BenchError(f"the array '{name}' contains objects, which are never stored")
        files: dict[str, bytes | Array] = {"meta.json": pretty_json(meta or {})}
        if kind == "fit":
            files["weights.safetensors"] = _weights(arrays)
        elif "embeddings" in arrays:
            files |= {f"{name}.npy": array for name, array in arrays.items()}
        else:
            raise BenchError("an apply's artifact needs an array named 'embeddings'")
        target = self.artifact_path(artifact_id)
        place(self.root, files, target, "meta.json", replace=replace)
        return target

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


def _read_fit(folder: Path) -> Arrays:
    from safetensors.numpy import load

    return dict(load((folder / "weights.safetensors").read_bytes()))


def _read_apply(folder: Path) -> Arrays:
    from bench.core.arrays import load

    arrays = {file.stem: load(file) for file in sorted(folder.glob("*.npy"))}
    if "embeddings" not in arrays:
        raise ValueError("embeddings.npy is missing")
    return arrays


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
        raise BenchError(f"the state of a fit cannot be stored: {exc}") from exc
    return data
