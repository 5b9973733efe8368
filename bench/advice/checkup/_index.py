"""Checks of the index: rows, levels, classes against batches, controls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.advice.checkup._check import FEW, Check, labels_of
from bench.core.seeds import generator
from bench.data.own.wells import plate_column
from bench.data.views import column_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from bench.core.dataset import Opened
    from bench.core.types import Strings

NESTED = 0.5
"""From this fraction of classes in one batch only, or this distance in composition, whole batches
must not be aligned."""
SIMILAR = 0.1
"""Up to this distance in composition, batches have similar mixtures of classes."""
JOIN = "if a {0} is numbered within its {1}, write both into one column and name that in batches"


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
        + (f"; {rare} classes have a single row: it is in training or in test" * bool(rare)),
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
                text = f"; some occur in several values of {opened.levels[k + 1]}: crossed levels"
        if len(names) < 8:
            state = "look"
            text += "; fewer than 8: no interval over them"
        for outer_level in opened.levels if plate_column([level]) else ():
            if outer_level != level and is_numbered_within(batch, column_of(opened, outer_level)):
                state = "warn"
                text += (
                    f"; each {outer_level} has the same names: {JOIN.format(level, outer_level)}"
                )
        default = " (default level of methods)" if level == opened.level else ""
        yield Check(
            f"level {level}",
            state,
            f"{len(names)} values{default} with {counts.min()} to {counts.max()} rows, median "
            f"{np.median(counts):g}{text}",
            {"values": len(names), "min": int(counts.min()), "max": int(counts.max())},
        )


def is_numbered_within(names: Iterable[str], outer: Iterable[str]) -> bool:
    """Whether a few names occur in nearly all values of another column, as of plates 1 to 4.

    Parameters
    ----------
    names, outer
        Of plates and of experiments, one per row.
    """
    pairs = set(zip(names, outer, strict=True))
    n_names, n_outer = len({name for name, _ in pairs}), len({value for _, value in pairs})
    return 1 < n_names < n_outer and len(pairs) >= 0.9 * n_names * n_outer


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
        distances = np.abs(table / sizes[:, None] - overall).sum(axis=1) / 2
        return float((distances * sizes).sum() / sizes.sum())

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
        batches: dict[str, set[str]] = {}
        for label, name in zip(labels[has].tolist(), batch[has].tolist(), strict=True):
            batches.setdefault(label, set()).add(name)
        single = sorted(label for label, names in batches.items() if len(names) == 1)
        if len(np.unique(batch)) < 2:
            yield Check(f"class and {level}", "warn", f"a single {level}: nothing to correct for")
            continue
        v = cramers_v(labels[has], batch[has])
        distance = composition_distance(labels[has], batch[has])
        state, reading = _confounding(len(single) / len(batches), distance, level)
        shown = f" ({', '.join(single[:3])}{', …' if len(single) > 3 else ''})" if single else ""
        yield Check(
            f"class and {level}",
            state,
            f"Cramér's V {v:.2f}; composition differs by {distance:.2f} (0 equal, 1 no class "
            f"shared); {len(single)} of {len(batches)} classes occur in a single {level}{shown}: "
            f"{reading}",
            {
                "cramers_v": v,
                "composition": distance,
                "nested": len(single),
                "classes": len(batches),
            },
        )


def _confounding(single: float, distance: float, level: str) -> tuple[str, str]:
    """Return the state and the reading of classes against batches.

    Parameters
    ----------
    single
        Fraction of classes that occur in one batch only.
    """
    if single >= NESTED:
        reading = "classes are confounded with batches: aligning whole batches removes biology"
        return "warn", reading
    if distance >= NESTED:
        reading = "mixtures differ strongly: aligning whole batches removes biology"
        return "warn", reading
    if distance > SIMILAR:
        reading = f"mixtures differ: statistics of a whole {level} contain biology in part"
        return "look", reading
    if single:
        return "look", "mixtures are similar, except for these classes"
    return "ok", "mixtures are similar"


def controls(opened: Opened) -> Iterator[Check]:
    if not opened.has_controls:
        yield Check(
            "controls",
            "look",
            "no negative controls: methods that require them are not applicable",
            {"per_batch_min": 0},
        )
        return
    control = opened.index["control"].to_numpy(bool)
    batch = column_of(opened, opened.level)
    names, where = np.unique(batch, return_inverse=True)
    counts = np.bincount(where[control], minlength=len(names))
    without = int((counts == 0).sum())
    text = f"{counts.min()} to {counts.max()} per {opened.level}, median {np.median(counts):g}"
    if without:
        text += f"; {without} of {len(names)} have none: methods use their fallback there"
    elif counts.min() < FEW:
        text += f"; fewer than {FEW}: the standard error of their mean exceeds SD / 4"
    state = "warn" if without else "look" if counts.min() < FEW else "ok"
    facts = {"per_batch_min": int(counts.min()), "batches_without": without}
    yield Check("controls", state, text, facts)
