"""Checks of the values of features: a feature that is the class, a batch in other units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.advice.checkup._check import Check, labels_of
from bench.core.words import listed
from bench.data.views import column_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.core.dataset import Opened
    from bench.core.types import Array, Ints, Strings

EXPLAINED = 0.95
"""Share of a feature's variance between classes from which it may be the class itself."""
FACTOR = 10.0
"""Ratio of the spread of a batch to that of the others from which units may differ."""
LEAST = 3
"""Minimum rows of a batch or class."""


def label_features(opened: Opened, X: Array, rows: Ints) -> Iterator[Check]:
    """Report features with values that are nearly determined by the class."""
    if opened.is_images:
        return
    labels = labels_of(opened)[rows]
    has = labels != ""
    if len(np.unique(labels[has])) < 2:
        return
    share = explained(X[has].astype(np.float64), labels[has])
    suspects = np.flatnonzero(share >= EXPLAINED)
    names = opened.features or [f"feature {k}" for k in range(X.shape[1])]
    shown = [f"{names[k]} ({share[k]:.2f})" for k in suspects[np.argsort(-share[suspects])]]
    text = f"no feature is the class: at most {np.nanmax(share, initial=0):.2f} of the variance of "
    text += "a feature is between classes"
    if shown:
        text = (
            f"{listed(shown, 5)}: nearly all of the variance is between classes; check that "
            "the label is not among the features"
        )
    facts = {"label_features": len(suspects)}
    yield Check("features and class", "warn" if shown else "ok", text, facts)


def explained(X: Array, groups: Strings) -> Array:
    """Return the share of each feature's variance between groups (eta squared), ``(d,)``.

    It is corrected for the number of groups, as omega squared is, and 0 for a constant feature.
    """
    _, code = np.unique(groups, return_inverse=True)
    n, k = len(X), int(code.max()) + 1
    sizes = np.bincount(code, minlength=k)[:, None]
    means = np.zeros((k, X.shape[1]))
    np.add.at(means, code, X)
    means /= sizes
    total = ((X - X.mean(axis=0)) ** 2).sum(axis=0)
    within = ((X - means[code]) ** 2).sum(axis=0)
    if n <= k:
        return np.zeros(X.shape[1])
    noise = within / (n - k)
    between = total - within - (k - 1) * noise
    share: Array = np.divide(
        between, total + noise, out=np.zeros(X.shape[1]), where=total > 1e-24 * (1 + X[0] ** 2)
    )
    return share


def units(opened: Opened, X: Array, rows: Ints) -> Iterator[Check]:
    """Report batches with values many times larger or smaller than those of the others."""
    if opened.is_images:
        return
    batch = column_of(opened, opened.level)[rows]
    factors = factors_of(X.astype(np.float64), batch)
    other = {name: f for name, f in factors.items() if not 1 / FACTOR < f < FACTOR}
    text = f"all {len(factors)} values of {opened.level} have features of similar size"
    if other:
        shown = [f"{name} ({factor:.3g} times)" for name, factor in other.items()]
        text = (
            f"features of {opened.level} {listed(shown, 5)} have another size than those of the "
            "others: check the units"
        )
    yield Check("units", "warn" if other else "ok", text, {"other_units": len(other)})


def factors_of(X: Array, batch: Strings) -> dict[str, float]:
    """Return how many times larger the features of each batch are than in the median batch.

    The size of a feature in a batch is its root mean square. The factor of a batch is the median
    over features. Features that are zero in a batch are left out there.
    """
    names, code, counts = np.unique(batch, return_inverse=True, return_counts=True)
    size = np.stack([np.sqrt((X[code == k] ** 2).mean(axis=0)) for k in range(len(names))])
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.where(size > 0, np.log(size), np.nan)
        log -= np.nanmedian(log, axis=0)
    return {
        str(name): float(np.exp(np.nanmedian(log[k])))
        for k, name in enumerate(names)
        if counts[k] >= LEAST and np.isfinite(log[k]).any()
    }
