"""Control rows: no correction, chance level, true labels and leaks.

They are listed like methods but are unranked. They have the interface of a method. They are in this
package because their views (:func:`control_view`) contain data that no method sees: the true
classes of all rows, and the names of positions and batches.
"""

from __future__ import annotations

import dataclasses
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from bench.core.access import Access
from bench.core.fixed_features import fixed_features
from bench.core.moments import Components
from bench.core.samples import Output
from bench.core.seeds import generator
from bench.data.views import batches_of, column_of
from bench.scoring.labels import truth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bench.core.dataset import Opened
    from bench.core.method import Context
    from bench.core.samples import Samples
    from bench.core.types import Array, Bools, Floats, Ints
    from bench.data.views import Partition


Arrays = dict[str, "NDArray[np.generic]"]

POSITION, COUNT = "position", "cell_count"
LEVEL = "level:"
BLOCK = 256
"""Number of images per block when computing fixed features."""
BINS = 10
"""Quantile bins of the number of cells."""
NOISE = 0.01
"""Standard deviation of the noise of ``label-oracle``."""


_FEATURES: weakref.WeakKeyDictionary[Opened, tuple[Floats, Bools]] = weakref.WeakKeyDictionary()
"""Fixed features of the images of a data set, and which rows are filled in. Control rows share
them, so that each image is read once."""


def control_view(
    partition: Partition, classes: tuple[str, ...], *, profiles: bool = True
) -> Samples:
    """Return all rows of a side with true classes and names of positions and batches."""
    opened = partition.opened
    columns = {LEVEL + level: level for level in opened.levels}
    columns |= {key: opened.columns[key] for key in (POSITION, COUNT) if key in opened.columns}
    view = partition.view(Access.NONE, batches=True)
    return dataclasses.replace(
        view,
        X=_features(opened, partition.rows, view) if profiles and view.X is None else view.X,
        y=truth(partition, classes),
        exposed={key: column_of(opened, name)[partition.rows] for key, name in columns.items()},
    )


@dataclass(frozen=True)
class NoParams:
    """Control rows have no parameters."""


class ControlRow:
    """A control row: a method without parameters. ``apply`` gets all rows of a side at once.

    Attributes
    ----------
    reads_profiles
        Whether it uses the table, or the fixed features of images.
    """

    Params = NoParams
    sees_batches = False
    reads_profiles = True

    def __init__(self, params: NoParams) -> None:
        self.params = params
        self._state: Arrays = {}

    @classmethod
    def access(cls, params: NoParams) -> Access:  # noqa: ARG003 - signature of the interface
        """Return no access, because the views of control rows contain everything."""
        return Access.NONE

    @classmethod
    def why_not(cls, opened: Opened, *, transferred: bool) -> str:  # noqa: ARG003 - signature of the interface
        """Return why the row cannot be computed on a data set, or an empty string.

        Parameters
        ----------
        transferred
            Whether the training rows are from another data set.
        """
        return ""

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Store the required data of the training side; by default none."""

    def apply(self, samples: Samples) -> Output:
        """Return the profiles of all rows of a side."""
        raise NotImplementedError

    def state(self) -> Arrays:
        """Return the data stored by :meth:`fit`."""
        return dict(self._state)

    @classmethod
    def from_state(cls, params: NoParams, state: Mapping[str, NDArray[np.generic]]) -> Self:
        """Rebuild a fitted control row."""
        row = cls(params)
        row._state = dict(state)
        return row


class Identity(ControlRow):
    """No correction: the table itself, or fixed untrained features of images."""

    def apply(self, samples: Samples) -> Output:
        """Return ``(n, d)`` profiles."""
        return Output(_profiles(samples))


class Pca(ControlRow):
    """No correction, in the principal components that ``harmony`` corrects.

    Features are standardised with the mean and SD of the training rows and projected on the
    leading eigenvectors of their covariance, as in ``harmony`` and ``scanorama``. A difference
    between those methods and this row is therefore due to the correction alone.
    """

    n_components = 50
    """Default number of components of ``harmony`` and ``harmony-map``."""

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:  # noqa: ARG002 - signature of the interface
        """Store mean and scale ``(d,)`` and axes ``(d, p)`` of the training rows."""
        self._state = dict(Components.of(_profiles(train), self.n_components, "pca").arrays())

    def apply(self, samples: Samples) -> Output:
        """Return ``(n, p)`` components."""
        return Output(Components.from_arrays(self._state).scores(_profiles(samples)))


class Pca100(Pca):
    """No correction, in the principal components that ``scanorama`` corrects."""

    n_components = 100
    """Default number of components of ``scanorama``."""


class Shuffle(ControlRow):
    """The profile of a random other row."""

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:  # noqa: ARG002 - signature of the interface
        """Store the seed and the ids of the training rows."""
        self._state = {"seed": np.array(ctx.seed), "train": train.ids}

    def apply(self, samples: Samples) -> Output:
        """Return ``(n, d)`` profiles in a random order."""
        train = self._state["train"]
        rng = generator("shuffle", int(self._state["seed"]))
        order = rng.permutation(len(train))
        if not np.array_equal(train, samples.ids):  # evaluation rows use the second permutation
            order = rng.permutation(len(samples))
        return Output(_profiles(samples)[order])


class BatchMean(ControlRow):
    """The mean of the row's batch."""

    sees_batches = True

    def apply(self, samples: Samples) -> Output:
        """Return ``(n, d)`` profiles, equal within a batch."""
        X = _profiles(samples)
        result = np.empty_like(X)
        for idx in batches_of(samples.batch):
            result[idx] = X[idx].mean(axis=0, dtype=np.float64)
        return Output(result)


