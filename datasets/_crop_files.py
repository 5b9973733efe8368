"""Crop files in the layout of COOS-7: pixels, columns and digest.

Shared by all data sets whose files have the keys of COOS-7 (Lu et al. 2019): the published one, its
simulation, and the simulated shifts.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import BenchError
from bench.core.once import file_sha256, once
from bench.data.hdf5 import own_dataset

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.core.types import Array, Arrays, DType, JsonObject

CLASSES = (
    "ER",
    "Inner mitochondrial membrane",
    "Golgi",
    "Peroxisomes",
    "Early endosome",
    "Cytosol",
    "Nuclear envelope",
)
IDS = {
    "plate": "plateIDs",
    "date": "dateIDs",
    "microscope": "microscopeIDs",
    "position": "wellIDs",
}


@dataclass(frozen=True)
class Stored:
    """Location of the images of one file: an offset in the file, or an HDF5 dataset."""

    path: Path
    count: int
    shape: tuple[int, ...]
    dtype: DType
    offset: int | None
    chunk: int


class Rows:
    """Source that reads images by row; can be pickled and reopened in another process.

    Images stored in one contiguous block are memory-mapped, so a read loads only their pages.
    Chunked or compressed images are read through HDF5, each chunk once, in any requested order.

    Attributes
    ----------
    shape
        Shape of one image, ``(C, H, W)``.
    dtype
        Dtype returned by :meth:`read`: ``uint8``, ``uint16`` or ``float32``, native byte order.
    """

    def __init__(self, files: list[Stored]) -> None:
        self.files = files
        self.shape = files[0].shape
        self.dtype = _native(files[0].dtype)
        self._starts = np.cumsum([0] + [file.count for file in files])
        self._open: dict[int, Any] = {}
        self._process = os.getpid()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getstate__(self) -> JsonObject:
        return {"files": self.files}

    def __setstate__(self, state: JsonObject) -> None:
        self.__init__(state["files"])  # type: ignore[misc]

    def read(self, rows: NDArray[np.int64]) -> Array:
        """Return images ``(k, C, H, W)`` in the order of ``rows``.

        Raises
        ------
        BenchError
            If a file can no longer be read, or an image contains NaN.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"rows must be in 0 .. {len(self) - 1}")
        out = np.empty((len(rows), *self.shape), self.dtype)
        where = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(where):
            positions = np.flatnonzero(where == number)
            file_rows = rows[positions] - self._starts[number]
            try:
                out[positions] = self._read(int(number), file_rows)
            except (OSError, RuntimeError) as error:
                raise _damaged(self.files[number].path, error) from error
        if self.dtype == np.float32 and not np.isfinite(out).all():
            bad = int(rows[~np.isfinite(out).reshape(len(rows), -1).all(axis=1)][0])
            file = self.files[int(np.searchsorted(self._starts, bad, side="right")) - 1]
            raise BenchError(f"image {bad} of COOS-7 contains NaN: get {file.path} again")
        return out

    def _read(self, number: int, rows: NDArray[np.int64]) -> Array:
        if self._process != os.getpid():
            # HDF5 handles do not survive a fork.
            self._open, self._process = {}, os.getpid()
        file = self.files[number]
        if file.offset is not None:
            if number not in self._open:
                self._open[number] = np.memmap(
                    file.path, file.dtype, "r", file.offset, (file.count, *file.shape)
                )
            pixels: Array = self._open[number][rows]
            return pixels
        if number not in self._open:
            import h5py

            self._open[number] = own_dataset(h5py.File(file.path, "r"), "data", file.path)
        data = self._open[number]
        images = np.empty((len(rows), *file.shape), self.dtype)
        block = rows // file.chunk
        for which in np.unique(block):
            positions = np.flatnonzero(block == which)
            low, high = int(rows[positions].min()), int(rows[positions].max()) + 1
            images[positions] = data[low:high][rows[positions] - low]
        return images


def _native(dtype: DType) -> DType:
    plain = dtype.newbyteorder("=")
    return plain if plain in (np.uint8, np.uint16) else np.dtype(np.float32)


@dataclass(frozen=True, eq=False)
class CropFile:
    path: Path
    part: str
    rows: Stored
    columns: Arrays

    @classmethod
    def describe(cls, path: Path) -> CropFile:
        """Read everything except the pixels of a file, and check its layout."""
        import h5py

        part = path.stem.rsplit("_", 1)[-1]
        try:
            with h5py.File(path, "r") as handle:
                missing = [key for key in ("data", "labels", *IDS.values()) if key not in handle]
                if missing:
                    raise BenchError(
                        f"{path} has no {', '.join(missing)}: it is not a file of COOS-7; get it "
                        "again"
                    )
                for key in ("labels", *IDS.values()):
                    own_dataset(handle, key, path)
                data = own_dataset(handle, "data", path)
                if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "uif":
                    raise BenchError(f"'data' in {path} is not an array of numbers: get it again")
                if data.ndim != 4 or data.shape[1] != 2 or 0 in data.shape:
                    raise BenchError(
                        f"'data' in {path} has shape {data.shape}, expected images x 2 channels x "
                        "height x width: get the file again"
                    )
                columns = {"label": _column(handle, "labels", data.shape[0], path)}
                for name, key in IDS.items():
                    columns[name] = _column(handle, key, data.shape[0], path)
                rows = Stored(
                    path.absolute(),
                    data.shape[0],
                    tuple(data.shape[1:]),
                    data.dtype,
                    _block(data, path),
                    # A chunk of one huge block is split to limit memory.
                    min(data.chunks[0], 1024) if data.chunks else 1024,
                )
        except (OSError, RuntimeError, KeyError) as error:
            raise _damaged(path, error) from error
        return cls(path, part, rows, columns)


