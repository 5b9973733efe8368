"""Nearest-neighbour readout without training: each row gets the class of the nearest profile.

The similarity is the cosine of the unscaled profiles, as is common for profiles of treatments
(``nsc``) and of batches (``batch_1nn``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bench.core.types import Floats, Ints

BLOCK_BYTES = 64 * 2**20
"""Memory of one block of cosines, in bytes."""
TIE = 1e-9
"""Tolerance for ties of cosines (float64), because profiles are float32."""


def nearest_classes(X: Floats, y: Ints, Z: Floats, n_classes: int) -> Floats:
    """Return the share of each class among the nearest training profiles.

    Parameters
    ----------
    X, y
        ``(n, d)`` training profiles and their classes ``0 .. n_classes - 1``.
    Z
        ``(m, d)`` profiles to classify.

    Returns
    -------
    numpy.ndarray
        ``(m, K)`` float32. One class has 1, unless several nearest profiles tie; then each of them
        has an equal share. A zero profile ties with all training profiles.
    """
    votes = np.zeros((len(Z), n_classes), np.float32)
    gallery = _unit(X)
    one_hot = np.eye(n_classes, dtype=np.float32)[y]
    step = max(1, BLOCK_BYTES // (8 * max(1, len(X))))
    for start in range(0, len(Z), step):
        cosine = _unit(Z[start : start + step]) @ gallery.T
        tied = cosine >= cosine.max(axis=1, keepdims=True) - TIE
        # Most rows have one nearest profile; rows with ties are added separately.
        first = tied.argmax(axis=1)
        block = one_hot[first]
        several = np.flatnonzero(tied.sum(axis=1) > 1)
        for row in several:
            block[row] = one_hot[tied[row]].mean(axis=0)
        votes[start : start + step] = block
    return votes


def _unit(X: Floats) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return rows scaled to unit length, ``(n, d)`` float64; zero rows stay zero."""
    rows = X.astype(np.float64)
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    np.divide(rows, length, out=rows, where=length > 0)
    return rows
