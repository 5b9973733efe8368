"""Intervals over batches by a jackknife that leaves out groups of batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.metrics._core import codes

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.core.types import Array, Bools, Ints, Strings

GROUPS = 20
"""Most groups of batches; with more batches, several are left out together."""
FEWEST = 8
"""Fewest batches for an interval."""


def batch_groups(batch: Strings) -> Ints:
    """Return the group of each row, ``(n,)``: its batch, or one of :data:`GROUPS` groups.

    Groups have about equally many batches, consecutive by name.
    """
    code, names = codes(batch)
    groups: Ints = code * min(GROUPS, len(names)) // len(names)
    return groups


def jackknife(
    value: float, batch: Strings, estimate: Callable[[Bools], float]
) -> tuple[float | None, float | None]:
    """Return 95 % limits: t quantiles with the standard error of a delete-a-group jackknife.

    Parameters
    ----------
    value
        Estimate on all rows.
    batch
        ``(n,)`` batches.
    estimate
        Takes which rows are kept, ``(n,)``, and returns the estimate on them.

    Returns
    -------
    tuple
        None and None with fewer than :data:`FEWEST` batches, or if an estimate is undefined.
    """
    if len(np.unique(batch)) < FEWEST or not np.isfinite(value):
        return None, None
    groups = batch_groups(batch)
    return limits_of(value, np.array([estimate(groups != k) for k in np.unique(groups)]))


def limits_of(value: float, estimates: Array) -> tuple[float | None, float | None]:
    """Return the limits from the estimates without each group, ``(g,)``."""
    from scipy.stats import t

    if not np.isfinite(estimates).all():
        return None, None
    g = len(estimates)
    error = np.sqrt((g - 1) / g * ((estimates - estimates.mean()) ** 2).sum())
    half = float(t.ppf(0.975, g - 1) * error)
    return value - half, value + half
