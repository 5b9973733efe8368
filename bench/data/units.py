"""Units that a split is tested on, and how many of them are new."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.core.dataset import Opened
    from bench.core.split import Split
    from bench.data.partitions import Fold


def count_units(split: Split, opened: Opened, folds: Sequence[Fold]) -> dict[str, dict[str, int]]:
    """Return the number of tested and of new values per batch level.

    Returns
    -------
    dict
        Level -> ``test``, the number of values among the scored rows of all folds; ``new``, those
        of them that are absent from the training and validation rows of their fold; ``height``, the
        place of the level in the data set, 0 is the smallest. A ``hold_out`` column that is no
        level comes last.
    """
    levels = dict.fromkeys((*opened.levels, *filter(None, (split.hold_out,))))
    units: dict[str, dict[str, int]] = {}
    for height, level in enumerate(levels):
        column = np.asarray(opened.index[level], dtype=object).astype(str)
        tested: set[str] = set()
        new: set[str] = set()
        for fold in folds:
            values = set(column[fold.test[fold.scored]].tolist()) - {""}
            tested |= values
            new |= values - set(column[fold.train].tolist()) - set(column[fold.validation].tolist())
        units[level] = {"test": len(tested), "new": len(new), "height": height}
    return units
