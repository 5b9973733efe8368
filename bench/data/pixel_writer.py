"""Decode many image files once into one array on disk that all processes map into memory.

The array is named by its content: copied, touched or moved image files give the same array. It is
written atomically. Threads decode one block of images at a time. If a process is killed, the next
one reuses its finished blocks, and two processes that start together decode only once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.canonical import canonical_json
from bench.core.disk import new_file, write_file
from bench.core.errors import BenchError
from bench.core.progress import report
from bench.core.words import file_size
from bench.data.decode import DECODER, read_image
from bench.data.pixels import DIGEST_BYTES, VERSION, Pixels, content_digest, row_digest, whole
from bench.data.zarr_image import files_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.core.types import Array
    from bench.data.image_ref import ImageRef

BLOCK = 64
"""Images per block, the unit of progress."""
SECONDS = 10.0
"""How often the list of finished blocks is saved."""


def job_description(pictures: Sequence[ImageRef], shape: object, dtype: object) -> tuple[str, str]:
    """Return a digest of the job, and one of its files' inodes and times of their last change.

    The files are not read. The first depends on paths, sizes and times of modification. The second
    also changes if a file is replaced by one of equal size and time.
    """
    marks: dict[Path, str] = {}
    changes = hashlib.sha256()
    job = hashlib.sha256(f"{VERSION} {DECODER} {shape} {dtype}".encode())
    for picture in pictures:
        for path in picture.files:
            if path not in marks:
                try:
                    stats = [file.stat() for file in files_of(path)]
                except OSError as error:
                    raise BenchError(
                        f"{path} is missing ({(error.strerror or 'unreadable').lower()}): put it "
                        "back, or take it out of the table"
                    ) from error
                sizes = "\x1f".join(f"{stat.st_size}\x1f{stat.st_mtime_ns}" for stat in stats)
                marks[path] = f"{path.absolute()}\x1f{sizes}"
                for stat in stats:
                    changes.update(f"{stat.st_ino} {stat.st_ctime_ns}\x1f".encode())
            job.update(marks[path].encode())
        job.update(f"\x1e{picture.crop} {picture.channels}\x1d".encode())
    return job.hexdigest()[:32], changes.hexdigest()[:32]


def planes_of(files: tuple[Path, ...]) -> Array:
    """Return the channels of all files, ``(C, H, W)``."""
    planes = [read_image(path) for path in files]
    for path, plane in zip(files, planes, strict=True):
        if plane.shape[1:] != planes[0].shape[1:] or plane.dtype != planes[0].dtype:
            raise BenchError(
                f"{path} is {_shape_text(plane)}, but {files[0].name} of the same image is "
                f"{_shape_text(planes[0])}: they cannot be channels of one image"
            )
    return planes[0] if len(planes) == 1 else np.concatenate(planes)


def cut(planes: Array, picture: ImageRef) -> Array:
    """Return the pixels of a picture: its channels and crop."""
    if picture.channels is not None:
        if not all(0 <= k < len(planes) for k in picture.channels):
            raise BenchError(
                f"{picture.files[0]} is {_shape_text(planes)}, so it has no channels "
                f"{', '.join(map(str, picture.channels))}: they are counted from 0"
            )
        planes = planes[list(picture.channels)]
    if picture.crop is None:
        return planes
    top, left, height, width = picture.crop
    inside = top >= 0 and left >= 0 and height > 0 and width > 0
    if not inside or top + height > planes.shape[1] or left + width > planes.shape[2]:
        raise BenchError(
            f"the crop {picture.crop} (top, left, height, width) exceeds {picture.files[0]}, which "
            f"is {_shape_text(planes)}: choose one inside"
        )
    return planes[:, top : top + height, left : left + width]


def _shape_text(planes: Array) -> str:
    return f"{' x '.join(map(str, planes.shape))} {planes.dtype.name}"


class Work:
    """Decoding job of a list of pictures, in a folder that survives an interrupted process."""

    def __init__(
        self,
        root: Path,
        job: str,
        changes: str,
        pictures: Sequence[ImageRef],
        shape: tuple[int, ...],
        dtype: str,
        label: str,
    ) -> None:
        self.root, self.job, self.pictures, self.label = root, job, pictures, label
        self.changes = changes
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.folder = root / f".work-{job}"
        self.starts = range(0, len(pictures), BLOCK)

    def make(self, workers: int | None) -> Pixels:
        """Decode the remaining images and move the array to its final path."""
        self.folder.mkdir(exist_ok=True)
        n = len(self.pictures)
        n_bytes = n * int(np.prod(self.shape)) * self.dtype.itemsize
        path = self.folder / "pixels.bin"
        done, digests = self._continued(path, n_bytes)
        self._check_space(path, n_bytes)
        with path.open("r+b" if path.exists() else "w+b") as handle:
            handle.truncate(n_bytes)
        pixels = np.memmap(path, self.dtype, "r+", 0, (n, *self.shape))
        self._decode(pixels, done, digests, workers)
        pixels.flush()
        return self._named(digests)

    def _continued(self, path: Path, n_bytes: int) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
        """Return a mask of the blocks finished by an earlier process, and their rows' digests."""
        done = np.zeros(len(self.starts), bool)
        digests = np.zeros((len(self.pictures), DIGEST_BYTES), np.uint8)
        try:
            with np.load(self.folder / "done.npz") as file:
                before, rows = file["done"], file["rows"]
            fits = before.shape == done.shape and rows.shape == digests.shape
            if fits and path.stat().st_size == n_bytes:
                return before, rows
        except (OSError, ValueError, KeyError, EOFError):
            pass  # nothing to resume
        return done, digests

    def _check_space(self, path: Path, n_bytes: int) -> None:
        there = path.stat().st_blocks * 512 if path.exists() else 0
        free = shutil.disk_usage(self.root).free
        if n_bytes - there > free:
            raise BenchError(
                f"{self.label}: {len(self.pictures)} decoded images take "
                f"{file_size(n_bytes)} in {self.root}, where {file_size(free)} are free: free "
                "space, or choose another folder with $BENCH_CACHE"
            )

    def _decode(
        self,
        pixels: Array,
        done: NDArray[np.bool_],
        digests: NDArray[np.uint8],
        workers: int | None,
    ) -> None:
        waiting = [int(block) for block in np.flatnonzero(~done)]
        n_workers = max(1, workers or min(os.cpu_count() or 1, 16))
        written = time.monotonic()
        # Threads, not processes: the decoders release the GIL.
        with ThreadPoolExecutor(n_workers) as pool:
            jobs: dict[Any, int] = {}
            try:
                while waiting or jobs:
                    while waiting and len(jobs) < 4 * n_workers:
                        block = waiting.pop(0)
                        jobs[pool.submit(self._block, block, pixels, digests)] = block
                    for job in wait(jobs, return_when=FIRST_COMPLETED).done:
                        block = jobs.pop(job)
                        job.result()
                        done[block] = True
                    n_done = min(int(done.sum()) * BLOCK, len(self.pictures))
                    report(f"decoding {self.label}", n_done, len(self.pictures))
                    if time.monotonic() - written > SECONDS:
                        self._write_down(pixels, done, digests)
                        written = time.monotonic()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                self._write_down(pixels, done, digests)
                raise

    def _block(self, block: int, pixels: Array, digests: NDArray[np.uint8]) -> None:
        start = self.starts[block]
        for row, picture, planes in self._cuts(start):
            if planes.shape != self.shape or planes.dtype != self.dtype:
                expected = f"{' x '.join(map(str, self.shape))} {self.dtype.name}"
                raise BenchError(
                    f"{picture.files[0]} is an image of {_shape_text(planes)}, expected "
                    f"{expected}: images of one data set are of one shape and type"
                )
            if self.dtype.kind == "f" and not np.isfinite(planes).all():
                raise BenchError(
                    f"{picture.files[0]} contains pixels that are not finite: correct the file"
                )
            pixels[row] = contiguous = np.ascontiguousarray(planes)
            digests[row] = row_digest(contiguous)

    def _cuts(self, start: int) -> Iterator[tuple[int, ImageRef, Array]]:
        block = list(enumerate(self.pictures[start : start + BLOCK], start))
        for files, group in groupby(block, key=lambda item: item[1].files):
            planes = planes_of(files)
            for row, picture in group:
                yield row, picture, cut(planes, picture)

    def _write_down(
        self, pixels: Array, done: NDArray[np.bool_], digests: NDArray[np.uint8]
    ) -> None:
        """Record the finished blocks, after their pixels are on disk."""
        if isinstance(pixels, np.memmap):
            pixels.flush()
        with new_file(self.folder / "done.npz") as part:
            np.savez(part, done=done, rows=digests)

    def _named(self, digests: NDArray[np.uint8]) -> Pixels:
        """Move the finished array to the path that its content determines."""
        facts = {
            "version": VERSION,
            "count": len(self.pictures),
            "shape": list(self.shape),
            "dtype": self.dtype.name,
        }
        digest = content_digest(facts, digests)
        folder = self.root / digest[:32]
        pixels = whole(folder)
        if pixels is None:
            np.save(self.folder / "rows.npy", digests)
            write_file(self.folder / "facts.json", canonical_json({**facts, "digest": digest}))
            for path in self.folder.iterdir():
                if path.name not in ("pixels.bin", "rows.npy", "facts.json"):
                    path.unlink()
            pixels = _moved(self.folder, folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        described = canonical_json({"digest": digest, "changes": self.changes})
        write_file(self.root / "jobs" / f"{self.job}.json", described)
        return pixels


def _moved(work: Path, folder: Path) -> Pixels:
    """Rename a finished folder; another process may create the same array at the same time."""
    if folder.exists():  # but incomplete
        shutil.rmtree(folder, ignore_errors=True)
    try:
        work.rename(folder)
    except OSError:
        pixels = whole(folder)
        if pixels is None:
            raise
        return pixels
    return Pixels(folder)
