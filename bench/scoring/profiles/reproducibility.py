"""Reproducibility of treatments in other batches.

A treatment reproduces at a level (plate, week, laboratory) if its wells retrieve its wells in other
batches of that level, among the treated wells of those other batches (optionally also in other well
positions): average precision with cosine
similarity, averaged per treatment, with the null distribution and q values of
:mod:`bench.scoring.profiles.activity`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import NotApplicable
from bench.data.views import column_of
from bench.scoring.profiles.activity import Groups, codes_or_none, grouped, treatments
from bench.scoring.profiles.ranking import Gallery, ranked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.core.dataset import Opened
    from bench.core.types import Floats


def reproducibility(opened: Opened, X: Floats, columns: Sequence[str]) -> Groups:
    """Return the reproducibility of each treatment across the batches of a level.

    Parameters
    ----------
    opened
        The data set; its treatments, or its labels if it names no treatments.
    X
        ``(n, d)`` profiles of all rows. Negative controls are left out.
    columns
        Columns of the index, such as a batch level, or a level and the position. Wells that share
        a value of one of them do not retrieve each other.

    Raises
    ------
    NotApplicable
        If no treatment has wells that differ in all columns.
    """
    control = opened.index["control"].to_numpy(bool)
    names = np.where(control, "", treatments(opened))
    differ = tuple(codes_or_none(column_of(opened, column)) for column in columns)
    treated = ~control
    result = ranked(X, Gallery(codes_or_none(names), treated, treated, differ=differ))
    if not len(result.rows):
        raise NotApplicable(f"no treatment has wells that differ in {' and '.join(columns)}")
    return grouped(result, names)
