"""Checks of what predicts the class or the batch. Scores are balanced accuracies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.advice.checkup._check import Check, labels_of
from bench.core.seeds import generator
from bench.data.views import column_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from bench.core.dataset import Opened
    from bench.core.split import Split
    from bench.core.types import Strings

ROWS = 4000
"""Maximum rows for predictions from features; larger data sets are subsampled with a seed."""
COMPONENTS = 50
"""Number of principal components used for predictions."""


def predicted_by_columns(opened: Opened, splits: Sequence[Split]) -> Iterator[Check]:
    """Balanced accuracy of the class from one column or the row order, without features."""
    labels = labels_of(opened)
    has = labels != ""
    exposed = {name for split in splits for name in split.expose}
    used = {"id", "label", "control", "treatment", "compound", *opened.levels, "well"}
    names = [str(c) for c in opened.index.columns if c not in used]
    names += [name for name in opened.levels if name not in names]
    y, batch = labels[has], column_of(opened, opened.level)[has]
    chance = 1 / len(np.unique(y))
    seen: list[Strings] = []
    for name in names:
        column = column_of(opened, name)[has]
        if len(np.unique(column)) < 2 or any(np.array_equal(column, other) for other in seen):
            continue
        seen.append(column)
        inside = _lookup(column, y, _random_folds(len(y), name))
        text = f"it alone tells the class with {inside:.2f} in random rows (chance {chance:.2f})"
        facts = {"random": inside, "chance": chance}
        elsewhere = None
        if name not in opened.levels and len(np.unique(batch)) > 1:
            _, parts = np.unique(batch, return_inverse=True)
            elsewhere = _lookup(column, y, parts)
            text += f", {elsewhere:.2f} in a new {opened.level}"
            facts["new_batch"] = elsewhere
        high = max(inside if elsewhere is None else elsewhere, 0.0)
        leaks = high > max(2 * chance, chance + 0.1)
        if name in exposed:
            text += "; it is exposed to methods"
        if leaks and name not in opened.levels:
            text += ": what sees it, or the background it leaves, need not look at cells"
        state = "warn" if leaks and (name in exposed or name not in opened.levels) else "ok"
        yield Check(f"column {name}", state, text, facts)
    order = _by_order(y, column_of(opened, opened.level)[has])
    yield Check(
        "row order",
        "warn" if order > max(2 * chance, chance + 0.1) else "ok",
        f"the neighbour in the file tells the class with {order:.2f} (chance {chance:.2f}); "
        "methods never see the order",
        {"order": order, "chance": chance},
    )


def _random_folds(n: int, *address: str) -> NDArray[np.int64]:
    order = generator("checkup", "folds", *address, n).permutation(n)
    return (order % 5).astype(np.int64)


def _lookup(column: Strings, y: Strings, fold: NDArray[np.int64]) -> float:
    """Return the balanced accuracy of the most likely class given the column's value.

    Classes have equal prior weight. The rule is learned outside the fold. A value not seen there
    predicts the first class, and so scores at chance.
    """
    _, k = np.unique(y, return_inverse=True)
    _, v = np.unique(column, return_inverse=True)
    n_k, n_v = int(k.max()) + 1, int(v.max()) + 1
    predicted = np.zeros(len(k), dtype=np.int64)
    for f in np.unique(fold):
        learnt = fold != f
        table = np.bincount(v[learnt] * n_k + k[learnt], minlength=n_v * n_k).reshape(n_v, n_k)
        share = table / np.maximum(table.sum(axis=0), 1)
        predicted[fold == f] = share.argmax(axis=1)[v[fold == f]]
    return _balanced(k, predicted)


def _by_order(y: Strings, batch: Strings) -> float:
    """Return the balanced accuracy of the class of the row before, or after, in the same batch."""
    _, k = np.unique(y, return_inverse=True)
    predicted = np.full(len(k), -1, dtype=np.int64)
    for name in np.unique(batch):
        rows = np.flatnonzero(batch == name)
        if len(rows) > 1:
            predicted[rows[1:]] = k[rows[:-1]]
            predicted[rows[0]] = k[rows[1]]
    return _balanced(k, predicted)


def _balanced(y: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    hit = y == predicted
    return float(np.mean([hit[y == k].mean() for k in np.unique(y)]))


def features(opened: Opened) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return features of at most :data:`ROWS` rows, ``(n, d)``, and their positions."""
    n = len(opened.index)
    rows = np.arange(n)
    if n > ROWS:
        rows = np.sort(generator("checkup", "rows", n).permutation(n)[:ROWS])
    if not opened.is_images:
        return opened.source.read(rows).astype(np.float32), rows
    from bench.core.fixed_features import fixed_features

    parts = [opened.source.read(rows[k : k + 256]) for k in range(0, len(rows), 256)]
    return np.concatenate([fixed_features(part) for part in parts]), rows


