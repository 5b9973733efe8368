"""Read split tables and the packaged splits."""

from __future__ import annotations

import dataclasses
import importlib
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import BenchError, did_you_mean
from bench.core.split import Split
from bench.data.rules import check_split

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from bench.core.types import Facts, JsonObject


_FIELDS = {f.name: f for f in dataclasses.fields(Split)}
_LISTS = ("expose", "metrics", "shares", "aggregate", "train_channels", "test_channels")
_TABLES = ("train", "validation", "test", "where")


def read_split(where: str, table: Facts) -> Split:
    """Return the split that a table of plain values describes.

    Parameters
    ----------
    where
        Location of the table, for messages.
    table
        The fields of :class:`bench.api.Split`, with lists in place of tuples.

    Raises
    ------
    BenchError
        For an unknown key, a wrong type, a missing field, or a split that contradicts itself.
    """
    values: JsonObject = {}
    for key, value in table.items():
        if key not in _FIELDS:
            raise BenchError(f"{where}: " + did_you_mean(key, list(_FIELDS), "key"))
        if key in _LISTS:
            valid = isinstance(value, list) and all(isinstance(v, str) for v in value)
            values[key], kind = tuple(value) if valid else (), "a list of strings"
        elif key == "channels":
            valid = isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
            values[key], kind = dict(value) if valid else {}, "a table of names"
        elif key in _TABLES and isinstance(value, dict):
            valid = all(isinstance(v, list) for v in value.values())
            values[key] = {k: tuple(map(str, v)) for k, v in value.items()} if valid else {}
            kind = "a table of lists"
        else:
            valid, kind = isinstance(value, str), "a string"
            values[key] = value
        if not valid:
            raise BenchError(f"{where}: {key} must be {kind}, not {value!r}")
    for key in ("name", "dataset", "shift"):
        if key not in values:
            raise BenchError(f'{where} has no {key}: add {key} = "…"')
    family = "transfer" if values.get("protocol") == "transfer" else values["dataset"]
    if not re.fullmatch(re.escape(family) + r"/[A-Za-z0-9][\w.-]*", values["name"]):
        raise BenchError(f"{where}: name must be '{family}/…', not '{values['name']}'")
    return check_split(Split(**values))


def _folders() -> list[Path]:
    """Return the folders of packaged splits; ``bench.datasets`` has no ``__init__.py``."""
    package = importlib.import_module("bench.datasets")
    return [Path(folder) / "splits" for folder in package.__path__]


def packaged_index(name: str) -> pd.DataFrame:
    """Return a table of ``index/`` of ``bench.datasets``: one row per image, all columns text."""
    import pandas as pd

    package = importlib.import_module("bench.datasets")
    for folder in package.__path__:
        path = Path(folder) / "index" / f"{name}.csv.gz"
        if path.is_file():
            return pd.read_csv(path, dtype=str, keep_default_na=False)
    raise BenchError(f"the packaged index {name}.csv.gz is missing: install labshift again")


def packaged_splits(folders: Sequence[Path] | None = None) -> dict[str, Split]:
    """Return the packaged splits, by canonical name.

    Parameters
    ----------
    folders
        Folders to search for ``*.toml`` files, each with ``[[split]]`` tables whose keys are the
        fields of :class:`bench.api.Split`; default: ``splits/`` of ``bench.datasets``.

    Raises
    ------
    BenchError
        For an invalid TOML file, an unknown key, a wrong type, or a duplicate name or alias.
    """
    splits: dict[str, Split] = {}
    taken: dict[str, str] = {}
    for folder in _folders() if folders is None else folders:
        for file in sorted(folder.glob("*.toml")):
            try:
                content = tomllib.loads(file.read_text(encoding="utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
                raise BenchError(f"{file.name} is not valid TOML: {error}") from None
            tables = content.get("split")
            if set(content) != {"split"} or not isinstance(tables, list):
                raise BenchError(f"{file.name} must contain [[split]] tables only")
            for number, table in enumerate(tables, 1):
                split = read_split(f"{file.name}, split {number}", table)
                for name in filter(None, (split.name, split.alias)):
                    if name in taken:
                        raise BenchError(
                            f"{file.name}: the name '{name}' is used by {taken[name]}: rename one"
                        )
                    taken[name] = f"{split.name} in {file.name}"
                splits[split.name] = split
    return splits
