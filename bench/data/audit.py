"""Overlap between training and test rows, and the digest of a split."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError
from bench.data.folds import CONTENT
from bench.data.partitions import (
    Fold,  # TC
    rows_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.core.dataset import Opened
    from bench.core.split import Split
    from bench.core.types import Array


def audit(
    split: Split, opened: Opened, folds: Sequence[Fold], content: Array | None = None
) -> list[str]:
    """Return one sentence for each undeclared overlap between training and test rows.

    Three things are compared: physical wells, batch levels and, where known, row content. A plate
    in both makes the test easier than the split's ``shift`` states, and a copy of a training row is
    not a valid test row. Overlap that is declared in ``split.shares`` is accepted. A split
    without supervised training on this data set has no such partitions and no overlap.

    Parameters
    ----------
    content
        ``(n,)`` digests, equal for equal rows. Default: the digests that the data set provides, if
        any. ``bench.data.duplicates`` computes them for any data set.

    Raises
    ------
    BenchError
        If a sample is in both training and test rows.
    """
    if split.protocol != "supervised":
        return []
    ids = np.asarray(opened.index["id"], dtype=object).astype(str)
    for fold in folds:
        # by id, not by row: one sample may occur in two rows of a data set
        trained = set(ids[fold.train].tolist()) | set(ids[fold.validation].tolist())
        both = sorted(trained & set(ids[fold.test].tolist()))
        if both:
            raise BenchError(
                f"split '{split.name}', fold {fold.name}: {len(both)} samples are in "
                f"training and test, such as '{both[0]}': give each sample one row"
            )
    well = opened.columns.get("well", "well")
    looked_at = [name for name in (well, *opened.levels) if name in opened.index.columns]
    sentences = []
    for name in dict.fromkeys(looked_at):
        if name in split.shares or name == split.hold_out:
            continue
        column = np.asarray(opened.index[name], dtype=object).astype(str)
        _, codes = np.unique(column, return_inverse=True)
        none = int(codes[np.flatnonzero(column == "")[0]]) if (column == "").any() else -1
        n_shared, n_test, n_folds = 0, 0, 0
        for fold in folds:
            learnt_codes = np.union1d(codes[fold.train], codes[fold.validation])
            test_codes = np.setdiff1d(codes[fold.test], [none])
            n = len(np.intersect1d(learnt_codes, test_codes))
            n_shared, n_test, n_folds = n_shared + n, n_test + len(test_codes), n_folds + (n > 0)
        if n_shared:
            span = f" in {n_folds} of {len(folds)} folds" if len(folds) > 1 else ""
            sentences.append(
                f"{n_shared} of {n_test} test values of {name} also occur in training{span}; "
                f"the split does not declare that it shares {name}."
            )
    if content is None and opened.content is not None:
        content = opened.content()
    if content is not None and CONTENT not in split.shares:
        sentences += _copies(ids, folds, content)
    return sentences


def _copies(ids: Array, folds: Sequence[Fold], content: Array) -> list[str]:
    """Return a sentence about test rows that are exact duplicates of training rows, if any."""
    _, codes = np.unique(content, return_inverse=True)
    copies: set[int] = set()
    for fold in folds:
        trained = np.union1d(codes[fold.train], codes[fold.validation])
        copies.update(fold.test[np.isin(codes[fold.test], trained)].tolist())
    if not copies:
        return []
    first = min(copies)
    equal = [ids[row] for row in np.flatnonzero(codes == codes[first]) if row != first]
    return [
        f"{rows_of(len(copies))} of the test set are exact duplicates of training rows, such as "
        f"'{ids[first]}' and '{equal[0]}'; the split does not declare that it shares {CONTENT}."
    ]


def split_digest(opened: Opened, folds: Sequence[Fold]) -> str:
    """Return the sha256 (hex) of the partition of each sample in each fold, scored or not.

    It depends on the ids, not on the order of the rows.
    """
    ids = np.asarray(opened.index["id"], dtype=object).astype(str)
    partitions = [
        {
            "fold": fold.name,
            "classes": list(fold.classes),
            "train": sorted(ids[fold.train].tolist()),
            "validation": sorted(ids[fold.validation].tolist()),
            "test": sorted(ids[fold.test].tolist()),
            "scored": sorted(ids[fold.test[fold.scored]].tolist()),
        }
        for fold in sorted(folds, key=lambda fold: fold.name)
    ]
    text = json.dumps(partitions, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
