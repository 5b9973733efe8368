"""Pixels of user images: a column of files, or one array with an image for each row.

Image files (PNG and TIFF of 8 and 16 bit, any number of channels) are decoded once into the cache
of decoded images. Arrays (``.npy``, HDF5, zarr) are read in place, never completely into memory.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.disk import new_file
from bench.core.errors import BenchError
from bench.core.folders import cache_folder, expanded
from bench.data.decode import DTYPES
from bench.data.hdf5 import own_dataset
from bench.data.zarr_codecs import open_zarr
from bench.data.zarr_image import is_zarr_array

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.core.samples import Source
    from bench.core.types import Array, Ints


AXES = ("NCHW", "NHWC", "NHW")
"""Orders of the axes of an array: images, channels, height, width."""
CHUNK = 256
"""Images per block when all images are read."""


@dataclass(frozen=True)
class ImagePixels:
    """The pixels of a data set.

    Attributes
    ----------
    digest
        Digest (hex) of all pixels in row order.
    content
        Returns the digests of the rows, or None if they are not available.
    """

    source: Source
    digest: str
    content: Callable[[], NDArray[np.str_]] | None = None


def open_files(
    folder: Path,
    names: Sequence[Array],
    crops: Sequence[Array] | None,
    channels: Sequence[int] | None,
    label: str,
) -> ImagePixels:
    """Return the pixels of images stored in files.

    Parameters
    ----------
    names
        Columns ``(n,)`` of file names. Several columns are the channels of one image, in order.
    crops
        Columns ``(n,)`` of top, left, height and width in pixels; None uses the full image.
    channels
        Channels to use, counted from 0; None uses all.

    Raises
    ------
    BenchError
        If files are missing (with their number and the first name), if a crop value is not an
        integer, or for the errors of :func:`bench.data.pixels.decoded`.
    """
    from bench.data.image_ref import ImageRef
    from bench.data.pixel_cache import decoded

    cuts: list[tuple[int, int, int, int] | None] = [None] * len(names[0])
    if crops is not None:
        try:
            cuts = [(int(a), int(b), int(c), int(d)) for a, b, c, d in zip(*crops, strict=True)]
        except ValueError as error:
            raise BenchError(
                f"crop takes whole numbers of pixels ({error}): correct those columns"
            ) from None
    files = [tuple(folder / str(name) for name in row) for row in zip(*names, strict=True)]
    every = dict.fromkeys(file for row in files for file in row)
    gone = [file for file in every if not (file.is_file() or is_zarr_array(file))]
    if gone:
        raise BenchError(
            f"{len(gone)} of {len(every)} image files are missing, such as {gone[0]}: put them "
            "there, or take their rows out of the table"
        )
    chosen = None if channels is None else tuple(channels)
    pictures = [ImageRef(row, cut, chosen) for row, cut in zip(files, cuts, strict=True)]
    pixels = decoded(pictures, label=label)
    return ImagePixels(pixels, pixels.digest, pixels.digests)


class ArrayRows:
    """Images in one array on disk; a :class:`bench.api.Source` that opens the file on first read.

    Can be pickled and read in another process: each process opens the file itself.

    Attributes
    ----------
    shape
        Shape of one image, ``(C, H, W)``.
    dtype
        Pixel type, in native byte order.
    """

    def __init__(
        self, path: Path, key: str, axes: str, channels: tuple[int, ...] | None = None
    ) -> None:
        self.path, self.key, self.axes, self.channels = path, key, axes, channels
        self._array: Any = None
        self._process = -1
        array = self._opened()
        if len(array.shape) != len(axes):
            size = " x ".join(map(str, array.shape))
            raise BenchError(
                f'{path} contains an array of {size}, and axes = "{axes}" names {len(axes)}: write '
                f"one of {', '.join(AXES)}"
            )
        native = np.dtype(array.dtype).newbyteorder("=")
        if native.name not in DTYPES:
            raise BenchError(
                f"{path} has pixels of type {native.name}: store them as {', '.join(DTYPES)}"
            )
        sizes = dict(zip(axes, array.shape, strict=True))
        count = sizes.get("C", 1)
        if channels is not None and not all(0 <= k < count for k in channels):
            raise BenchError(
                f"{path} has {count} channels, so channels = {list(channels)} cannot be read: they "
                "are counted from 0"
            )
        self.dtype = native
        self.shape: tuple[int, ...] = (
            count if channels is None else len(channels),
            sizes["H"],
            sizes["W"],
        )
        self.count = int(sizes["N"])

    def __len__(self) -> int:
        return self.count

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_array": None, "_process": -1}

    def read(self, rows: Ints) -> Array:
        """Return images ``(k, C, H, W)`` in the order of ``rows``.

        Raises
        ------
        BenchError
            If the file can no longer be read, or a pixel is not finite.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and not (rows.min() >= 0 and rows.max() < self.count):
            raise IndexError(f"rows lie in 0 .. {self.count - 1}")
        array = self._opened()
        # HDF5 and zarr read ascending rows, each once.
        wanted, back = np.unique(rows, return_inverse=True)
        try:
            pixels = _rows(array, wanted)
        except (OSError, RuntimeError, ValueError) as error:
            raise BenchError(f"{self.path} cannot be read any more ({error})") from error
        if self.axes == "NHWC":
            pixels = np.moveaxis(pixels, -1, 1)
        elif self.axes == "NHW":
            pixels = pixels[:, None]
        if self.channels is not None:
            pixels = pixels[:, list(self.channels)]
        pixels = np.ascontiguousarray(pixels[back], dtype=self.dtype)
        if self.dtype.kind == "f" and not np.isfinite(pixels).all():
            bad = rows[~np.isfinite(pixels).reshape(len(rows), -1).all(axis=1)][0]
            raise BenchError(
                f"image {bad} of {self.path} has pixels that are not finite: correct it"
            )
        return pixels

    def _opened(self) -> Any:  # noqa: ANN401 - h5py and zarr have no common type
        if self._array is None or self._process != os.getpid():
            # HDF5 handles do not survive a fork.
            self._array, self._process = _open(self.path, self.key), os.getpid()
        return self._array