def _block(data: Any, path: Path) -> int | None:  # noqa: ANN401 - h5py has no types
    """Return the offset of the pixels in the file if they are one contiguous block."""
    offset = data.id.get_offset()
    plain = data.chunks is None and data.compression is None and data.external is None
    if not plain or offset is None or data.is_virtual:
        return None
    if offset + data.size * data.dtype.itemsize > path.stat().st_size:
        raise BenchError(f"{path} is truncated: get it again")
    return int(offset)


def _damaged(path: Path, error: BaseException) -> BenchError:
    if isinstance(error, PermissionError):
        return BenchError(f"permission to read {path} was denied: change its permissions")
    if isinstance(error, FileNotFoundError):
        return BenchError(f"{path} no longer exists: put it back, or use --edition simulated")
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return BenchError(
        f"{path} cannot be read as HDF5; it is truncated or damaged: get it again ({reason})"
    )


def _column(handle: Any, key: str, count: int, path: Path) -> Array:  # noqa: ANN401 - h5py has no types
    values = handle[key]
    if not hasattr(values, "shape"):
        raise BenchError(f"'{key}' in {path} is not an array: get the file again")
    column = np.asarray(values[()])
    if column.ndim > 1 and column.size == column.shape[0]:
        column = column.reshape(-1)
    if column.ndim != 1:
        raise BenchError(
            f"'{key}' in {path} has shape {column.shape}, expected one value per image: get the "
            "file again"
        )
    if len(column) != count:
        raise BenchError(
            f"'{key}' in {path} has {len(column)} values for {count} images: get the file again"
        )
    return _strings(column)


def _strings(column: Array) -> Array:
    """Return names as str: integral numbers without ".0", bytes decoded, blanks stripped."""
    unique, inverse = np.unique(column, return_inverse=True)
    names = []
    for value in unique.tolist():
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")  # noqa: PLW2901 - normalised in place
        elif isinstance(value, float) and value.is_integer():
            value = int(value)  # noqa: PLW2901 - normalised in place
        names.append(str(value).strip("\x00 \t\n"))
    return np.array(names, dtype=object)[inverse.reshape(-1)]


def classes_of(file: CropFile) -> Array:
    """Return class names ``(n,)`` for labels given as numbers 0 to 6 or as names."""
    names = {str(i): name for i, name in enumerate(CLASSES)}
    names |= {name.casefold(): name for name in CLASSES}
    labels = file.columns["label"]
    for label in sorted(set(labels.tolist())):
        if label.casefold() not in names:
            raise BenchError(
                f"'{label}' in 'labels' of {file.path} is not a class of COOS-7: use 0 .. 6 or "
                f"{', '.join(CLASSES)}"
            )
    return np.array([names[label.casefold()] for label in labels.tolist()], dtype=object)


def check_alike(files: list[CropFile]) -> None:
    first = files[0].rows
    for file in files[1:]:
        stored = file.rows
        if stored.shape != first.shape or _native(stored.dtype) != _native(first.dtype):
            raise BenchError(
                f"{stored.path} has {stored.shape} {stored.dtype} images but {first.path.name} "
                f"{first.shape} {first.dtype}: they are from different releases; get them again"
            )


def parameters_of(folder: Path) -> JsonObject:
    path = folder / "parameters.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not {"plates", "files"} <= set(document):
            raise KeyError("plates, files")
        recorded = {name: fact["sha256"] for name, fact in document["files"].items()}
        changed = [name for name in recorded if recorded[name] != _sum(folder / name)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{path} is missing or damaged: delete {folder}") from error
    if changed:
        raise BenchError(
            f"{folder / changed[0]} was changed after it was simulated: delete {folder} and run "
            "again"
        )
    return dict(document)


def digest_of(paths: list[Path], parameters: JsonObject) -> str:
    """Return a digest of the SHA-256 of the files.

    Those of the simulated edition are in its parameters.
    """
    if parameters:
        sums = {path.name: parameters["files"][path.name]["sha256"] for path in paths}
    else:
        with ThreadPoolExecutor(min(len(paths), os.cpu_count() or 1)) as pool:
            sums = dict(zip((p.name for p in paths), pool.map(_sum, paths), strict=True))
    text = "\n".join(f"{name} {value}" for name, value in sorted(sums.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _sum(path: Path) -> str:
    """Return the SHA-256 of a file, computed once for large files."""
    return once(path, partial(file_sha256, path))
