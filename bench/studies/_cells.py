"""Arms of a study and their results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.boards.stats.scores import Scores
    from bench.data.target import Target
    from bench.output.canvas import Canvas

__all__ = ["Arm", "Cell", "Finding", "Gap", "gap_columns"]

Values = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Arm:
    """One condition of a study, run with every seed.

    Attributes
    ----------
    method
        As typed, such as ``ben`` or ``erm+tvn``.
    values
        Parameters by stage, on top of those of the command line.
    grouping
        How test rows are grouped into inference batches, as :meth:`Grouping.read` takes it; None
        is whole test batches.
    target
        A split that was opened, instead of the study's own.
    """

    method: str
    values: Values = field(default_factory=dict)
    grouping: Mapping[str, Any] | None = None
    target: Target | None = None


@dataclass(frozen=True)
class Cell:
    """The scores of an arm over seeds and clusters.

    Attributes
    ----------
    arm, label
        What was run, and its name with the parameters that differ from their defaults.
    reason
        Why there are no scores; empty otherwise.
    seeds, values
        Seeds and the metric over all scored rows of each, in the same order.
    mean, sd
        Of ``values``; ``sd`` has n - 1 in its denominator and is None with one seed.
    scores
        The values by seed and cluster that differences are computed from, or None.
    level
        What a cluster is, such as ``plate``.
    low, high
        95 % limits over seeds crossed with clusters, or None (fewer than 8 clusters, one seed).
    rows
        Median number of rows in an inference batch.
    batches, fallbacks
        Inference batches of a seed, and how many of them took the method's fallback (means).
    records
        The records, in order of the seeds.
    """

    arm: Arm
    label: str
    reason: str = ""
    seeds: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    scores: Scores | None = None
    level: str = ""
    low: float | None = None
    high: float | None = None
    rows: float = 0.0
    batches: float = 0.0
    fallbacks: float = 0.0
    records: tuple[Mapping[str, Any], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there are scores."""
        return bool(self.seeds)

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.values))

    @property
    def sd(self) -> float | None:
        """Standard deviation over seeds, n - 1; None with one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None

    @property
    def n_clusters(self) -> int:
        """Clusters that have a score with every seed."""
        return 0 if self.scores is None else len(self.scores.clusters)

    @property
    def words(self) -> str:
        """``0.694 ± 0.010``."""
        return f"{self.mean:.3f}" + (f" ± {self.sd:.3f}" if self.sd is not None else "")

    def facts(self) -> dict[str, Any]:
        """Return the columns that every table of a study has."""
        return {
            "method": self.label,
            "mean": self.mean if self.ok else None,
            "sd": self.sd if self.ok else None,
            "ci_low": self.low,
            "ci_high": self.high,
            "n_seeds": len(self.seeds),
            "n_clusters": self.n_clusters,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Gap:
    """A paired difference between two cells on the seeds and clusters that both have.

    Attributes
    ----------
    mean, sd
        Over seeds; ``sd`` is None with one.
    low, high, p
        95 % limits over seeds crossed with clusters and the p value of a difference of 0
        (``bench.boards.pairing``), or None.
    n_clusters, level
        Number of common clusters, and what a cluster is.
    """

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    n_clusters: int
    level: str
    p: float | None = None

    @property
    def known(self) -> bool:
        """Whether there is an interval and 0 lies outside."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    @property
    def words(self) -> str:
        """``+0.026 [+0.010, +0.041]``, or with the SD of seeds where there is no interval."""
        text = f"{self.mean:+.3f}"
        if self.low is not None and self.high is not None:
            return f"{text} [{self.low:+.3f}, {self.high:+.3f}]"
        return text + (f" ± {self.sd:.3f}" if self.sd is not None else "")

    def facts(self, prefix: str) -> dict[str, Any]:
        """Return columns ``<prefix>``, ``<prefix>_sd``, ``_low``, ``_high`` and ``_p``."""
        values = (self.mean, self.sd, self.low, self.high, self.p)
        return dict(zip(gap_columns(prefix), values, strict=True))


def gap_columns(prefix: str) -> list[str]:
    """Return the columns of a paired difference, in the order of a table."""
    return [prefix, *(f"{prefix}_{name}" for name in ("sd", "low", "high", "p"))]


@dataclass(frozen=True)
class Finding:
    """What a study returns.

    Attributes
    ----------
    table
        Rows of the CSV, plain values by column.
    shown
        Column -> heading of what is printed of them.
    reading
        Three sentences made of the numbers: what was found, how much with its spread, and what
        cannot be told.
    draw
        Draws on an open canvas and appends the rows behind the figure to ``canvas.table``; None
        where there is nothing to draw, and then the first sentence stands in its place.
    height
        Inches; the width is that of a page.
    notes
        Sentences under the table: how it was computed.
    """

    table: Sequence[Mapping[str, Any]]
    shown: Mapping[str, str]
    reading: tuple[str, str, str]
    draw: Callable[[Canvas], None] | None = None
    height: float = 3.6
    notes: tuple[str, ...] = ()
