"""Sentences of the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.words import interval, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.boards.board import Board, Row

__all__ = ["Finding", "Name", "Sentence", "level_of"]

MOST = 6
"""Maximum methods named in a sentence."""


@dataclass(frozen=True)
class Name:
    """A method's label in a sentence, shown as a link in the method's colour."""

    label: str

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True)
class Sentence:
    """A sentence as a sequence of text and names.

    Attributes
    ----------
    kind
        ``best``, ``tracks``, ``same``, ``better``, ``worse``, ``lost``, ``leaks`` or ``limits``.
    """

    kind: str
    parts: tuple[str | Name, ...]

    def __str__(self) -> str:
        return "".join(map(str, self.parts))


@dataclass(frozen=True)
class Finding:
    """Summary of one board."""

    board: Board
    sentences: tuple[Sentence, ...]


def metric(board: Board) -> str:
    name = board.metric.replace("_", " ")
    return name if board.readout == "embedding" else f"{name} ({board.readout})"


def score_text(row: Row) -> str:
    sd = f"SD {number(row.sd)}, " if row.sd is not None else ""
    return f"{number(row.mean)} ({sd}{row.n_seeds} seed{'s' if row.n_seeds != 1 else ''})"


def difference(row: Row) -> str:
    text = number(row.difference, sign=True)
    if row.difference_low is not None and row.difference_high is not None:
        text += f" {interval(row.difference_low, row.difference_high, sign=True)}"
    return text


def level_of(row: Row) -> str:
    """Return the noun for a held-out cluster: ``plate``, without the column prefix of a table."""
    return row.cluster_level.lower().removeprefix("metadata_").removeprefix("meta_") or "batch"


def names_text(rows: Sequence[Row]) -> list[str | Name]:
    """Return the first :data:`MOST` methods, and the number of the others."""
    more = len(rows) - MOST if len(rows) > MOST + 1 else 0
    parts: list[str | Name] = []
    for row in rows[: len(rows) - more]:
        parts += [", " if parts else "", Name(row.method)]
    if more:
        parts.append(f" and {more} others")
    elif len(rows) > 1:
        parts[-2] = " and "
    return parts
