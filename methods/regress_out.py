r"""Regress out numeric nuisances, such as the number of cells.

With the covariates :math:`c` of a row, standardised by mean and standard deviation of the training
rows, :math:`z = x - c^\top B`. Here :math:`B` is the least-squares solution over the negative
controls of the training set, or over all of its rows. Covariates and features are centred within
each training batch, so differences between batches do not enter the slopes.

The covariates are columns that the split exposes: ``expose = ["cell_count"]``. A row without a
value is not corrected for that column. On all rows, a treatment that changes the covariate loses
that part of its effect. A toxic compound, for example, has fewer cells. Controls do not have this
problem.

``scanpy.pp.regress_out`` is the same on all rows of a single batch, apart from the mean of each
feature, which it removes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.api import Access, NotApplicable, Output, param

from ._exposed import numeric_columns
from ._rows import groups_of, pack_names, profiles, unpack_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bench.api import Context, Floats, Samples

META = {
    "kind": "method",
    "name": "regress-out",
    "class": "RegressOut",
    "deterministic": True,
    "level": "profile",
    "version": 1,
    "summary": "Subtract the linear effect of exposed numeric columns, such as cell count.",
    "reference": "Wolf et al. 2018, Genome Biology 19:15 (scanpy.pp.regress_out)",
    "url": "https://doi.org/10.1186/s13059-017-1382-0",
    "access": ["train-batch", "controls"],
}


@dataclass(frozen=True)
class RegressOutParams:
    """Parameters of the regression."""

    columns: str = param("", "exposed columns, separated by commas; empty takes all numeric ones")
    rows: str = param(
        "controls",
        "training rows that give the slopes: negative controls, or all",
        choices=("controls", "all"),
        search=("controls", "all"),
    )
    level: str = param("", "batch level within which slopes are estimated; empty is the default")


class RegressOut:
    """Linear regression on exposed columns."""

    Params: ClassVar[type] = RegressOutParams
    name = "regress-out"

    def __init__(self, params: RegressOutParams) -> None:
        self.params = params
        self._state: dict[str, NDArray[Any]] = {}

    @classmethod
    def access(cls, params: RegressOutParams) -> Access:
        """Return training batches, and controls if they give the slopes."""
        controls = Access.CONTROLS if params.rows == "controls" else Access.NONE
        return Access.TRAIN_BATCH | controls

    @classmethod
    def needs(cls, params: RegressOutParams) -> frozenset[str]:
        """Return exposed columns, and controls if they give the slopes."""
        return frozenset({"exposed", *(["controls"] if params.rows == "controls" else [])})

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Estimate the slopes.

        Raises
        ------
        NotApplicable
            If no exposed column is numeric, a named one is not, or too few rows have values.
        """
        X = profiles(train, self.name)
        wanted = tuple(name.strip() for name in self.params.columns.split(",") if name.strip())
        columns = numeric_columns(train, wanted)
        if absent := [name for name in wanted if name not in columns]:
            raise NotApplicable(
                f"regress-out needs the numeric column '{absent[0]}' and the split does not expose "
                f'it: add expose = ["{absent[0]}"] to the split'
            )
        if train.exposed and not columns:
            raise NotApplicable(
                f"regress-out needs a numeric column, and the split exposes "
                f"{', '.join(sorted(train.exposed))}: add one to expose"
            )
        names = np.array(list(columns), dtype=str)
        C = np.stack([*columns.values()], axis=1) if columns else np.zeros((len(X), 0))
        mean, sd = np.zeros(C.shape[1]), np.ones(C.shape[1])
        slopes = np.zeros((C.shape[1], X.shape[1]))
        if columns:
            mean, sd = np.nanmean(C, axis=0), np.nanstd(C, axis=0)
            kept = np.isfinite(C).all(axis=1)
            if self.params.rows == "controls":
                kept &= train.controls()
            if kept.sum() <= C.shape[1] + 1:
                raise NotApplicable(
                    f"regress-out has {int(kept.sum())} training rows with values to estimate "
                    f"{C.shape[1]} slopes: use --set regress-out.rows=all"
                )
            scaled = (C[kept] - mean) / np.where(sd > 0, sd, 1.0)
            slopes = _slopes(scaled, X[kept].astype(np.float64), train.batch[kept])
        self._state = {
            "names": pack_names(names),
            "mean": mean,
            "scale": np.where(sd > 0, sd, 1.0),
            "slopes": slopes,
        }

    def apply(self, samples: Samples) -> Output:
        """Correct rows, ``(n, d)``; their order and the other rows have no effect."""
        X, state = profiles(samples, self.name), self._state
        names = unpack_names(state["names"]).tolist()
        if not names:
            return Output(X.copy(), notes=("regress-out: the split exposes no numeric column",))
        columns = numeric_columns(samples, tuple(names))
        absent = np.full(len(X), np.nan)
        C = np.stack([columns.get(name, absent) for name in names], axis=1)
        scaled = np.nan_to_num((C - state["mean"]) / state["scale"])
        corrected: Floats = (X - scaled @ state["slopes"]).astype(np.float32)
        n = int((~np.isfinite(C)).any(axis=1).sum())
        note = f"regress-out: {n} rows without a value were not corrected for it"
        return Output(corrected, notes=(note,) if n else ())

    def state(self) -> dict[str, NDArray[Any]]:
        """Return names of the columns, their mean and scale ``(k,)``, and slopes ``(k, d)``."""
        return self._state

    @classmethod
    def from_state(cls, params: RegressOutParams, state: Mapping[str, NDArray[Any]]) -> RegressOut:
        """Rebuild from :meth:`state`."""
        method = cls(params)
        method._state = dict(state)
        return method


def _slopes(
    C: NDArray[np.float64], X: NDArray[np.float64], batch: NDArray[np.str_]
) -> NDArray[np.float64]:
    """Return least-squares slopes ``(k, d)`` of rows centred within their batch."""
    C, X = C.copy(), X.copy()
    for rows in groups_of(batch):
        C[rows] -= C[rows].mean(axis=0)
        X[rows] -= X[rows].mean(axis=0)
    slopes: NDArray[Any] = np.linalg.lstsq(C, X, rcond=None)[0]
    return slopes
