"""Join the tables that CellProfiler's ExportToSpreadsheet writes to one folder, or to several."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from bench.core.errors import BenchError
from bench.core.words import count, listed
from bench.data.own.files import open_table
from bench.data.own.wells import plate_column

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_KEYS = ["ImageNumber", "ObjectNumber"]
_FIRST = ("Cells", "Nuclei", "Cytoplasm")
"""Objects to keep rows of, in order of preference."""
_IMAGE = re.compile(r"(?P<prefix>.*)image\.csv", re.IGNORECASE)
_PLACES = ("*.csv", "*/*.csv", "*/*/*.csv")
"""Where the tables of images are searched, at first in the folder itself."""


@dataclass(frozen=True)
class Export:
    """The tables of one export.

    Attributes
    ----------
    image
        The table with a row per image.
    objects
        Tables of objects by name, without the prefix of the export.
    empty
        Files without a line, which CellProfiler leaves where an image has no object.
    """

    image: Path
    objects: dict[str, Path]
    empty: tuple[str, ...]


def exports(folder: Path) -> list[Export]:
    """Return the exports of a folder, or those of the folders in it; none if there are none.

    File names may have a prefix, ``MyExpt_Image.csv``. A run on a cluster writes a folder per image
    or per well.
    """
    for place in _PLACES:
        images = [
            (path, match["prefix"])
            for path in sorted(folder.glob(place))
            if (match := _IMAGE.fullmatch(path.name)) and "ImageNumber" in _header(path)
        ]
        if images:
            return [_export(path, prefix) for path, prefix in images]
    return []


def _export(image: Path, prefix: str) -> Export:
    objects, empty = {}, []
    for path in sorted(image.parent.glob("*.csv")):
        name = path.stem.removeprefix(prefix)
        if not path.name.startswith(prefix) or path == image or name == "Experiment":
            continue
        if not path.stat().st_size:
            empty.append(name)
        elif set(_KEYS) <= set(_header(path)):
            objects[name] = path
    return Export(image, objects, tuple(empty))


def joined(folder: Path, known: Sequence[Export] = ()) -> tuple[pd.DataFrame, str]:
    """Return one row per object, with the columns of related objects and of its image.

    Related objects are those that a column ``Parent_…`` names, those with the same parent, or
    those with the same number if both kinds have the same numbers. A kind that fewer than half of
    the objects have is left out, since the rows without one would be lost. Columns have the name of
    their object in front, as in pycytominer: ``Cells_…``. An export without objects gives a row per
    image.

    Parameters
    ----------
    known
        The exports, as from :func:`exports`.

    Returns
    -------
    tuple
        The table, and a line that says what was joined and what was left out.

    Raises
    ------
    BenchError
        If a table cannot be read, or a related object is not unique.
    """
    all_exports = list(known or exports(folder))
    most = max((set(export.objects) for export in all_exports), key=len)
    usable = [export for export in all_exports if set(export.objects) == most]
    tables: dict[str, str] = {}
    left_out, frames = 0, []
    for export in usable:
        frame, lost, unrelated = _joined(export)
        left_out += lost
        tables |= unrelated
        frames.append(frame)
    result = frames[0]
    if len(frames) > 1:
        result = pd.concat(frames, ignore_index=True, join="inner")
        names = [export.image.parent.relative_to(folder).as_posix() for export in usable]
        if len(set(names)) < len(names):  # several exports of one folder
            names = [export.image.relative_to(folder).as_posix() for export in usable]
        column = "export" if plate_column([str(name) for name in result]) else "folder_1"
        sizes = [len(frame) for frame in frames]
        result[column] = [name for name, n in zip(names, sizes, strict=True) for _ in range(n)]
    others = sorted(most - {_first(most)} - set(tables)) if most else []
    notes = [
        f"CellProfiler export{'s' * (len(usable) > 1)}: {count(len(result), 'row')} of "
        f"{_first(most) if most else 'images'}" + (f" with {listed(others)}" if others else "")
    ]
    if left_out:
        notes.append(f"{count(left_out, 'object')} without a related one left out")
    notes += [f"{name} left out: {reason}" for name, reason in sorted(tables.items())]
    if empty := sorted({name for export in usable for name in export.empty}):
        notes.append(f"{listed(empty)} left out: the file is empty")
    if len(usable) < len(all_exports):
        folders = sorted(e.image.parent.name for e in all_exports if e not in usable)
        notes.append(f"{listed(folders)} left out: a table is missing or empty")
    return result, "; ".join(notes)


def _first(names: set[str]) -> str:
    return next((name for name in _FIRST if name in names), sorted(names)[0])


def _joined(export: Export) -> tuple[pd.DataFrame, int, dict[str, str]]:
    """Return the rows of an export, the number of lost objects, and kinds that were left out."""
    image = _read(export.image)
    if not export.objects:
        return image, 0, {}
    tables = {name: _read(path) for name, path in export.objects.items()}
    first = _first(set(tables))
    result = tables[first].add_prefix(f"{first}_")
    result = result.rename(columns={f"{first}_{key}": key for key in _KEYS})
    n = len(result)
    unrelated = {}
    for name in sorted(set(tables) - {first}):
        keys = _relation(result, first, tables[name], name)
        if keys is None:
            unrelated[name] = f"no column relates it to {first}"
            continue
        left, right = ["ImageNumber", keys[0]], ["ImageNumber", keys[1]]
        other = tables[name]
        related = result[left].apply(tuple, axis=1).isin(set(other[right].apply(tuple, axis=1)))
        if related.sum() < n / 2:
            unrelated[name] = f"only {related.sum():,} of {n:,} {first} have one"
            continue
        if other[other[keys[1]] != 0].duplicated(right).any():  # 0 is no parent
            raise BenchError(
                f"{export.objects[name]} has several {name} for one of {first}: move the file "
                "away, or aggregate it first"
            )
        result = result.merge(
            other.add_prefix(f"{name}_"),
            how="inner",
            left_on=left,
            right_on=[f"{name}_{key}" for key in right],
        ).drop(columns=[f"{name}_{key}" for key in _KEYS])
    wanted = [c for c in image if c == "ImageNumber" or str(c).startswith("Metadata_")]
    lost = n - len(result)
    result = result.merge(image[wanted], how="left", on="ImageNumber", validate="many_to_one")
    return result, lost, unrelated


def _relation(
    result: pd.DataFrame, first: str, other: pd.DataFrame, name: str
) -> tuple[str, str] | None:
    """Return the columns of two kinds of object that have equal values for related objects."""
    if f"{first}_Parent_{name}" in result:
        return f"{first}_Parent_{name}", "ObjectNumber"
    if f"Parent_{first}" in other:
        return "ObjectNumber", f"Parent_{first}"
    for column in other:
        if str(column).startswith("Parent_") and f"{first}_{column}" in result:
            return f"{first}_{column}", str(column)
    numbers = [set(table[_KEYS].apply(tuple, axis=1)) for table in (result, other)]
    return ("ObjectNumber", "ObjectNumber") if numbers[0] == numbers[1] else None


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().rstrip("\r\n").split(",")


def _read(path: Path) -> pd.DataFrame:
    table = open_table(path)
    numbers = set(table.numeric())
    text, X = table.read(
        [name for name in table.columns if name not in numbers or name in _KEYS],
        [name for name in table.columns if name in numbers and name not in _KEYS],
    )
    for name in set(_KEYS) & set(text):
        text[name] = pd.to_numeric(text[name])
    features = [name for name in table.columns if name in numbers and name not in _KEYS]
    values = pd.DataFrame(X, columns=features, index=text.index)
    # plates and dates that look like numbers keep their text
    marked = [name for name in features if name.startswith("Metadata_")]
    as_text = table.read(marked, [])[0] if marked else pd.DataFrame(index=text.index)
    return pd.concat([text, values.drop(columns=marked), as_text], axis=1)
