"""Resolve the argument of ``--split``: a packaged split, a plugin's split, or a user's file."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.errors import BenchError, did_you_mean
from bench.core.folders import expanded
from bench.data.packaged import packaged_splits, read_split

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.core.registry import Registry
    from bench.core.split import Split
    from bench.data.own.table import OwnData

__all__ = [
    "NamedSplit",
    "canonical_name",
    "find_split",
    "known_splits",
    "packaged_splits",
    "parse_split_argument",
    "read_split",
    "resolve",
    "resolve_all",
]


@dataclass(frozen=True, eq=False)
class NamedSplit:
    """A split named on the command line.

    Attributes
    ----------
    typed
        Text that selects this split after ``--split``.
    own
        The user's data set, if the text names a file.
    """

    typed: str
    split: Split
    own: OwnData | None = None


def resolve(typed: str, registry: Registry | None = None) -> NamedSplit:
    """Return the split that an argument of ``--split`` selects.

    Parameters
    ----------
    typed
        Canonical name, alias, or ``FILE.toml[:NAME]``.
    registry
        Adds the splits of data set plugins.

    Raises
    ------
    BenchError
        For an unknown name, an invalid file, or a file with several splits without ``:NAME``.
    """
    file = parse_split_argument(typed)
    if file is None:
        return NamedSplit(typed, find_split(typed, known_splits(registry)))
    own = _own(file[0])
    return NamedSplit(typed, own.split(file[1]), own)


def resolve_all(typed: str, registry: Registry | None = None) -> list[NamedSplit]:
    """Return the selected split, or all splits of ``FILE.toml``; see :func:`resolve`."""
    file = parse_split_argument(typed)
    if file is None or file[1] is not None:
        return [resolve(typed, registry)]
    own = _own(file[0])
    names = [name.partition("/")[2] for name in own.splits]
    return [NamedSplit(f"{file[0]}:{name}", own.split(name), own) for name in names]


def canonical_name(typed: str | None, registry: Registry | None = None) -> str | None:
    """Return the canonical name of a text; an unregistered name is returned unchanged.

    Records may refer to splits whose plugin is not loaded. None means all splits and is returned.
    """
    if typed is None:
        return None
    if parse_split_argument(typed) is not None:
        return resolve(typed, registry).split.name
    names = {split.alias: name for name, split in known_splits(registry).items() if split.alias}
    return names.get(typed, typed)


def _own(path: Path) -> OwnData:
    from bench.data.own.table import load

    refuse_special(path)
    own = load(path)
    refuse_special(own.table)
    return own


def refuse_special(path: Path) -> None:
    """Raise BenchError for a FIFO, a socket or a device: reading one may never end."""
    try:
        kind = path.stat().st_mode
    except OSError:
        return  # reported where it is read
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise BenchError(f"{path} is a device or a pipe, not a file: name a file")


def known_splits(registry: Registry | None = None) -> dict[str, Split]:
    """Return the packaged splits and those of data set plugins, by canonical name.

    A plugin lists its splits under ``splits`` in its ``META``: literals with the fields of
    :class:`bench.api.Split`.

    Raises
    ------
    BenchError
        If a split of a plugin is invalid or its name is already in use.
    """
    splits = packaged_splits()
    for entry in registry.entries("dataset") if registry else ():
        if entry.provider == "labshift" or entry.problem:
            continue
        meta = registry.entry("dataset", entry.name).meta if registry else entry.meta
        for number, table in enumerate(meta["splits"], 1):
            where = f"META of {entry.origin}, split {number}"
            split = read_split(where, {"dataset": entry.name, **table})
            if split.name in splits:
                raise BenchError(f"{where}: the name '{split.name}' is used already: rename it")
            splits[split.name] = split
    return splits


def find_split(name: str, splits: Mapping[str, Split] | None = None) -> Split:
    """Return a split by canonical name or alias.

    Parameters
    ----------
    splits
        Splits to search; default: the packaged splits.

    Raises
    ------
    BenchError
        For an unknown name; the message lists the most similar names.
    """
    splits = packaged_splits() if splits is None else splits
    for split in splits.values():
        if name in (split.name, split.alias):
            return split
    names = [*splits, *(split.alias for split in splits.values() if split.alias)]
    raise BenchError(
        did_you_mean(name, names, "split") + " A table of your own is given as FILE.toml:NAME."
    )


def parse_split_argument(text: str) -> tuple[Path, str | None] | None:
    """Parse ``FILE.toml[:NAME]``, split at the last colon after ``.toml``.

    If the file is a URL, its folder is copied to the cache.

    Returns
    -------
    tuple of Path and str or None, or None
        The file, and the name of the split or None. None instead of a tuple if the text is not a
        TOML file, but the name of a registered split.

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
    match = re.fullmatch(r"(.*\.toml)(?::(.*))?", text, flags=re.IGNORECASE | re.DOTALL)
    if match is None:
        return None
    file, name = match.groups()
    if name is not None and not name.strip():
        raise BenchError(f"'{text}' names no split after the colon: write {file}:NAME")
    if "://" in file:
        from bench.core.objects import local_copy, path_of_url

        folder, _, last = file.rpartition("/")
        return path_of_url(file) or local_copy(folder) / last, name
    return expanded(file), name
