"""Well positions: columns that contain them, and one spelling for each position."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.data.own.columns import Texts


_PREFIX = r"(?:image_)?(?:meta(?:data)?_)?(?:assay_)?"
# The first pattern with exactly one match is used: pycytominer writes Metadata_Well and
# Metadata_well_position to one table. CytoTable writes Image_Metadata_Well.
_WELLS = tuple(
    re.compile(text, re.IGNORECASE)
    for text in (
        r"(meta(data)?_)?well",
        _PREFIX + r"well",
        _PREFIX + r"well_?(?:position|pos|name)",
    )
)
_PLATES = tuple(
    re.compile(text, re.IGNORECASE)
    for text in (
        r"(meta(data)?_)?plate",
        _PREFIX + r"plate",
        _PREFIX + r"plate_?(?:barcode|name|id)",
    )
)
_POSITION = re.compile(r"\s*([A-Za-z]{1,2})[\s_-]*0*(\d{1,3})\s*")


def _first_unique(patterns: Sequence[re.Pattern[str]], columns: Sequence[str]) -> str | None:
    for pattern in patterns:
        matches = [column for column in columns if pattern.fullmatch(column)]
        if len(matches) == 1:
            return matches[0]
    return None


def position_column(columns: Sequence[str]) -> str | None:
    """Return the column that by its name contains the well position, or None.

    Examples
    --------
    >>> position_column(["Image_Metadata_Well", "Cells_Area"])
    'Image_Metadata_Well'
    >>> position_column(["Metadata_Well", "Metadata_well_position"])
    'Metadata_Well'
    """
    return _first_unique(_WELLS, columns)


def plate_column(columns: Sequence[str]) -> str | None:
    """Return the column that by its name contains the plate, or None."""
    return _first_unique(_PLATES, columns)


def normalised_wells(texts: Texts) -> Texts:
    """Return well positions in one spelling: ``A1``, ``a01`` and ``A-01`` become ``A01``.

    The row is one or two capital letters, the column has at least two digits. Texts are returned
    unchanged if one of them is not a well position; empty texts remain empty.

    Parameters
    ----------
    texts
        ``(n,)`` text.

    Examples
    --------
    >>> normalised_wells(np.array(["A1", "a01", "P24", "AF48", ""], dtype=object)).tolist()
    ['A01', 'A01', 'P24', 'AF48', '']
    >>> normalised_wells(np.array(["A1", "control"], dtype=object)).tolist()
    ['A1', 'control']
    """
    names: dict[str, str] = {"": ""}
    for text in set(texts.tolist()) - {""}:
        match = _POSITION.fullmatch(text)
        if match is None:
            return texts
        names[text] = f"{match[1].upper()}{int(match[2]):02d}"
    result = np.empty(len(texts), dtype=object)
    result[:] = [names[text] for text in texts.tolist()]
    return result
