"""Conformance checks of a metric."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bench import metrics
from bench.core.errors import BenchError
from bench.core.registry import registry_with
from bench.core.seeds import generator
from bench.testing.synthetic import (
    Broken,
    Check,  # TC
    Report,
    call_checked,
    check_texts,
    raise_failed,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.core.meta import Meta
    from bench.core.registry import Registry


NEEDS = ("predictions", "scores", "embedding")
COMPOUNDS, PLATES = 24, 5
ROWS = COMPOUNDS * PLATES
CLASSES = 8
"""Classes of predictions: top-5 accuracy is 1 with up to five."""
LABELS = 4
"""Labels of profiles: a label needs rows for metrics within labels."""
CONTROLS = 30
TOLERANCE = 1e-9
NAMED = ("label", "batch", "compound", "treatment", "control_batch")
"""Arguments with names of rows' groups."""


def check_metric(
    metric: str,
    *,
    plugins: tuple[Path | str, ...] = (),
    registry: Registry | None = None,
    raises: bool = True,
) -> list[Check]:
    """Check that a metric follows the interface, on random predictions and profiles.

    Parameters, result and errors are those of :func:`check_method`.
    """
    registry = registry or registry_with(plugins)
    entry = registry.entry("metric", metric)
    entry.load()
    return raise_failed(_MetricChecks(metric, entry.meta, registry).run(), metric, raises)


def changed(arrays: dict[str, NDArray[np.generic]], change: str) -> dict[str, NDArray[np.generic]]:
    """Return the input of a metric with one change of :data:`bench.core.meta.IGNORED`.

    Parameters
    ----------
    arrays
        Columns of length n, ``X`` ``(n, d)`` or ``scores`` ``(n, n_classes)``; not changed.
    change
        What to change. Arrays that it does not concern are returned as they are.
    """
    result = dict(arrays)
    rng = generator("check", change)
    if change == "names":
        columns = [name for name in NAMED if name in arrays]
        result |= {name: _renamed(arrays[name]) for name in columns}
        result |= _renumbered(arrays, rng.permutation(CLASSES))
    if change == "monotone" and "scores" in arrays:
        powers = np.asarray(arrays["scores"], np.float64) ** 3
        result["scores"] = powers / powers.sum(axis=1, keepdims=True)
    if "X" not in arrays:
        return result
    d = arrays["X"].shape[1]
    turn, offset = np.linalg.qr(rng.normal(size=(d, d)))[0], rng.normal(size=d)
    for name in [name for name in ("X", "controls") if name in arrays]:
        X = np.asarray(arrays[name], np.float64)
        if change == "scale":
            result[name] = 7.5 * X
        elif change == "rotation":
            result[name] = X @ turn
        elif change == "translation":
            result[name] = X + offset
    return result


