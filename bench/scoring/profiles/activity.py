"""Phenotypic activity of treatments, and consistency of treatments that share a label.

Definitions of copairs (Kalinin et al. 2025, doi:10.1038/s41467-025-60306-2). A treatment is active
if its wells retrieve each other among negative controls: positives of a well are the other wells of
its treatment, negatives the controls of its own batch. A label (target, mechanism) is consistent if
its active treatments retrieve each other among the active treatments of other labels, on mean
profiles. Average precision is averaged per group and compared with random rankings; q values are
those of Benjamini and Hochberg 1995.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import NotApplicable
from bench.data.views import column_of
from bench.scoring.profiles.ranking import Gallery, Ranked, p_value, ranked

if TYPE_CHECKING:
    from bench.core.dataset import Opened
    from bench.core.types import Array, Bools, Floats, Ints, Strings

ALPHA = 0.05
"""Largest q value of an active treatment or a consistent label."""


@dataclass(frozen=True, eq=False)
class Groups:
    """Mean average precision of groups, such as treatments.

    Attributes
    ----------
    names
        ``(g,)`` groups with a scored query.
    n
        ``(g,)`` number of scored queries.
    precision, normalised
        ``(g,)`` mean average precision, and mean of the normalised one.
    p, q
        ``(g,)`` p value of random rankings, and the q value.
    skipped
        Number of queries without a positive or negative.
    """

    names: Strings
    n: Ints
    precision: Array
    normalised: Array
    p: Array
    q: Array
    skipped: int

    @property
    def significant(self) -> Bools:
        """``(g,)`` whether the q value is below :data:`ALPHA`."""
        return self.q < ALPHA


def activity(opened: Opened, X: Floats) -> Groups:
    """Return the activity of each treatment.

    Parameters
    ----------
    opened
        The data set; its treatments, or its labels if it names no treatments.
    X
        ``(n, d)`` profiles of all rows.

    Raises
    ------
    NotApplicable
        If no treatment has two wells and controls in their batches.
    """
    control = opened.index["control"].to_numpy(bool)
    names = treatments(opened)
    group = codes_or_none(np.where(control, "", names))
    batch = codes_or_none(column_of(opened, opened.level))
    result = ranked(X, Gallery(group, ~control, control, share=(batch,)))
    if not len(result.rows):
        raise NotApplicable(
            "activity needs treatments with two wells, and negative controls in the same "
            f"{opened.level}"
        )
    return grouped(result, names)


def consistency(opened: Opened, X: Floats, active: Strings) -> Groups:
    """Return the consistency of each label among active treatments.

    Parameters
    ----------
    opened, X
        As for :func:`activity`.
    active
        Names of the active treatments.

    Raises
    ------
    NotApplicable
        If labels are the treatments, or no label has two active treatments.
    """
    names, labels = treatments(opened), column_of(opened, "label")
    treated = np.isin(names, active) & ~opened.index["control"].to_numpy(bool) & (labels != "")
    pairs = np.unique(np.stack([names[treated], labels[treated]]), axis=1)
    if not pairs.size or len(np.unique(pairs[1])) == len(np.unique(pairs[0])):
        raise NotApplicable("consistency needs labels that several active treatments share")
    means = np.stack([X[treated & (names == t) & (labels == b)].mean(axis=0) for t, b in pairs.T])
    every = np.ones(len(means), bool)
    compound = codes_or_none(pairs[0])
    result = ranked(means, Gallery(codes_or_none(pairs[1]), every, every, differ=(compound,)))
    if not len(result.rows):
        raise NotApplicable("no label has two active treatments")
    return grouped(result, pairs[1])


def grouped(result: Ranked, names: Strings) -> Groups:
    """Average queries per group and compute p and q values.

    Parameters
    ----------
    result
        Scores of the queries.
    names
        ``(n,)`` group of each row.
    """
    from scipy.stats import false_discovery_control

    groups, codes = np.unique(names[result.rows], return_inverse=True)
    n = np.bincount(codes)
    precision = np.bincount(codes, result.precision) / n
    p = np.empty(len(groups))
    for k in range(len(groups)):
        own = np.flatnonzero(codes == k)
        configurations = list(zip(result.positives[own], result.total[own], strict=True))
        p[k] = p_value(float(precision[k]), configurations)
    return Groups(
        groups,
        n,
        precision,
        np.bincount(codes, result.normalised) / n,
        p,
        false_discovery_control(p),
        result.skipped,
    )


def treatments(opened: Opened) -> Strings:
    """Return the treatment of each row, ``(n,)``, or its label if treatments are not known."""
    return column_of(opened, opened.columns.get("treatment", "label"))


def codes_or_none(values: Strings) -> Ints:
    """Return codes ``(n,)``; -1 for an empty text."""
    codes = np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return np.where(values == "", -1, codes)
