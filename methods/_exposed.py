"""Columns that a split exposes to methods (``expose`` in its declaration), as numbers and wells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.api import Ints, Samples

_WELL = re.compile(r"([A-Za-z]{1,2})0*(\d{1,2})")


def numeric_columns(
    samples: Samples, names: tuple[str, ...] = ()
) -> dict[str, NDArray[np.float64]]:
    """Return exposed columns that are numbers, ``(n,)`` each; empty texts are NaN.

    Parameters
    ----------
    samples
        A view.
    names
        Columns to return; default: all numeric ones.
    """
    result = {}
    for name in names or sorted(samples.exposed):
        if name not in samples.exposed:
            continue
        text = np.asarray(samples.exposed[name]).astype(str)
        try:
            values = np.where(text == "", "nan", text).astype(np.float64)
        except ValueError:
            continue
        if np.isfinite(values).any():
            result[name] = np.where(np.isfinite(values), values, np.nan)
    return result


def rows_and_columns(samples: Samples, column: str) -> tuple[Ints, Ints]:
    """Return row and column numbers of wells such as ``B07``, ``(n,)`` each; -1 for others.

    Parameters
    ----------
    samples
        A view.
    column
        Exposed column with the positions.
    """
    n = len(samples)
    row, col = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    for i, text in enumerate(np.asarray(samples.exposed.get(column, [])).astype(str).tolist()):
        match = _WELL.fullmatch(text.strip())
        if match:
            letters = match[1].upper()
            place = 0
            for letter in letters:
                place = 26 * place + ord(letter) - ord("A") + 1
            row[i], col[i] = place - 1, int(match[2]) - 1
    return row, col
