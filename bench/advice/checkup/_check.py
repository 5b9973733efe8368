"""The result of a check, and helpers of all checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.data.views import column_of

if TYPE_CHECKING:
    from bench.core.dataset import Opened
    from bench.core.types import Facts, Strings

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


def labels_of(opened: Opened) -> Strings:
    """Return the class of each row, ``(n,)`` text, ``""`` for controls and rows without one."""
    labels = column_of(opened, "label").copy()
    labels[opened.index["control"].to_numpy(bool)] = ""
    return labels
