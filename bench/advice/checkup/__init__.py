"""What a careful colleague would say of a data set before anything is trained on it.

Every finding is computed from the index and, where it says so, from the features; nothing is kept
and nothing is corrected. Predictions are scored by balanced accuracy, so that chance is one over
the number of classes whatever their sizes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.advice.checkup._index import (
    classes_and_batches,
    composition_distance,
    controls,
    cramers_v,
)
from bench.advice.checkup._index import levels as _levels
from bench.advice.checkup._index import rows as _rows
from bench.advice.checkup._line import FEW, Line
from bench.advice.checkup._prediction import features, predicted_by_columns, predicted_by_features
from bench.advice.checkup._sides import duplicates, sides
from bench.advice.checkup._upstream import upstream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.core.dataset import Opened
    from bench.core.split import Split

__all__ = ["FEW", "Line", "composition_distance", "cramers_v", "examine"]


def examine(opened: Opened, splits: Sequence[Split]) -> list[Line]:
    """Return the findings about a data set and its splits.

    Parameters
    ----------
    opened
        The data set.
    splits
        Splits of it; a split that cannot be made is a finding.
    """
    made = [*_rows(opened), *_levels(opened), *classes_and_batches(opened), *controls(opened)]
    X = features(opened)
    made += duplicates(opened, splits)
    for split in splits:
        made += sides(opened, split)
    made += predicted_by_columns(opened, splits)
    made += predicted_by_features(opened, *X)
    made += upstream(opened, *X)
    return made
