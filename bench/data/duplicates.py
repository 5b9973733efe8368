"""Digests of row values, to find equal samples under different names."""

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
"""Rows per block."""
_SIZE = 16


def row_digests(opened: Opened) -> NDArray[np.str_]:
    """Return a digest (hex) of each row's values, ``(n,)``; equal rows have equal digests.

    Digests that the data set provides are used. Otherwise every row is read once and the digests
    are cached under the digest of the data set.
    """
    if opened.content is not None:
        return opened.content()
    n = len(opened.index)
    path = cache_folder("content") / f"{opened.digest[:32]}.npy"
    try:
        digests = np.load(path)
        if digests.shape == (n,) and digests.dtype == f"<U{2 * _SIZE}":
            return digests  # type: ignore[no-any-return]
    except (OSError, ValueError, EOFError):
        pass  # missing or unreadable: computed below
    values: list[str] = []
    for start in range(0, n, CHUNK):
        rows = opened.source.read(np.arange(start, min(start + CHUNK, n)))
        for row in np.ascontiguousarray(rows):
            values.append(hashlib.blake2b(row.data, digest_size=_SIZE).hexdigest())  # noqa: PERF401 - a comprehension could not report progress
        report(f"reading {opened.name}", len(values), n)
    digests = np.array(values, dtype=f"<U{2 * _SIZE}")
    with suppress(OSError), new_file(path) as part:  # the cache is optional
        np.save(part, digests)
    return digests
