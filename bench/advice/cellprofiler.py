"""Join the tables that CellProfiler's ExportToSpreadsheet writes to one folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from bench.core.errors import BenchError
from bench.core.words import count, listed
from bench.data.own.files import open_table

if TYPE_CHECKING:
    from pathlib import Path

_KEYS = ["ImageNumber", "ObjectNumber"]
_FIRST = ("Cells", "Nuclei", "Cytoplasm")
"""Objects to keep rows of, in order of preference."""


def is_export(folder: Path) -> bool:
    """Whether a folder has a table of images and at least one of objects."""
    return (folder / "Image.csv").is_file() and bool(_objects(folder))


def joined(folder: Path) -> tuple[pd.DataFrame, str]:
    """Return one row per object, with the columns of related objects and of its image.

    Related objects are those that a column ``Parent_…`` names, otherwise those with the same
    number. Columns have the name of their object in front, as in pycytominer: ``Cells_…``.

    Returns
    -------
    tuple
        The table, and a line that says what was joined.

    Raises
    ------
    BenchError
        If a table cannot be read, or a related object is not unique.
    """
    tables = {name: _read(folder / f"{name}.csv") for name in _objects(folder)}
    first = next((name for name in _FIRST if name in tables), sorted(tables)[0])
    result = tables[first].add_prefix(f"{first}_")
    result = result.rename(columns={f"{first}_{key}": key for key in _KEYS})
    for name in sorted(set(tables) - {first}):
        other = tables[name]
        if f"{first}_Parent_{name}" in result:
            left, right = f"{first}_Parent_{name}", "ObjectNumber"
        elif f"Parent_{first}" in other:
            left, right = "ObjectNumber", f"Parent_{first}"
        else:
            left, right = "ObjectNumber", "ObjectNumber"
        if other.duplicated(["ImageNumber", right]).any():
            raise BenchError(
                f"{folder / name}.csv has several {name} for one of {first}: move the file away, "
                "or aggregate it first"
            )
        other = other.add_prefix(f"{name}_")
        result = result.merge(
            other,
            how="inner",
            left_on=["ImageNumber", left],
            right_on=[f"{name}_ImageNumber", f"{name}_{right}"],
        )
    image = _read(folder / "Image.csv")
    wanted = [c for c in image if c == "ImageNumber" or str(c).startswith("Metadata_")]
    result = result.merge(image[wanted], how="left", on="ImageNumber", validate="many_to_one")
    rest = f" with {listed(sorted(set(tables) - {first}))}" if len(tables) > 1 else ""
    lost = len(tables[first]) - len(result)
    left_out = f"; {count(lost, 'object')} without a related one left out" if lost else ""
    return result, f"CellProfiler export: {count(len(result), 'row')} of {first}{rest}{left_out}"


def _objects(folder: Path) -> list[str]:
    names = []
    for path in sorted(folder.glob("*.csv")):
        if path.stem not in ("Image", "Experiment"):
            with path.open(encoding="utf-8", errors="replace") as file:
                header = file.readline().rstrip("\r\n").split(",")
            names += [path.stem] if set(_KEYS) <= set(header) else []
    return names


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
