"""Splits: from the values of index columns to the training and test rows.

Importing this module loads only NumPy: ``list splits`` uses it to read the packaged splits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError, did_you_mean
from bench.data.new_values import also_new_folds
from bench.data.partitions import (
    Fold,
    fixed,
    held_out,
    row_labels,
    rows_of,
    split_column,
    two_classes,
)
from bench.data.rules import (
    WHOLE,
    Texts,  # TC
    check_split,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.core.dataset import Opened
    from bench.core.split import Split
    from bench.core.types import Bools, Ints

CONTENT = "content"
"""Value of ``shares`` that allows equal rows in training and test."""


@dataclass(frozen=True, eq=False)
class SourceDomain:
    """Training data of an encoder that is applied to another data set.

    Attributes
    ----------
    split
        Name of the split that defines the training rows.
    train
        Training rows of that data set, ascending.
    classes
        Label map used in training.
    """

    split: str
    opened: Opened
    train: Ints
    classes: tuple[str, ...]


def folds(split: Split, opened: Opened) -> list[Fold]:
    """Return the folds of a split, in natural order of their names.

    ``hold_out`` gives one fold for each value of the column: rows with that value are the test
    rows, all other rows the training rows. ``test``, with or without ``train``, gives the single
    fold ``all``; without ``train``, every row outside ``test`` and ``validation`` is a training
    row. The unsupervised protocol gives the single fold ``all`` with every row in both.
    ``transfer`` does the same, except that it has no training rows: the training rows belong to
    another data set (:class:`SourceDomain`).

    ``also_new`` divides each fold: see :func:`bench.data.new_values.also_new_folds`.

    A split has one label map, sorted. With ``hold_out`` it contains the classes that occur under
    at least two held-out values, because only these can be both trained and scored. Otherwise it
    contains the classes of the training rows. It then does not depend on the classes of the test
    rows, and several tests of one training set can share a fit. Rows of other classes are excluded
    from scoring and counted.

    A fold may have no scored rows (:attr:`Fold.scored` is all false), for instance if a held-out
    week contains only controls and classes that occur nowhere else. A split must have some.

    Raises
    ------
    BenchError
        For an unknown column or value, empty or overlapping partitions, a single held-out value,
        rows without a value in a column that the split uses, fewer than two training classes, or no
        scored rows.
    """
    check_split(split)
    where = f"split '{split.name}'"
    labels = row_labels(opened)
    if not len(labels):
        raise BenchError(f"{where}: data set {opened.name} has no rows")
    for name in (*split.expose, *split.shares):
        if name != CONTENT:
            split_column(split, opened, name, "expose" if name in split.expose else "shares")
    if split.cluster and split.cluster not in opened.levels:
        raise BenchError(
            f"{where}, cluster: " + did_you_mean(split.cluster, list(opened.levels), "batch level")
        )
    for step in split.aggregate:
        name = step.rpartition("=")[0]
        split_column(split, opened, opened.columns.get(name, name), "aggregate")
    inside = _inside(split, opened)
    if split.protocol != "supervised":
        every = np.flatnonzero(inside).astype(np.int64)
        names = tuple(sorted({str(label) for label in labels[every]} - {""}))
        two_classes(where, names)
        nothing = np.zeros(0, dtype=np.int64)
        trained = nothing if split.protocol == "transfer" else every
        result = [Fold(WHOLE, trained, nothing, every, labels[every] != "", names)]
        _whole_units(split, opened, result, labels)
        return result
    if split.hold_out is not None:
        result = held_out(split, opened, labels, inside)
    else:
        result = [fixed(split, opened, labels, inside)]
    if split.also_new:
        result = also_new_folds(split, opened, result, labels)
    _whole_units(split, opened, result, labels)
    if not any(fold.scored.any() for fold in result):
        raise BenchError(
            f"{where} has nothing to score: no class of the test rows has training rows; "
            "choose a split with classes shared by training and test rows"
        )
    return result


def _inside(split: Split, opened: Opened) -> Bools:
    """Return a mask ``(n,)`` of the rows in the split; each value of ``where`` must have rows.

    Without this check, a missing laboratory would silently give a different split.
    """
    inside = np.ones(len(opened.index), dtype=bool)
    for name, values in (split.where or {}).items():
        column = split_column(split, opened, name, "where").astype(str)
        present = set(column.tolist())
        lacking = [value for value in values if value not in present]
        if lacking:
            raise BenchError(
                f"split '{split.name}' needs rows of {name} {' and '.join(lacking)}, and "
                f"{opened.name} has none here: get their files, or choose another split"
            )
        inside &= np.isin(column, values)
    return inside


def _whole_units(split: Split, opened: Opened, folds: Sequence[Fold], labels: Texts) -> None:
    """Raise if the rows of a score unit cannot be averaged to one prediction."""
    where, name = f"split '{split.name}'", split.score_unit
    if name == "row":
        return
    units = split_column(split, opened, name, "score_unit").astype(str)
    for fold in folds:
        rows = fold.test[fold.scored]
        n_missing = int((units[rows] == "").sum())
        if n_missing:
            raise BenchError(
                f"{where}: {rows_of(n_missing)} to score without a value in the score unit {name}: "
                "fill it or choose another score_unit"
            )
        of: dict[str, str] = {}
        for unit, label in zip(units[rows].tolist(), labels[rows].tolist(), strict=True):
            if of.setdefault(unit, label) != label:
                raise BenchError(
                    f"{where}: the rows of {name} '{unit}' have the labels '{of[unit]}' and "
                    f"'{label}', so they cannot be scored as one: choose another score_unit"
                )
