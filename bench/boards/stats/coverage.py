"""Simulated coverage of the confidence intervals."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.boards.stats.intervals import mean_variance
from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike


SHARES: tuple[tuple[float, float, float], ...] = (
    (0.0, 1.0, 0.0),
    (0.0, 0.8, 0.2),
    (0.02, 0.75, 0.23),
    (0.05, 0.5, 0.45),
    (0.1, 0.8, 0.1),
    (0.1, 0.1, 0.8),
    (0.33, 0.34, 0.33),
    (0.45, 0.45, 0.1),
    (0.8, 0.1, 0.1),
    (0.0, 0.0, 1.0),
)
"""Variance fractions of seeds, clusters and residual."""
FIXED, HELD_OUT = "coverage.csv", "coverage_leave_one_out.csv"
"""Tables of simulated coverage, for a fixed test set and for held-out clusters."""
GRID_CLUSTERS = (4, 8, 14, 55)
GRID_SEEDS = (1, 3, 5)
TABLE_DRAWS = 40_000


def simulate_coverage(
    n_clusters: int,
    n_seeds: int,
    n_sim: int,
    rng: np.random.Generator,
    *,
    shares: tuple[float, float, float] = (0.33, 0.34, 0.33),
    sizes: ArrayLike | None = None,
    level: float = 0.95,
) -> float:
    """Return the simulated coverage of the true mean by :func:`interval`.

    Parameters
    ----------
    n_clusters, n_seeds
        Layout. Fewer than 8 clusters are simulated as if an interval were reported.
    n_sim
        Repetitions; the standard error is ``sqrt(c (1 - c) / n_sim)``.
    shares
        Variance of seeds, clusters and residual; normal effects.
    sizes
        ``(n_clusters,)`` weights; None for equal ones.
    """
    from scipy import stats

    if n_clusters < 2 or n_seeds < 1 or n_sim < 1:
        raise BenchError("coverage needs two clusters, one seed and one repetition")
    weights = np.ones(n_clusters) if sizes is None else np.asarray(sizes, dtype=np.float64)
    weights = weights / weights.sum()
    sd_seed, sd_cluster, sd_rest = np.sqrt(shares)
    covered = done = 0
    while done < n_sim:
        n = min(n_sim - done, max(1, 2_000_000 // (n_clusters * n_seeds)))
        values = (
            sd_seed * rng.standard_normal((n, n_seeds, 1))
            + sd_cluster * rng.standard_normal((n, 1, n_clusters))
            + sd_rest * rng.standard_normal((n, n_seeds, n_clusters))
        )
        mean, _, variance, df = mean_variance(values, weights)
        half = stats.t.ppf(0.5 + level / 2, df) * np.sqrt(variance)
        covered += int((np.abs(mean) <= half).sum())
        done += n
    return covered / n_sim


def coverage_table(n_sim: int = TABLE_DRAWS) -> list[dict[str, float]]:
    """Simulate the full grid; each cell has its own seed, so cells can be repeated alone."""
    from bench.core.seeds import generator

    rows = []
    for n_clusters in GRID_CLUSTERS:
        for n_seeds in GRID_SEEDS:
            for shares in SHARES:
                rng = generator("coverage", n_clusters, n_seeds, *map(str, shares))
                rows.append(
                    {
                        "n_clusters": n_clusters,
                        "n_seeds": n_seeds,
                        "seed_share": shares[0],
                        "cluster_share": shares[1],
                        "residual_share": shares[2],
                        "coverage": simulate_coverage(
                            n_clusters, n_seeds, n_sim, rng, shares=shares
                        ),
                        "n_sim": n_sim,
                    }
                )
    return rows


@dataclass(frozen=True)
class Coverage:
    """Simulated coverage of nominal 95 % intervals.

    Attributes
    ----------
    low, high
        Lowest and highest coverage in that cell: over variance ratios for a fixed test set, over
        classifiers, batch effects and label shift for held-out clusters.
    exact
        Whether the cell matches the requested numbers exactly, instead of the next smaller ones.
    shared_training
        Whether each cluster was held out once, so that trainings share rows.
    deterministic
        Whether the one seed represents all, so that trainings do not vary.
    """

    n_clusters: int
    n_seeds: int
    low: float
    high: float
    exact: bool
    shared_training: bool = False
    deterministic: bool = False

    @property
    def sentence(self) -> str:
        """Text to print below a table."""
        span = f"{self.low:.0%} to {self.high:.0%}"
        seeds = f"{self.n_seeds} seed{'' if self.n_seeds == 1 else 's'}"
        if self.deterministic:
            seeds = "deterministic methods"
        if self.shared_training:
            return (
                f"Simulated coverage of the 95 % intervals: {span}. The simulation is "
                f"leave-one-batch-out with {self.n_clusters} batches and {seeds}. Classifiers are "
                "trained on Gaussian data, with and without label shift."
            )
        if self.n_seeds == 1 and not self.deterministic:
            return (
                f"With one seed the 95 % intervals apply to that training on new clusters. "
                f"Simulated coverage for a new training: {span} ({self.n_clusters} clusters), "
                "lower the more seeds differ."
            )
        return (
            f"Simulated coverage of the 95 % intervals: {span} ({self.n_clusters} clusters, "
            f"{seeds}), depending on variance components."
        )


@functools.cache
def _coverage_cells(
    table: str, *, without_seeds: bool = False
) -> dict[tuple[int, int], tuple[float, float]]:
    """Return the range of each cell; optionally without rows in which seeds have a variance."""
    import csv
    from importlib.resources import files

    text = files("bench.boards.stats").joinpath(table).read_text(encoding="utf-8")
    cells: dict[tuple[int, int], list[float]] = {}
    for row in csv.DictReader(text.splitlines()):
        if without_seeds and float(row.get("seed_share") or 0):
            continue
        key = int(row["n_clusters"]), int(row["n_seeds"])
        cells.setdefault(key, []).append(float(row["coverage"]))
    return {key: (min(values), max(values)) for key, values in cells.items()}


def printed_coverage(
    n_clusters: int, n_seeds: int, *, shared_training: bool = False, deterministic: bool = False
) -> Coverage:
    """Return the simulated coverage of the nearest cell that is not larger.

    ``python -m bench.boards.stats.coverage`` writes the tables next to this file: ``coverage.csv``
    for clusters of a fixed test set, ``coverage_leave_one_out.csv`` for held-out clusters
    (:mod:`bench.boards.stats.leave_one_out`).

    Parameters
    ----------
    n_clusters
        Clusters of the test set; fewer than 4 use the cell of 4.
    deterministic
        Whether every seed gives the same scores; ``n_seeds`` is then ignored.
    """
    n_seeds = 1 if deterministic else n_seeds
    cells = _coverage_cells(HELD_OUT if shared_training else FIXED, without_seeds=deterministic)
    clusters = [c for c, _ in cells]
    n = max((c for c in clusters if c <= n_clusters), default=min(clusters))
    seeds = max(s for c, s in cells if c == n and s <= max(n_seeds, 1))
    low, high = cells[n, seeds]
    exact = (n, seeds) == (n_clusters, n_seeds)
    return Coverage(n, seeds, low, high, exact, shared_training, deterministic)


def _write(name: str, rows: Iterable[Mapping[str, object]]) -> None:
    import csv
    from pathlib import Path

    with Path(__file__).with_name(name).open("w", newline="", encoding="utf-8") as file:
        writer: csv.DictWriter[str] | None = None
        for row in rows:
            if writer is None:
                writer = csv.DictWriter(file, list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
            file.flush()


if __name__ == "__main__":
    from bench.boards.stats.leave_one_out import coverage_rows

    fixed = coverage_table()
    _write(FIXED, ({**row, "coverage": f"{row['coverage']:.4f}"} for row in fixed))
    _write(HELD_OUT, coverage_rows())
