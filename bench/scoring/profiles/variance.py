r"""Variance of profiles explained by batch, position, number of cells and treatment.

Of the variance of all features together, a factor explains :math:`R^2 = SS_F / SS` in a linear
model with that factor alone; :func:`explained` returns the adjusted value

.. math:: 1 - (1 - R^2) \frac{n - 1}{n - 1 - p}

with the rank :math:`p` of the factor's design. Its mean is 0 for a factor without effect (Ezekiel
1930; for groups it is epsilon squared). The *unique* share is the difference of the adjusted values
of the model with all factors and of the model without this one: what no other factor explains.

Batch levels and treatments are groups, with the negative controls as one treatment. The position
has additive effects of row and column, or groups if positions are not such as B07. The number of
cells enters as its logarithm and the square of that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.core.words import count
from bench.data.views import column_of
from bench.metrics._core import codes
from bench.scoring.controls import numbers
from bench.scoring.profiles.activity import treatments
from bench.scoring.profiles.jackknife import jackknife

if TYPE_CHECKING:
    from bench.core.dataset import Opened
    from bench.core.types import Array, Bools, Floats, Ints, Strings

_POSITION = re.compile(r"([A-Za-z]+)(\d+)")


@dataclass(frozen=True, eq=False)
class Factor:
    """A factor of the linear model.

    Attributes
    ----------
    name
        ``treatment``, ``position``, ``cell count`` or the name of a batch level.
    block
        Factors of one block enter and leave the full model together: ``batch`` for all levels.
    design
        ``(n, p)`` float64.
    """

    name: str
    block: str
    design: Array


@dataclass(frozen=True)
class Share:
    """Explained variance of one factor.

    Attributes
    ----------
    factor
        Its name.
    alone
        Adjusted share in the model with this factor alone.
    low, high
        95 % limits of ``alone``; None with few batches.
    unique
        Adjusted share that no other factor explains; for a batch level, that of all levels.
    """

    factor: str
    alone: float
    low: float | None
    high: float | None
    unique: float


class Explained:
    """Explained variance of the profiles of one data set; designs are decomposed once.

    Attributes
    ----------
    factors
        The factors that the data set has.
    left_out
        Factor -> why it is left out.
    n_batches
        Number of batches at the default level.
    """

    def __init__(self, opened: Opened) -> None:
        self.left_out: dict[str, str] = {}
        self.factors = _factors(opened, self.left_out)
        self._batch = column_of(opened, opened.level)
        self.n_batches = len(np.unique(self._batch))
        blocks = list(dict.fromkeys(factor.block for factor in self.factors))
        self._alone = [basis(factor.design) for factor in self.factors]
        self._full = basis(self._without(""))
        self._lacking = {block: basis(self._without(block)) for block in blocks}

    def _without(self, block: str) -> Array:
        parts: list[Array] = [factor.design for factor in self.factors if factor.block != block]
        return np.hstack(parts) if parts else np.zeros((len(self.factors[0].design), 0))

    def shares(self, X: Floats, *, scaled: bool) -> list[Share]:
        """Return the explained variance of each factor.

        Parameters
        ----------
        X
            ``(n, d)`` profiles of all rows.
        scaled
            Whether features are scaled to unit variance first, so that each has the same weight.
        """
        Y = X.astype(np.float64)
        Y -= Y.mean(axis=0)
        if scaled:
            sd = Y.std(axis=0)
            Y = Y[:, sd > 0] / sd[sd > 0]
        full = explained(Y, self._full)
        unique = {b: full - explained(Y, lacking) for b, lacking in self._lacking.items()}
        result = []
        for factor, own in zip(self.factors, self._alone, strict=True):
            value = explained(Y, own)
            low, high = self._interval(Y, factor, value)
            result.append(Share(factor.name, value, low, high, unique[factor.block]))
        return result

    def _interval(
        self, Y: Array, factor: Factor, value: float
    ) -> tuple[float | None, float | None]:
        """Return the limits of a jackknife over batches."""

        def estimate(kept: Bools) -> float:
            return explained(Y[kept] - Y[kept].mean(axis=0), basis(factor.design[kept]))

        return jackknife(value, self._batch, estimate)


def basis(design: Array) -> Array:
    """Return an orthonormal basis ``(n, rank)`` of the centred columns of a design."""
    centred: Array = design - design.mean(axis=0)
    if not centred.shape[1]:
        return centred
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    kept: Array = u[:, s > s[0] * len(u) * np.finfo(np.float64).eps]
    return kept


def explained(Y: Array, own: Array) -> float:
    """Return the adjusted share of the variance in the span of a basis.

    Parameters
    ----------
    Y
        ``(n, d)`` centred profiles.
    own
        ``(n, p)`` orthonormal basis of centred columns. NaN if it leaves no degrees of freedom, or
        if profiles are constant.
    """
    n, p = own.shape
    total = float((Y**2).sum())
    if n - 1 - p <= 0 or total == 0:
        return float("nan")
    share = float(((own.T @ Y) ** 2).sum()) / total
    return float(1 - (1 - share) * (n - 1) / (n - 1 - p))


def _factors(opened: Opened, left_out: dict[str, str]) -> list[Factor]:
    control = opened.index["control"].to_numpy(bool)
    factors = [
        Factor(level, "batch", one_hot(column_of(opened, level)))
        for level in opened.levels
        if len(np.unique(column_of(opened, level))) > 1
    ]
    if "position" in opened.columns:
        position = column_of(opened, opened.columns["position"])
        factors.append(Factor("position", "position", places(position)))
    else:
        left_out["position"] = f"{opened.name} has no column with the position on the plate"
    counts = np.full(len(control), np.nan)
    if "cell_count" in opened.columns:
        counts = numbers(column_of(opened, opened.columns["cell_count"]))
    missing = ~np.isfinite(counts)
    if missing.all():
        left_out["cell count"] = f"{opened.name} has no column of numbers with the key cell_count"
    else:
        log = np.log1p(np.clip(counts, 0, None))
        log = np.where(missing, log[~missing].mean(), log)
        log -= log.mean()
        factors.append(Factor("cell count", "cell count", np.stack([log, log**2], axis=1)))
        if missing.any():
            n = count(int(missing.sum()), "row")
            left_out[f"cell count of {n}"] = "no number is given, so the mean is used"
    treatment = np.where(control, "", treatments(opened))
    factors.append(Factor("treatment", "treatment", one_hot(treatment)))
    return factors


def places(position: Strings) -> Array:
    """Return the design of row and column effects, or of positions of another form."""
    matches = [_POSITION.fullmatch(text) for text in position.tolist()]
    if not all(matches):
        return one_hot(position)
    rows = np.array([match[1].upper() for match in matches if match])
    columns = np.array([int(match[2]) for match in matches if match])
    return np.hstack([one_hot(rows), one_hot(columns)])


def one_hot(values: Array) -> Array:
    """Return ``(n, groups)`` columns of 0 and 1."""
    place: Ints = codes(values)[0]
    columns: Array = np.eye(int(place.max()) + 1)[place]
    return columns
