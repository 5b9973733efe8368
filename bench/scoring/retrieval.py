"""Aggregate profiles for retrieval metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


def aggregated(
    X: NDArray[np.float32], rows: pd.DataFrame, steps: tuple[str, ...]
) -> tuple[NDArray[np.float32], pd.DataFrame]:
    """Aggregate rows in steps, such as crops to images and images to treatments.

    Parameters
    ----------
    X
        ``(n, d)`` profiles.
    rows
        ``(n,)`` rows that describe them. Rows of one name that differ in class, treatment, compound
        or retrieval batch are not merged.
    steps
        ``COLUMN=mean`` or ``COLUMN=median``, element-wise.

    Returns
    -------
    tuple
        Profiles ``(m, d)`` and their ``m`` rows, in the order of the last step's names.
    """
    kept = ["y_true", *[name for name in rows.columns if name.startswith("role:")]]
    for step in steps:
        name, _, how = step.rpartition("=")
        keys = [f"step:{name}", *kept]
        code = rows.groupby(keys, sort=True).ngroup().to_numpy()
        average = np.mean if how == "mean" else np.median
        members = np.split(np.argsort(code, kind="stable"), np.cumsum(np.bincount(code))[:-1])
        X = np.stack([average(X[m].astype(np.float64), axis=0) for m in members])
        rows = rows.iloc[[m[0] for m in members]].reset_index(drop=True)
        rows["id"] = rows[f"step:{name}"]
    return X.astype(np.float32), rows
