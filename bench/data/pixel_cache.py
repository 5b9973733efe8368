"""Decode images once into one array on disk, shared by all processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.errors import BenchError
from bench.data.decode import DTYPES
from bench.data.pixel_writer import Work, cut, job_description, planes_of
from bench.data.pixels import cache_root, finished

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.data.picture import Picture
    from bench.data.pixels import Pixels

__all__ = ["decoded"]


def decoded(
    pictures: Sequence[Picture],
    *,
    shape: tuple[int, int, int] | None = None,
    dtype: str | None = None,
    label: str = "images",
    workers: int | None = None,
) -> Pixels:
    """Return the array of some images, decoding them first if it is not in the cache.

    What is in the cache is found by paths, sizes and times of change of the files. Pictures that
    follow each other and have the same files are cut from one decoding.

    Parameters
    ----------
    pictures
        The images, in row order.
    shape, dtype
        What each must be, ``(C, H, W)``; by default what the first one is.
    label
        What is being decoded, for the progress.
    workers
        Threads; the number of processors if None. The array does not depend on it.

    Raises
    ------
    BenchError
        If a file is missing, damaged or of another shape or type than the first, a crop leaves its
        image, or the cache cannot be written.
    """
    if not pictures:
        raise BenchError(f"{label}: there is no image to decode")
    root = cache_root()
    job = job_description(pictures, shape, dtype)
    found = finished(root, job)
    if found is not None:
        return found
    first = cut(planes_of(pictures[0].files), pictures[0])
    shape, dtype = shape or first.shape, dtype or first.dtype.name
    if dtype not in DTYPES:
        raise BenchError(f"{label}: pixels are {', '.join(DTYPES)}, not {dtype}")
    import filelock

    try:
        root.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(root / f".{job}.lock"):
            found = finished(root, job)
            if found is None:
                found = Work(root, job, pictures, tuple(shape), dtype, label).make(workers)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BenchError(
            f"{label}: the decoded images could not be written to {root} ({reason}): free some "
            "space there, or name another folder in $BENCH_CACHE"
        ) from error
    return found
