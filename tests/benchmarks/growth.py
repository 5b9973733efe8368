"""How time and memory of profile methods grow with rows, features and batches.

    python -m tests.benchmarks.growth [--full] [--methods M[,M...]]

One axis at a time: 1,000 to 100,000 rows (with ``--full`` to 1,000,000), 50 to 1,000 features
(3,000), 2 to 300 batches (1,000). A curve ends before the first point that is expected to take
more than ``LIMIT_S``. The exponent is the slope of log time, or memory, over the last three points:
1 is linear. Times are processor times on one thread, the least of two; memory is the peak of
NumPy's allocations during fit and apply, without the input. Writes ``docs/benchmarks/growth.json``.
"""

from __future__ import annotations

import argparse
import importlib
import time
import tracemalloc
import warnings
from typing import Any

import numpy as np

from bench.core.registry import Registry
from tests.benchmarks._measure import Figures
from tests.benchmarks.profile_methods import data, whole

LIMIT_S = 15.0
ROWS, FEATURES, BATCHES, SHARE = 10_000, 100, 20, 0.1
AXES = {
    "rows": (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000),
    "features": (50, 100, 300, 1_000, 3_000),
    "batches": (2, 10, 30, 100, 300, 1_000),
}
SHORT = {"rows": 100_000, "features": 1_000, "batches": 300}
REASONS = {
    ("batches", "harmony"): "each round solves one ridge regression per cluster over all batches",
    ("batches", "harmony-map"): "each round solves one ridge regression per cluster",
    ("features", "sphering"): "an eigendecomposition of the d x d covariance, d^3",
    ("features", "sphering-all"): "an eigendecomposition of the d x d covariance, d^3",
    ("features", "tvn"): "eigendecompositions of d x d covariances, d^3",
    ("features", "coral-to-train"): "two eigendecompositions per batch, d^3",
    ("features", "coral-to-target"): "two eigendecompositions per batch, d^3",
    ("batches", "coral-to-train"): "two eigendecompositions per batch",
    ("batches", "coral-to-target"): "two eigendecompositions per batch",
}
"""Why a curve is steeper than linear."""


def measured(name: str, axis: str, value: int) -> tuple[float, int]:
    """Return seconds and peak bytes of fit and apply."""
    size = {"rows": ROWS, "features": FEATURES, "batches": BATCHES, axis: value}
    samples = data(size["batches"], SHARE, size["rows"], size["features"])
    call = whole(name, samples)
    seconds = []
    for _ in range(2):
        started = time.process_time()
        call()
        seconds.append(time.process_time() - started)
    tracemalloc.start()
    try:
        call()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return min(seconds), peak


def slope(x: list[int], y: list[float]) -> float | None:
    """Return the exponent of a power law through the last three points."""
    if len(x) < 3:
        return None
    return round(float(np.polyfit(np.log(x[-3:]), np.log(np.maximum(y[-3:], 1e-6)), 1)[0]), 2)


def curve(name: str, axis: str, last: int, limit: float) -> dict[str, Any]:
    """Measure a method along an axis, while a call is expected to take at most ``limit`` s."""
    x: list[int] = []
    seconds: list[float] = []
    peaks: list[float] = []
    reason = ""
    for value in AXES[axis]:
        growth = (value / x[-1]) ** 1.5 if x else 1.0
        if value > last or (seconds and seconds[-1] * growth > limit):
            break
        try:
            spent, peak = measured(name, axis, value)
        except Exception as error:  # noqa: BLE001 - not every method applies to every size
            reason = str(error).partition("\n")[0]
            break
        x.append(value)
        seconds.append(round(spent, 4))
        peaks.append(peak)
    exponent = slope(x, seconds)
    row = {
        "group": axis,
        "what": name,
        "x": x,
        "seconds": seconds,
        "peak_bytes": peaks,
        "time_exponent": exponent,
        "memory_exponent": slope(x, peaks),
        "reason": REASONS.get((axis, name), "") if (exponent or 0) > 1.1 else "",
        "stopped": reason,
    }
    print(
        f"{axis}: {name}: time ^{exponent}, memory ^{row['memory_exponent']}; "
        f"{', '.join(f'{s:.2f}' for s in seconds)} s {reason}",
        flush=True,
    )
    return row


def main() -> None:
    """Measure all profile methods along all axes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="up to 1,000,000 rows")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds of the last point")
    parser.add_argument("--methods", help="default: all packaged profile methods")
    parser.add_argument("--axes", default=",".join(AXES))
    chosen = parser.parse_args()
    importlib.import_module("torch").set_num_threads(1)
    warnings.simplefilter("ignore")
    registry = Registry()
    names = [
        name
        for name in registry.names("method")
        if registry.entry("method", name).meta["level"] == "profile"
    ]
    names = chosen.methods.split(",") if chosen.methods else names
    for axis in chosen.axes.split(","):
        figures = Figures("growth")
        for name in names:
            last = AXES[axis][-1] if chosen.full else SHORT[axis]
            figures.rows.append(curve(name, axis, last, chosen.limit))
        figures.other["settings"] = {
            "rows": ROWS,
            "features": FEATURES,
            "batches": BATCHES,
            "full": chosen.full,
            "limit_s": chosen.limit,
        }
        figures.write()


if __name__ == "__main__":
    main()
