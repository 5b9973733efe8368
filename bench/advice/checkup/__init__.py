"""Checks of a data set before training.

Every result is computed from the index and, where stated, from the features; nothing is stored or
corrected. Predictions are scored by balanced accuracy, so the chance level is one over the number
of classes, regardless of class sizes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.advice.checkup._check import FEW, Check
from bench.advice.checkup._index import (
    JOIN,
    classes_and_batches,
    composition_distance,
    controls,
    cramers_v,
    is_numbered_within,
)
from bench.advice.checkup._index import levels as _levels
from bench.advice.checkup._index import rows as _rows
from bench.advice.checkup._names import location_features, position, spellings
from bench.advice.checkup._near import near_duplicates
from bench.advice.checkup._partitions import duplicates, split_overlap
from bench.advice.checkup._prediction import features, predicted_by_columns, predicted_by_features
from bench.advice.checkup._upstream import upstream
from bench.advice.checkup._values import label_features, units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.core.dataset import Opened
    from bench.core.split import Split

__all__ = [
    "FEW",
    "JOIN",
    "Check",
    "composition_distance",
    "cramers_v",
    "examine",
    "is_numbered_within",
]


def examine(opened: Opened, splits: Sequence[Split]) -> list[Check]:
    """Return the results of all checks of a data set and its splits.

    Parameters
    ----------
    splits
        Splits of it; a split that cannot be opened is a warning.
    """
    checks = [*_rows(opened), *_levels(opened), *classes_and_batches(opened), *controls(opened)]
    checks += [*spellings(opened), *position(opened), *location_features(opened)]
    X = features(opened)
    checks += [*label_features(opened, *X), *units(opened, *X)]
    checks += [*duplicates(opened, splits), *near_duplicates(opened, splits)]
    for split in splits:
        checks += split_overlap(opened, split)
    checks += predicted_by_columns(opened, splits)
    checks += predicted_by_features(opened, *X)
    checks += upstream(opened, *X)
    return checks
