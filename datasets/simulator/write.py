"""Write a simulated data set once in the published layout, and find it in the cache.

The simulation is imported when images are written: a data set in the cache does not need it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.code_digest import combined, file_digests
from bench.core.disk import new_folder, write_file
from bench.core.errors import BenchError

from .conditions import VERSION, Conditions
from .knobs import KNOBS, LEVELS
from .layout import CLASSES, Plate, populate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.core.types import JsonObject

PARAMETERS = "parameters.json"


def file_name(part: str, name: str = "coos7") -> str:
    """Return the file name of a part of a data set; COOS-7 uses the published names."""
    return f"COOS7_v1.1_{part}.hdf5" if name == "coos7" else f"{name}_{part}.hdf5"


def parameters(name: str, plates: list[Plate], conditions: Conditions) -> JsonObject:
    """Return all parameters that determine the pixels; their digest names the cache folder."""
    factors = {"factors": dict(conditions.factors)} if conditions.factors else {}
    return {
        "simulator": name,
        "version": VERSION,
        "sources": _sources(),
        "draw": conditions.draw,
        "strength": conditions.strength,
        **factors,
        "off": sorted(conditions.off),
        "classes": list(CLASSES),
        "knobs": [_finite(dataclasses.asdict(knob)) for knob in KNOBS],
        "levels": list(LEVELS),
        "experiment": [plate.described() for plate in plates],
    }


def _sources() -> str:
    """Return a digest of the simulator's code, without comments and docstrings."""
    return combined(file_digests(Path(__file__).resolve().parent.glob("*.py")))


def digest(values: JsonObject) -> str:
    """Return the SHA-256 of a value's canonical JSON."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def ensure(
    root: Path, name: str, plates: list[Plate], conditions: Conditions, workers: int | None = None
) -> Path:
    """Return the folder of a simulated data set, writing it first if it is not in the cache.

    The folder is created atomically: files are written to a temporary folder next to it, which is
    then renamed. If two processes start at the same time, the second waits for the first.

    Parameters
    ----------
    root
        Cache folder.
    name
        Prefix of the folder name and, except for COOS-7, of the file names.
    plates, conditions
        The plates and their knobs.
    workers
        Number of threads; default: the number of processors. Does not affect the files.

    Raises
    ------
    BenchError
        If the cache cannot be written.
    """
    values = parameters(name, plates, conditions)
    folder = root / f"{name}-{digest(values)[:24]}"
    if _is_whole(folder):
        return folder
    import filelock

    try:
        root.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(root / f".{folder.name}.lock"):
            if _is_whole(folder):
                return folder
            with new_folder(folder, replace=True) as part:
                write(part, values, plates, conditions, workers)
    except (OSError, RuntimeError) as error:  # HDF5 reports some failed writes as RuntimeError
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise BenchError(
            f"the simulated images could not be written to {root} ({reason}): free some space "
            "there, or name another folder in $BENCH_CACHE"
        ) from error
    return folder


def _is_whole(folder: Path) -> bool:
    """Return whether a folder contains its parameters and files of the recorded sizes."""
    try:
        files = json.loads((folder / PARAMETERS).read_text(encoding="utf-8"))["files"]
        return all((folder / name).stat().st_size == fact["bytes"] for name, fact in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def write(
    folder: Path,
    values: JsonObject,
    plates: list[Plate],
    conditions: Conditions,
    workers: int | None = None,
) -> None:
    """Write the HDF5 files and ``parameters.json`` into an existing folder."""
    import h5py

    from .plate import describe

    parts = tuple(dict.fromkeys(part for plate in plates for part in plate.parts))
    names = [file_name(part, values["simulator"]) for part in parts]
    contents = [populate(plate, conditions, parts) for plate in plates]
    first, sizes = _places(contents)
    with contextlib.ExitStack() as stack:
        handles: dict[int, Any] = {}
        for part in sorted(sizes):
            path = folder / names[part]
            handles[part] = stack.enter_context(h5py.File(path, "w"))
            _metadata(handles[part], part, plates, contents)
        # Threads, not processes: nearly all time is spent in array code that releases the GIL.
        with ThreadPoolExecutor(max(1, workers or os.cpu_count() or 1)) as pool:
            jobs = {
                pool.submit(_render_plate, plate, what, conditions): i
                for i, (plate, what) in enumerate(zip(plates, contents, strict=True))
            }
            try:
                for job in as_completed(jobs):
                    i = jobs.pop(job)
                    pixels = job.result()
                    for part in np.unique(contents[i].part):
                        chosen = pixels[contents[i].part == part]
                        start = first[i, int(part)]
                        handles[int(part)]["data"][start : start + len(chosen)] = chosen
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    files = {}
    for part in sorted(sizes):
        path = folder / names[part]
        files[path.name] = {
            "images": sizes[part],
            "bytes": path.stat().st_size,
            "sha256": sha256(path),
        }
    described = [
        describe(plate, what, conditions) for plate, what in zip(plates, contents, strict=True)
    ]
    document = values | {"plates": described, "files": files}
    write_file(folder / PARAMETERS, json.dumps(document, indent=1, sort_keys=True, allow_nan=False))


def sha256(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _render_plate(plate: Plate, contents: Any, conditions: Conditions) -> NDArray[np.uint16]:  # noqa: ANN401 - contents of any experiment
    from .plate import CROP, render

    pixels = np.empty((len(contents.classes), 2, CROP, CROP), np.uint16)
    for label in range(len(CLASSES)):
        rows, images = render(plate, label, contents, conditions)
        pixels[rows] = images
    return pixels


def _places(contents: list[Any]) -> tuple[dict[tuple[int, int], int], dict[int, int]]:
    """Return the first row of each plate in each part, and the number of rows of each part."""
    first: dict[tuple[int, int], int] = {}
    sizes: dict[int, int] = {}
    for i, what in enumerate(contents):
        for part, count in zip(*np.unique(what.part, return_counts=True), strict=True):
            first[i, int(part)] = sizes.get(int(part), 0)
            sizes[int(part)] = sizes.get(int(part), 0) + int(count)
    return first, sizes


def _metadata(handle: Any, part: int, plates: list[Plate], contents: list[Any]) -> None:  # noqa: ANN401 - h5py has no types
    from .plate import CROP

    columns: dict[str, list[Any]] = {
        "labels": [],
        "dateIDs": [],
        "microscopeIDs": [],
        "plateIDs": [],
        "wellIDs": [],
    }
    for plate, what in zip(plates, contents, strict=True):
        rows = np.flatnonzero(what.part == part)
        columns["labels"].append(what.classes[rows])
        columns["dateIDs"].append(np.full(len(rows), plate.date))
        columns["microscopeIDs"].append(np.full(len(rows), int(plate.microscope)))
        columns["plateIDs"].append(np.full(len(rows), plate.number))
        columns["wellIDs"].append(np.array(what.names, "S3")[what.wells[rows]])
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    for name, column in joined.items():
        handle.create_dataset(
            name, data=column if name == "wellIDs" else column.astype(np.int64), track_times=False
        )
    n = len(joined["labels"])
    handle.create_dataset("data", (n, 2, CROP, CROP), np.uint16, track_times=False)


def _finite(values: JsonObject) -> JsonObject:
    return {
        key: None if isinstance(value, float) and not np.isfinite(value) else value
        for key, value in values.items()
    }
