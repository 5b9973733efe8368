"""Nearest-neighbour retrieval among profiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.metrics._core import (
    TIE,
    Bools,
    Doubles,
    Ints,
    chunks,
    codes,
    has_value,
    matrix,
    named,
    unit_rows,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from bench.core.types import Array


@dataclass(frozen=True, eq=False)
class Profiles:
    """Rows averaged to one profile per treatment (and batch).

    Attributes
    ----------
    unit
        ``(m, d)`` float64 profiles scaled to unit length.
    label, compound, batch
        ``(m,)`` integer codes.
    names
        ``(m,)`` compound of each profile, the cluster for resampling.
    unlabelled
        Number of rows excluded because they have no label.
    """

    unit: Doubles
    label: Ints
    compound: Ints
    batch: Ints
    names: Array
    unlabelled: int

    def __len__(self) -> int:
        return len(self.unit)


def profiles(
    X: ArrayLike,
    label: ArrayLike,
    compound: ArrayLike,
    batch: ArrayLike | None,
    treatment: ArrayLike | None,
) -> Profiles:
    """Average rows by treatment, label, compound and batch; drop rows without a label."""
    table = matrix(X)
    n = len(table)
    label = named(label, "label", n)
    keep = has_value(label)
    column = {
        "label": codes(label[keep])[0],
        "compound": codes(named(compound, "compound", n)[keep])[0],
        "batch": np.zeros(int(keep.sum()), dtype=np.int64)
        if batch is None
        else codes(named(batch, "batch", n)[keep])[0],
    }
    names = named(compound, "compound", n)[keep].astype(str)
    rows = table[keep].astype(np.float64)
    if treatment is not None:
        own = codes(named(treatment, "treatment", n)[keep])[0]
        keys = np.stack([own, *column.values()], axis=1)
        _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        inverse = inverse.reshape(-1)
        sums = np.zeros((len(first), rows.shape[1]))
        np.add.at(sums, inverse, rows)
        rows = sums / np.bincount(inverse)[:, None]
        column = {key: values[first] for key, values in column.items()}
        names = names[first]
    return Profiles(unit_rows(rows), **column, names=names, unlabelled=int((~keep).sum()))


@dataclass(frozen=True, eq=False)
class Matches:
    """Whether the nearest allowed profile of each query has the query's label.

    Attributes
    ----------
    right
        ``(m,)`` float64 in [0, 1]: 1 if it has, 0 if not, or the fraction among tied profiles.
        NaN for a query that is not scored.
    scored
        ``(m,)`` bool.
    """

    right: Doubles
    scored: Bools


def nearest_matches(table: Profiles, *, not_same_batch: bool) -> Matches:
    """Return the matches with neighbours of the same compound (and batch) excluded.

    A query is scored if its label occurs in another compound (and another batch).
    """
    m = len(table)
    right = np.full(m, np.nan)
    for block in chunks(m, m, 8 * 3):
        similarity = table.unit[block] @ table.unit.T
        allowed = table.compound[block, None] != table.compound[None]
        if not_same_batch:
            allowed &= table.batch[block, None] != table.batch[None]
        same = table.label[block, None] == table.label[None]
        similarity[~allowed] = -np.inf
        best = similarity.max(axis=1, keepdims=True)
        nearest = allowed & (similarity >= best - TIE)
        ok = (allowed & same).any(axis=1)
        share = (nearest & same).sum(axis=1)[ok] / nearest.sum(axis=1)[ok]
        right[np.flatnonzero(ok) + block.start] = share
    return Matches(right, ~np.isnan(right))
