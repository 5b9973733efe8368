"""Sentences of a reading, built from numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.studies._context import StudyContext
    from bench.studies._results import Difference


NAMED = 4
"""Maximum methods in a sentence; the table lists all."""
MOST_NAMES = 12
"""Maximum words of the names in a sentence about several differences."""


def listed(items: Iterable[object], most: int = NAMED, sep: str = ", ") -> str:
    """Return ``a, b and c``; items beyond ``most`` are counted.

    With a different ``sep``, the items can contain commas.
    """
    return words.listed(items, most, sep=sep, last=" and " if sep == ", " else sep)


def differences_text(differences: Iterable[tuple[str, Difference]], sep: str = ", ") -> str:
    """Return ``ben +0.026 [+0.010, +0.041], adabn …``; empty without differences."""
    return listed([f"{name} {difference.text}" for name, difference in differences], sep=sep)


def spread(context: StudyContext) -> str:
    """Return a sentence on the meaning of the number after ±."""
    seeds = len(context.seeds)
    return f"± is the SD of {seeds} seeds." if seeds > 1 else "One seed: the spread is unknown."


def limits(
    context: StudyContext, differences: Sequence[tuple[str, Difference]], more: str = ""
) -> str:
    """Return the last part of a reading: the limitations, one sentence each.

    Parameters
    ----------
    differences
        The comparisons in the reading, each with its name.
    more
        What the design of the study does not show.
    """
    clauses = []
    without = [gap for _, gap in differences if gap.low is None]
    unclear = [n for n, gap in differences if gap.low is not None and not gap.excludes_zero]
    if without:
        number = words.count(without[0].n_clusters, noun_of(without[0].level))
        clauses.append(
            f"No interval can be computed from {number}."
            if len(context.seeds) > 1
            else "One seed does not show how much another training differs."
        )
    if unclear:
        several = len(differences) > 1
        which = (
            f"{len(unclear)} of {len(differences)} differences are"
            if several
            else "The difference is"
        )
        named = f": {listed(unclear, sep='; ')}"
        short = len(" ".join(unclear[:NAMED]).split()) <= MOST_NAMES
        clauses.append(f"{which} compatible with zero{named if short else ''}.")
    elif differences and not without:
        which = (
            f"The {len(differences)} differences above each exclude"
            if len(differences) > 1
            else "The difference above excludes"
        )
        clauses.append(f"{which} zero, without correction for multiple comparisons.")
    if more:
        clauses.append(f"Not shown: {more}.")
    if context.options.recipe == "smoke":
        clauses.append("The smoke recipe trains too little to draw conclusions.")
    return " ".join(clauses) or "Nothing was compared."


def rows_text(rows: Iterable[float]) -> str:
    """Return ``median 10 rows``, or a range where the numbers differ."""
    numbers = sorted(rows)
    low, high = f"{numbers[0]:g}", f"{numbers[-1]:g}"
    return f"median {low} rows" if low == high else f"median {low} to {high} rows"


def noun_of(level: str) -> str:
    """Return the noun for a batch level's column: ``plate`` for ``meta_plate``."""
    return level.removeprefix("meta_") or "batch"


def nothing(context: StudyContext) -> tuple[str, str, str]:
    """Return the reading of a study without runs."""
    reasons = [f"{name}: {reason}" for name, reason in context.left_out.items()]
    return (
        f"This study does not apply to {context.task.split.name}.",
        f"Reasons: {'. '.join(reasons) or 'no method was named'}.",
        limits(context, []),
    )
