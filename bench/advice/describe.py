"""Write the description of a user's table, from a look at its columns and values."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.advice import guess
from bench.advice.tables import FROM_ZARR
from bench.core.errors import BenchError
from bench.core.words import count, plural
from bench.data.own.files import open_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.advice.guess import Columns, Guess
    from bench.data.own.files import TableFile

MOST_NAMED = 40
"""Maximum columns with missing values that the regular expression leaves out by name."""
MOST_SPLITS = 4
_OTHERS: tuple[tuple[tuple[str, ...], str], ...] = (
    ((".sqlite", ".sqlite3", ".db"), "convert it to parquet with CytoTable"),
    ((".zarr", ".zarr.zip"), FROM_ZARR),
    ((".zip",), "unpack it"),
    ((".xlsx", ".xls", ".ods"), "save the sheet as CSV"),
    ((".feather", ".arrow"), "write it with pandas.read_feather(PATH).to_parquet(FILE)"),
    ((".rds", ".rda", ".rdata"), "write it as CSV in R"),
    ((".png", ".tif", ".tiff", ".jpg", ".jpeg"), "name the folder of the images, or their list"),
)
"""Endings of files that are not tables, and what to do with them."""
_ORDER = (
    *("images", "crop", "features", "id", "label", "batches", "control", "compound", "treatment"),
    "metadata",
)


@dataclass(frozen=True)
class Description:
    """A proposed ``dataset.toml``.

    Attributes
    ----------
    text
        The file.
    guesses
        Its keys with the reasons; a value of None is a key that the user must fill in.
    missing
        Keys without which the file cannot be read.
    """

    text: str
    guesses: tuple[Guess, ...]
    missing: tuple[str, ...]


def describe(path: Path, name: str, base: Path) -> Description:
    """Return a description of a table file.

    Parameters
    ----------
    path
        The table: parquet, h5ad or delimited text.
    name
        Name of the data set.
    base
        Folder of the TOML file: paths are relative to it.

    Raises
    ------
    BenchError
        If the file cannot be read, or it has no rows.
    """
    file, matrix = _opened(path)
    twice = [name for name, n in Counter(file.columns).items() if n > 1]
    if twice:
        raise BenchError(f"{path} has two columns '{twice[0]}': rename one")
    numbers = set(file.numeric())
    proposed, what, matched = guess.features(
        sorted(numbers, key=file.numbers.index), _with_a_role(file.columns)
    )
    roles = [c for c in file.columns if file.apart or c not in set(matched)]
    frame, _ = file.read(roles, [])
    if not len(frame):
        raise BenchError(f"{path} has no rows: name a table with one row per well, cell or image")
    columns = guess.Columns(frame, typed=file.typed)
    guesses = [*matrix, *_roles(columns)]
    pictures = guess.images(columns, path, base)
    if pictures and (pictures[0].value is not None or not matched):
        guesses += pictures
    elif not matched:
        reason = "no column is numeric; for images, name the folder that has them and this table"
        guesses.append(guess.Guess("features", None, reason))
    else:
        guesses.append(_features(file, proposed, what, matched))
    by_key = {item.key: item for item in guesses}
    missing = [
        key
        for key in ("features", "images", "label", "batches")
        if key in by_key and by_key[key].value is None
    ]
    kind = "images" if "images" in by_key else "profiles"
    table = guess.relative(path, base)
    text = _toml(name, kind, table, guesses, _splits(columns, by_key["batches"]))
    return Description(text, tuple(guesses), tuple(missing))


def _not_a_table(path: Path) -> None:
    """Raise for a file of another format, with what to do."""
    name = path.name.lower()
    for endings, cure in _OTHERS:
        if name.endswith(endings):
            raise BenchError(f"{path} is not read as a table: {cure}")


def _opened(path: Path) -> tuple[TableFile, list[Guess]]:
    """Open a table; an h5ad without X is opened with its first layer or embedding."""
    _not_a_table(path)
    try:
        return open_table(path), []
    except BenchError:
        if not path.name.lower().endswith(".h5ad"):
            raise
        import h5py

        with h5py.File(path, "r") as file:
            names = {key: sorted(file.get(key, ())) for key in ("layers", "obsm")}
        if names["layers"]:
            layer = names["layers"][0]
            chosen = guess.Guess("layer", layer, "X is empty; the first layer")
            return open_table(path, layer=layer), [chosen]
        if names["obsm"]:
            obsm = names["obsm"][0]
            chosen = guess.Guess("obsm", obsm, "X is empty; the first array of obsm")
            return open_table(path, obsm=obsm), [chosen]
        raise


def _with_a_role(columns: Sequence[str]) -> list[str]:
    """Return columns that are never features, by their names."""
    patterns = (*guess.LABELS, guess.BATCHES, guess.CONTROLS, guess.OBJECTS)
    some = r"well(_?(position|pos|name))?|row|col(umn)?|x|y|z|plane|top|left|height|width|id|index"
    return [
        name
        for name in columns
        if any(re.fullmatch(p, guess.short(name)) for p in (*patterns, some))
    ]


def _roles(columns: Columns) -> list[Guess]:
    control = guess.controls(columns)
    [level] = guess.batches(columns, None)
    levels = level.value if isinstance(level.value, list) else []
    label = guess.labels(columns, levels, control)
    name = label.value if isinstance(label.value, str) else None
    return [guess.ids(columns), label, level, control, *guess.treatments(columns, name, control)]


def _features(file: TableFile, pattern: str, what: str, matched: Sequence[str]) -> Guess:
    """Return the key ``features``; columns with missing values are left out by name."""
    if file.apart:
        pattern, what, matched = ".", "columns of the matrix", file.numbers
    _, X = file.read([], list(matched))
    with np.errstate(over="ignore", invalid="ignore"):
        suspects = np.flatnonzero(~np.isfinite(X.sum(axis=0, dtype=np.float64)))
    bad = [matched[int(j)] for j in suspects if not np.isfinite(X[:, j]).all()]
    reason = f"{len(matched) - len(bad):,} {what}"
    out = [name for name in file.numbers if re.search(pattern, name) and name not in matched]
    if 0 < len(bad) <= MOST_NAMED and len(bad) < len(matched):
        out += bad
        reason += f"; {count(len(bad), 'column')} with missing values left out"
    elif bad:
        reason += f"; {count(len(bad), 'column')} with missing values must be filled or left out"
    if out:
        pattern = f"^(?!({'|'.join(map(re.escape, out))})$)(?:{pattern})"
    return guess.Guess("features", pattern, reason)


def _splits(columns: Columns, level: Guess) -> list[tuple[str, str, list[str]]]:
    """Return a holdout per level, the largest batches first: name, column, shared columns."""
    levels = level.value if isinstance(level.value, list) else []
    splits = []
    for name in reversed(levels[-MOST_SPLITS:]):
        stem = re.sub(r"(_(h|id|name))?$", "", guess.short(name))
        stem = re.sub(r"[^a-z0-9]+", "-", stem).strip("-") or "batch"
        splits.append((plural(stem), name, guess.shared(columns, name, levels)))
    return splits


def _toml(
    name: str,
    kind: str,
    table: str,
    guesses: Sequence[Guess],
    splits: Sequence[tuple[str, str, list[str]]],
) -> str:
    place = {key: i for i, key in enumerate(_ORDER)}
    lines = [
        "# Guessed from the table; the reason is behind each key. Correct what is wrong, then run",
        "# python -m bench check-data THIS_FILE.toml",
        f"name = {json.dumps(name)}",
        f"kind = {json.dumps(kind)}",
        f"table = {_literal(table)}",
    ]
    for item in sorted(guesses, key=lambda item: place.get(item.key, -1)):
        if item.value is not None:
            lines.append(f"{item.key} = {_literal(item.value)}  # {item.reason}")
        elif item.key in ("label", "batches", "features"):
            lines.append(f'{item.key} = "?"  # {item.reason}')
        else:
            lines.append(f"# {item.key}: {item.reason}")
    for split, column, shared in splits:
        lines += ["", f"[splits.{split}]", f"hold_out = {_literal(column)}"]
        if shared:
            lines.append(f"shares = {_literal(shared)}  # have rows in training and test")
    if not splits:
        lines += ["", "[splits.batches]", 'hold_out = "?"  # a column of batches']
    return "\n".join(lines) + "\n"


def _literal(value: str | list[str] | dict[str, list[str]]) -> str:
    """Return a value in TOML: a string, an array of strings, or an inline table of arrays."""
    if isinstance(value, str):
        return f"'{value}'" if "\\" in value and "'" not in value else json.dumps(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    return f"{{ {', '.join(f'{json.dumps(k)} = {_literal(v)}' for k, v in value.items())} }}"