class LabelOracle(ControlRow):
    """The true class, one-hot with Gaussian noise."""

    reads_profiles = False

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:  # noqa: ARG002 - signature of the interface
        """Store the seed of the noise."""
        self._state = {"seed": np.array(ctx.seed)}

    def apply(self, samples: Samples) -> Output:
        """Return ``(n, n_classes)`` profiles."""
        rng = generator("label-oracle", int(self._state["seed"]))
        X = NOISE * rng.standard_normal((len(samples), samples.n_classes))
        labelled = samples.y >= 0
        X[np.flatnonzero(labelled), samples.y[labelled]] += 1.0
        return Output(X.astype(np.float32))


class _OneHot(ControlRow):
    """One-hot columns of the index, for values that occur in training."""

    sees_batches = True
    reads_profiles = False

    @classmethod
    def why_not(cls, opened: Opened, *, transferred: bool) -> str:
        """Return a reason if the training rows are from another data set."""
        if transferred:
            return f"the wells and batches of training are not those of {opened.name}"
        return ""

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:  # noqa: ARG002 - signature of the interface
        """Store the values that occur in training."""
        self._state = {
            key: np.unique(values)
            for key, values in train.exposed.items()
            if (key.startswith(LEVEL) if self.sees_batches else key == POSITION)
        }

    def apply(self, samples: Samples) -> Output:
        """Return ``(n, values)`` profiles of 0 and 1."""
        blocks = [
            (samples.exposed[key][:, None] == values).astype(np.float32)
            for key, values in self._state.items()
        ]
        return Output(np.hstack(blocks))


class BatchOnly(_OneHot):
    """The names of the row's batches at all levels."""


class PositionOnly(_OneHot):
    """The position on the plate."""

    sees_batches = False

    @classmethod
    def why_not(cls, opened: Opened, *, transferred: bool) -> str:
        """Return a reason, also if the data set has no positions."""
        reason = super().why_not(opened, transferred=transferred)
        if not reason and POSITION not in opened.columns:
            reason = f"{opened.name} has no column with the position on the plate"
        return reason


class CellCountOnly(ControlRow):
    """The number of cells, one-hot in quantile bins of the training rows.

    Bins let every readout, also the nearest neighbour by cosine, use any relation of the class to
    the number of cells.
    """

    reads_profiles = False

    @classmethod
    def why_not(cls, opened: Opened, *, transferred: bool) -> str:  # noqa: ARG003 - signature of the interface
        """Return a reason if the data set has no numbers of cells."""
        if COUNT not in opened.columns:
            return f"{opened.name} has no column with the number of cells (key cell_count)"
        counts = numbers(column_of(opened, opened.columns[COUNT]))
        return "" if np.isfinite(counts).any() else f"the cell_count of {opened.name} is no number"

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:  # noqa: ARG002 - signature of the interface
        """Store the inner limits of the bins, ``(BINS - 1,)``."""
        counts = numbers(train.exposed[COUNT])
        inner = np.arange(1, BINS) / BINS
        finite = counts[np.isfinite(counts)]
        self._state = {"limits": np.quantile(finite, inner) if len(finite) else np.zeros(0)}

    def apply(self, samples: Samples) -> Output:
        """Return ``(n, BINS)`` profiles of 0 and 1; 0 for a row without a number."""
        counts = numbers(samples.exposed[COUNT])
        place = np.searchsorted(np.asarray(self._state["limits"]), counts, side="right")
        X = (place[:, None] == np.arange(BINS)).astype(np.float32)
        X[~np.isfinite(counts)] = 0.0
        return Output(X)


def numbers(texts: Array) -> NDArray[np.float64]:
    """Return a column of text as numbers, ``(n,)``; NaN where there is none."""
    import pandas as pd

    result: NDArray[np.float64] = pd.to_numeric(pd.Series(texts), errors="coerce").to_numpy(
        np.float64
    )
    return result


def _profiles(samples: Samples) -> Floats:
    """Return the table, or fixed features of images, ``(n, d)`` float32."""
    assert samples.X is not None
    return samples.X


def _features(opened: Opened, rows: Ints, view: Samples) -> Floats:
    """Return fixed features of images, ``(n, d)`` float32; each image is computed once.

    Parameters
    ----------
    rows
        Rows of the data set, ``(n,)``.
    """
    n_rows = len(opened.index)
    features, filled = _FEATURES.get(
        opened, (np.zeros((n_rows, 0), np.float32), np.zeros(n_rows, bool))
    )
    missing = np.flatnonzero(~filled[rows])
    for start in range(0, len(missing), BLOCK):
        block = missing[start : start + BLOCK]
        values = fixed_features(view.images(block))
        if not features.shape[1]:
            features = np.zeros((n_rows, values.shape[1]), np.float32)
        features[rows[block]] = values
    filled[rows] = True
    _FEATURES[opened] = features, filled
    result: Floats = features[rows]
    return result
