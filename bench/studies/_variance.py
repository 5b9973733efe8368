"""Variance components in balanced layouts, tested on simulated data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence


Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Crossed:
    """Variance components of a crossed two-way layout with replicates, per channel.

    Attributes
    ----------
    batch, label, both, rest
        ``(channels,)`` components of batches, of classes, of their interaction, and of groups
        within the same batch and class. Negative estimates are set to zero.
    """

    batch: Doubles
    label: Doubles
    both: Doubles
    rest: Doubles

    @property
    def total(self) -> Doubles:
        """``(channels,)`` sum of the components."""
        return self.batch + self.label + self.both + self.rest

    def shares(self) -> dict[str, float]:
        """Return each component's share, averaged over channels; constant channels are ignored.

        NaN if all channels are constant.
        """
        parts = {"batch": self.batch, "class": self.label, "both": self.both, "rows": self.rest}
        total = self.total
        varies = total > 0
        if not varies.any():
            return dict.fromkeys(parts, float("nan"))
        return {k: float((v[varies] / total[varies]).mean()) for k, v in parts.items()}


def crossed(y: Doubles) -> Crossed:
    """Return the components of ``y = mean + batch + class + batch x class + rest``.

    All effects are random. With B batches, C classes, R replicates in each cell and mean squares
    MS of the two-way analysis of variance, the expected mean squares give

    ``rest = MS_rest``, ``both = (MS_both - MS_rest) / R``,
    ``batch = (MS_batch - MS_both) / (C R)``, ``class = (MS_class - MS_both) / (B R)``

    (Searle, Casella and McCulloch 1992, *Variance Components*, section 4.4). The estimates are
    unbiased before negative values are set to zero.

    Parameters
    ----------
    y
        ``(B, C, R, channels)``, with B, C and R at least 2.
    """
    B, C, R = y.shape[:3]
    cell = y.mean(axis=2)
    rows, columns = cell.mean(axis=1), cell.mean(axis=0)
    grand = rows.mean(axis=0)
    ms_batch = C * R * ((rows - grand) ** 2).sum(axis=0) / (B - 1)
    ms_label = B * R * ((columns - grand) ** 2).sum(axis=0) / (C - 1)
    inner = cell - rows[:, None] - columns[None] + grand
    ms_both = R * (inner**2).sum(axis=(0, 1)) / ((B - 1) * (C - 1))
    ms_rest = ((y - cell[:, :, None]) ** 2).sum(axis=(0, 1, 2)) / (B * C * (R - 1))
    return Crossed(
        batch=np.maximum((ms_batch - ms_both) / (C * R), 0.0),
        label=np.maximum((ms_label - ms_both) / (B * R), 0.0),
        both=np.maximum((ms_both - ms_rest) / R, 0.0),
        rest=ms_rest,
    )


def nested(y: Doubles) -> tuple[Doubles, Doubles]:
    """Return the components between and within batches of ``(B, R, channels)``, per channel.

    ``within = MS_within``, ``between = (MS_between - MS_within) / R``, at least zero.
    """
    B, R = y.shape[:2]
    means = y.mean(axis=1)
    ms_between = R * ((means - means.mean(axis=0)) ** 2).sum(axis=0) / (B - 1)
    within: Doubles = ((y - means[:, None]) ** 2).sum(axis=(0, 1)) / (B * (R - 1))
    return np.maximum((ms_between - within) / R, 0.0), within


def complete_block(counts: Ints, least: int) -> tuple[Ints, Ints]:
    """Return batches and classes such that every pair has at least ``least`` rows.

    The batch or class with the smallest fraction of filled cells is removed repeatedly until all
    cells are filled; ties are broken by the fewest rows.

    Parameters
    ----------
    counts
        ``(batches, classes)`` number of rows.
    """
    rows, columns = np.arange(counts.shape[0]), np.arange(counts.shape[1])
    while len(rows) and len(columns):
        filled = counts[np.ix_(rows, columns)] >= least
        if filled.all():
            break
        worst: Sequence[tuple[float, int, int, int]] = sorted(
            [(float(filled[i].mean()), int(counts[r].sum()), 0, i) for i, r in enumerate(rows)]
            + [
                (float(filled[:, j].mean()), int(counts[:, c].sum()), 1, j)
                for j, c in enumerate(columns)
            ]
        )
        _, _, axis, at = worst[0]
        if axis == 0:
            rows = np.delete(rows, at)
        else:
            columns = np.delete(columns, at)
    return rows.astype(np.int64), columns.astype(np.int64)
