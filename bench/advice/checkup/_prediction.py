"""Checks of what predicts the class or the batch. Scores are balanced accuracies."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from bench.advice.checkup._chance import Prediction, judge
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
LARGE_BATCH_EFFECT = 0.5
"""Margin over chance from which a batch effect is called strong."""
GAP = 0.02
"""Smaller differences between a random hold-out and a new batch are not reported."""


def predicted_by_columns(opened: Opened, splits: Sequence[Split]) -> Iterator[Check]:
    """Balanced accuracy of the class from one column or the row order, without features."""
    labels = labels_of(opened)
    has = labels != ""
    exposed = {name for split in splits for name in split.expose}
    used = {"id", "label", "control", "treatment", "compound", *opened.levels, "well"}
    names = [str(c) for c in opened.index.columns if c not in used]
    names += [name for name in opened.levels if name not in names]
    y, batch = labels[has], column_of(opened, opened.level)[has]
    if len(np.unique(y)) < 2:
        return
    seen: list[Strings] = []
    for name in names:
        column = column_of(opened, name)[has]
        if len(np.unique(column)) < 2 or any(np.array_equal(column, other) for other in seen):
            continue
        seen.append(column)
        yield _by_column(opened, name, column, y, batch, is_exposed=name in exposed)
    yield _by_order(y, batch)


def _by_column(
    opened: Opened, name: str, column: Strings, y: Strings, batch: Strings, *, is_exposed: bool
) -> Check:
    inside = _lookup(column, y, _random_folds(len(y), name))
    facts: dict[str, float] = {"random": inside.score, "chance": inside.chance}
    text = f"predicts the class with {inside.score:.2f} in random rows"
    strongest = inside
    is_level = name in opened.levels
    if not is_level and len(np.unique(batch)) > 1:
        _, groups = np.unique(batch, return_inverse=True)
        outside = _lookup(column, y, groups)
        text += f", {outside.score:.2f} in a new {opened.level}"
        facts["new_batch"] = outside.score
        strongest = max(inside, outside, key=lambda prediction: prediction.margin)
    text += f" (chance {inside.chance:.2f})"
    if is_exposed:
        text += "; methods can use it"
    state = "ok"
    # That a batch predicts the class is reported by the check of classes and batches.
    if not is_level or is_exposed:
        state = {"moderate": "look", "strong": "warn"}.get(strongest.strength, "ok")
    if state != "ok":
        text += ": a model can learn it instead of the biology"
    return Check(f"column {name}", state, text, facts)


def _by_order(y: Strings, batch: Strings) -> Check:
    prediction = _by_neighbour(y, batch)
    return Check(
        "row order",
        {"moderate": "look", "strong": "warn"}.get(prediction.strength, "ok"),
        f"the previous row of the file predicts the class with {prediction.score:.2f} (chance "
        f"{prediction.chance:.2f}); methods never see the order",
        {"order": prediction.score, "chance": prediction.chance},
    )


def _random_folds(n: int, *address: str) -> NDArray[np.int64]:
    order = generator("checkup", "folds", *address, n).permutation(n)
    return (order % 5).astype(np.int64)


def _lookup(column: Strings, y: Strings, fold: NDArray[np.int64]) -> Prediction:
    """Predict the most likely class given the column's value.

    Classes have equal prior weight. The rule is learned outside the fold. A value not seen there
    predicts the first class, and so scores at chance.
    """
    _, k = np.unique(y, return_inverse=True)
    _, v = np.unique(column, return_inverse=True)
    n_k, n_v = int(k.max()) + 1, int(v.max()) + 1
    predicted = np.zeros(len(k), dtype=np.int64)
    for f in np.unique(fold):
        train = fold != f
        table = np.bincount(v[train] * n_k + k[train], minlength=n_v * n_k).reshape(n_v, n_k)
        share = table / np.maximum(table.sum(axis=0), 1)
        predicted[~train] = share.argmax(axis=1)[v[~train]]
    return judge(k, predicted)


def _by_neighbour(y: Strings, batch: Strings) -> Prediction:
    """Predict the class of the previous row in the same batch; for the first row, of the next."""
    _, k = np.unique(y, return_inverse=True)
    predicted = np.full(len(k), -1, dtype=np.int64)
    for name in np.unique(batch):
        rows = np.flatnonzero(batch == name)
        if len(rows) > 1:
            predicted[rows[1:]] = k[rows[:-1]]
            predicted[rows[0]] = k[rows[1]]
    return judge(k, predicted)


def features(opened: Opened) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return features of at most :data:`ROWS` rows, ``(n, d)``, and their positions."""
    n = len(opened.index)
    rows = np.arange(n)
    if n > ROWS:
        rows = np.sort(generator("checkup", "rows", n).permutation(n)[:ROWS])
    if not opened.is_images:
        return opened.source.read(rows).astype(np.float32), rows
    from bench.core.fixed_features import fixed_features

    chunks = [opened.source.read(rows[k : k + 256]) for k in range(0, len(rows), 256)]
    return np.concatenate([fixed_features(chunk) for chunk in chunks]), rows


