"""Overlap between training and test rows, and the digest of a split."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError
from bench.data.folds import CONTENT
from bench.data.sides import (
    Fold,  # TC
    rows_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.core.dataset import Opened
    from bench.core.split import Split
    from bench.core.types import Array

__all__ = ["audit", "split_digest"]


# --------------------------------------------------------------------------- what is shared


def audit(
    split: Split,
    opened: Opened,
    made: Sequence[Fold],
    content: Array | None = None,
) -> list[str]:
    """Return one sentence for each thing that lies on both sides and is not declared.

    Looked at are the physical wells and the batch levels: a plate on both sides makes a test easier
    than its ``shift`` says; and where it is known the rows' content, since a copy of a training row
    is no test. What is in ``split.shares`` is declared and passes. Without a supervised training on
    rows of this data set there are no sides and nothing to report.

    Parameters
    ----------
    split, opened, made
        The split, its data set and its folds.
    content
        ``(n,)`` digests, equal where two rows are; by default what the data set keeps of its own,
        if anything. ``bench.data.content`` makes them for any data set.

    Raises
    ------
    BenchError
        If a sample itself is on both sides.
    """
    if split.protocol != "supervised":
        return []
    ids = np.asarray(opened.index["id"], dtype=object).astype(str)
    for fold in made:
        # by id and not by row: a data set may hold one sample in two rows
        learnt = set(ids[fold.train].tolist()) | set(ids[fold.validation].tolist())
        both = sorted(learnt & set(ids[fold.test].tolist()))
        if both:
            raise BenchError(
                f"split '{split.name}', fold {fold.name}: samples on both sides ({len(both)}), "
                f"such as '{both[0]}': give each sample one row and one side"
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
        for fold in made:
            learnt_codes = np.union1d(codes[fold.train], codes[fold.validation])
            test_codes = np.setdiff1d(codes[fold.test], [none])
            n = len(np.intersect1d(learnt_codes, test_codes))
            n_shared, n_test, n_folds = n_shared + n, n_test + len(test_codes), n_folds + (n > 0)
        if n_shared:
            span = f" in {n_folds} of {len(made)} folds" if len(made) > 1 else ""
            sentences.append(
                f"{n_shared} of {n_test} test values of {name} also occur in training{span}; "
                f"the split does not declare that it shares {name}."
            )
    if content is None and opened.content is not None:
        content = opened.content()
    if content is not None and CONTENT not in split.shares:
        sentences += _copies(ids, made, content)
    return sentences


def _copies(ids: Array, made: Sequence[Fold], content: Array) -> list[str]:
    """Return a sentence about test rows that equal a training row value by value, if any do."""
    _, codes = np.unique(content, return_inverse=True)
    found: set[int] = set()
    for fold in made:
        learnt = np.union1d(codes[fold.train], codes[fold.validation])
        found.update(fold.test[np.isin(codes[fold.test], learnt)].tolist())
    if not found:
        return []
    first = min(found)
    twins = [ids[row] for row in np.flatnonzero(codes == codes[first]) if row != first]
    return [
        f"{rows_of(len(found))} to test on equal a training row value by value, such as "
        f"'{ids[first]}' and '{twins[0]}'; the split does not declare that it shares {CONTENT}."
    ]


def split_digest(opened: Opened, made: Sequence[Fold]) -> str:
    """Return the sha256 (hex) of which sample is on which side of each fold, scored or not.

    It depends on ids, not on the order of rows.
    """
    ids = np.asarray(opened.index["id"], dtype=object).astype(str)
    sides = [
        {
            "fold": fold.name,
            "classes": list(fold.classes),
            "train": sorted(ids[fold.train].tolist()),
            "validation": sorted(ids[fold.validation].tolist()),
            "test": sorted(ids[fold.test].tolist()),
            "scored": sorted(ids[fold.test[fold.scored]].tolist()),
        }
        for fold in sorted(made, key=lambda fold: fold.name)
    ]
    text = json.dumps(sides, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