def predicted_by_features(
    opened: Opened, X: NDArray[np.float32], rows: NDArray[np.int64]
) -> Iterator[Check]:
    labels = labels_of(opened)[rows]
    batch = column_of(opened, opened.level)[rows]
    Z = _components(X)
    n_batches = len(np.unique(batch))
    if n_batches > 1:
        score = _predict(Z, batch, _random_folds(len(rows), "batch"))
        chance = 1 / n_batches
        state = "look" if score > 2 * chance else "ok"
        yield Check(
            "batch effect",
            state,
            f"features tell the {opened.level} with {score:.2f} (chance {chance:.2f})"
            + ("" if score > 2 * chance else ": there is little to correct"),
            {"batch_from_features": score, "chance": chance},
        )
    has = labels != ""
    chance = 1 / len(np.unique(labels[has]))
    inside = _predict(Z[has], labels[has], _random_folds(int(has.sum()), "class"))
    text = f"features tell the class with {inside:.2f} in random rows (chance {chance:.2f})"
    facts = {"random": inside, "chance": chance}
    outside = inside
    for level in opened.levels:
        _, parts = np.unique(column_of(opened, level)[rows][has], return_inverse=True)
        if len(np.unique(parts)) < 2:
            continue
        if len(np.unique(parts)) > 20:  # ten groups of complete batches
            parts = generator("checkup", "groups", level).permutation(parts.max() + 1)[parts] % 10
        outside = _predict(Z[has], labels[has], parts)
        text += f", {outside:.2f} in a new {level}"
        facts[f"new {level}"] = outside
    if inside - outside > 0.02:
        text += f": an ordinary hold-out overestimates by {100 * (inside - outside):.0f} points"
    yield Check("class", "ok" if inside > 1.5 * chance else "warn", text, facts)


def _components(X: NDArray[np.float32]) -> NDArray[np.float32]:
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    Z = StandardScaler().fit_transform(X.astype(np.float64))
    k = min(COMPONENTS, *Z.shape)
    made: NDArray[np.float32] = PCA(k, svd_solver="full").fit_transform(Z).astype(np.float32)
    return made


def _predict(Z: NDArray[np.float32], y: Strings, fold: NDArray[np.int64]) -> float:
    """Return the balanced accuracy of linear discriminant analysis with a shrunk covariance.

    Rows whose class is missing from the other folds are excluded.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    _, k = np.unique(y, return_inverse=True)
    predicted = np.full(len(k), -1, dtype=np.int64)
    possible = np.zeros(len(k), dtype=bool)
    for f in np.unique(fold):
        learnt = fold != f
        known = np.unique(k[learnt])
        if len(known) < 2:
            continue
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        predicted[~learnt] = model.fit(Z[learnt], k[learnt]).predict(Z[~learnt])
        possible |= ~learnt & np.isin(k, known)
    return _balanced(k[possible], predicted[possible]) if possible.any() else 0.0
