"""Checkpoints of a training run."""

from __future__ import annotations

import io
import pickle
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bench.core.disk import disk_errors, new_file

if TYPE_CHECKING:
    from bench.core.types import JsonObject


CHECKPOINT_SECONDS = 5.0
"""Minimum time between checkpoints; also at least 20 times the time to write one."""


class Checkpoint:
    """A file in the scratch folder, replaced atomically and read only for the same fit."""

    def __init__(self, folder: Path | None, fingerprint: str) -> None:
        self._path = None if folder is None else Path(folder) / "training.pt"
        self._fingerprint = fingerprint
        self._last = time.monotonic()
        self._took = 0.0

    def due(self) -> bool:
        """Return whether enough time has passed since the last checkpoint."""
        wait = max(CHECKPOINT_SECONDS, 20 * self._took)
        return self._path is not None and time.monotonic() - self._last >= wait

    def save(self, content: JsonObject) -> None:
        """Write a checkpoint atomically."""
        if self._path is None:
            return
        began = time.monotonic()
        buffer = io.BytesIO()
        torch.save({**content, "fingerprint": self._fingerprint}, buffer)
        # Another process may finish the same fit and delete the folder: continue without.
        with (
            disk_errors("write the checkpoint", self._path),
            suppress(FileNotFoundError),
            new_file(self._path) as temporary,
        ):
            temporary.write_bytes(buffer.getbuffer())
        self._last = time.monotonic()
        self._took = self._last - began

    def load(self, device: str) -> JsonObject | None:
        """Return the last checkpoint, or None."""
        if self._path is None or not self._path.is_file():
            return None
        try:
            content = torch.load(self._path, map_location=device, weights_only=True)
            matches = content["fingerprint"] == self._fingerprint
        except (RuntimeError, OSError, EOFError, KeyError, ValueError, TypeError):
            return None  # damaged: train from the start, with the same result
        except pickle.UnpicklingError:
            return None
        return dict(content) if matches else None

    def remove(self) -> None:
        """Delete the checkpoint."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
