"""Views: the rows that a method gets, and the information about each row.

A view is built from an opened data set, the rows of one partition of a fold, and the method's
declared access. Its rows are in seeded random order and have salted names, so that neither reveals
the well, plate or class.
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

    Cached while the data set is open: converting a column of a large index to text is the most
    expensive step.
    """
    kept = _COLUMNS.setdefault(opened, {})
    if name not in kept:
        kept[name] = opened.index[name].to_numpy(str)
        kept[name].flags.writeable = False
    return kept[name]


@dataclass(frozen=True, eq=False)
class Partition:
    """The training or test rows of a fold, in view order. Methods never get this object.

    Attributes
    ----------
    rows
        ``(n,)`` int64 rows of the opened data set.
    y
        ``(n,)`` int64 classes of training rows, -1 for rows without one. All -1 for evaluation
        rows; only ``bench.scoring.labels`` reads their labels.
    batch
        ``(n,)`` true batch names at the selected level.
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

    def with_profiles(self, X: NDArray[np.float32]) -> Partition:
        """Return the same rows with the output of an earlier stage, ``(n, d)`` float32."""
        return replace(self, X=np.ascontiguousarray(X, dtype=np.float32))

    def take(self, idx: Ints) -> Partition:
        """Return the rows at positions ``idx``, ``(k,)``, in that order."""
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
        """Return the information about these rows that a method may use.

        Parameters
        ----------
        access
            Declared access; the view contains the control mask only with ``CONTROLS``.
        labels
            Whether to include ``y``: only for ``fit``.
        wells
            Whether to include opaque well names: only for ``fit``.
        """
        n = len(self)
        handle = None
        X = self.X
        if X is None and not self.opened.is_images:
            X = gather(self.opened.source, self.rows)
        if X is None:
            handle = new_handle(self.opened.source, self.rows)
        else:
            # The output of an earlier stage is also used by the harness: a method that scales its
            # rows in place would also change them for the read-out head.
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
            raise NotApplicable(f"{self.opened.name} has no column that identifies wells")
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
        ``(n,)`` text; ``""`` for a row without a class.
    classes
        The label map, as in :attr:`bench.data.partitions.Fold.classes`.
    """
    code = {name: k for k, name in enumerate(classes)}
    return np.array([code.get(str(label), -1) for label in labels], dtype=np.int64)


def class_codes(opened: Opened, rows: Ints, classes: Sequence[str]) -> Ints:
    """Return ``(n,)`` int64 classes of rows; -1 for other classes and for negative controls.

    Controls keep their class if the data set publishes them as a class.
    """
    y = encode(column_of(opened, "label")[rows], classes)
    if not opened.control_classes:
        y[opened.index["control"].to_numpy(bool)[rows]] = -1
    return y


def make_partition(
    opened: Opened,
    rows: Ints,
    classes: tuple[str, ...],
    level: str,
    *address: str | int,
    labels: bool,
    expose: tuple[str, ...] = (),
) -> Partition:
    """Arrange the rows of one partition of a fold in random order.

    Parameters
    ----------
    rows
        ``(n,)`` rows of the partition. Their order does not matter: they are sorted by id first.
    classes
        Label map of the split: class ``k`` is ``classes[k]``.
    level
        Column of the index whose values are the batches.
    address
        Values that seed the order and the salt, such as the digest of the rows and the seed.
    labels
        Whether labels are included (training) or not (evaluation).
    expose
        Columns that the split deliberately exposes to methods.
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
    return Partition(
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
    """Yield seeded random chunks of positions, each of length ``size`` or less."""
    order = generator("chunks", *address).permutation(n)
    for start in range(0, n, size):
        yield order[start : start + size]
