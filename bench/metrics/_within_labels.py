"""Rows of each label with their batches, for metrics that compare batches within labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.core.words import count
from bench.metrics._core import Ints, codes, has_value, left_out, matrix, named

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from bench.core.types import Array


class LabelRows(NamedTuple):
    """Rows of one label: ``(n, d)`` profiles, ``(n,)`` batch codes, number of batches."""

    X: Array
    batch: Ints
    n_batches: int


def labels_with_batches(
    X: ArrayLike, label: ArrayLike, batch: ArrayLike
) -> tuple[list[LabelRows], Callable[[int, int], str]]:
    """Return the rows of each label, and a function that describes what was used.

    Parameters
    ----------
    X
        ``(n, d)`` profiles.
    label, batch
        ``(n,)`` labels and batches; rows without one of them ("" or -1) are skipped.

    Returns
    -------
    list of LabelRows
        In the order of the labels.
    callable
        Takes the numbers of used rows and labels; returns the text of ``Value.used``.

    Raises
    ------
    BenchError
        If the lengths of the columns differ or profiles are not finite.
    """
    table = matrix(X)
    column = named(label, "label", len(table))
    where = named(batch, "batch", len(table))
    keep = has_value(column) & has_value(where)
    table, where = table[keep], where[keep]
    code, names = codes(column[keep])
    groups = []
    for k in range(len(names)):
        rows = np.flatnonzero(code == k)
        place, places = codes(where[rows])
        groups.append(LabelRows(table[rows], place, len(places)))
    skipped = left_out(int((~keep).sum()), "without a label or batch")

    def used(n_rows: int, n_labels: int) -> str:
        return f"{count(n_rows, 'row')}, {n_labels} of {count(len(names), 'label')}{skipped}"

    return groups, used