def predicted_by_features(
    opened: Opened, X: NDArray[np.float32], rows: NDArray[np.int64]
) -> Iterator[Check]:
    """Balanced accuracy of the batch and of the class from the features."""
    labels = labels_of(opened)[rows]
    batch = column_of(opened, opened.level)[rows]
    Z = _components(X)
    of_class = _class_check(opened, Z, labels, rows)
    if len(np.unique(batch)) > 1:
        of_batch = _predict(Z, batch, _random_folds(len(rows), "batch"))
        if of_batch is not None:
            gap = 0.0 if of_class is None else float(of_class.facts.get("gap", 0.0))
            yield _batch_check(opened.level, of_batch, gap)
    if of_class is not None:
        yield of_class


def _batch_check(level: str, prediction: Prediction, gap: float) -> Check:
    """Report the batch effect; ``gap`` is the loss of accuracy in a new batch."""
    text = (
        f"features predict the {level} with {prediction.score:.2f} (chance {prediction.chance:.2f})"
    )
    state = "look"
    if prediction.strength in ("none", "weak"):
        above = "not above chance" if prediction.strength == "none" else "barely above chance"
        if gap:
            text += f": {above}, but the class is predicted less well in a new batch"
        else:
            state = "ok"
            text += f": {above}; there may be little to correct"
    elif prediction.margin < LARGE_BATCH_EFFECT:
        text += ": a moderate batch effect"
    else:
        text += ": a strong batch effect"
    facts = {"batch_from_features": prediction.score, "chance": prediction.chance}
    return Check("batch effect", state, text, facts)


def _class_check(
    opened: Opened, Z: NDArray[np.float32], labels: Strings, rows: NDArray[np.int64]
) -> Check | None:
    """Report the accuracy in random rows and in new batches of each level."""
    has = labels != ""
    if len(np.unique(labels[has])) < 2:
        return None
    inside = _predict(Z[has], labels[has], _random_folds(int(has.sum()), "class"))
    if inside is None:
        return None
    text = f"features predict the class with {inside.score:.2f} in random rows"
    facts: dict[str, float] = {"random": inside.score, "chance": inside.chance}
    worst: tuple[float, str] = (0.0, "")
    for level in opened.levels:
        _, groups = np.unique(column_of(opened, level)[rows][has], return_inverse=True)
        if len(np.unique(groups)) < 2:
            continue
        if len(np.unique(groups)) > 20:  # ten groups of complete batches
            order = generator("checkup", "groups", level).permutation(groups.max() + 1)
            groups = order[groups] % 10
        outside = _predict(Z[has], labels[has], groups)
        if outside is None:
            continue
        text += f", {outside.score:.2f} in a new {level}"
        facts[f"new {level}"] = outside.score
        gap = inside.score - outside.score
        noise = 2 * float(np.hypot(inside.error, outside.error))
        if gap > max(GAP, noise, worst[0]):
            worst = gap, level
    text += f" (chance {inside.chance:.2f})"
    state = "ok" if inside.is_above_chance else "warn"
    if not inside.is_above_chance:
        text += ": not above chance"
    elif worst[0]:
        state = "look"
        facts["gap"] = worst[0]
        text += f": a random hold-out overestimates a new {worst[1]} by {100 * worst[0]:.0f} points"
    return Check("class", state, text, facts)


def _components(X: NDArray[np.float32]) -> NDArray[np.float32]:
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    Z = StandardScaler().fit_transform(X.astype(np.float64))
    k = min(COMPONENTS, *Z.shape)
    if not Z.any():
        return np.zeros((len(Z), k), dtype=np.float32)
    components: NDArray[np.float32] = PCA(k, svd_solver="full").fit_transform(Z).astype(np.float32)
    return components


def _predict(Z: NDArray[np.float32], y: Strings, fold: NDArray[np.int64]) -> Prediction | None:
    """Predict by linear discriminant analysis with a shrunk covariance.

    Rows whose class is missing from the other folds are excluded; None if fewer than two classes
    remain.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    _, k = np.unique(y, return_inverse=True)
    predicted = np.full(len(k), -1, dtype=np.int64)
    possible = np.zeros(len(k), dtype=bool)
    for f in np.unique(fold):
        train = fold != f
        classes = np.unique(k[train])
        if len(classes) < 2:
            continue
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        with warnings.catch_warnings():
            # Many small classes, or collinear features: the score shows what they cost.
            warnings.simplefilter("ignore")
            predicted[~train] = model.fit(Z[train], k[train]).predict(Z[~train])
        possible |= ~train & np.isin(k, classes)
    if len(np.unique(k[possible])) < 2:
        return None
    return judge(k[possible], predicted[possible])