def _rows(array: Any, wanted: NDArray[np.int64]) -> Array:  # noqa: ANN401 - h5py and zarr have no common type
    """Return ascending rows: as one slice if they are close together, otherwise one by one."""
    if not len(wanted):
        return np.asarray(array[0:0])
    low, high = int(wanted[0]), int(wanted[-1]) + 1
    if high - low <= 2 * len(wanted):
        return np.asarray(array[low:high])[wanted - low]
    return np.stack([np.asarray(array[int(row)]) for row in wanted])


def _open(path: Path, key: str) -> object:
    kind = path.suffix.lower()
    if not path.exists():
        raise BenchError(f"{path} is missing: put it there, or correct array in the dataset.toml")
    try:
        if kind == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False)
        if kind in (".h5", ".hdf5"):
            import h5py

            return _member(h5py.File(path, "r"), key, path)
        if kind == ".zarr":
            array = _member(open_zarr(path), key, path)
            _refuse_missing_chunks(array, path)
            return array
    except BenchError:
        raise
    except Exception as error:  # each reader has its own exceptions
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BenchError(
            f"{path} cannot be read; it is truncated, damaged or of another kind: get it again "
            f"({first})"
        ) from error
    raise BenchError(f"{path} is no array: use .npy, .h5, .hdf5 or .zarr")


def _member(opened: Any, key: str, path: Path) -> Any:  # noqa: ANN401 - h5py and zarr have no common type
    if hasattr(opened, "shape"):  # a zarr array, not a group
        return opened
    names = [str(name) for name in opened]
    if not key:
        if len(names) != 1:
            raise BenchError(
                f"{path} contains {', '.join(names) or 'nothing'}: choose one with "
                f'array = "{path.name}:KEY"'
            )
        key = names[0]
    if key not in opened:
        raise BenchError(f"{path} has no '{key}'; it has {', '.join(names)}")
    return own_dataset(opened, key, path) if path.suffix.lower() != ".zarr" else opened[key]


def _refuse_missing_chunks(array: Any, path: Path) -> None:  # noqa: ANN401 - zarr has no types
    """Raise if chunks of a zarr array are not stored; they would be read as the fill value."""
    n_missing = array.nchunks - array.nchunks_initialized
    if n_missing > 0:
        raise BenchError(
            f"{path} is incomplete: {n_missing} of {array.nchunks} chunks are not stored and would "
            f"be read as {array.fill_value}: copy it again; if they are meant to be empty, write "
            "the array with the option write_empty_chunks"
        )


def open_array(
    folder: Path, text: str, axes: str, channels: Sequence[int] | None, n: int
) -> ImagePixels:
    """Return the pixels of images stored in one array.

    Parameters
    ----------
    text
        ``pixels.npy``, ``pixels.h5:KEY`` or ``pixels.zarr[:KEY]``.
    axes
        One of :data:`AXES`.
    channels
        Channels to use, counted from 0; None uses all.
    n
        Number of rows of the table; image ``i`` belongs to row ``i``.

    Raises
    ------
    BenchError
        If the array is missing or damaged, has the wrong type or number of axes, or if its number
        of images differs from the number of table rows.
    """
    name, _, key = text.partition(":")
    path = folder / expanded(name)
    rows = ArrayRows(path, key, axes, None if channels is None else tuple(channels))
    if len(rows) != n:
        raise BenchError(
            f"{path} has {len(rows)} images and the table {n} rows: row i of the table must "
            "describe image i"
        )
    return ImagePixels(rows, _remembered_digest(rows))


def _remembered_digest(rows: ArrayRows) -> str:
    """Return the digest of all pixels, cached by path, size and modification time."""
    files = [rows.path] if rows.path.is_file() else sorted(rows.path.rglob("*"))
    stats = [(str(f.absolute()), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    mark = json.dumps([stats, rows.key, rows.axes, rows.channels])
    memory = cache_folder("index") / f"array-{hashlib.sha256(mark.encode()).hexdigest()[:32]}"
    try:
        digest = memory.read_text(encoding="ascii")
        if len(digest) == 64:
            return digest
    except (OSError, ValueError):
        pass  # not cached yet: computed below
    from bench.core.progress import report

    content = hashlib.sha256(f"{rows.shape} {rows.dtype.name} {rows.count}".encode())
    for start in range(0, rows.count, CHUNK):
        content.update(rows.read(np.arange(start, min(start + CHUNK, rows.count))).tobytes())
        report(f"reading {rows.path.name}", min(start + CHUNK, rows.count), rows.count)
    digest = content.hexdigest()
    with suppress(OSError), new_file(memory) as part:  # the cache is optional
        part.write_text(digest, encoding="ascii")
    return digest
