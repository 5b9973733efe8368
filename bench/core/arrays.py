"""Arrays that may be larger than memory: above a size limit they are backed by a temporary file.

Such an array is an ordinary memory-mapped ``ndarray``. The system can drop its pages when memory is
low and reads them again when needed. The file has no name and is deleted with the array, even if
the process is killed.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.errors import BenchError
from bench.core.folders import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.core.samples import Source
    from bench.core.types import Array, Ints


VARIABLE = "BENCH_ARRAY_BYTES"
LIMIT = 1 << 30
"""Default maximum size of an array in memory, in bytes; see ``$BENCH_ARRAY_BYTES``."""
BLOCK_BYTES = 1 << 25
"""Approximate number of bytes processed at a time."""


def limit() -> int:
    """Return the maximum size of an array in memory, in bytes."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return LIMIT
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BenchError(f"${VARIABLE} is '{text}': set it to an integer, in bytes")
    return int(text)


def empty(shape: tuple[int, ...], dtype: Any = np.float32) -> Array:  # noqa: ANN401 - NumPy's dtypes have no common type
    """Return an uninitialised array, in memory or, above the limit, in a temporary file."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size <= limit():
        return np.empty(shape, dtype)
    folder = cache_folder("scratch")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)  # raise now if the disk is full
            mapped = np.memmap(file, dtype, "r+", shape=shape)
    except OSError as error:
        raise BenchError(
            f"{folder} has no room for {size:,} bytes ({error.strerror}): free space, or point "
            "$BENCH_CACHE elsewhere"
        ) from None
    return np.asarray(mapped)


def blocks(n: int, row_bytes: int) -> Iterator[slice]:
    """Yield slices that cover ``n`` rows, each of about :data:`BLOCK_BYTES`."""
    step = max(1, BLOCK_BYTES // max(1, row_bytes))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def gather(source: Source, rows: Ints) -> NDArray[np.float32]:
    """Return rows of a source of profiles, ``(k, d)`` float32, read in blocks."""
    d = int(source.shape[0])
    out: NDArray[np.float32] = empty((len(rows), d))
    for block in blocks(len(rows), 4 * d):
        out[block] = source.read(rows[block])
    return out


def load(path: Path) -> Array:
    """Return the array of a ``.npy`` file, memory-mapped above the limit."""
    if path.stat().st_size <= limit():
        array: Array = np.load(path, allow_pickle=False)
        return array
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
