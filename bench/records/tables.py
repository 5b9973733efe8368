"""Tables of a record as bytes."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd


def predictions_digest(predictions: pd.DataFrame) -> str:
    """Return the SHA-256 of the contents of a predictions table, as 64 hex digits.

    It does not depend on the order of rows and columns, the width of integers or the string dtype.
    It changes with any bit of a score. Floating point columns are hashed as float32.

    Parameters
    ----------
    predictions
        Columns ``id``, ``batch``, ``fold``, ``y_true``, ``y_pred``, ``scores`` (float32 vectors);
        other columns are hashed as well.
    """
    import numpy as np

    keys = [name for name in ("id", "fold", "batch") if name in predictions.columns]
    order = (
        np.lexsort([predictions[name].astype(str).to_numpy(dtype=str) for name in reversed(keys)])
        if keys
        else np.arange(len(predictions))
    )
    total = hashlib.sha256(f"rows={len(predictions)}".encode())
    for name in sorted(predictions.columns):
        values = predictions[name].to_numpy()[order]
        total.update(f"\x1e{name}\x1f".encode())
        if values.dtype.kind in "iub":
            total.update(values.astype("<i8").tobytes())
        elif values.dtype.kind == "f":
            total.update(values.astype("<f4").tobytes())
        elif any(isinstance(value, (list, tuple, np.ndarray)) for value in values):
            for value in values:
                row = np.asarray([] if value is None else value, dtype="<f4")
                total.update(len(row).to_bytes(8, "little") + row.tobytes())
        else:
            for value in values:
                text = str(value).encode()
                total.update(len(text).to_bytes(8, "little") + text)
    return total.hexdigest()


def parquet_bytes(table: pd.DataFrame) -> bytes:
    """Return the bytes of a table; equal tables give equal bytes with one pyarrow version."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(table, preserve_index=False)
    for i, entry in enumerate(arrow.schema):
        if pa.types.is_list(entry.type) and pa.types.is_floating(entry.type.value_type):
            float_list = pa.list_(pa.float32())
            arrow = arrow.set_column(i, entry.name, arrow.column(i).cast(float_list))
    sink = io.BytesIO()
    # pandas' metadata contains its version; without it the bytes depend on the content only.
    pq.write_table(arrow.replace_schema_metadata(None), sink, compression="zstd")
    return sink.getvalue()


def packed_counts(metrics: Mapping[str, Mapping[str, float]], table: pd.DataFrame) -> list[int]:
    """Return the numbers of scored units of a metrics table, sorted by metric and subset.

    Parameters
    ----------
    metrics
        Metric -> subset -> value, as in ``run.json``.
    table
        Columns ``metric, subset, value, n``.
    """
    columns = (table[name].tolist() for name in ("metric", "subset", "value", "n"))
    rows = {(metric, subset): (value, n) for metric, subset, value, n in zip(*columns, strict=True)}
    keys = metric_keys(metrics)
    if len(table) != len(rows) or set(keys) != set(rows):
        raise BenchError("metrics.parquet and run.json have different metrics")
    for metric, subset in keys:
        if rows[metric, subset][0] != metrics[metric][subset]:
            raise BenchError(f"metrics.parquet and run.json differ in {metric}, {subset}")
    return [int(rows[key][1]) for key in keys]


def unpacked_table(metrics: Mapping[str, Mapping[str, float]], n: Sequence[int]) -> pd.DataFrame:
    """Return columns ``metric, subset, value, n``; the inverse of :func:`packed_counts`."""
    import pandas as pd

    keys = metric_keys(metrics)
    return pd.DataFrame(
        {
            "metric": [metric for metric, _ in keys],
            "subset": [subset for _, subset in keys],
            "value": [metrics[metric][subset] for metric, subset in keys],
            "n": n,
        }
    )


def metric_keys(metrics: Mapping[str, Mapping[str, float]]) -> list[tuple[str, str]]:
    """Return metric and subset of each value, sorted."""
    return [(metric, subset) for metric in sorted(metrics) for subset in sorted(metrics[metric])]


def read_table(file: Path) -> pd.DataFrame | None:
    """Return a table of a run, or None without the file."""
    if not file.is_file():
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table: pd.DataFrame = pq.read_table(file, partitioning=None).to_pandas()
    except (OSError, pa.ArrowException) as exc:
        raise BenchError(
            f"{file} cannot be read ({exc}): delete the folder {file.parent} and run again"
        ) from exc
    return table


def no_metrics() -> pd.DataFrame:
    """Return an empty ``metrics.parquet``."""
    import pandas as pd

    columns = {"metric": str, "subset": str, "value": float, "n": int}
    return pd.DataFrame({name: [] for name in columns}).astype(columns)


def curve_table(points: Sequence[Mapping[str, object]]) -> pd.DataFrame | None:
    """Return ``curves.parquet``, or None without points."""
    if not points:
        return None
    import pandas as pd

    return pd.DataFrame(points, columns=["fold", "stage", "step", "name", "value"])
