"""What is new in a test set, and the population that the intervals of a board refer to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.words import count, plural

if TYPE_CHECKING:
    from bench.records.record import Record


def level_name(level: str) -> str:
    """Return a batch level for display: ``meta_week`` as ``week``."""
    return level.removeprefix("meta_").replace("_", " ")


@dataclass(frozen=True, kw_only=True)
class NewUnits:
    """The units that are new in the test set of a board.

    Attributes
    ----------
    level, n
        The highest batch level with values that are absent from training, or the held-out column,
        and the number of its new values. ``n`` is None if the record does not say.
    """

    level: str
    n: int | None
    cluster_level: str
    n_clusters: int

    @property
    def title(self) -> str:
        """Units for the title of a board: ``new: 1 laboratory (8 days)``."""
        clusters = count(self.n_clusters, level_name(self.cluster_level))
        if self.n is None:
            return clusters if self.n_clusters else ""
        if not self.n:
            return f"nothing new ({clusters})"
        new = count(self.n, level_name(self.level))
        same = self.level == self.cluster_level and self.n == self.n_clusters
        return f"new: {new}" if same else f"new: {new} ({clusters})"

    @property
    def within(self) -> bool:
        """Whether the clusters are units within the new ones, not the new ones themselves."""
        return self.n is not None and self.n > 0 and self.level != self.cluster_level

    @property
    def scope(self) -> str:
        """Restriction of the verdicts: ``within this laboratory``; empty for new units like these.

        Clusters within the new units do not show how much the new units differ. Intervals over
        them then say nothing about another laboratory.
        """
        name = level_name(self.level)
        if not self.within:
            return "" if self.n != 0 else "within the training batches"
        return f"within this {name}" if self.n == 1 else f"within these {self.n} {plural(name)}"

    @property
    def population(self) -> str:
        """The population that the intervals refer to, as a sentence."""
        clusters = plural(level_name(self.cluster_level))
        if self.n is None:
            return (
                f"Intervals refer to further {clusters}. The records do not say which units are "
                "new; run again with --if-exists refresh."
            )
        if self.n == 0:
            return f"Intervals refer to further test sets of the training {clusters}."
        name = level_name(self.level)
        if not self.within:
            return f"Intervals refer to further new {clusters} like these {self.n}."
        return (
            f"Intervals refer to further {clusters} {self.scope}. They do not include the "
            f"variation between {plural(name)} (n = {self.n})."
        )


def new_units(run: Record) -> NewUnits:
    """Return the new units of a record.

    A record without ``units`` (of an older version) has them only if its folds are its clusters.
    """
    clusters = run.clusters
    level, n_clusters = clusters["level"] or "cluster", len(clusters["names"])
    new: dict[str, int] = {name: units["new"] for name, units in run.units.items()}
    if not new:
        n_folds = run.n_folds if run.n_folds > 1 else None
        return NewUnits(level=level, n=n_folds, cluster_level=level, n_clusters=n_clusters)
    # JSON does not keep the order of the levels.
    with_new = [name for name in new if new[name]]
    highest = max(with_new, key=lambda name: run.units[name]["height"], default="")
    name = run.held_out or highest
    return NewUnits(level=name, n=new.get(name, 0), cluster_level=level, n_clusters=n_clusters)
