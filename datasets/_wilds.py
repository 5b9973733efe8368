"""Shared code of the WILDS data sets: their folder, official partitions and cached index.

``wilds`` is imported only here. The official partitions are computed by its own classes, so the
rule is not duplicated. Its constructor takes seconds for a large table; the result is cached with
the index.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import BenchError
from bench.core.disk import new_file
from bench.core.folders import cache_folder, data_folder
from bench.data.pixel_cache import decoded
from bench.data.pixels import Pixels, kept

from ._digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from bench.core.types import Facts, JsonObject
    from bench.data.image_ref import ImageRef

_CLASSES = {
    "rxrx1": ("wilds.datasets.rxrx1_dataset", "RxRx1Dataset"),
    "camelyon17": ("wilds.datasets.camelyon17_dataset", "Camelyon17Dataset"),
}


def wilds_class(name: str) -> Any:  # noqa: ANN401 - wilds has no types
    """Return the class of ``wilds`` for a data set.

    On import, ``wilds`` starts a thread that queries a server for its latest version, unless the
    module used for the query cannot be imported. That module is blocked during the import.
    """
    module, cls = _CLASSES[name]
    missing = object()
    before: Any = sys.modules.get("outdated", missing)
    sys.modules["outdated"] = None  # type: ignore[assignment]
    try:
        return getattr(importlib.import_module(module), cls)
    finally:
        if before is missing:
            del sys.modules["outdated"]
        else:
            sys.modules["outdated"] = before


def sides(name: str, table: pd.DataFrame, scheme: str, *, index: bool = False) -> NDArray[np.str_]:
    """Return the official partition of each row, ``(n,)``: ``train``, ``val``, ... or ``""``.

    Parameters
    ----------
    name
        ``rxrx1`` or ``camelyon17``.
    table
        The metadata, with the published columns and dtypes.
    scheme
        ``split_scheme`` of the class: ``official`` or ``mixed-to-test``.
    index
        Whether the published file starts with a column of row numbers.
    """
    import pandas as pd

    cls = wilds_class(name)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / f"{name}_v1.0"
        folder.mkdir()
        (folder / "RELEASE_v1.0.txt").touch()
        table.to_csv(folder / "metadata.csv", index=index)
        # wilds writes into the array of a column, which pandas forbids if the calling program or
        # a library enabled copy-on-write.
        with pd.option_context("mode.copy_on_write", False):
            wilds = cls(root_dir=root, split_scheme=scheme)
    names = {number: word for word, number in wilds.split_dict.items()}
    return np.array([names.get(int(number), "") for number in wilds.split_array])


def find_folder(name: str) -> Path | None:
    """Return the folder that contains ``metadata.csv`` of the real edition, or None.

    Searches ``rxrx1/rxrx1_v1.0``, ``rxrx1_v1.0`` and ``rxrx1`` in the data folder.
    """
    places = (
        data_folder(name) / f"{name}_v1.0",
        data_folder(f"{name}_v1.0"),
        data_folder(name),
    )
    return next((place for place in places if (place / "metadata.csv").is_file()), None)


def find_real(name: str) -> Path:
    """Return the folder of the real edition; raises :class:`BenchError` if there is none."""
    folder = find_folder(name)
    if folder is None:
        raise BenchError(
            f"{name} is not here: `python -m bench data fetch {name}` gets it; or put the "
            f"published {name}_v1.0/ where `show dataset {name}` says, or use --edition fixture"
        )
    return folder


def read_metadata(path: Path, columns: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
    """Return columns of a metadata file as text; column order and other columns are ignored.

    Parameters
    ----------
    path
        The file.
    columns
        Required columns, without empty cells.
    numbers
        Columns that contain integers; ``3.0`` is read as ``3``.

    Raises
    ------
    BenchError
        If the file cannot be read, lacks a column, or has an empty or unreadable cell.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # a broken CSV or text that is not UTF-8 is a ValueError
        reason = str(error).strip().splitlines()[0]
        raise BenchError(f"{path} cannot be read as CSV: get it again ({reason})") from error
    table.columns = [str(column).strip() for column in table.columns]
    missing = [column for column in columns if column not in table]
    if missing:
        raise BenchError(
            f"{path} has no column {', '.join(missing)}: it is not the published file; get it again"
        )
    if not len(table):
        raise BenchError(f"{path} has no rows: get it again")
    table = table[list(columns)].copy()
    for column in columns:
        table[column] = table[column].str.strip()
        bad = table[column] == ""
        if column in numbers:
            table[column] = table[column].str.replace(r"\.0+$", "", regex=True)
            bad |= ~table[column].str.fullmatch(r"\d+")
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            value = table[column].iloc[row]
            raise BenchError(
                f"{path}, data row {row + 1}: '{value}' is no {column} ({int(bad.sum())} such "
                "cells): correct the file or get it again"
            )
    return table


