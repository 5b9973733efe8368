r"""Batch effects of a linear model, as in limma's ``removeBatchEffect``.

All rows, training and evaluation, enter one least-squares fit per feature,

.. math:: x_i = \alpha + \beta c_i + \gamma_{b(i)} + \epsilon_i, \qquad \sum_b \gamma_b = 0,

and :math:`z_i = x_i - \gamma_{b(i)}`. :math:`c_i` is 1 for a negative control
(``design=controls``); it keeps a different share of controls in a batch from being taken for a
batch effect. Without it (``design=none``) a batch is moved to the unweighted mean of the batch
means.

It assumes that batches have the same mixture of classes otherwise. Class labels are not in the
model, because the evaluation rows have none. The function of limma also takes a second batch factor
and numeric covariates. Choose the level with ``level``, and use ``regress-out`` for covariates.
Values are those of limma: ``tests/methods/limma_reference.csv`` was computed by limma 3.54.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.api import Access, param

from ._joint import Joint, JointRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

META = {
    "kind": "method",
    "name": "limma",
    "class": "Limma",
    "deterministic": True,
    "level": "profile",
    "version": 1,
    "summary": "Batch effects of a linear model with sum-to-zero contrasts, removed.",
    "reference": "Ritchie et al. 2015, Nucleic Acids Research 43:e47",
    "url": "https://doi.org/10.1093/nar/gkv007",
    "access": ["train-batch", "adapt"],
    "helps": ["location", "hierarchical"],
    "hurts": ["label-shift"],
}


@dataclass(frozen=True)
class LimmaParams:
    """Parameters of the linear model."""

    level: str = param("", "batch level that is corrected; empty is the data set's default")
    design: str = param(
        "none",
        "what is kept besides the mean: nothing, or the difference of negative controls",
        choices=("none", "controls"),
        search=("none", "controls"),
    )


class Limma(Joint):
    """Linear batch effects."""

    Params: ClassVar[type] = LimmaParams
    name = "limma"

    @classmethod
    def access(cls, params: LimmaParams) -> Access:
        """Return training batches and the evaluation set, and controls if they are in the model."""
        known = Access.CONTROLS | Access.TEST_CONTROLS
        return super().access(params) | (known if params.design == "controls" else Access.NONE)

    @classmethod
    def needs(cls, params: LimmaParams) -> frozenset[str]:
        """Return what the data must have: controls, if they are in the model."""
        return frozenset({"controls"} if params.design == "controls" else ())

    def needs_controls(self) -> bool:
        """Whether controls are in the model."""
        return bool(self.params.design == "controls")

    def corrected(self, rows: JointRows, seed: int) -> NDArray[Any]:
        """Return the rows ``(n, d)`` without the batch effects."""
        design = np.ones((len(rows.X), 1))
        if self.params.design == "controls":
            design = np.column_stack([design, rows.controls.astype(float)])
        return remove_batch_effect(rows.X.astype(np.float64), rows.codes, design)


def remove_batch_effect(
    X: NDArray[np.float64], codes: NDArray[np.int64], design: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return rows ``(n, d)`` without the effects of batches ``(n,)``, given a design ``(n, k)``.

    Effects that the design does not identify are 0, as in limma.
    """
    n_batches = int(codes.max()) + 1
    contrasts = np.vstack([np.eye(n_batches - 1), -np.ones(n_batches - 1)])[codes]
    # Columns that depend on earlier ones get no coefficient, as with R's pivoted QR.
    used = list(range(design.shape[1]))
    model = np.column_stack([design, contrasts])
    for column in range(design.shape[1], model.shape[1]):
        if np.linalg.matrix_rank(model[:, [*used, column]]) > len(used):
            used.append(column)
    beta = np.zeros((model.shape[1], X.shape[1]))
    beta[used] = np.linalg.lstsq(model[:, used], X, rcond=None)[0]
    result: NDArray[np.float64] = X - contrasts @ beta[design.shape[1] :]
    return result
