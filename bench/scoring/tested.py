"""The batch level that a split tests, for held-out batches of the training rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.data.views import column_of

if TYPE_CHECKING:
    from bench.core.dataset import Opened
    from bench.core.split import Split
    from bench.core.types import Ints


def tested_column(split: Split, opened: Opened, train: Ints, test: Ints) -> str:
    """Return the column with values that are new in the test set.

    This is the ``hold_out`` column of the split. For a split without one, and where the training
    rows have a single value of it, it is the highest batch level of which no test value occurs in
    training. In both cases the training rows must have several values. If there is no such level,
    as in a test on the training batches, it is the default level of the data set.
    """

    def values(column: str, rows: Ints) -> set[str]:
        return set(np.unique(column_of(opened, column)[rows]).tolist())

    if split.hold_out is not None and len(values(split.hold_out, train)) > 1:
        return split.hold_out
    for level in reversed(opened.levels):
        in_training = values(level, train)
        if len(in_training) > 1 and not in_training & values(level, test):
            return level
    return opened.level
