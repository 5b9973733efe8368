"""Tables that cannot be corrected: methods must raise (always for NaN), or return finite values."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from bench.core.seeds import generator
from bench.testing.synthetic import Rows, synthetic_data

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from bench.core.dataset import Opened


NAN = "a NaN"


def unusable_tables() -> dict[str, Opened]:
    """Return variants of :func:`bench.testing.synthetic.synthetic_data`, by their defect."""
    data = synthetic_data("profiles")
    index = data.index
    X = data.source.read(np.arange(len(index)))
    control = index["control"].to_numpy(bool)
    plate = index["plate"].to_numpy(str)
    sparse = np.arange(len(index)) % 8 < 3

    def variant(values: NDArray[np.float32], keep: NDArray[np.bool_] | None = None) -> Opened:
        if keep is None:
            keep = np.ones(len(index), bool)
        rows: pd.DataFrame = index[keep].reset_index(drop=True)
        return dataclasses.replace(data, index=rows, source=Rows(values[keep].copy()))

    constant, missing = X.copy(), X.copy()
    constant[:, :3] = [0.0, 1.1, -7e5]
    missing[[7, -7], 2] = np.nan
    wide = generator("check", "wide").normal(size=(X.shape[1], 300)).astype(np.float32)
    return {
        "a batch without controls": variant(X, ~(control & np.isin(plate, ["p0", "p5"]))),
        "no controls": variant(X, ~control),
        "constant features": variant(constant),
        "only constant features": variant(np.full_like(X, 3.3)),
        "one batch": variant(X, np.isin(plate, ["p0", "p5"])),
        "fewer rows than features": variant(X @ wide, sparse),
        NAN: variant(missing),
    }
