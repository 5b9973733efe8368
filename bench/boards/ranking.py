"""Tuning budgets, ranks and order of the rows of a board."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from bench.boards.board import (
    TRACKS,
    Row,  # TC
)
from bench.boards.values import budget_of
from bench.core.control_names import is_control_row

if TYPE_CHECKING:
    from collections.abc import Sequence


def equal_budgets(rows: Sequence[Row], notes: list[str]) -> list[Row]:
    """Record the tuning budget of each tuned row, and do not rank rows with a different budget.

    The most frequent budget is the standard; on ties, the largest.
    """
    tuned = [row for row in rows if row.tuning and row.mean is not None]
    if not tuned:
        return list(rows)
    budgets = [budget_of(row.tuning) for row in tuned if row.tuning]
    usual = max(budgets, key=lambda budget: (budgets.count(budget), budget))
    spent = [f"{r.method} {r.tuning.get('seconds', 0.0):.0f} s" for r in tuned if r.tuning]
    notes.append(
        f"Budget of each fold: {_budget_words(usual)}; training and scoring of all trials took "
        f"{', '.join(spent)}."
    )
    marked = []
    for row in rows:
        if row.tuning and row.mean is not None and budget_of(row.tuning) != usual:
            own = _budget_words(budget_of(row.tuning))
            why = f"unequal budget: {own}, others {_budget_words(usual)}"
            reason = "; ".join(filter(None, (row.reason, why)))
            marked.append(dataclasses.replace(row, reason=reason))
            continue
        marked.append(row)
    return marked


def _budget_words(budget: tuple[int, float, int]) -> str:
    trials, seconds, validations = budget
    text = f"{trials} trials"
    text += f" begun within {seconds:g} s" if seconds else ""
    return f"{text} on {validations} validation set{'s' if validations > 1 else ''}"


def ranked(rows: Sequence[Row], *, higher: bool) -> list[Row]:
    """Assign ranks within each track; equal means share a rank."""
    result = []
    for row in rows:
        rank = None
        if _is_ranked(row):
            better = [
                other
                for other in rows
                if _is_ranked(other)
                and other.track == row.track
                and (other.mean > row.mean if higher else other.mean < row.mean)  # type: ignore[operator]
            ]
            rank = len(better) + 1
        result.append(dataclasses.replace(row, rank=rank))
    return result


def _is_ranked(row: Row) -> bool:
    return row.mean is not None and not row.reason and not is_control_row(row.track)


def sorted_rows(rows: Sequence[Row], *, higher: bool) -> list[Row]:
    """Return rows sorted by track, then ranked rows first, best first."""

    def place(row: Row) -> tuple[int, bool, float, float, str]:
        track = TRACKS.index(row.track) if row.track in TRACKS else len(TRACKS) - 2
        score = math.inf if row.mean is None else (-row.mean if higher else row.mean)
        return (track, row.mean is None, row.rank or math.inf, score, row.method)

    return sorted(rows, key=place)
