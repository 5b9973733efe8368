"""Views: which rows a method may see, and how much of each.

A view is built from an opened data set, the rows of one side of a fold, and the method's declared
access. Its rows stand in a seeded random order and carry salted names, so that neither tells
anything about well, plate or class.
"""

from __future__ import annotations

import hashlib
import weakref
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from bench.core.access import Access
from bench.core.arrays import gather
from bench.core.errors import BenchError, NotApplicable
from bench.core.samples import Samples, new_handle
from bench.core.seeds import generator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from bench.core.dataset import Opened
    from bench.core.types import Array, Bools, Ints


_COLUMNS: weakref.WeakKeyDictionary[Opened, dict[str, NDArray[np.str_]]] = (
    weakref.WeakKeyDictionary()
)


def column_of(opened: Opened, name: str) -> NDArray[np.str_]:
    """Return a column of the index as text, ``(n,)``, read-only.

    Kept for as long as the data set is open: making text of a column of a large index costs more
    than all that is then done with it.
    """
    kept = _COLUMNS.setdefault(opened, {})
    if name not in kept:
        kept[name] = opened.index[name].to_numpy(str)
        kept[name].flags.writeable = False
    return kept[name]


@dataclass(frozen=True, eq=False)
class Side:
    """The rows of one side of a fold, in view order. Held by the harness, never by a method.

    Attributes
    ----------
    rows
        ``(n,)`` int64 rows of the opened data set.
    y
        ``(n,)`` int64 classes of training rows, -1 for rows without one; all -1 on the evaluation
        side, whose labels only ``bench.scoring.labels`` reads.
    batch
        ``(n,)`` true batch names at the level in use.
    controls
        ``(n,)`` bool.
    """

    opened: Opened
    rows: Ints
    y: Ints
    batch: NDArray[np.str_]
    controls: Bools
    n_classes: int
    salt: str
    expose: tuple[str, ...] = ()
    X: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def with_profiles(self, X: NDArray[np.float32]) -> Side:
        """Return the same rows seen through an earlier stage, ``(n, d)`` float32."""
        return replace(self, X=np.ascontiguousarray(X, dtype=np.float32))

    def take(self, idx: Ints) -> Side:
        """Return the rows at ``idx``, ``(k,)`` positions, in that order."""
        return replace(
            self,
            rows=self.rows[idx],
            y=self.y[idx],
            batch=self.batch[idx],
            controls=self.controls[idx],
            X=None if self.X is None else self.X[idx],
        )

    def view(
        self, access: Access, *, batches: bool, labels: bool = False, wells: bool = False
    ) -> Samples:
        """Return what a method may see of this side.

        Parameters
        ----------
        access
            Declared access; the control mask is in the view only with ``CONTROLS``.
        batches
            Whether batch names are given.
        labels
            Whether ``y`` is given: to ``fit`` alone.
        wells
            Whether opaque names of the wells are given: to ``fit`` alone.
        """
        n = len(self)
        handle = None
        X = self.X
        if X is None and not self.opened.is_images:
            X = gather(self.opened.source, self.rows)
        if X is None:
            handle = new_handle(self.opened.source, self.rows)
        else:
            # An earlier stage's output is also the harness's own: a method that scales its rows in
            # place would scale them for the read-out too.
            X = X.view()
            X.flags.writeable = False
        return Samples(
            ids=_salted(column_of(self.opened, "id")[self.rows], self.salt),
            y=self.y.copy() if labels else np.full(n, -1, np.int64),
            batch=_salted(self.batch, self.salt) if batches else np.full(n, "", dtype="<U1"),
            n_classes=self.n_classes,
            shape=self.opened.source.shape if X is None else (X.shape[1],),
            X=X,
            exposed={name: self.opened.index[name].to_numpy()[self.rows] for name in self.expose},
            well=self._wells() if wells else None,
            _controls=self.controls.copy() if Access.CONTROLS in access else None,
            _handle=handle,
        )

    def _wells(self) -> NDArray[np.str_]:
        column = self.opened.columns.get("well")
        if column is None:
            raise NotApplicable(f"{self.opened.name} has no column that tells the wells apart")
        return _salted(column_of(self.opened, column)[self.rows], self.salt)


def _salted(names: Array, salt: str) -> NDArray[np.str_]:
    unique, inverse = np.unique(names.astype(str), return_inverse=True)
    opaque = [hashlib.sha256(f"{salt}\x1f{name}".encode()).hexdigest()[:16] for name in unique]
    return np.asarray(opaque, dtype="<U16")[inverse]


def encode(labels: Sequence[str] | NDArray[np.str_], classes: Sequence[str]) -> Ints:
    """Return ``(n,)`` int64 classes of labels; -1 for a label that is not in ``classes``.

    Parameters
    ----------
    labels
        ``(n,)`` text; ``""`` is a row without a class.
    classes
        The label map, as in :attr:`bench.data.sides.Fold.classes`.
    """
    code = {name: k for k, name in enumerate(classes)}
    return np.array([code.get(str(label), -1) for label in labels], dtype=np.int64)


def class_codes(opened: Opened, rows: Ints, classes: Sequence[str]) -> Ints:
    """Return ``(n,)`` int64 classes of rows; -1 for another class and for negative controls.

    Controls keep their class if the data set publishes them as classes.
    """
    y = encode(column_of(opened, "label")[rows], classes)
    if not opened.control_classes:
        y[opened.index["control"].to_numpy(bool)[rows]] = -1
    return y


def make_side(
    opened: Opened,
    rows: Ints,
    classes: tuple[str, ...],
    level: str,
    *address: str | int,
    labels: bool,
    expose: tuple[str, ...] = (),
) -> Side:
    """Put the rows of one side of a fold in an order that says nothing.

    Parameters
    ----------
    opened
        The data set.
    rows
        ``(n,)`` rows of the side. Their own order does not matter: they are sorted by id first.
    classes
        Label map of the split: class ``k`` is ``classes[k]``.
    level
        Column of the index whose values are the batches.
    address
        What the order and the salt may depend on, such as the digest of the rows and the seed.
    labels
        Whether the side holds its labels (training) or not (evaluation).
    expose
        Columns that the split exposes to methods on purpose.
    """
    index = opened.index
    if level not in index.columns:
        raise BenchError(
            f"{opened.name} has no batch level '{level}'; its levels are {', '.join(opened.levels)}"
        )
    ids = column_of(opened, "id")[rows]
    rows = rows[np.argsort(ids, kind="stable")]
    rows = rows[generator("order", *address).permutation(len(rows))]
    control = index["control"].to_numpy(bool)[rows]
    y = class_codes(opened, rows, classes) if labels else np.full(len(rows), -1, np.int64)
    return Side(
        opened=opened,
        rows=rows.astype(np.int64),
        y=y,
        batch=column_of(opened, level)[rows],
        controls=control,
        n_classes=len(classes),
        salt="\x1f".join(map(str, ("salt", *address))),
        expose=expose,
    )


def batches_of(names: NDArray[np.str_]) -> Iterator[Ints]:
    """Yield the positions of each batch, in the order of the batch names."""
    unique, codes = np.unique(names, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(unique) + 1))
    for start, stop in pairwise(bounds.tolist()):
        yield order[start:stop]


def chunks_of(n: int, size: int, *address: str | int) -> Iterator[Ints]:
    """Yield seeded random mixtures of positions, each at most ``size`` long."""
    order = generator("chunks", *address).permutation(n)
    for start in range(0, n, size):
        yield order[start : start + size]
