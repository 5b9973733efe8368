"""A recommendation and the comparisons behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.records.record import Record

__all__ = ["Advice", "Compared"]

METRIC = "balanced_accuracy"
ALPHA = 0.05
LOSES = 0.05
"""A class loses if its accuracy falls by more than this."""
UNCORRECTED: tuple[str, ...] = ("identity", "erm")
"""Rows that stand for doing nothing."""
Records = Sequence["Record"]


@dataclass(frozen=True)
class Compared:
    """A method against doing without it.

    Attributes
    ----------
    method, track
        The chain and what it had to be told.
    without
        The chain it is compared with.
    mean, sd
        Balanced accuracy by the probe over seeds.
    gain, low, high
        Difference to ``without``, and its interval where there are enough batches
        (``bench.boards.pairing``).
    p
        Of that difference, adjusted for all methods that were tried (Holm); None without an
        interval.
    better_in, n_batches
        Held-out batches in which it scores higher, of how many.
    grade
        ``clear``: the interval is above 0 and the adjusted p below 0.05. ``likely``: higher in at
        least three quarters of the batches, by more than the seeds' SD of the difference, but not
        proven. ``none``: neither. ``harm``: the interval is below 0; with too few batches for one,
        lower in every batch.
    losers
        Classes whose accuracy falls by more than 5 points, and by how much, worst first.
    n_classes
        Classes that were scored.
    """

    method: str
    track: str
    without: str
    mean: float
    sd: float | None
    gain: float
    low: float | None
    high: float | None
    p: float | None
    better_in: int
    n_batches: int
    grade: str
    losers: tuple[tuple[str, float], ...]
    n_classes: int


@dataclass(frozen=True)
class Advice:
    """What to do, and why.

    Attributes
    ----------
    split
        Canonical name of the holdout.
    title
        Split, edition, recipe and seeds.
    use
        The method, or an empty string: do not correct.
    rows
        Every method that was compared, best first.
    baselines
        Uncorrected chains and their means.
    chosen_gain
        Mean gain on a held-out batch of what would have been chosen without it; None with fewer
        than three batches.
    sections
        Heading -> sentences.
    """

    split: str
    title: str
    use: str
    rows: tuple[Compared, ...]
    baselines: Mapping[str, float]
    chosen_gain: float | None
    sections: Mapping[str, tuple[str, ...]]
