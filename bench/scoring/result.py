"""Scores of a run, and checks of a method's output."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bench.core.arrays import blocks
from bench.core.errors import RunFailed

if TYPE_CHECKING:
    import pandas as pd

    from bench.core.samples import Output
    from bench.core.types import Facts


def check_output(name: str, output: Output, n: int, n_classes: int) -> None:
    """Raise :class:`RunFailed` if an output has a wrong shape or type, or is not finite."""
    X = output.X
    if X.ndim != 2 or len(X) != n:
        raise RunFailed(f"{name} returned profiles of shape {X.shape} for {n} rows")
    if X.dtype != np.float32:
        raise RunFailed(f"{name} returned {X.dtype} profiles: the contract says float32")
    parts = list(blocks(n, X.shape[1] * 4))
    if not all(np.isfinite(X[part]).all() for part in parts):
        bad = sum(int((~np.isfinite(X[part])).any(axis=1).sum()) for part in parts)
        raise RunFailed(f"{name} returned profiles that are not finite in {bad} of {n} rows")
    logits = output.logits
    if logits is not None and (logits.shape != (n, n_classes) or not np.isfinite(logits).all()):
        raise RunFailed(
            f"{name} returned logits of shape {logits.shape}, or not finite: "
            f"the contract says ({n}, {n_classes}) and finite"
        )


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores stored in the record.

    Attributes
    ----------
    table
        Columns metric, subset, value, n.
    predictions
        Columns id, batch, fold, y_true, y_pred, scores (and probe_pred).
    clusters
        Level, names, sizes and metric values of the clusters.
    readout
        ``head`` or ``probe``: the readout without a prefix in metric names.
    used
        Data that each metric uses, as text, including excluded rows.
    rests_on
        The same per metric and subset: numbers of rows, labels and batches.
    undefined
        Requested metrics without a value -> reason.
    """

    table: pd.DataFrame
    predictions: pd.DataFrame
    clusters: Facts
    n_eval: int
    readout: str = "probe"
    used: list[str] = field(default_factory=list)
    rests_on: dict[str, dict[str, str]] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)

    def metrics(self) -> dict[str, dict[str, float]]:
        """Return ``{metric: {subset: value}}`` of all defined values."""
        result: dict[str, dict[str, float]] = {}
        for metric, subset, value, _ in self.table.itertuples(index=False):
            if not np.isfinite(value):
                continue
            result.setdefault(str(metric), {})[str(subset)] = float(value)
        return result
