"""Sentences made of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.studies._cells import Gap
    from bench.studies._lab import Lab

__all__ = ["cannot_tell", "count", "listed", "nothing", "spread"]

NAMED = 4
"""Methods that a sentence names; the table has all."""


def listed(words: Sequence[str], most: int = NAMED, sep: str = ", ") -> str:
    """Return ``a, b and c``; beyond ``most`` the rest are counted.

    With another ``sep`` than commas the parts may hold commas themselves.
    """
    shown = list(words)
    if len(shown) > most:
        shown = [*shown[:most], f"{len(shown) - most} more (in the table)"]
    if len(shown) < 2:
        return "".join(shown)
    if sep != ", ":
        return sep.join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def count(n: int, noun: str) -> str:
    """Return ``1 seed`` or ``3 seeds``."""
    if n == 1:
        return f"1 {noun}"
    return f"{n} {noun}es" if noun.endswith(("s", "x", "ch")) else f"{n} {noun}s"


def spread(lab: Lab) -> str:
    """Say what stands after ± and in brackets."""
    seeds = len(lab.seeds)
    return f"± is the SD of {seeds} seeds" if seeds > 1 else "one seed, so no spread is known"


def cannot_tell(lab: Lab, gaps: Sequence[tuple[str, Gap]], more: str = "") -> str:
    """Return the last sentence of a reading: what these numbers leave open.

    Parameters
    ----------
    lab
        The study's.
    gaps
        The comparisons that were looked at, each with its name.
    more
        A clause on what this study cannot tell by its nature.
    """
    words = []
    without = [name for name, gap in gaps if gap.low is None]
    open_ = [name for name, gap in gaps if gap.low is not None and not gap.known]
    if without:
        gap = next(gap for _, gap in gaps if gap.low is None)
        why = (
            f"there {'is' if gap.n_clusters == 1 else 'are'} only "
            f"{count(gap.n_clusters, words_of(gap.level))} to hold out"
            if len(lab.seeds) > 1
            else "one seed says nothing about another training"
        )
        words.append(f"no interval can be given because {why}")
    if open_:
        which = f"{len(open_)} of {len(gaps)} differences" if len(gaps) > 1 else "the difference"
        words.append(f"{which} cannot be told from zero ({listed(open_, sep='; ')})")
    elif gaps and not without:
        noun = "difference" if len(gaps) == 1 else f"{len(gaps)} differences"
        words.append(f"the {noun} looked at can be told from zero, without a correction for many")
    if more:
        words.append(more)
    if lab.options.recipe == "smoke":
        words.append("a smoke recipe trains too little for any of this to count")
    return f"What cannot be told: {'; '.join(words) or 'nothing was compared'}."


def words_of(level: str) -> str:
    """Return a column's name as a noun: ``meta_plate`` is ``plate``."""
    return level.removeprefix("meta_") or "batch"


def nothing(lab: Lab) -> tuple[str, str, str]:
    """Return the reading of a study in which nothing could be run."""
    reasons = [f"{what}: {why}" for what, why in lab.left_out.items()]
    return (
        f"Nothing of this study can be run on {lab.target.split.name}.",
        f"The reasons: {'; '.join(reasons) or 'no method was given'}.",
        "What cannot be told: anything, on these data.",
    )
