"""Decoded images on disk, read by row."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from bench.core.folders import cache_folder

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.core.types import Array


VERSION = 1
"""Version of the on-disk layout and of the decoding."""
DIGEST_BYTES = 16


def cache_root() -> Path:
    """Return the cache folder of decoded images."""
    return cache_folder("pixels")


def hex_digest(digests: NDArray[np.uint8]) -> NDArray[np.str_]:
    """Return binary digests ``(n, bytes)`` as hexadecimal text ``(n,)``."""
    text = digests.tobytes().hex()
    step = 2 * DIGEST_BYTES
    return np.array([text[i : i + step] for i in range(0, len(text), step)], dtype=f"<U{step}")


class Pixels:
    """A decoded array, read by row; a :class:`bench.api.Source`.

    The array is memory-mapped: a read loads only the pages of its rows, and processes that read the
    same rows share them. Can be pickled and reopened in another process.

    Attributes
    ----------
    shape
        Shape of one image, ``(C, H, W)``.
    dtype
        ``uint8``, ``uint16`` or ``float32``.
    digest
        Digest (hex) of all images in order, with shape and dtype.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        self.shape: tuple[int, ...] = tuple(facts["shape"])
        self.dtype = np.dtype(facts["dtype"])
        self.digest: str = facts["digest"]
        self._count = int(facts["count"])
        self._mapped: Array | None = None
        n_bytes = self._count * int(np.prod(self.shape)) * self.dtype.itemsize
        if facts["version"] != VERSION or (folder / "pixels.bin").stat().st_size != n_bytes:
            raise ValueError(f"{folder} is not whole")

    def __len__(self) -> int:
        return self._count

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]

    def read(self, rows: NDArray[np.int64]) -> Array:
        """Return images ``(k, C, H, W)`` in the order of ``rows``."""
        if self._mapped is None:
            shape = (self._count, *self.shape)
            self._mapped = np.asarray(
                np.memmap(self.folder / "pixels.bin", self.dtype, "r", 0, shape)
            )
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and not (rows.min() >= 0 and rows.max() < self._count):
            raise IndexError(f"rows lie in 0 .. {self._count - 1}")
        pixels: Array = self._mapped[rows]
        return pixels

    def digests(self) -> NDArray[np.str_]:
        """Return the digest (hex) of each image's pixels, ``(n,)``; equal for equal images."""
        return hex_digest(np.load(self.folder / "rows.npy"))


def whole(folder: Path) -> Pixels | None:
    """Return the decoded images in a folder, or None if it is incomplete."""
    try:
        return Pixels(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # missing or unreadable: decoded again


def finished(root: Path, job: str) -> Pixels | None:
    """Return the decoded images of an earlier job, or None."""
    try:
        digest = json.loads((root / "jobs" / f"{job}.json").read_text(encoding="utf-8"))["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not decoded yet
    return whole(root / str(digest)[:32])


def kept(digest: str) -> Pixels | None:
    """Return the array of that digest if the cache has it complete, otherwise None."""
    return whole(cache_root() / digest[:32])
