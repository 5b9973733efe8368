"""One table of a folder: of an export, of a file of profiles per plate, or of its images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bench.advice.cellprofiler import exports, joined
from bench.advice.layouts import has_images, read_layout
from bench.core.disk import new_file
from bench.core.errors import BenchError
from bench.core.words import count
from bench.data.own.columns import as_text
from bench.data.own.delimited import DELIMITED
from bench.data.own.files import open_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PARQUET = (".parquet", ".pq")
FROM_ZARR = "write it with anndata.read_zarr(PATH).write_h5ad(FILE)"
"""What to do with AnnData in Zarr."""


def write_table(folder: Path, output: Path) -> tuple[Path, tuple[str, ...]]:
    """Write the table of a folder next to ``output``, the TOML file that will describe it.

    Returns
    -------
    tuple
        The table, and lines that say what was recognised.

    Raises
    ------
    BenchError
        If the table exists already, or nothing in the folder is recognised.

    Notes
    -----
    Tables of CellProfiler are joined, also from several folders. Without images, tables with the
    same columns are joined; otherwise the table lists the images.
    """
    if {"X", "obs"} <= {path.name for path in folder.iterdir()}:
        raise BenchError(f"{folder} is AnnData in Zarr, which is not read as a table: {FROM_ZARR}")
    exported = exports(folder)
    files = [] if exported or has_images(folder) else tables(folder)
    path = output.with_suffix(".parquet" if exported or files else ".csv")
    if path.exists():
        raise BenchError(f"{path} exists: choose another --output, or remove it first")
    if exported:
        frame, *notes = joined(folder, exported)
    elif len(files) > 1:
        frame, *notes = stacked(files)
    else:
        layout = read_layout(folder, output.parent)
        frame, notes = layout.frame, list(layout.notes)
    with new_file(path, parents=False) as part:
        if path.suffix == ".parquet":
            frame.to_parquet(part, index=False)
        else:
            frame.to_csv(part, index=False)
    return path, tuple(notes)


def tables(folder: Path) -> list[Path]:
    """Return the tables of a folder: parquet files if there are any, otherwise delimited text."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    for endings in (PARQUET, DELIMITED):
        if same := [path for path in files if path.name.lower().endswith(endings)]:
            return same
    return []


def stacked(files: Sequence[Path]) -> tuple[pd.DataFrame, str]:
    """Return the rows of several tables, with the name of the file in the column ``table``.

    Returns
    -------
    tuple
        The table, and a line that says what was joined and which columns were left out.

    Raises
    ------
    BenchError
        If a table cannot be read, or no numeric column is common to all.
    """
    opened = [open_table(path) for path in files]
    common = [n for n in opened[0].columns if all(n in other.columns for other in opened)]
    numeric = [set(table.numeric()) for table in opened]
    # a column that is text in one file is text in all; one without values can be both
    features = [name for name in common if all(name in names for names in numeric)]
    if not features:
        raise BenchError(
            f"the tables in {files[0].parent} have no numeric column in common: name one of them"
        )
    roles = [name for name in common if name not in set(features)]
    marked = [name for name in features if name.lower().startswith(("metadata_", "plate", "batch"))]
    features = [name for name in features if name not in set(marked)]
    frames = []
    for table in opened:
        frame, X = table.read([*roles, *marked], features)
        values = pd.DataFrame(X, columns=features, index=frame.index)
        frames.append(pd.concat([frame, values], axis=1))
    for name in [*roles, *marked]:
        if len({frame[name].dtype for frame in frames}) > 1:  # a number in one file, text in others
            for frame in frames:
                frame[name] = as_text(frame[name])
    result = pd.concat(frames, ignore_index=True)
    if "table" not in result:
        names = [path.name.split(".")[0] for path in files]
        result["table"] = np.repeat(names, [len(frame) for frame in frames])
    every = dict.fromkeys(name for table in opened for name in table.columns)
    n_left_out = len(every) - len(common)
    note = f"{len(files)} tables: {count(len(result), 'row')}"
    if n_left_out:
        note += f"; {count(n_left_out, 'column')} left out that not all tables have"
    return result, note
