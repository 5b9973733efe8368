"""A recommendation and the comparisons behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.records.record import Record


METRIC = "balanced_accuracy"
ALPHA = 0.05
LOSES = 0.05
"""A class loses if its accuracy drops by more than this."""
UNCORRECTED: tuple[str, ...] = ("identity", "erm")
"""Rows without a correction."""
Records = Sequence["Record"]


@dataclass(frozen=True)
class Compared:
    """A method compared with its uncorrected baseline.

    Attributes
    ----------
    method, track
        The chain and the information that it uses.
    mean, sd
        Balanced accuracy of the probe over seeds.
    gain, low, high
        Difference to ``without``, and its interval if there are enough batches
        (``bench.boards.pairing``).
    p
        P value of the gain, adjusted for the number of methods (Holm); None without an interval.
    better_in, n_batches
        Number of held-out batches where it scores higher, and their total.
    grade
        ``clear``: the interval is above 0 and the adjusted p value below 0.05. ``likely``: higher
        in at least three quarters of the batches, by more than the SD over seeds of the
        difference, but not significant. ``none``: neither. ``harm``: the interval is below 0; with
        too few batches for an interval, lower in every batch.
    losers
        Classes whose accuracy drops by more than 5 points, with the drop, worst first.
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
    """A recommendation for one split.

    Attributes
    ----------
    title
        Split, edition, recipe and seeds.
    use
        The recommended method; empty means no correction.
    rows
        All compared methods, best first.
    baselines
        Uncorrected chains and their means.
    chosen_gain
        Mean gain on a held-out batch of the method selected without that batch; None with fewer
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
