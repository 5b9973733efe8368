"""Views of samples, and outputs of methods.

A method sees :class:`Samples`, a *view* of some rows. Inputs that a method did not declare in its
:class:`Access` are not in the view and cannot be reached through its attributes. Views protect
against mistakes. They are not a sandbox against code that reads files directly.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bench.core.errors import AccessError, BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.core.types import Array, Bools, DType, Floats, Ints, Strings


class Source(Protocol):
    """Reads the raw rows of an opened data set. Used by the benchmark, never by a method."""

    shape: tuple[int, ...]
    """Shape of one row: ``(C, H, W)`` of an image or ``(d,)`` of a profile."""
    dtype: DType
    """``uint8``, ``uint16`` or ``float32``."""

    def read(self, rows: Ints) -> Array:
        """Return the rows, ``(k, *shape)`` in :attr:`dtype`, in the requested order."""
        ...


class _Handle:
    """Opaque key into the private table of sources, so that a view has no reference to a source.

    It has no attributes and no weak reference, since a callback would give access to the table.
    """

    __slots__ = ()

    def __del__(self) -> None:
        _SOURCES.pop(id(self), None)

    def __copy__(self) -> _Handle:
        return self

    def __deepcopy__(self, memo: object) -> _Handle:
        return self


_SOURCES: dict[int, tuple[Source, Ints]] = {}


def new_handle(source: Source, rows: Ints) -> _Handle:
    """Return a key to these rows of a source. The entry is deleted together with the key."""
    handle = _Handle()
    _SOURCES[id(handle)] = (source, rows)
    return handle


@dataclass(frozen=True, eq=False)
class Samples:
    """A view of some rows. Rows are in seeded random order.

    Attributes
    ----------
    ids
        ``(n,)`` opaque ids, salted per run.
    y
        ``(n,)`` int64 classes ``0 .. n_classes - 1``; -1 if withheld, or if the row has no class
        (negative controls: in the batch like any other row, but excluded from the loss).
    batch
        ``(n,)`` opaque batch names at the level that the method acts on; ``""`` if withheld.
    n_classes
        Number of classes of the task.
    shape
        Shape of one row: ``(C, H, W)`` for images, ``(d,)`` for profiles.
    X
        ``(n, d)`` float32 profiles (a table, or the output of an earlier stage), otherwise None.
    exposed
        Columns exposed by the split; printed with the result.
    well
        ``(n,)`` opaque well names of training rows, with ``TRAIN_WELL`` access, otherwise None.
    """

    ids: Strings
    y: Ints
    batch: Strings
    n_classes: int
    shape: tuple[int, ...]
    X: Floats | None = None
    exposed: Mapping[str, Array] = field(default_factory=dict)
    well: Strings | None = None
    _controls: Bools | None = field(default=None, repr=False)
    _handle: _Handle | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_images(self) -> bool:
        """Whether rows are images (read by :meth:`images`) rather than profiles (``X``)."""
        return self.X is None

    def images(self, idx: Ints, out: Array | None = None) -> Array:
        """Return images ``(k, C, H, W)`` in the native dtype (uint8, uint16 or float32).

        Parameters
        ----------
        idx
            ``(k,)`` positions in this view.
        out
            Optional array to fill and return.

        Raises
        ------
        BenchError
            If the view contains profiles, not images.
        """
        if self._handle is None:
            raise BenchError("these samples are profiles: read .X, not .images()")
        source, rows = _SOURCES[id(self._handle)]
        pixels = source.read(rows[np.asarray(idx)])
        if out is None:
            return pixels
        out[...] = pixels
        return out

    def controls(self) -> Bools:
        """Return ``(n,)`` bool, true for negative controls.

        Raises
        ------
        AccessError
            If the method did not declare :attr:`Access.CONTROLS`.
        """
        if self._controls is None:
            raise AccessError(
                "which rows are negative controls was not declared: add 'controls' to the "
                "method's access"
            )
        return self._controls

    def take(self, idx: Array) -> Samples:
        """Return the view of the rows at ``idx``, ``(k,)`` positions or a boolean mask."""
        idx = np.asarray(idx)
        handle = None
        if self._handle is not None:
            source, rows = _SOURCES[id(self._handle)]
            handle = new_handle(source, rows[idx])
        return dataclasses.replace(
            self,
            ids=self.ids[idx],
            y=self.y[idx],
            batch=self.batch[idx],
            X=None if self.X is None else self.X[idx],
            exposed={name: column[idx] for name, column in self.exposed.items()},
            well=None if self.well is None else self.well[idx],
            _controls=None if self._controls is None else self._controls[idx],
            _handle=handle,
        )


@dataclass(frozen=True, eq=False)
class Output:
    """Output of a stage for a view: row ``i`` belongs to ``ids[i]``.

    Attributes
    ----------
    X
        ``(n, d)`` float32, finite: profiles. For a network, the input of its last linear layer.
    logits
        ``(n, n_classes)`` float32 if the method has a classification head, otherwise None.
    fallbacks
        Number of test batches smaller than the method's minimum, for which it used its
        fallback.
    notes
        Remarks for the record, such as a skipped step.
    """

    X: Floats
    logits: Floats | None = None
    fallbacks: int = 0
    notes: tuple[str, ...] = ()
