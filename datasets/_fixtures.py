"""Made-up files in a published layout: written once into the cache, always the same.

They let loaders and the whole pipeline run on a fresh machine, and show nothing about any method.
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
    """Return the folder of a fixture, made by ``write(folder)`` if it is not in the cache.

    It appears whole or not at all, and two processes that start at once make it once.

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
    """Return images ``(n, size, size, 3)`` uint8 with a little of the class and of the batch in.

    Parameters
    ----------
    name
        Address of the draws.
    kind
        ``(n,)`` whole numbers: rows of one kind have blobs of one size and number, and one balance
        of the channels.
    batch
        ``(n,)`` whole numbers: rows of one batch share a gain and an offset for each channel.
    size
        Height and width in pixels.
    contrast
        Of what tells the kinds apart.
    """
    rng = generator(name, "pixels")
    n_kinds, n_batches = int(kind.max()) + 1, int(batch.max()) + 1
    radius = rng.uniform(1.2, 4.0, n_kinds)
    blobs = rng.integers(2, 9, n_kinds)
    balance = 1 + contrast * rng.uniform(-0.5, 0.5, (n_kinds, 3))
    gain = rng.uniform(0.7, 1.3, (n_batches, 3))
    offset = rng.uniform(5, 40, (n_batches, 3))
    axis = np.arange(size)
    made = np.empty((len(kind), size, size, 3), np.uint8)
    for i, (k, b) in enumerate(zip(kind.tolist(), batch.tolist(), strict=True)):
        y, x = rng.uniform(0, size, (2, blobs[k], 1))
        rows = np.exp(-0.5 * ((axis - y) / radius[k]) ** 2)
        columns = np.exp(-0.5 * ((axis - x) / radius[k]) ** 2)
        cells = np.minimum(rows.T @ columns, 1.5)
        picture = offset[b] + 90 * gain[b] * balance[k] * cells[..., None]
        picture += rng.normal(0, 6, picture.shape)
        made[i] = np.clip(picture, 0, 255).astype(np.uint8)
    return made
