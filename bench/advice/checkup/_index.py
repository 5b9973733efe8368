"""Checks of the index: rows, levels, classes against batches, controls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.advice.checkup._check import FEW, Check, labels_of
from bench.core.seeds import generator
from bench.data.views import column_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from bench.core.dataset import Opened
    from bench.core.types import Strings

NESTED = 0.5
"""Threshold for batch-specific classes: fraction of classes in one batch only, or distance in
composition."""


def rows(opened: Opened) -> Iterator[Check]:
    labels = labels_of(opened)
    names, counts = np.unique(labels[labels != ""], return_counts=True)
    n_control = int(opened.index["control"].sum())
    shape = " x ".join(map(str, opened.source.shape))
    what = "images of" if opened.is_images else "rows of"
    rare = int((counts < 2).sum())
    yield Check(
        "rows",
        "warn" if rare else "ok",
        f"{len(labels)} {what} {shape} {'pixels' if opened.is_images else 'features'}; "
        f"{len(names)} classes of {counts.min()} to {counts.max()} rows; {n_control} controls"
        + (f"; {rare} classes have one row, which can be trained or tested, not both" * bool(rare)),
        {
            "rows": len(labels),
            "classes": len(names),
            "class_min": int(counts.min()),
            "class_max": int(counts.max()),
            "controls": n_control,
        },
    )


def levels(opened: Opened) -> Iterator[Check]:
    for k, level in enumerate(opened.levels):
        batch = column_of(opened, level)
        names, counts = np.unique(batch, return_counts=True)
        state, text = "ok", ""
        if k + 1 < len(opened.levels):
            outer = column_of(opened, opened.levels[k + 1])
            pairs = len(np.unique(np.stack([batch, outer]), axis=1).T)
            if pairs > len(names):
                state = "look"
                text = f"; some lie in several values of {opened.levels[k + 1]}: the levels cross"
        if len(names) < 8:
            state = "look"
            text += "; fewer than 8, so no interval can be given over them"
        default = " (methods act on it)" if level == opened.level else ""
        yield Check(
            f"level {level}",
            state,
            f"{len(names)} values{default} of {counts.min()} to {counts.max()} rows, median "
            f"{np.median(counts):g}{text}",
            {"values": len(names), "min": int(counts.min()), "max": int(counts.max())},
        )


def cramers_v(a: Strings, b: Strings) -> float:
    """Return Cramér's V of two columns, 0 (independent) to 1, corrected for its bias.

    Uses the corrected statistic of Bergsma 2013 (J. Korean Stat. Soc. 42:323): with
    ``phi2 = chi2 / n`` of an r x c table, ``phi2' = max(0, phi2 - (r-1)(c-1)/(n-1))``,
    ``r' = r - (r-1)^2/(n-1)``, ``c'`` alike, and ``V = sqrt(phi2' / min(r'-1, c'-1))``. Without the
    correction, many small batches appear associated with any column.

    Parameters
    ----------
    a, b
        ``(n,)`` text.
    """
    _, i = np.unique(a, return_inverse=True)
    _, j = np.unique(b, return_inverse=True)
    r, c, n = int(i.max()) + 1, int(j.max()) + 1, len(i)
    if r < 2 or c < 2 or n < 2:
        return 0.0
    table = np.bincount(i * c + j, minlength=r * c).reshape(r, c).astype(np.float64)
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / n
    phi2 = float(((table - expected) ** 2 / expected).sum()) / n
    phi2 = max(0.0, phi2 - (r - 1) * (c - 1) / (n - 1))
    rows, columns = r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)
    smaller = min(rows, columns) - 1
    return float(np.sqrt(phi2 / smaller)) if smaller > 0 else 0.0


def composition_distance(labels: Strings, batch: Strings) -> float:
    """Return how far the class composition of batches is from the overall one, 0 to 1.

    The total variation distance ``sum_k |p_bk - p_k| / 2``, averaged over batches weighted by their
    rows, is ``d``. ``d0`` is the mean distance under 20 random permutations of the labels, and
    ``1 - 1/B`` the distance of B equally large batches without a common class. The result is
    ``(d - d0) / (1 - 1/B - d0)``, clipped to [0, 1].

    Parameters
    ----------
    labels, batch
        ``(n,)`` text of the rows with a class.
    """
    _, y = np.unique(labels, return_inverse=True)
    _, b = np.unique(batch, return_inverse=True)
    n_y, n_b = int(y.max()) + 1, int(b.max()) + 1
    sizes = np.bincount(b, minlength=n_b)
    overall = np.bincount(y, minlength=n_y) / len(y)

    def distance(classes: NDArray[np.int64]) -> float:
        table = np.bincount(b * n_y + classes, minlength=n_b * n_y).reshape(n_b, n_y)
        apart = np.abs(table / sizes[:, None] - overall).sum(axis=1) / 2
        return float((apart * sizes).sum() / sizes.sum())

    rng = generator("checkup", "composition", len(y))
    by_chance = float(np.mean([distance(rng.permutation(y)) for _ in range(20)]))
    most = 1 - 1 / n_b
    if most <= by_chance:
        return 0.0
    return float(np.clip((distance(y) - by_chance) / (most - by_chance), 0, 1))


def classes_and_batches(opened: Opened) -> Iterator[Check]:
    labels = labels_of(opened)
    has = labels != ""
    for level in opened.levels:
        batch = column_of(opened, level)
        seen: dict[str, set[str]] = {}
        for label, name in zip(labels[has].tolist(), batch[has].tolist(), strict=True):
            seen.setdefault(label, set()).add(name)
        nested = sorted(label for label, under in seen.items() if len(under) == 1)
        if len(np.unique(batch)) < 2:
            yield Check(f"class and {level}", "warn", f"only one {level}: no batch effect")
            continue
        v = cramers_v(labels[has], batch[has])
        apart = composition_distance(labels[has], batch[has])
        own = len(nested) / len(seen)
        bad = own >= NESTED or apart >= NESTED
        reading = (
            "batches hold classes of their own: statistics of a whole batch are biology there, and "
            "removing them removes it"
            if bad
            else "batches hold similar mixtures of classes"
        )
        shown = f" ({', '.join(nested[:3])}{', …' if len(nested) > 3 else ''})" if nested else ""
        yield Check(
            f"class and {level}",
            "warn" if bad else "look" if nested or apart > 0.2 else "ok",
            f"Cramér's V {v:.2f}; composition differs by {apart:.2f} (0 alike, 1 no class shared); "
            f"{len(nested)} of {len(seen)} classes lie in one {level} alone{shown}: {reading}",
            {"cramers_v": v, "composition": apart, "nested": len(nested), "classes": len(seen)},
        )


def controls(opened: Opened) -> Iterator[Check]:
    if not opened.has_controls:
        yield Check(
            "controls",
            "look",
            "none: methods that use negative controls cannot run",
            {"per_batch_min": 0},
        )
        return
    control = opened.index["control"].to_numpy(bool)
    batch = column_of(opened, opened.level)
    names, where = np.unique(batch, return_inverse=True)
    counts = np.bincount(where[control], minlength=len(names))
    without = int((counts == 0).sum())
    text = f"{counts.min()} to {counts.max()} for each {opened.level}, median {np.median(counts):g}"
    if without:
        text += f"; {without} of {len(names)} have none, where such methods fall back"
    elif counts.min() < FEW:
        text += f"; below {FEW} their mean is uncertain by over a quarter of an SD"
    state = "warn" if without else "look" if counts.min() < FEW else "ok"
    facts = {"per_batch_min": int(counts.min()), "batches_without": without}
    yield Check("controls", state, text, facts)