def refuse_twice(path: Path, index: pd.DataFrame) -> None:
    """Raise :class:`BenchError` if two rows of an index refer to the same image."""
    twice = index["id"].duplicated()
    if twice.any():
        raise BenchError(
            f"{path} lists the image {index['id'][twice].iloc[0]} twice ({int(twice.sum())} such "
            "rows): get the file again"
        )


def _present(pictures: Sequence[ImageRef]) -> NDArray[np.bool_]:
    """Return which pictures exist as files; lists each folder once."""
    listed: dict[Path, set[str]] = {}
    present = np.zeros(len(pictures), bool)
    for i, picture in enumerate(pictures):
        path = picture.files[0]
        if path.parent not in listed:
            try:
                listed[path.parent] = {entry.name for entry in path.parent.iterdir()}
            except OSError:
                listed[path.parent] = set()
        present[i] = path.name in listed[path.parent]
    return present


def _refuse_gaps(folder: Path, paths: Sequence[str], present: NDArray[np.bool_]) -> None:
    """Raise if entire image folders are missing: the archive is then incomplete."""
    listed = {path.rpartition("/")[0] for path in paths}
    there = {path.rpartition("/")[0] for path, ok in zip(paths, present, strict=True) if ok}
    gone = sorted(listed - there)
    if gone:
        raise BenchError(
            f"{folder} has no image in {len(gone)} of the {len(listed)} folders that metadata.csv "
            f"lists, the first of them {gone[0]}: the archive was not unpacked whole; get it again"
        )


def _not_there(paths: Sequence[str], present: NDArray[np.bool_]) -> list[str]:
    """Return a sentence for the records about listed images that are missing, if any."""
    n = int((~present).sum())
    if not n:
        return []
    first = paths[int(np.flatnonzero(~present)[0])]
    return [
        f"{n} of {len(paths)} images that metadata.csv lists are missing and were left out, the "
        f"first of them {first}"
    ]


def marks_of(folder: Path, patterns: Sequence[str]) -> list[Any]:
    """Return values that change when a folder changes, without checking each image.

    The content of the metadata file, and the modification time of every image folder that matches a
    pattern. This time changes when an image is added, removed or replaced by another file, but not
    when an image is overwritten in place.
    """
    content = (folder / "metadata.csv").read_bytes()
    marks: list[Any] = [str(folder.absolute()), hashlib.sha256(content).hexdigest()]
    for pattern in patterns:
        marks += [
            [str(place.relative_to(folder)), place.stat().st_mtime_ns]
            for place in sorted(folder.glob(pattern))
        ]
    return marks


def open_kept(
    name: str,
    version: int,
    folder: Path,
    patterns: Sequence[str],
    read: Callable[[Path], tuple[pd.DataFrame, list[ImageRef]]],
) -> tuple[pd.DataFrame, Pixels, JsonObject]:
    """Return the index, images and facts of a folder, from the cache if possible.

    Parameters
    ----------
    name, version
        Name of the data set, and version of its loader.
    folder, patterns
        Folder of the data set, and its image folders, as for :func:`marks_of`.
    read
        Returns the index and the pictures of all rows that the metadata list.
    """
    marks = marks_of(folder, patterns)
    cached = _recall(name, version, folder, marks)
    if cached is not None:
        pixels = kept(cached[1]["pixels"])
        if pixels is not None:
            return cached[0], pixels, cached[1]
    index, pictures = read(folder)
    there = _present(pictures)
    paths = [str(picture.files[0].relative_to(folder)) for picture in pictures]
    _refuse_gaps(folder, paths, there)
    pixels = decoded([p for p, ok in zip(pictures, there, strict=True) if ok], label=name)
    index = index[there].reset_index(drop=True)
    facts = {
        "pixels": pixels.digest,
        "digest": digest_of(index, pixels.digest),
        "notes": _not_there(paths, there),
    }
    _remember(name, version, folder, marks, index, facts)
    return index, pixels, facts


def _memory(name: str, folder: Path) -> Path:
    key = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
    return cache_folder("index") / f"{name}-{key}.parquet"


def _recall(
    name: str, version: int, folder: Path, marks: list[Any]
) -> tuple[pd.DataFrame, JsonObject] | None:
    """Return the cached index and its facts, if the folder has not changed since."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = _memory(name, folder)
    try:
        with pq.ParquetFile(path) as file:
            facts = json.loads(file.schema_arrow.metadata[b"labshift"])
            if facts["marks"] != marks or facts["version"] != version:
                return None
            table = file.read()
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None  # missing or unreadable: computed again
    return table.to_pandas(), facts


def _remember(
    name: str,
    version: int,
    folder: Path,
    marks: list[Any],
    index: pd.DataFrame,
    facts: Facts,
) -> None:
    """Cache an index and its facts; write errors are ignored, since the cache only saves time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    header = json.dumps({**facts, "marks": marks, "version": version})
    table = pa.Table.from_pandas(index, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"labshift": header})
    path = _memory(name, folder)
    with suppress(OSError), new_file(path) as part:  # the cache is optional
        pq.write_table(table, part)
