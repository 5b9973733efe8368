"""Conditions of a study, their results, and what a study returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.boards.pairing import Paired
    from bench.boards.stats.scores import Scores
    from bench.data.task import Task
    from bench.output.canvas import Canvas
    from bench.records.record import Record


Values = dict[str, dict[str, object]]
Cell = str | int | float | bool | None
"""A value of a study's table."""


@dataclass(frozen=True)
class Condition:
    """One condition of a study, run with every seed.

    Attributes
    ----------
    method
        As typed, such as ``ben`` or ``erm+tvn``.
    values
        Parameters by stage, in addition to those of the command line.
    grouping
        How test rows are grouped into inference batches, as accepted by
        :meth:`InferenceBatches.read`; by default the test batches.
    task
        An opened split, by default the study's own.
    """

    method: str
    values: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    grouping: Mapping[str, object] | None = None
    task: Task | None = None
    recipe: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class ConditionResult:
    """The scores of a condition over seeds and clusters.

    Attributes
    ----------
    condition, label
        The condition, and its name with non-default parameters.
    reason
        Why there are no scores; empty otherwise.
    scores
        The metric by seed and cluster (plate, week, ...); None without scores.
    low, high
        95 % limits over seeds crossed with clusters; None with fewer than 8 clusters or one seed.
    rows
        Median number of rows in an inference batch.
    largest
        Largest number of rows in an inference batch.
    batches, fallbacks
        Inference batches per seed, and how many of them used the method's fallback (means).
    records
        The records, in order of seeds.
    """

    condition: Condition
    label: str
    reason: str = ""
    scores: Scores | None = None
    level: str = ""
    low: float | None = None
    high: float | None = None
    rows: float = 0.0
    largest: int = 0
    batches: float = 0.0
    fallbacks: float = 0.0
    records: tuple[Record, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there are scores."""
        return self.scores is not None

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds with a score."""
        return () if self.scores is None else self.scores.seeds

    @property
    def values(self) -> tuple[float, ...]:
        """The metric over all scored rows, per seed."""
        return () if self.scores is None else self.scores.pooled

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.values))

    @property
    def sd(self) -> float | None:
        """Standard deviation over seeds (n - 1); None with one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None

    @property
    def n_clusters(self) -> int:
        """Number of clusters with a score for every seed."""
        return 0 if self.scores is None else len(self.scores.clusters)

    @property
    def text(self) -> str:
        """``0.694 ± 0.010``."""
        return f"{self.mean:.3f}" + (f" ± {self.sd:.3f}" if self.sd is not None else "")

    def facts(self) -> dict[str, Cell]:
        """Return the columns common to all study tables."""
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
class Difference:
    """A paired difference between two results over their common seeds and clusters.

    Attributes
    ----------
    mean, sd
        Over seeds; ``sd`` is None with one.
    low, high, p
        95 % limits over seeds crossed with clusters and the p value of a difference of 0
        (``bench.boards.pairing``), or None.
    """

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    n_clusters: int
    level: str
    p: float | None = None

    @classmethod
    def of(cls, pair: Paired, level: str, *, by_cluster: bool = True) -> Difference:
        """Return a difference for display in studies.

        Parameters
        ----------
        by_cluster
            False for results on different rows, whose clusters cannot be paired.
        """
        if not by_cluster:
            return cls(pair.difference, pair.sd, None, None, 0, level)
        return cls(pair.difference, pair.sd, pair.low, pair.high, pair.n_clusters, level, pair.p)

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and it excludes 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    @property
    def text(self) -> str:
        """``+0.026 [+0.010, +0.041]``, or with the SD over seeds if there is no interval."""
        text = f"{self.mean:+.3f}"
        if self.low is not None and self.high is not None:
            return f"{text} [{self.low:+.3f}, {self.high:+.3f}]"
        return text + (f" ± {self.sd:.3f}" if self.sd is not None else "")

    def facts(self, prefix: str) -> dict[str, Cell]:
        """Return columns ``<prefix>``, ``<prefix>_sd``, ``_low``, ``_high`` and ``_p``."""
        values = {"": self.mean, "_sd": self.sd, "_low": self.low, "_high": self.high, "_p": self.p}
        return {f"{prefix}{name}": value for name, value in values.items()}


def difference_cells(difference: Difference | None) -> dict[str, Cell]:
    """Return the cells of a paired difference; without one, they are empty."""
    if difference is None:
        return dict.fromkeys(("diff", "diff_sd", "diff_low", "diff_high", "diff_p"))
    return difference.facts("diff")


@dataclass(frozen=True)
class Finding:
    """Result of a study.

    Attributes
    ----------
    shown
        Printed columns of the table -> heading.
    reading
        Three short paragraphs built from the numbers: the result, its size and spread, and the
        limitations. Sentences have at most 20 words.
    draw
        Draws on an open canvas and appends the rows behind the figure to ``canvas.table``; if
        None, the figure shows the first sentence.
    height
        Height in inches; the width is that of a page.
    notes
        Sentences below the table on how the result was computed.
    """

    table: Sequence[Mapping[str, Cell]]
    shown: Mapping[str, str]
    reading: tuple[str, str, str]
    draw: Callable[[Canvas], None] | None = None
    height: float = 3.6
    notes: tuple[str, ...] = ()
