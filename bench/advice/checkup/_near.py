"""Find rows that are nearly equal: scaled, rounded or noisy rows, and changed copies of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.advice.checkup._check import Check, supervised_folds
from bench.core.seeds import generator
from bench.data.duplicates import row_digests
from bench.data.near import NEIGHBOURS, crossing, similar_pairs
from bench.data.views import column_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.core.dataset import Opened
    from bench.core.split import Split
    from bench.core.types import Ints

ROWS = 20_000
"""Maximum rows that are compared with each other; larger data sets are subsampled with a seed."""


def near_duplicates(opened: Opened, splits: Sequence[Split]) -> Iterator[Check]:
    """Find rows that are nearly equal, and splits that have them in training and test.

    Nothing is refused: replicates can be nearly equal, too.
    """
    n = len(opened.index)
    rows = np.arange(n)
    if n > ROWS:
        rows = np.sort(generator("checkup", "near", n).permutation(n)[:ROWS])
    if len(rows) < 2 * NEIGHBOURS:
        return
    pairs = similar_pairs(opened, rows, row_digests(opened)[rows])
    searched = "" if len(rows) == n else f" (searched in {len(rows):,} of {n:,} rows)"
    if not len(pairs):
        text = f"none: no row is nearly equal to another{searched}"
        yield Check("near duplicates", "ok", text, {"near_duplicates": 0})
        return
    involved = np.unique(pairs)
    yield Check(
        "near duplicates",
        "look",
        f"{len(involved)} rows are nearly equal to another{searched}, such as "
        f"{_example(opened, pairs[0])}: {_reading(opened)}",
        {"near_duplicates": len(involved)},
    )
    for split, split_folds in supervised_folds(opened, splits):
        leaks = crossing(pairs, split_folds)
        if leaks:
            count = len({int(pair[0]) for pair in leaks})
            yield Check(
                f"split {split.name}",
                "warn",
                f"leak: {count} test rows are nearly equal to a training row, such as "
                f"{_example(opened, leaks[0])}{searched}: check whether they are one sample",
                {"near_duplicates_on_both_sides": count},
            )


def _example(opened: Opened, pair: Ints) -> str:
    return " and ".join(f"'{name}'" for name in column_of(opened, "id")[pair])


def _reading(opened: Opened) -> str:
    if opened.is_images:
        changes = "compressed, resized, turned, mirrored, shifted or changed in brightness"
        return f"they may be copies that were {changes}"
    return "they may be copies that were scaled, rounded or changed by noise"
