"""Decoded images on disk, read by row."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

import numpy as np

from bench.core.folders import cache_folder
from bench.core.once import once
from bench.core.progress import report

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
        self.facts = {key: value for key, value in facts.items() if key != "digest"}
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


def content_digest(facts: dict[str, object], rows: NDArray[np.uint8]) -> str:
    """Return the digest (hex) of images: of their count, shape, dtype and digests in order."""
    head = json.dumps(facts, sort_keys=True).encode()
    return hashlib.sha256(head + rows.tobytes()).hexdigest()


def row_digest(pixels: Array) -> NDArray[np.uint8]:
    """Return the digest of the pixels of an image, ``(16,)``."""
    digest = hashlib.blake2b(pixels.data, digest_size=DIGEST_BYTES).digest()
    return np.frombuffer(digest, np.uint8)


def unchanged(pixels: Pixels) -> bool:
    """Return whether the array on disk has the contents of its name.

    It is read completely the first time, and again if the file changes.
    """

    def compute() -> str:
        n = len(pixels)
        rows = np.empty((n, DIGEST_BYTES), np.uint8)
        for start in range(0, n, 256):
            block = range(start, min(n, start + 256))
            for row, image in zip(block, pixels.read(np.array(block)), strict=True):
                rows[row] = row_digest(image)
            report("checking the cached images", block.stop, n)
        return content_digest(pixels.facts, rows)

    return once(pixels.folder / "pixels.bin", compute) == pixels.digest


def finished(root: Path, job: str, changes: str) -> Pixels | None:
    """Return the decoded images of an earlier job if its files did not change, or None."""
    try:
        stored = json.loads((root / "jobs" / f"{job}.json").read_text(encoding="utf-8"))
        digest = stored["digest"]
        # Earlier versions did not record it.
        if stored.get("changes", changes) != changes:
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # not decoded yet
    return _usable(root / str(digest)[:32])


def kept(digest: str) -> Pixels | None:
    """Return the array of that digest if the cache has it complete, otherwise None."""
    return _usable(cache_root() / digest[:32])


def _usable(folder: Path) -> Pixels | None:
    """Return the decoded images in a folder; None if they are incomplete or were changed."""
    pixels = whole(folder)
    if pixels is None or unchanged(pixels):
        return pixels
    shutil.rmtree(folder, ignore_errors=True)
    return None
