"""Checks of upstream preprocessing of the features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.advice.checkup._check import Check
from bench.data.views import column_of
from bench.records.summary import saw_test_batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from bench.core.dataset import Opened
    from bench.core.types import Strings


def upstream(opened: Opened, X: NDArray[np.float32], rows: NDArray[np.int64]) -> Iterator[Check]:
    """Report upstream preprocessing of the features, as declared and as detected."""
    declared = "; ".join(opened.upstream) or "nothing"
    control = opened.index["control"].to_numpy(bool)[rows]
    batch = column_of(opened, opened.level)[rows]
    where = control if control.sum() >= 2 * len(np.unique(batch)) else np.ones(len(rows), bool)
    kind = "controls" if where is control else "rows"
    centred = _share_centred(X[where], batch[where])
    text = f"declared: {declared}; "
    if centred is None:
        yield Check("upstream", "ok", text + "not testable with one batch")
        return
    if centred > 0.8:
        text += (
            f"the {kind} of each {opened.level} have the same mean or median in {centred:.0%} of "
            "the features: location is already corrected"
        )
        state = "look" if opened.upstream else "warn"
        text += "" if opened.upstream else "; declare it under upstream in the dataset.toml"
    else:
        text += (
            f"the means of the {kind} differ between batches in {1 - centred:.0%} of the features"
        )
        state = "ok"
    if saw_test_batches(opened.upstream):
        state = "look"
        text += "; steps fitted over all batches have used the test batches"
    yield Check("upstream", state, text, {"centred": centred})


def _share_centred(X: NDArray[np.float32], batch: Strings) -> float | None:
    """Return the fraction of features whose batches agree in mean or median.

    Batches agree if the SD of their means (or medians) is below 0.05 of the SD within batches.
    Means of n independent rows differ by 1 / sqrt(n), so only centred rows reach this, or batches
    of hundreds of rows without a batch effect.
    """
    names = np.unique(batch)
    if len(names) < 2:
        return None
    groups = [X[batch == name].astype(np.float64) for name in names]
    within = np.sqrt(np.mean([group.var(axis=0) for group in groups], axis=0))
    agree = np.zeros(X.shape[1], dtype=bool)
    for centre in (np.mean, np.median):
        spread = np.std([centre(group, axis=0) for group in groups], axis=0)
        agree |= spread < 0.05 * within
    varies = within > 0
    return float(agree[varies].mean()) if varies.any() else None
