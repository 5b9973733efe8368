"""Folds in which the values of a further column, such as the well position, are new as well."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError
from bench.data.partitions import natural_key, rows_of, split_column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.core.dataset import Opened
    from bench.core.split import Split
    from bench.core.types import Ints
    from bench.data.partitions import Fold
    from bench.data.rules import Texts


WELL = "well"
"""Value of ``also_new`` that means the well position on the plate."""
MOST_GROUPS = 4
"""Maximum number of groups: training loses a part of its rows, one in that many."""


def also_new_folds(
    split: Split, opened: Opened, folds: Sequence[Fold], labels: Texts
) -> list[Fold]:
    """Return one fold per fold and group of values of ``split.also_new``.

    In the fold ``NAME#g``, only test rows with a value in group ``g`` are scored, and training and
    validation rows with a class and a value in group ``g`` are left out. A treatment is therefore
    never scored at a value (a well position) at which any treatment was trained on. The
    test rows are those of the original fold, so that statistics of a test batch use the same rows
    as without ``also_new``, and each of its rows is scored in one of its folds. Rows without a
    class, such as negative controls, keep training: they are never scored.

    Parameters
    ----------
    labels
        ``(n,)`` class of each row, ``""`` for none.

    Raises
    ------
    BenchError
        If the column or a value is missing, or if fewer than two classes have two values.
    """
    where = f"split '{split.name}', also_new"
    name = _column(split, opened)
    column = split_column(split, opened, name, "also_new").astype(str)
    text = labels.astype(str)
    rows = [part for fold in folds for part in (fold.train, fold.validation, fold.test)]
    used = np.unique(np.concatenate(rows))
    labelled = used[text[used] != ""]
    n_missing = int((column[labelled] == "").sum())
    if n_missing:
        raise BenchError(
            f"{where}: {rows_of(n_missing)} with a class and without a value of {name}: fill it or "
            "drop those rows"
        )
    values: dict[str, set[str]] = {}
    for label, value in zip(text[labelled].tolist(), column[labelled].tolist(), strict=True):
        values.setdefault(label, set()).add(value)
    counts = sorted(len(values[label]) for label in folds[0].classes if len(values[label]) > 1)
    if len(counts) < 2:
        raise BenchError(
            f"{where}: {len(counts)} of {len(folds[0].classes)} classes have more than one value "
            f"of {name}, and two are needed to train and score: leave also_new out"
        )
    n_groups = min(MOST_GROUPS, counts[0])
    group_of = grouped_values(values, n_groups)
    group = np.full(len(column), -1)
    group[labelled] = [group_of[value] for value in column[labelled].tolist()]
    return [_restricted(fold, group, g, text) for fold in folds for g in range(n_groups)]


def _column(split: Split, opened: Opened) -> str:
    """Return the index column that ``also_new`` names."""
    if split.also_new != WELL:
        return split.also_new
    if "position" not in opened.columns:
        raise BenchError(
            f"split '{split.name}', also_new: {opened.name} has no column with the well position "
            'on the plate: add the key position = "COLUMN"'
        )
    return opened.columns["position"]


def grouped_values(values: Mapping[str, set[str]], n_groups: int) -> dict[str, int]:
    """Return the group of each value, so that each class has values in as many groups as possible.

    Classes are processed from the one with the fewest values on, and the values of a class in
    natural order. Each goes to the group with the fewest values of the class, of several to the one
    with the fewest values in total, of several to the first.

    Parameters
    ----------
    values
        Class -> its values.
    """
    groups: dict[str, int] = {}
    totals = np.zeros(n_groups, dtype=np.int64)
    for label in sorted(values, key=lambda name: (len(values[name]), name)):
        own = np.zeros(n_groups, dtype=np.int64)
        for value in values[label] & set(groups):
            own[groups[value]] += 1
        for value in sorted(values[label] - set(groups), key=natural_key):
            g = int(np.lexsort((totals, own))[0])
            groups[value] = g
            own[g] += 1
            totals[g] += 1
    return groups


def _restricted(fold: Fold, group: Ints, g: int, labels: Texts) -> Fold:
    """Return a fold that scores group ``g`` and does not train on it."""
    train = fold.train[group[fold.train] != g]
    trained = set(labels[train].tolist()) & set(fold.classes)
    held = labels[fold.test]
    inside = group[fold.test] == g
    scored = fold.scored & inside & np.isin(held, sorted(trained))
    excluded = held[inside & ~scored]
    return dataclasses.replace(
        fold,
        name=f"{fold.name}#{g + 1}",
        train=train,
        validation=fold.validation[group[fold.validation] != g],
        scored=scored,
        n_excluded=len(excluded),
        excluded_classes=tuple(sorted(set(excluded.tolist()))),
    )
