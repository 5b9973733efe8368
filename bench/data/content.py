"""Digests of the rows' values: which samples are the same sample under two names."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from bench.core.disk import new_file
from bench.core.folders import cache_folder
from bench.core.progress import report

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.core.dataset import Opened

CHUNK = 1024
"""Rows that are read at a time."""
_SIZE = 16


def row_digests(opened: Opened) -> NDArray[np.str_]:
    """Return a digest (hex) of each row's values, ``(n,)``: equal where two rows are.

    Data sets that keep digests of their own are asked. Of others every row is read once, and the
    digests are kept in the cache under the data's own digest.
    """
    if opened.content is not None:
        return opened.content()
    n = len(opened.index)
    path = cache_folder("content") / f"{opened.digest[:32]}.npy"
    try:
        found = np.load(path)
        if found.shape == (n,) and found.dtype == f"<U{2 * _SIZE}":
            return found  # type: ignore[no-any-return]
    except (OSError, ValueError, EOFError):
        pass  # not there yet, or not ours: made below
    made = []
    for start in range(0, n, CHUNK):
        rows = opened.source.read(np.arange(start, min(start + CHUNK, n)))
        for row in np.ascontiguousarray(rows):
            made.append(hashlib.blake2b(row.data, digest_size=_SIZE).hexdigest())  # noqa: PERF401
        report(f"reading {opened.name}", len(made), n)
    digests = np.array(made, dtype=f"<U{2 * _SIZE}")
    with suppress(OSError), new_file(path) as part:  # without a cache it is only slower
        np.save(part, digests)
    return digests
