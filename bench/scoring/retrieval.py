"""Score the retrieval of treatments, on profiles aggregated as the split declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError, NotApplicable
from bench.metrics import _retrieval_clusters, compute
from bench.scoring.result import Scored

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from bench.core.registry import Registry
    from bench.core.split import Split
    from bench.core.types import JsonObject


def score_retrieval(
    split: Split, X: NDArray[np.float32], rows: pd.DataFrame, registry: Registry | None
) -> Scored:
    """Score the retrieval of treatments; the metric averages the wells of each treatment.

    Parameters
    ----------
    X, rows
        ``(n, d)`` profiles and the ``n`` rows that describe them.

    Raises
    ------
    BenchError
        If the data set lacks a column that retrieval needs.
    NotApplicable
        If the primary metric is undefined, such as ``nsc`` where no class has two compounds.
    """
    import pandas as pd

    missing = [r for r in ("treatment", "compound", "nscb_batch") if f"role:{r}" not in rows]
    if missing:
        raise BenchError(
            f"{split.name} scores retrieval, which needs the columns {', '.join(missing)}: name "
            "them in the data set"
        )
    if split.aggregate:
        X, rows = aggregated(X, rows, split.aggregate)
    arrays: JsonObject = {
        "X": X,
        "label": rows["y_true"].to_numpy(np.int64),
        "treatment": rows["role:treatment"].to_numpy(str),
        "compound": rows["role:compound"].to_numpy(str),
        "batch": rows["role:nscb_batch"].to_numpy(str),
    }
    names = dict.fromkeys((split.metric, *split.metrics))
    values = {name: compute(name, registry=registry, **arrays) for name in names}
    primary = values[split.metric]
    if not np.isfinite(primary.value):
        raise NotApplicable(f"{split.metric} is undefined on {split.name}: {primary.used}")
    queries = _retrieval_clusters.query_clusters(split.metric, **arrays)
    predictions = rows[["id", "fold", "y_true"]].assign(
        batch=arrays["batch"], treatment=arrays["treatment"], profile=list(X)
    )
    by_compound = {split.metric: [float(value) for value in queries.values]}
    return Scored(
        table=pd.DataFrame(
            [(name, "all", v.value, v.n) for name, v in values.items()],
            columns=["metric", "subset", "value", "n"],
        ),
        predictions=predictions,
        clusters={
            "level": "compound",
            "names": queries.names,
            "n": [int(size) for size in queries.sizes],
            "values": by_compound,
            "parts": by_compound,
            "weights": {split.metric: [float(size) for size in queries.sizes]},
        },
        n_eval=primary.n,
        used=[f"{name}: {v.used}" for name, v in values.items()],
        rests_on={name: {"all": v.used} for name, v in values.items()},
        undefined={n: v.used for n, v in values.items() if not np.isfinite(v.value)},
    )


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
