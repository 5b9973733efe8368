"""Decode images once into one array on disk, shared by all processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.errors import BenchError
from bench.data.decode import DTYPES
from bench.data.pixel_writer import Work, cut, job_description, planes_of
from bench.data.pixels import cache_root, finished

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.data.image_ref import ImageRef
    from bench.data.pixels import Pixels


def decoded(
    pictures: Sequence[ImageRef],
    *,
    shape: tuple[int, int, int] | None = None,
    dtype: str | None = None,
    label: str = "images",
    workers: int | None = None,
) -> Pixels:
    """Return the array of images, decoding them first if it is not in the cache.

    Cache entries are identified by the paths, sizes and modification times of the files.
    Consecutive pictures with the same files are decoded once.

    Parameters
    ----------
    shape, dtype
        Required shape ``(C, H, W)`` and dtype of each image; default: those of the first one.
    workers
        Number of threads; default: the number of processors. Does not affect the array.

    Raises
    ------
    BenchError
        If a file is missing, damaged, or differs from the first in shape or type, a crop exceeds
        its image, or the cache cannot be written.
    """
    if not pictures:
        raise BenchError(f"{label}: there is no image to decode")
    root = cache_root()
    job, changes = job_description(pictures, shape, dtype)
    pixels = finished(root, job, changes)
    if pixels is not None:
        return pixels
    first = cut(planes_of(pictures[0].files), pictures[0])
    shape, dtype = shape or first.shape, dtype or first.dtype.name
    if dtype not in DTYPES:
        raise BenchError(f"{label}: pixels are {', '.join(DTYPES)}, not {dtype}")
    import filelock

    try:
        root.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(root / f".{job}.lock"):
            pixels = finished(root, job, changes)
            if pixels is None:
                pixels = Work(root, job, changes, pictures, tuple(shape), dtype, label).make(
                    workers
                )
    except OSError as error:
        reason = error.strerror or str(error)
        raise BenchError(
            f"{label}: the decoded images could not be written to {root} ({reason}): free some "
            "space there, or name another folder in $BENCH_CACHE"
        ) from error
    return pixels
