"""Differences to ERM, verdicts and ranks of the rows of a board."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from bench.boards.board import (
    BASELINE,
    MIN_SEEDS,
    TRACKS,
    Row,  # TC
)
from bench.boards.pairing import pair
from bench.boards.values import budget_of

if TYPE_CHECKING:
    from collections.abc import Sequence


def baseline(rows: Sequence[Row]) -> Row | None:
    """Return the row of ERM with default parameters; of several versions, the last."""
    found = [row for row in rows if row.method_id == BASELINE and not row.params and row.seeds]
    return found[-1] if found else None


def compared(row: Row, base: Row, *, higher: bool) -> Row:
    """Add the paired difference to ERM and the verdict."""
    if row is base or row.scores is None or base.scores is None:
        return row
    gap = pair(row.scores, base.scores)
    if gap is None:
        return row
    verdict = ""
    if gap.low is not None and gap.n_seeds >= MIN_SEEDS:
        verdict = "cannot be told apart from ERM"
        if gap.excludes_zero:
            verdict = "helps" if (gap.low > 0) == higher else "hurts"
    return dataclasses.replace(row, versus_erm=gap, verdict=verdict)


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
    made = []
    for row in rows:
        if row.tuning and row.mean is not None and budget_of(row.tuning) != usual:
            mine = _budget_words(budget_of(row.tuning))
            why = f"unequal budget: {mine}, others {_budget_words(usual)}"
            reason = "; ".join(filter(None, (row.reason, why)))
            made.append(dataclasses.replace(row, reason=reason))
            continue
        made.append(row)
    return made


def _budget_words(budget: tuple[int, float, int]) -> str:
    trials, seconds, validations = budget
    words = f"{trials} trials"
    words += f" begun within {seconds:g} s" if seconds else ""
    return f"{words} on {validations} validation set{'s' if validations > 1 else ''}"


def ranked(rows: Sequence[Row], *, higher: bool) -> list[Row]:
    """Assign ranks within each track; equal means share a rank."""
    made = []
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
        made.append(dataclasses.replace(row, rank=rank))
    return made


def _is_ranked(row: Row) -> bool:
    return row.mean is not None and not row.reason and row.track != "reference"


def sorted_rows(rows: Sequence[Row], *, higher: bool) -> list[Row]:
    """Return rows sorted by track, then ranked rows first, best first."""

    def place(row: Row) -> tuple[int, bool, float, float, str]:
        track = TRACKS.index(row.track) if row.track in TRACKS else len(TRACKS) - 2
        score = math.inf if row.mean is None else (-row.mean if higher else row.mean)
        return (track, row.mean is None, row.rank or math.inf, score, row.method)

    return sorted(rows, key=place)
