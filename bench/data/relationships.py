"""Annotated relationships between entities, such as genes of one complex, from a user's file.

A file is a table of pairs with the columns ``entity1`` and ``entity2``, a table of sets with the
columns ``set`` and ``entity`` (one row per member), or a ``.gmt`` file (name, description and
members, separated by tabs). A set relates each two of its members.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError
from bench.data.own.columns import as_text
from bench.data.own.files import open_table
from bench.data.own.reading import damaged

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

PAIR, SET = ["entity1", "entity2"], ["set", "entity"]
"""Columns of a table of pairs, and of a table of sets."""

Pairs = list[tuple[str, str]]


def read_relationships(path: Path, entities: Collection[str]) -> Pairs:
    """Return the related pairs of these entities, each once, sorted.

    A relationship of an entity with itself is dropped, and A with B is the same as B with A.

    Parameters
    ----------
    path
        The file.
    entities
        Names of the entities with a profile; relationships of others are dropped.

    Raises
    ------
    BenchError
        If the file is missing or damaged, lacks the columns, or relates none of the entities.
    """
    if path.name.lower().endswith(".gmt"):
        related = pairs_of_sets(_gmt(path), entities)
    else:
        table = open_table(path)
        names = next((names for names in (PAIR, SET) if set(names) <= set(table.columns)), None)
        if names is None:
            raise BenchError(
                f"{path} has neither the columns entity1 and entity2 (pairs) nor set and entity "
                "(members of sets): rename its columns"
            )
        frame, _ = table.read(names, [])
        rows = list(zip(*(as_text(frame[name]).tolist() for name in names), strict=True))
        if names is PAIR:
            kept = set(entities)
            related = sorted({_sorted(a, b) for a, b in rows if a != b and {a, b} <= kept})
        else:
            members: dict[str, list[str]] = {}
            for name, entity in rows:
                members.setdefault(name, []).append(entity)
            related = pairs_of_sets(members.values(), entities)
    if not related:
        example = next(iter(sorted(entities)), "")
        raise BenchError(
            f"{path} relates no two entities of the table (for example '{example}'): check the key "
            "entity and the spelling of the names"
        )
    return related


def pairs_of_sets(sets: Iterable[Iterable[str]], entities: Collection[str]) -> Pairs:
    """Return each pair of entities that share a set, once, sorted."""
    kept = set(entities)
    pairs: set[tuple[str, str]] = set()
    for members in sets:
        pairs.update(combinations(sorted(kept.intersection(members)), 2))
    return sorted(pairs)


def _sorted(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)


def _gmt(path: Path) -> list[list[str]]:
    with damaged(path, "a .gmt file"):
        if not path.exists():
            raise BenchError(f"{path} does not exist: the path is relative to the TOML file")
        lines = path.read_text(encoding="utf-8").splitlines()
    sets = [line.split("\t")[2:] for line in lines if line.strip()]
    return [[name.strip() for name in members if name.strip()] for members in sets]


def codes_of(pairs: Pairs, names: list[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Return pairs of names as positions in ``names``, ``(k, 2)``."""
    place = {name: k for k, name in enumerate(names)}
    return np.array([(place[a], place[b]) for a, b in pairs], np.int64).reshape(-1, 2)
