"""Checks of the two sides of a split: overlap and class composition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.advice.checkup._check import Check, labels_of
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
        made = folds(split, opened)
        shared = audit(split, opened, made)
    except BenchError as error:
        yield Check(topic, "warn", str(error))
        return
    if split.protocol == "unsupervised":
        yield Check(topic, "ok", "no training: all rows are corrected and scored by retrieval")
        return
    scored = sum(int(fold.scored.sum()) for fold in made)
    excluded = sum(fold.n_excluded for fold in made)
    text = f"{len(made)} fold{'s' * (len(made) > 1)}, {scored} rows scored"
    if excluded:
        text += f", {excluded} left out, whose class has no training rows"
    yield Check(
        topic,
        "look" if excluded else "ok",
        text,
        {"folds": len(made), "scored": scored, "excluded": excluded},
    )
    for sentence in shared:
        yield Check(topic, "warn", f"leak: {sentence}")
    shifts = [shift for fold in made if (shift := _label_shift(opened, fold)) is not None]
    if shifts:
        worst = max(shifts)
        yield Check(
            topic,
            "look" if worst > 0.25 else "ok",
            "label shift: the mixture of classes differs between training and test by "
            f"{np.mean(shifts):.2f} on average and {worst:.2f} at most (total variation, 0 to 1)",
            {"label_shift_mean": float(np.mean(shifts)), "label_shift_max": worst},
        )


def _label_shift(opened: Opened, fold: Fold) -> float | None:
    """Return the total variation distance between the class compositions of a fold's two sides."""
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
    """Find duplicate rows, and whether a split has them on both sides."""
    digests = row_digests(opened)
    _, first, counts = np.unique(digests, return_index=True, return_counts=True)
    n = int((counts - 1).sum())
    if not n:
        yield Check("duplicates", "ok", "no two rows have equal content", {"duplicates": 0})
        return
    ids = column_of(opened, "id")
    example = ids[digests == digests[first[counts > 1][0]]][:2]
    yield Check(
        "duplicates",
        "warn",
        f"{n} rows repeat the content of another, such as {' and '.join(example)}",
        {"duplicates": n},
    )
    for split in splits:
        try:
            made = folds(split, opened)
        except BenchError:
            continue  # reported by the check of the split
        if split.protocol == "unsupervised":
            continue
        both = sum(len(np.intersect1d(digests[f.train], digests[f.test])) for f in made)
        if both:
            yield Check(
                f"split {split.name}",
                "warn",
                f"leak: {both} contents lie on both sides: drop the duplicates",
                {"content_on_both_sides": both},
            )
