"""The result of a check, and helpers of all checks."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.core.errors import BenchError
from bench.data.folds import folds
from bench.data.views import column_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.core.dataset import Opened
    from bench.core.split import Split
    from bench.core.types import Facts, Strings
    from bench.data.partitions import Fold

FEW = 16
"""Minimum rows per batch for stable statistics: the standard error of a mean of n rows is
SD / sqrt(n), a quarter of an SD at 16."""


@dataclass(frozen=True)
class Check:
    """The result of one check of a data set.

    Attributes
    ----------
    state
        ``ok``, ``look`` (a note) or ``warn`` (it can invalidate a comparison).
    facts
        Only the numbers.
    """

    topic: str
    state: str
    text: str
    facts: Facts = field(default_factory=dict)


def supervised_folds(
    opened: Opened, splits: Sequence[Split]
) -> Iterator[tuple[Split, Sequence[Fold]]]:
    """Yield splits with training rows and their folds; invalid splits are reported elsewhere."""
    for split in splits:
        if split.protocol != "unsupervised":
            with contextlib.suppress(BenchError):
                yield split, folds(split, opened)


def labels_of(opened: Opened) -> Strings:
    """Return the class of each row, ``(n,)`` text, ``""`` for controls and rows without one."""
    labels = column_of(opened, "label").copy()
    labels[opened.index["control"].to_numpy(bool)] = ""
    return labels
