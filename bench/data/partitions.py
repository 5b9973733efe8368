"""Rows of the training and test sets of a split."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError, did_you_mean
from bench.data.rules import (
    WHOLE,
    Texts,  # TC
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from bench.core.dataset import Opened
    from bench.core.split import Split
    from bench.core.types import Array, Bools, Ints

__all__ = ["Fold"]


@dataclass(frozen=True, eq=False)
class Fold:
    """The training, validation and test rows of a fold of a split.

    Attributes
    ----------
    name
        The held-out value, or ``all`` if the split has only one fold.
    train, validation, test
        Positions in the index of the opened data set, ascending and disjoint. In the unsupervised
        protocol, ``train`` and ``test`` both contain all rows. Rows without a class are included:
        they belong to their batch like any other row.
    scored
        ``(len(test),)`` bool, true for the rows of ``test`` that are scored: not a control, and of
        a class that occurs in the training rows. The others remain unlabelled rows of their batch.
    classes
        The label map of the *split*, the same in every fold: class ``k`` is ``classes[k]``.
        A row whose label is not in it has no class (-1), also in training.
    n_excluded
        Number of ``test`` rows, without controls, whose class has no training rows: not scored.
    excluded_classes
        Classes of these rows.
    """

    name: str
    train: Ints
    validation: Ints
    test: Ints
    scored: Bools
    classes: tuple[str, ...]
    n_excluded: int = 0
    excluded_classes: tuple[str, ...] = ()


def rows_of(n: int) -> str:
    """Return ``1 row`` or ``n rows``, for messages."""
    return f"{n} row" if n == 1 else f"{n} rows"


def natural_key(text: str) -> tuple[object, ...]:
    """Sort key that puts ``Week2`` before ``Week10``; ties are broken by the text."""
    parts = re.split(r"(\d+)", text)
    return tuple((1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts), text


def split_column(split: Split, opened: Opened, name: str, used_by: str) -> Texts:
    if name not in opened.index.columns:
        columns = [
            str(column) for column in opened.index.columns if column not in ("id", "control")
        ]
        where = f"split '{split.name}', {used_by}: "
        raise BenchError(where + did_you_mean(name, columns, "column"))
    column: Texts = np.asarray(opened.index[name], dtype=object)
    return column


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _value(wanted: str, present: Sequence[str], where: str, what: str) -> str:
    """Return the column value that ``wanted`` refers to: an equal text or an equal number."""
    if wanted in present:
        return wanted
    number = _number(wanted)
    if number is not None:
        # 3 in a TOML file is "3.0" in a float column and may be "03" in a text column
        equal = [value for value in present if _number(value) == number]
        if len(equal) == 1:
            return equal[0]
    raise BenchError(where + did_you_mean(wanted, sorted(present, key=natural_key)[:40], what))


def _matching(
    split: Split, opened: Opened, partition: str, table: Mapping[str, Sequence[str]]
) -> NDArray[np.bool_]:
    """Return the mask of rows that have one of the values in each of the columns."""
    mask = np.ones(len(opened.index), dtype=bool)
    for name, values in table.items():
        column = split_column(split, opened, name, partition)
        present = sorted({str(value) for value in column} - {""})
        where = f"split '{split.name}', {partition}: "
        wanted = {_value(str(value), present, where, f"value of {name}") for value in values}
        mask &= np.isin(column.astype(str), sorted(wanted))
    return mask


def row_labels(opened: Opened) -> Texts:
    labels: Texts = np.asarray(opened.index["label"], dtype=object)
    if opened.control_classes:
        return labels
    labels = labels.copy()
    labels[np.asarray(opened.index["control"], dtype=bool)] = ""
    return labels


def two_classes(where: str, classes: Sequence[str]) -> None:
    if len(classes) < 2:
        present = f"only '{classes[0]}'" if classes else "none"
        raise BenchError(
            f"{where} needs at least two classes to learn, and has {present}: choose another label "
            "or another split"
        )


def held_out(split: Split, opened: Opened, labels: Texts, inside: Bools) -> list[Fold]:
    where, name = f"split '{split.name}'", str(split.hold_out)
    column = split_column(split, opened, name, "hold_out").astype(str)
    n_missing = int((column[inside] == "").sum())
    if n_missing:
        raise BenchError(
            f"{where}: {rows_of(n_missing)} without a value in the hold_out column {name}: fill it "
            "or drop those rows"
        )
    values = sorted(set(column[inside].tolist()), key=natural_key)
    if len(values) < 2:
        raise BenchError(
            f"{where}: column {name} has the single value '{values[0]}', so holding it out leaves "
            "nothing to train on: hold out another column"
        )
    text = labels.astype(str)
    seen: dict[str, set[str]] = {}
    for label, value in zip(text[inside].tolist(), column[inside].tolist(), strict=True):
        if label:
            seen.setdefault(label, set()).add(value)
    classes = tuple(sorted(label for label, under in seen.items() if len(under) > 1))
    if len(classes) < 2:
        raise BenchError(
            f"{where}: {len(classes)} of {len(seen)} classes occur under more than one value of "
            f"{name}, and two are needed to train and score: hold out another column"
        )
    folds = []
    for value in values:
        is_test = column == value
        trained, held = np.flatnonzero(~is_test & inside), np.flatnonzero(is_test & inside)
        folds.append(_fold(value, trained, np.zeros(0), held, text, classes))
    return folds


def fixed(split: Split, opened: Opened, labels: Texts, inside: Bools) -> Fold:
    where = f"split '{split.name}'"
    test = split.test
    if test is None or isinstance(test, str):  # check_split rejects both
        raise TypeError(f"{where}: test must be a table")
    masks = {"test": _matching(split, opened, "test", test)}
    masks["validation"] = np.zeros(len(labels), dtype=bool)
    if split.validation is not None:
        masks["validation"] = _matching(split, opened, "validation", split.validation)
    if split.train is not None:
        masks["train"] = _matching(split, opened, "train", split.train)
    else:
        for name in dict.fromkeys((*test, *(split.validation or {}))):
            column = split_column(split, opened, name, "test")
            n_missing = int((column.astype(str) == "").sum())
            if n_missing:
                raise BenchError(
                    f"{where}: {rows_of(n_missing)} without a value in {name}, so their "
                    "partition is ambiguous: fill it, drop those rows, or name the training values"
                )
        masks["train"] = ~masks["test"] & ~masks["validation"]
    masks = {partition: mask & inside for partition, mask in masks.items()}
    for first, second in (("train", "test"), ("train", "validation"), ("validation", "test")):
        n_both = int((masks[first] & masks[second]).sum())
        if n_both:
            raise BenchError(
                f"{where}: {rows_of(n_both)} in both {first} and {second}: make their values "
                "disjoint"
            )
    for partition, mask in masks.items():
        wanted = partition != "validation" or split.validation is not None
        if wanted and not mask.any():
            raise BenchError(
                f"{where}: no row is in {partition}: "
                + (
                    "test and validation contain all rows"
                    if partition == "train" and split.train is None
                    else "no row has all of its values"
                )
                + "; choose other values"
            )
    text = labels.astype(str)
    classes = tuple(sorted(set(text[masks["train"]].tolist()) - {""}))
    two_classes(f"{where}, in its training rows,", classes)
    rows = {partition: np.flatnonzero(mask) for partition, mask in masks.items()}
    return _fold(WHOLE, rows["train"], rows["validation"], rows["test"], text, classes)


def _fold(
    name: str, train: Array, validation: Array, test: Array, labels: Array, classes: tuple[str, ...]
) -> Fold:
    held = labels[test]
    scored = np.isin(held, classes)
    outside = held[~scored & (held != "")]
    return Fold(
        name=name,
        train=train.astype(np.int64),
        validation=validation.astype(np.int64),
        test=test.astype(np.int64),
        scored=scored,
        classes=classes,
        n_excluded=len(outside),
        excluded_classes=tuple(sorted(set(outside.tolist()))),
    )
