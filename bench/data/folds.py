"""Splits: from column values of a data set's index to rows on the training and the test side.

Importing this module costs no more than NumPy: ``list splits`` reads the packaged splits with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError, did_you_mean
from bench.data.rules import (
    WHOLE,
    Texts,  # TC
    check_split,
)
from bench.data.sides import Fold, fixed, held_out, row_labels, rows_of, split_column, two_classes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.core.dataset import Opened
    from bench.core.split import Split
    from bench.core.types import Bools, Ints

__all__ = ["folds"]
CONTENT = "content"
"""What ``shares`` names where equal rows may lie on both sides."""


@dataclass(frozen=True, eq=False)
class Origin:
    """What an encoder was trained on that is taken to another data set.

    Attributes
    ----------
    split
        Name of the split whose training rows these are.
    opened
        Its data set.
    train
        Rows of that data set, ascending.
    classes
        Label map of the training.
    """

    split: str
    opened: Opened
    train: Ints
    classes: tuple[str, ...]


def folds(split: Split, opened: Opened) -> list[Fold]:
    """Return the folds of a split, in natural order of their names.

    ``hold_out`` gives one fold for each value of the column: the rows with the value are the test
    side, all others the training side. ``test`` with or without ``train`` gives the single fold
    ``all``; without ``train`` every row outside ``test`` and ``validation`` trains. The
    unsupervised protocol gives the single fold ``all`` with every row on both sides; so does
    ``transfer``, but with no row on the training side, which is another data set's
    (:class:`Origin`).

    The label map is one for the split, sorted. With ``hold_out`` it holds the classes that occur
    under at least two held-out values, the only ones that can be both trained and scored; otherwise
    the classes of the training rows, so that it never depends on which classes the test holds and
    several tests of one training set share a fit. Rows of other classes are excluded from scoring
    and counted.

    A fold may have nothing to score (:attr:`Fold.scored` all false), for instance where a
    held-out week holds controls and classes of its own only; a split may not.

    Raises
    ------
    BenchError
        For an unknown column or value, sides that are empty or overlap, one held-out value, rows
        without a value where the column decides, fewer than two classes to train, or nothing
        to score.
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
        learnt = nothing if split.protocol == "transfer" else every
        made = [Fold(WHOLE, learnt, nothing, every, labels[every] != "", names)]
        _whole_units(split, opened, made, labels)
        return made
    if split.hold_out is not None:
        made = held_out(split, opened, labels, inside)
    else:
        made = [fixed(split, opened, labels, inside)]
    _whole_units(split, opened, made, labels)
    if not any(fold.scored.any() for fold in made):
        raise BenchError(
            f"{where} has nothing to score: no class of the test rows has training rows; "
            "choose a split whose sides share classes"
        )
    return made


def _inside(split: Split, opened: Opened) -> Bools:
    """Return the rows that take part, ``(n,)`` bool; each value of ``where`` must have some.

    A scenario of five laboratories of which one is missing would be another scenario.
    """
    inside = np.ones(len(opened.index), dtype=bool)
    for name, values in (split.where or {}).items():
        column = split_column(split, opened, name, "where").astype(str)
        known = set(column.tolist())
        lacking = [value for value in values if value not in known]
        if lacking:
            raise BenchError(
                f"split '{split.name}' needs rows of {name} {' and '.join(lacking)}, and "
                f"{opened.name} has none here: get their files, or choose another split"
            )
        inside &= np.isin(column, values)
    return inside


def _whole_units(split: Split, opened: Opened, made: Sequence[Fold], labels: Texts) -> None:
    """Refuse a score unit whose rows cannot be averaged to one prediction."""
    where, name = f"split '{split.name}'", split.score_unit
    if name == "row":
        return
    units = split_column(split, opened, name, "score_unit").astype(str)
    for fold in made:
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
