"""Synthetic files in a published layout, written once into the cache; always identical.

They let loaders and the full pipeline run on a fresh machine and are not evidence about methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.api import BenchError, generator
from bench.core.disk import new_folder
from bench.core.folders import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


def ensure(name: str, version: int, write: Callable[[Path], None]) -> Path:
    """Return the folder of a fixture, created by ``write(folder)`` if it is not in the cache.

    It is created atomically, and only once if two processes start together.

    Raises
    ------
    BenchError
        If the cache cannot be written.
    """
    root = cache_folder("fixture")
    folder = root / f"{name}-{version}"
    if folder.is_dir():
        return folder
    import filelock

    try:
        root.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(root / f".{name}-{version}.lock"):
            if folder.is_dir():
                return folder
            with new_folder(folder) as part:
                write(part)
    except OSError as error:
        raise BenchError(
            f"the fixture could not be written to {root} ({error.strerror or error}): free some "
            "space there, or name another folder in $BENCH_CACHE"
        ) from error
    return folder


def images(
    name: str,
    kind: NDArray[np.int64],
    batch: NDArray[np.int64],
    *,
    size: int,
    contrast: float = 1.0,
) -> NDArray[np.uint8]:
    """Return images ``(n, size, size, 3)`` uint8 with a weak class signal and a batch effect.

    Parameters
    ----------
    name
        Seed of the draws.
    kind
        ``(n,)`` integers: rows of one kind share the size and number of blobs and the balance of
        the channels.
    batch
        ``(n,)`` integers: rows of one batch share a gain and an offset for each channel.
    size
        Height and width in pixels.
    contrast
        Strength of the differences between kinds.
    """
    rng = generator(name, "pixels")
    n_kinds, n_batches = int(kind.max()) + 1, int(batch.max()) + 1
    radius = rng.uniform(1.2, 4.0, n_kinds)
    blobs = rng.integers(2, 9, n_kinds)
    balance = 1 + contrast * rng.uniform(-0.5, 0.5, (n_kinds, 3))
    gain = rng.uniform(0.7, 1.3, (n_batches, 3))
    offset = rng.uniform(5, 40, (n_batches, 3))
    axis = np.arange(size)
    images = np.empty((len(kind), size, size, 3), np.uint8)
    for i, (k, b) in enumerate(zip(kind.tolist(), batch.tolist(), strict=True)):
        y, x = rng.uniform(0, size, (2, blobs[k], 1))
        rows = np.exp(-0.5 * ((axis - y) / radius[k]) ** 2)
        columns = np.exp(-0.5 * ((axis - x) / radius[k]) ** 2)
        cells = np.minimum(rows.T @ columns, 1.5)
        picture = offset[b] + 90 * gain[b] * balance[k] * cells[..., None]
        picture += rng.normal(0, 6, picture.shape)
        images[i] = np.clip(picture, 0, 255).astype(np.uint8)
    return images
