"""Digest of a data set with decoded images; depends on its content, never on paths."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def digest_of(index: pd.DataFrame, pixels: str) -> str:
    """Return the digest of the pixels and all index columns of a data set.

    Parameters
    ----------
    index
        One row per image.
    pixels
        The digest of the decoded images, in the order of the index.
    """
    content = hashlib.sha256(pixels.encode())
    for column in sorted(index.columns):
        content.update(f"\x1d{column}\x1e".encode())
        content.update("\x1f".join(map(str, index[column].tolist())).encode())
    return content.hexdigest()
