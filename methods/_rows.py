"""Rows of profile methods: checked profiles, negative controls, and row names as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import BenchError, NotApplicable, Samples
from bench.core.moments import BLOCK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.api import Floats, Strings


def profiles(samples: Samples, name: str) -> Floats:
    """Return the profiles of a view, ``(n, d)`` float32.

    Raises
    ------
    BenchError
        If the rows are images, or a value is not finite.
    """
    if samples.X is None:
        raise BenchError(f"{name} corrects profiles, not images: chain it, as in erm+{name}")
    X = samples.X
    if not all(np.isfinite(X[k : k + BLOCK]).all() for k in range(0, len(X), BLOCK)):
        bad = int((~np.isfinite(X)).any(axis=1).sum())
        raise BenchError(
            f"{name} got profiles with NaN or infinity in {bad} of {len(X)} rows: drop those rows, "
            "or fill the gaps in the table first"
        )
    return X


def control_rows(samples: Samples, name: str, instead: str, least: int = 2) -> Floats:
    """Return the profiles of the negative controls among training rows, ``(k, d)`` float32.

    Parameters
    ----------
    samples
        The training view.
    name
        The method, for the message.
    instead
        Method to suggest if there are none.
    least
        Minimum number.

    Raises
    ------
    NotApplicable
        If there are fewer.
    """
    controls = profiles(samples, name)[samples.controls()]
    if len(controls) < least:
        raise NotApplicable(
            f"{name} needs at least {least} negative controls among the training rows and found "
            f"{len(controls)}: {instead}"
        )
    return controls


def groups_of(names: Strings) -> list[NDArray[np.int64]]:
    """Return the positions of the rows of each batch, ``(k,)`` int64 per batch, by name."""
    _, codes = np.unique(names, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    return [rows.astype(np.int64) for rows in np.split(order, np.cumsum(np.bincount(codes))[:-1])]


def pack_names(names: Strings) -> NDArray[np.uint8]:
    """Return ``(n,)`` names as UTF-8 bytes, ``(k,)`` uint8, one name a line."""
    return np.frombuffer("\n".join(names.tolist()).encode(), np.uint8).copy()


def unpack_names(packed: NDArray[Any]) -> Strings:
    """Return the names, ``(n,)``, that :func:`pack_names` packed."""
    text = bytes(np.asarray(packed, np.uint8)).decode()
    return np.array(text.split("\n") if text else [], dtype=str)


def find_names(names: Strings, known: Strings) -> NDArray[np.int64]:
    """Return the position of each name among the known ones, ``(n,)`` int64, -1 if unknown."""
    place = {name: k for k, name in enumerate(known.tolist())}
    return np.array([place.get(name, -1) for name in names.tolist()], dtype=np.int64)
