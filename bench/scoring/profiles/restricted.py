"""Retrieval at graded restrictions of the gallery.

A restriction names columns: a row that shares one of them with the query is not in its gallery.
Restrictions are none, each batch level, the well position, and each level with the position. Two
matches are scored:

``treatment``
    positives are the other wells of the query's treatment.
``label``
    positives have the query's label and another compound; rows are averaged per treatment and
    value of the restricted columns first. Recall at 1 without a restriction is NSC, and with the
    batch of NSCB it is NSCB.

Intervals are percentiles of a bootstrap over treatments, the same draws for all methods.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bench.core.seeds import generator
from bench.data.views import column_of
from bench.scoring.profiles.activity import treatments
from bench.scoring.profiles.ranking import Gallery, ranked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.core.dataset import Opened
    from bench.core.types import Array, Floats, Ints, Strings

NEIGHBOURS = (1, 5, 10)
"""Numbers of neighbours of the recalls."""
METRICS = (*(f"recall@{k}" for k in NEIGHBOURS), "map", "normalised map")
DRAWS = 1000
"""Bootstrap draws."""


@dataclass(frozen=True, eq=False)
class Score:
    """Scores of one match at one restriction.

    Attributes
    ----------
    match
        ``treatment`` or ``label``.
    restriction
        Restricted columns joined by ``+``, or ``none``.
    n, skipped
        Queries scored, and queries without a positive or negative in their gallery.
    sums
        Metric -> sum over the queries of each treatment, ``(t,)``.
    counts
        Queries of each treatment, ``(t,)``; treatments are the same for all scores.
    """

    match: str
    restriction: str
    n: int
    skipped: int
    sums: Mapping[str, Array]
    counts: Array
    draws: Array = field(repr=False)

    def value(self, metric: str) -> float:
        """Return the mean over queries."""
        return float(self.sums[metric].sum() / self.counts.sum())

    def interval(self, metric: str, other: Score | None = None) -> tuple[float, float]:
        """Return 95 % limits of the mean, or of the difference to another method's score."""
        values = self._drawn(metric)
        if other is not None:
            values = values - other._drawn(metric)
        low, high = np.nanpercentile(values, [2.5, 97.5])
        return float(low), float(high)

    def _drawn(self, metric: str) -> Array:
        counts = self.draws @ self.counts
        result: Array = np.divide(
            self.draws @ self.sums[metric],
            counts,
            out=np.full(len(counts), np.nan),
            where=counts > 0,
        )
        return result


def restrictions(opened: Opened) -> dict[str, tuple[str, ...]]:
    """Return name -> restricted columns, the weakest first."""
    position = opened.columns.get("position")
    columns: dict[str, tuple[str, ...]] = {"none": ()}
    columns |= {level: (level,) for level in opened.levels}
    batch = opened.columns.get("nscb_batch")
    if batch is not None and batch not in columns:
        columns[batch] = (batch,)
    if position is not None:
        columns["position"] = (position,)
        columns |= {f"{level}+position": (level, position) for level in opened.levels}
    return columns


def scores(opened: Opened, X: Floats) -> list[Score]:
    """Score all matches and restrictions that have a query with a positive.

    Parameters
    ----------
    opened
        The data set.
    X
        ``(n, d)`` profiles of all rows. Negative controls are left out.
    """
    treated = np.flatnonzero(~opened.index["control"].to_numpy(bool))
    names, labels = treatments(opened)[treated], column_of(opened, "label")[treated]
    draws = _draws(opened, len(np.unique(names)))
    result = []
    by_label = len(np.unique(labels)) < len(np.unique(names))
    for match in ("treatment", "label") if by_label else ("treatment",):
        for restriction, columns in restrictions(opened).items():
            values = [column_of(opened, column)[treated] for column in columns]
            if match == "treatment":
                rows: Array = X[treated]
                own, group, differ = names, names, values
            else:
                compound = column_of(opened, opened.columns.get("compound", "label"))[treated]
                if "compound" not in opened.columns:
                    compound = names
                rows, (own, group, compound, *values) = _averaged(
                    X[treated], [names, labels, compound, *values]
                )
                differ = [compound, *values]
            score = _score(match, restriction, rows, own, group, differ, np.unique(names), draws)
            if score is not None:
                result.append(score)
    return result


def _score(
    match: str,
    restriction: str,
    X: Array,
    names: Strings,
    group: Strings,
    differ: Sequence[Strings],
    known: Strings,
    draws: Array,
) -> Score | None:
    every = np.ones(len(X), bool)
    gallery = Gallery(_codes(group), every, every, tuple(_codes(values) for values in differ))
    retrieval = ranked(X, gallery, NEIGHBOURS)
    if not len(retrieval.rows):
        return None
    place = np.searchsorted(known, names[retrieval.rows])
    columns = [*retrieval.recall.T, retrieval.precision, retrieval.normalised]
    return Score(
        match,
        restriction,
        len(retrieval.rows),
        retrieval.skipped,
        {
            metric: np.bincount(place, column, len(known))
            for metric, column in zip(METRICS, columns, strict=True)
        },
        np.bincount(place, minlength=len(known)).astype(np.float64),
        draws,
    )


def _averaged(X: Floats, columns: Sequence[Strings]) -> tuple[Array, list[Strings]]:
    """Average rows that agree in all columns."""
    keys = np.stack([_codes(column) for column in columns], axis=1)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    sums = np.zeros((len(first), X.shape[1]))
    np.add.at(sums, inverse, X.astype(np.float64))
    means: Array = sums / np.bincount(inverse)[:, None]
    return means, [column[first] for column in columns]


def _codes(values: Strings) -> Ints:
    """Return codes ``(n,)``; rows without a value have one of their own."""
    codes = np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)
    missing = np.flatnonzero(values == "")
    codes[missing] = codes.max(initial=0) + 1 + np.arange(len(missing))
    return codes


def _draws(opened: Opened, n: int) -> Array:
    """Return how often each treatment is in each bootstrap sample, ``(DRAWS, n)``."""
    chances = np.full(n, 1 / n)
    drawn: Array = generator("restrictions", opened.digest).multinomial(n, chances, DRAWS)
    return drawn.astype(np.float64)
