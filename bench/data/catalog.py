"""Find a split by name, by alias or in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError
from bench.core.split import Split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.core.registry import Registry


import dataclasses
import importlib
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import did_you_mean
from bench.data.rules import check_split

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def known_splits(registry: Registry) -> dict[str, Split]:
    """Return the packaged splits and those of data set plugins, by canonical name.

    A plugin gives its splits in the list ``splits`` of its ``META``: each a literal with the fields
    of :class:`bench.api.Split`.

    Raises
    ------
    BenchError
        If a split of a plugin is wrong, or its name is taken.
    """
    known = packaged_splits()
    for entry in registry.entries("dataset"):
        if entry.provider == "labshift" or entry.problem:
            continue
        meta = registry.entry("dataset", entry.name).meta
        for number, table in enumerate(meta.get("splits", []), 1):
            where = f"META of {entry.origin}, split {number}"
            split = read_split(where, {"dataset": entry.name, **table})
            if split.name in known:
                raise BenchError(f"{where}: the name '{split.name}' is taken: rename it")
            known[split.name] = split
    return known


__all__ = ["find_split", "packaged_splits", "read_split"]


# --------------------------------------------------------------------------- packaged splits

_FIELDS = {f.name: f for f in dataclasses.fields(Split)}
_LISTS = ("expose", "metrics", "shares", "aggregate")
_TABLES = ("train", "validation", "test", "where")


def read_split(where: str, table: Mapping[str, Any]) -> Split:
    """Return the split that a table of plain values describes.

    Parameters
    ----------
    where
        Where the table stands, for messages.
    table
        The fields of :class:`bench.api.Split`, with lists in place of tuples.

    Raises
    ------
    BenchError
        For an unknown key, a wrong type, a missing field, or a split that contradicts itself.
    """
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in _FIELDS:
            raise BenchError(f"{where}: " + did_you_mean(key, list(_FIELDS), "key"))
        if key in _LISTS:
            good = isinstance(value, list) and all(isinstance(v, str) for v in value)
            values[key], kind = tuple(value) if good else (), "a list of strings"
        elif key == "channels":
            good = isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
            values[key], kind = dict(value) if good else {}, "a table of names"
        elif key in _TABLES and isinstance(value, dict):
            good = all(isinstance(v, list) for v in value.values())
            values[key] = {k: tuple(map(str, v)) for k, v in value.items()} if good else {}
            kind = "a table of lists"
        else:
            good, kind = isinstance(value, str), "a string"
            values[key] = value
        if not good:
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


def packaged_splits(folders: Sequence[Path] | None = None) -> dict[str, Split]:
    """Return the splits that come with the harness, by canonical name.

    Parameters
    ----------
    folders
        Where to look for ``*.toml`` files, each with ``[[split]]`` tables whose keys are the
        fields of :class:`bench.api.Split`; default: ``splits/`` of ``bench.datasets``.

    Raises
    ------
    BenchError
        For a file that is not TOML, an unknown key, a wrong type, or a name or alias taken twice.
    """
    found: dict[str, Split] = {}
    taken: dict[str, str] = {}
    for folder in _folders() if folders is None else folders:
        for file in sorted(folder.glob("*.toml")):
            try:
                content = tomllib.loads(file.read_text(encoding="utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise BenchError(f"{file.name} is not TOML: {error}. Mend it there.") from None
            tables = content.get("split")
            if set(content) != {"split"} or not isinstance(tables, list):
                raise BenchError(f"{file.name} may hold [[split]] tables and nothing else")
            for number, table in enumerate(tables, 1):
                split = read_split(f"{file.name}, split {number}", table)
                for name in filter(None, (split.name, split.alias)):
                    if name in taken:
                        raise BenchError(
                            f"{file.name}: the name '{name}' is taken by {taken[name]}: rename one"
                        )
                    taken[name] = f"{split.name} in {file.name}"
                found[split.name] = split
    return found


def find_split(name: str, known: Mapping[str, Split] | None = None) -> Split:
    """Return a packaged split by canonical name or alias.

    Raises
    ------
    BenchError
        For an unknown name, with the nearest known ones.
    """
    known = packaged_splits() if known is None else known
    for split in known.values():
        if name in (split.name, split.alias):
            return split
    names = [*known, *(split.alias for split in known.values() if split.alias)]
    raise BenchError(
        did_you_mean(name, names, "split") + " A table of your own is given as FILE.toml:NAME."
    )


__all__ = ["parse_split_argument"]


# --------------------------------------------------------------------------- the argument


def parse_split_argument(text: str) -> tuple[Path, str | None] | None:
    """Read ``FILE.toml[:NAME]``, cut at the last colon after ``.toml``.

    Returns
    -------
    tuple of Path and str or None, or None
        The file, and the name of the split if one was given; None if the text names no TOML file
        and is the name of a packaged split instead.

    Raises
    ------
    BenchError
        If nothing follows the colon.

    Examples
    --------
    >>> parse_split_argument("ottawa") is None
    True
    >>> file, name = parse_split_argument("C:/plates/dataset.toml:weeks")
    >>> file.as_posix(), name
    ('C:/plates/dataset.toml', 'weeks')
    """
    whole = re.fullmatch(r"(.*\.toml)(?::(.*))?", text, flags=re.IGNORECASE | re.DOTALL)
    if whole is None:
        return None
    file, name = whole.groups()
    if name is not None and not name.strip():
        raise BenchError(f"'{text}' names no split after the colon: write {file}:NAME")
    return Path(file).expanduser(), name
