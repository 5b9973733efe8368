"""Reference rows and leak baselines: what nothing, chance, the truth and a leak would score.

They are listed like methods and stand in every table as lines without a rank. They are made here
and in ``bench.scoring.labels`` because two of them must see what no method sees: the labels
(``label-oracle``) and the position of a well (``position-only``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.arrays import gather
from bench.core.control_names import NAMES
from bench.core.errors import NotApplicable
from bench.data.views import Side, batches_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bench.core.dataset import Opened
    from bench.core.types import Floats, Ints


from typing import TYPE_CHECKING

from bench.core.samples import Output
from bench.core.seeds import generator
from bench.scoring.labels import truth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.data.views import Side

__all__ = ["NAMES", "features", "identity"]


def features(
    name: str,
    opened: Opened,
    train: Side,
    test: Side,
    truth: Callable[[Side], Ints],
    seed: int,
) -> tuple[Floats, Floats]:
    """Return the profiles of the training and evaluation rows of a reference row.

    Parameters
    ----------
    name
        One of :data:`bench.core.control_names.NAMES`.
    opened, train, test
        The data set and the two sides of a fold, in view order.
    truth
        Returns the true classes of a side; only ``label-oracle`` calls it.
    seed
        Seed of ``shuffle`` and of the noise of ``label-oracle``.

    Raises
    ------
    NotApplicable
        If the data set has no column with the position on the plate.
    """
    if name == "label-oracle":
        return tuple(_one_hot_truth(side, truth(side), seed) for side in (train, test))  # type: ignore[return-value]
    if name == "position-only":
        column = opened.columns.get("position")
        if column is None:
            raise NotApplicable(f"{opened.name} has no column with the position on the plate")
        return _one_hot(opened, train, test, (column,))
    if name == "batch-only":
        return _one_hot(opened, train, test, opened.levels)
    both = [identity(side) for side in (train, test)]
    if name == "shuffle":
        rng = generator("shuffle", seed)
        both = [X[rng.permutation(len(X))] for X in both]
    elif name == "batch-mean":
        both = [_batch_mean(X, side.batch) for X, side in zip(both, (train, test), strict=True)]
    return both[0], both[1]


def identity(side: Side) -> Floats:
    """Return the table itself, or fixed untrained features of the images, ``(n, d)`` float32."""
    if side.X is not None:
        return side.X
    source = side.opened.source
    if not side.opened.is_images:
        return gather(source, side.rows)
    from bench.core.fixed_features import fixed_features

    step = 256
    parts = [
        fixed_features(source.read(side.rows[i : i + step])) for i in range(0, len(side), step)
    ]
    return np.concatenate(parts)


def _batch_mean(X: Floats, batch: NDArray[np.str_]) -> Floats:
    result = np.empty_like(X)
    for idx in batches_of(batch):
        result[idx] = X[idx].mean(axis=0, dtype=np.float64)
    return result


def _one_hot_truth(side: Side, y: Ints, seed: int) -> Floats:
    rng = generator("label-oracle", seed)
    X = 0.01 * rng.standard_normal((len(y), side.n_classes))
    known = y >= 0
    X[np.flatnonzero(known), y[known]] += 1.0
    return X.astype(np.float32)


def _one_hot(
    opened: Opened, train: Side, test: Side, columns: tuple[str, ...]
) -> tuple[Floats, Floats]:
    blocks: list[tuple[Floats, Floats]] = []
    for column in columns:
        values = opened.index[column].to_numpy(str)
        known = np.unique(values[train.rows])
        blocks.append(
            (
                (values[train.rows, None] == known).astype(np.float32),
                (values[test.rows, None] == known).astype(np.float32),
            )
        )
    return np.hstack([b[0] for b in blocks]), np.hstack([b[1] for b in blocks])


def reference_outputs(
    name: str, opened: Opened, train: Side, test: Side, classes: tuple[str, ...], seed: int
) -> tuple[Output, Output]:
    """Return the two outputs of a reference row (see ``bench.scoring.controls``)."""
    X_train, X_test = features(name, opened, train, test, lambda s: truth(s, classes), seed)
    return Output(X_train), Output(X_test)