def _renamed(column: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return a column of text with other names in the reverse order; empty text is kept."""
    names, codes = np.unique(column.astype(str), return_inverse=True)
    new = [f"{len(names) - k:04d} {name}" if name else "" for k, name in enumerate(names)]
    return np.array(new)[codes]


def _renumbered(
    arrays: dict[str, NDArray[np.generic]], place: NDArray[np.integer]
) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of classes with class ``k`` as ``place[k]``; -1 is kept."""
    to = np.append(place, -1)
    result: dict[str, NDArray[np.generic]] = {
        name: to[arrays[name].astype(np.int64)] for name in ("y_true", "y_pred") if name in arrays
    }
    back = np.argsort(place)
    if "scores" in arrays:
        result["scores"] = arrays["scores"][:, back]
    if "treatments" in arrays:
        result["treatments"] = arrays["treatments"][back]
    return result


class _MetricChecks:
    def __init__(self, name: str, meta: Meta, registry: Registry) -> None:
        self.name, self.meta, self.registry = name, meta, registry
        self.report = Report()

    def run(self) -> list[Check]:
        look = self.report.look
        if look("META", self._meta) and look("value", self._value):
            look("row order", self._order)
            look("ignores", self._ignores)
            look("inputs", self._inputs)
            look("rows without a class", self._unlabelled)
        return self.report.checks

    def _meta(self) -> None:
        check_texts(self.meta, ("summary", "reference"))
        if self.meta.get("needs") not in NEEDS:
            raise Broken(f"needs must be one of {', '.join(NEEDS)}")
        limits = self.meta.get("range")
        if not isinstance(limits, list) or len(limits) != 2 or not limits[0] < limits[1]:
            raise Broken("range must be [lowest, highest]")
        if not isinstance(self.meta.get("higher_is_better"), bool):
            raise Broken("higher_is_better must be True or False")
        if not isinstance(self.meta.get("oracle_is_best", False), bool):
            raise Broken("oracle_is_best must be True or False")

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return new arrays for the metric's inputs; one row in ten has no class."""
        rng = generator("check", "metric")
        truth = rng.integers(0, CLASSES, ROWS)
        truth[::10] = -1
        batch = np.array([f"plate{k // COMPOUNDS}" for k in range(ROWS)])
        if self.meta["needs"] == "predictions":
            guess = np.where(rng.random(ROWS) < 0.6, truth.clip(0), rng.integers(0, CLASSES, ROWS))
            return {"y_true": truth, "y_pred": guess, "batch": batch}
        if self.meta["needs"] == "scores":
            scores = rng.dirichlet(np.ones(CLASSES), ROWS)
            treatments = np.arange(CLASSES) > 0
            return {"y_true": truth, "scores": scores, "batch": batch, "treatments": treatments}
        # Each compound is once on each plate. Classes, compounds and plates have effects, so that
        # few metrics are at an end of their range, where a wrong claim would not be seen.
        compound, plate = np.arange(ROWS) % COMPOUNDS, np.arange(ROWS) // COMPOUNDS
        kind = compound % LABELS
        label = np.array([f"class{k}" for k in kind])
        label[::10] = ""
        X = rng.normal(size=(LABELS, 6))[kind] + 2.0 * rng.normal(size=(COMPOUNDS, 6))[compound]
        places = rng.normal(size=(PLATES, 6))
        X += places[plate] + rng.normal(size=(ROWS, 6))
        of_control = np.arange(CONTROLS) % PLATES
        controls = places[of_control] + rng.normal(size=(CONTROLS, 6))
        names = np.array([f"compound{k}" for k in compound])
        return {
            "X": X.astype(np.float32),
            "label": label,
            "batch": batch,
            "compound": names,
            "treatment": names,
            "controls": controls.astype(np.float32),
            "control_batch": np.array([f"plate{k}" for k in of_control]),
        }

    def call(self, arrays: dict[str, NDArray[np.generic]]) -> metrics.Value:
        value: metrics.Value = call_checked(
            self.name, lambda: metrics.compute(self.name, registry=self.registry, **arrays)
        )
        return value

    def _value(self) -> str:
        value = self.call(self.arrays())
        low, high = self.meta["range"]
        if not isinstance(value.value, float) or not isinstance(value.n, (int, np.integer)):
            raise Broken("Value needs a float, an integer and a sentence")
        if not isinstance(value.used, str) or not value.used or "\n" in value.used:
            raise Broken("used must be one line: the number of rows, labels or batches used")
        if value.n == 0 and np.isnan(value.value):
            return f"undefined here: {value.used}"
        if not np.isfinite(value.value):
            raise Broken(f"the value of {value.n} rows is {value.value}: it must be finite")
        if not low - TOLERANCE <= value.value <= high + TOLERANCE:
            raise Broken(f"the value {value.value:.4g} is outside range {[low, high]}")
        if not 0 < value.n <= ROWS * ROWS:
            raise Broken(f"n is {value.n}: it must be the number of rows or pairs used")
        return f"{value.value:.4g} ({value.used})"

    def _order(self) -> None:
        arrays = self.arrays()
        order = generator("check", "order").permutation(ROWS)
        turned = {
            name: array[order] if len(array) == ROWS else array for name, array in arrays.items()
        }
        value, reordered = self.call(arrays).value, self.call(turned).value
        if abs(value - reordered) > 1e-6:  # undefined values are NaN, which is never greater
            raise Broken(
                f"the value depends on the order of rows: {reordered:.6g} instead of {value:.6g}"
            )

    def _ignores(self) -> str:
        """Change the input in each declared way, and compare the values."""
        value = self.call(self.arrays()).value
        declared = self.meta["ignores"]
        if math.isnan(value):
            return "not compared: the value of the example is undefined"
        for change in declared:
            other = self.call(changed(self.arrays(), change)).value
            if not abs(value - other) <= 1e-6:  # not a number, too
                raise Broken(
                    f"the value depends on {change}: {other:.6g} instead of {value:.6g}; remove "
                    "it from ignores"
                )
        return ", ".join(declared) or "nothing declared"

    def _inputs(self) -> None:
        arrays = self.arrays()
        for array in arrays.values():
            array.flags.writeable = False
        first, second = self.call(arrays), self.call(arrays)
        if first.n != second.n or abs(first.value - second.value) > 0:
            raise Broken("a second call returns another value: do not use random numbers")

    def _unlabelled(self) -> str | None:
        arrays = self.arrays()
        for name, without in (("y_true", -1), ("label", "")):
            if name in arrays:
                arrays[name][:] = without
        try:
            value = metrics.compute(self.name, registry=self.registry, **arrays)
        except BenchError as error:
            return f"raises: {error}"
        except Exception as error:
            raise Broken(
                f"without labels it raises {type(error).__name__}: {error}; return "
                "Value(nan, 0, reason), or raise BenchError"
            ) from error
        if np.isfinite(value.value) and self.meta["needs"] != "embedding":
            raise Broken(f"without labels the value is {value.value}: return nan")
        return None
