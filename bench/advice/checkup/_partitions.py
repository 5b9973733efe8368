"""Checks of the training and test sets of a split: overlap and class composition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.advice.checkup._check import Check, labels_of, supervised_folds
from bench.core.errors import BenchError
from bench.data.audit import audit
from bench.data.duplicates import row_digests
from bench.data.folds import folds
from bench.data.views import column_of, encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.core.dataset import Opened
    from bench.core.split import Split
    from bench.data.partitions import Fold


def split_overlap(opened: Opened, split: Split) -> Iterator[Check]:
    topic = f"split {split.name}"
    try:
        split_folds = folds(split, opened)
        shared = audit(split, opened, split_folds)
    except BenchError as error:
        yield Check(topic, "warn", str(error))
        return
    if split.protocol == "unsupervised":
        yield Check(topic, "ok", "no training set: all rows are corrected, scored by retrieval")
        return
    scored = sum(int(fold.scored.sum()) for fold in split_folds)
    excluded = sum(fold.n_excluded for fold in split_folds)
    text = f"{len(split_folds)} fold{'s' * (len(split_folds) > 1)}, {scored} rows scored"
    if excluded:
        text += f", {excluded} rows excluded because their class has no training rows"
    yield Check(
        topic,
        "look" if excluded else "ok",
        text,
        {"folds": len(split_folds), "scored": scored, "excluded": excluded},
    )
    for sentence in shared:
        yield Check(topic, "warn", f"leak: {sentence}")
    shifts = [shift for fold in split_folds if (shift := _label_shift(opened, fold)) is not None]
    if shifts:
        worst = max(shifts)
        yield Check(
            topic,
            "look" if worst > 0.25 else "ok",
            f"label shift between training and test: mean {np.mean(shifts):.2f}, maximum "
            f"{worst:.2f} (total variation, 0 to 1)",
            {"label_shift_mean": float(np.mean(shifts)), "label_shift_max": worst},
        )


def _label_shift(opened: Opened, fold: Fold) -> float | None:
    """Return the total variation distance between classes in training and in test."""
    labels = labels_of(opened)
    train, test = labels[fold.train], labels[fold.test[fold.scored]]
    train = train[np.isin(train, fold.classes)]
    if not len(train) or not len(test):
        return None
    mixtures = [
        np.bincount(encode(partition, fold.classes), minlength=len(fold.classes)) / len(partition)
        for partition in (train, test)
    ]
    return float(np.abs(mixtures[0] - mixtures[1]).sum() / 2)


def duplicates(opened: Opened, splits: Sequence[Split]) -> Iterator[Check]:
    """Find duplicate rows, and splits that have them in training and test."""
    digests = row_digests(opened)
    _, first, counts = np.unique(digests, return_index=True, return_counts=True)
    n = int((counts - 1).sum())
    if not n:
        yield Check("duplicates", "ok", "none: all rows have different content", {"duplicates": 0})
        return
    ids = column_of(opened, "id")
    example = ids[digests == digests[first[counts > 1][0]]][:2]
    yield Check(
        "duplicates",
        "warn",
        f"{n} rows repeat the content of another, such as {' and '.join(example)}",
        {"duplicates": n},
    )
    for split, split_folds in supervised_folds(opened, splits):
        both = sum(len(np.intersect1d(digests[f.train], digests[f.test])) for f in split_folds)
        if both:
            yield Check(
                f"split {split.name}",
                "warn",
                f"leak: {both} rows have a duplicate in training: remove the duplicates",
                {"content_on_both_sides": both},
            )
