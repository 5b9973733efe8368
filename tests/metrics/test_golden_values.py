"""Values of every metric on fixed inputs, for the oldest and the newest versions of dependencies.

The inputs come from integer arithmetic, so that they are equal everywhere. The values are those of
``golden_values.json``; a metric that changes on purpose gets a new ``version`` in its ``META`` and
a new line, written by ``GOLDEN=write python -m pytest tests/metrics/test_golden_values.py``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.metrics import METRICS, Value, compute
from tests.helpers.optional import marked

FILE = Path(__file__).with_name("golden_values.json")
WRITE = os.environ.get("GOLDEN") == "write"
TOLERANCE = 1e-6
"""Absolute. Metrics of clusters can differ by one row where a tie is broken in another way."""
ROWS, CLASSES, BATCHES, COMPOUNDS = 240, 6, 4, 24


def uniform(*shape: int, start: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return numbers in [0, 1) from a linear congruential generator."""
    state, values = start, []
    for _ in range(int(np.prod(shape))):
        state = (6364136223846793005 * state + 1442695040888963407) % 2**64
        values.append((state >> 11) / 2**53)
    return np.array(values).reshape(shape)


def arrays() -> dict[str, Any]:
    """Return all inputs of metrics; every twelfth row has no class."""
    number = np.arange(ROWS)
    compound = number % COMPOUNDS
    y = compound % CLASSES
    batch = (number // COMPOUNDS + compound) % BATCHES
    noise = 1.5 * (uniform(ROWS, 6, start=1) + uniform(ROWS, 6, start=2) - 1)
    centres = 2 * uniform(CLASSES, 6, start=3)
    shifts = uniform(BATCHES, 6, start=4)
    scores = np.exp(6 * uniform(ROWS, CLASSES, start=5) + 1.5 * np.eye(CLASSES)[y])
    without = number % 12 == 5
    names = np.array([f"class{k}" for k in y], dtype=object)
    names[without] = ""
    treatments = np.array([f"compound{k}" for k in compound])
    return {
        "y_true": np.where(without, -1, y),
        "y_pred": scores.argmax(axis=1),
        "scores": scores / scores.sum(axis=1, keepdims=True),
        "treatments": np.arange(CLASSES) > 0,
        "X": (centres[y] + 0.7 * shifts[batch] + noise).astype(np.float32),
        "label": names.astype(str),
        "batch": np.array([f"plate{k}" for k in batch]),
        "compound": treatments,
        "treatment": treatments,
        "controls": (0.7 * shifts[0] + 2 * uniform(20, 6, start=6)).astype(np.float32),
        "control_batch": np.array([f"plate{k % BATCHES}" for k in range(20)]),
    }


def value_of(name: str) -> Value:
    given = arrays()
    if METRICS[name]["needs"] == "embedding":
        given = {key: array for key, array in given.items() if not key.startswith("y_")}
    return compute(name, **given)


@pytest.mark.parametrize("name", marked(sorted(METRICS)))
def test_a_metric_has_its_golden_value(name: str) -> None:
    value, key = value_of(name), f"{name} {METRICS[name]['version']}"
    golden = json.loads(FILE.read_text()) if FILE.exists() else {}
    if WRITE:
        golden[key] = [float(f"{value.value:.10g}"), value.n]
        lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(golden[k])}" for k in sorted(golden))
        FILE.write_text(f"{{\n{lines}\n}}\n")
        return
    assert key in golden, f"no golden value of {key}: see the top of {__file__}"
    assert value.n == golden[key][1]
    assert value.value == pytest.approx(golden[key][0], abs=TOLERANCE, nan_ok=False)
