"""Metrics: pure functions from arrays to a number and the data it is based on.

There is one file per metric, with the metric's name and a literal ``META`` at its top. Large
packages are imported on first use. ``META["needs"]`` defines the arrays that a metric takes:

``predictions``
    ``f(y_true, y_pred, *, batch)``: ``(n,)`` int64 classes, without rows of ``y_true = -1``.
``scores``
    ``f(y_true, scores)``: ``(n, n_classes)`` probabilities.
``embedding``
    ``f(X, *, label, batch, compound, treatment, neighbours)``: ``(n, d)`` profiles and columns of
    length n; each metric takes a subset. Neighbours are by cosine similarity. The graph can be
    computed once for several metrics.

``META["oracle_is_best"]`` states whether the control row ``label-oracle``, the true classes with
noise, reaches the best value of the range. If it does not on a board of such a metric, the readout
cannot be trusted, and the board gives no verdicts. ``META["ignores"]`` lists changes of the input
that leave the value as it is (:data:`bench.core.meta.IGNORED`); the order of rows never matters.
Default values: ``function`` is the name of the metric, ``higher_is_better`` is True,
``oracle_is_best`` is False, ``ignores`` is empty.
"""

from __future__ import annotations

import functools
import inspect
import math
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import BenchError, RunFailed
from bench.metrics._core import NEIGHBOURS, Neighbours, Value, neighbours

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.core.meta import Meta
    from bench.core.registry import Registry

__all__ = [
    "METRICS",
    "MIXING",
    "NEIGHBOURS",
    "Neighbours",
    "Value",
    "compute",
    "needs",
    "neighbours",
    "scored",
    "takes_batch",
    "uses_graph",
]

METRICS: Mapping[str, Meta]
"""Name of each packaged metric -> ``META`` of its file, read without importing it."""


def __getattr__(name: str) -> Mapping[str, Meta]:
    if name == "METRICS":
        return _packaged()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


ROUNDING = 1e-6
"""How far rounding may move a value out of the range of its metric."""


@functools.cache
def _packaged() -> dict[str, Meta]:
    from bench.core.meta import read_folder

    return {meta["name"]: meta for _, meta in read_folder(Path(__file__).parent, "metric")}


@functools.cache
def _packaged_function(name: str) -> Callable[..., Value]:
    from importlib import import_module

    function: Callable[..., Value] = getattr(
        import_module(f"{__name__}.{name}"), _packaged()[name]["function"]
    )
    return function


def _function(name: str, registry: Registry | None) -> Callable[..., Value]:
    if registry is None and name in _packaged():
        return _packaged_function(name)
    from bench.core.registry import Registry

    entry = (registry or Registry()).entry("metric", name)
    if entry.isolated:
        return _of_tuples(entry.load())
    function: Callable[..., Value] = entry.load()
    return function


def _of_tuples(function: Callable[..., tuple[float, int, str]]) -> Callable[..., Value]:
    """Return a function of another process with its values as :class:`Value`."""

    @functools.wraps(function)
    def values(**arrays: object) -> Value:
        return Value(*function(**arrays))

    return values


def compute(name: str, /, *, registry: Registry | None = None, **arrays: object) -> Value:
    """Compute one metric.

    Parameters
    ----------
    name
        Name of a metric, such as ``balanced_accuracy``.
    **arrays
        Available arrays (see the module). Arrays that the metric does not take are ignored.

    Raises
    ------
    BenchError
        For an unknown name, a missing array, or arrays of different lengths.
    """
    value = _call(name, _function(name, registry), arrays)
    _check_range(name, value.value, registry)
    return value


def _call(name: str, function: Callable[..., Value], arrays: Mapping[str, object]) -> Value:
    parameters = inspect.signature(function).parameters.values()
    takes = {p.name for p in parameters}
    missing = [p.name for p in parameters if p.default is p.empty and arrays.get(p.name) is None]
    if missing:
        raise BenchError(
            f"metric '{name}' needs {' and '.join(missing)}, which this split or method lacks: "
            "leave the metric out"
        )
    value = function(**{key: array for key, array in arrays.items() if key in takes})
    if not isinstance(value, Value):
        raise BenchError(
            f"metric '{name}' returned {type(value).__name__}: it must return bench.metrics.Value"
        )
    return value


def _check_range(name: str, value: float, registry: Registry | None) -> None:
    """Raise if a value is outside the range that the metric declares."""
    meta = _packaged().get(name) if registry is None else registry.entry("metric", name).meta
    low, high = (meta or {}).get("range", (-math.inf, math.inf))
    if not (math.isnan(value) or low - ROUNDING <= value <= high + ROUNDING):
        raise RunFailed(
            f"metric '{name}' returned {value:.6g}, outside its range [{low}, {high}]: correct the "
            "metric, or the range in its META"
        )


def uses_graph(name: str, registry: Registry | None = None) -> bool:
    """Return whether a metric takes the neighbour graph."""
    return "neighbours" in inspect.signature(_function(name, registry)).parameters


def takes_batch(name: str, registry: Registry | None = None) -> bool:
    """Return whether a metric compares batches, such as the accuracy of the worst batch."""
    return "batch" in inspect.signature(_function(name, registry)).parameters


def needs(name: str, registry: Registry | None = None) -> str:
    """Return the inputs of a metric: ``predictions``, ``scores`` or ``embedding``."""
    if name in _packaged():
        return str(_packaged()[name]["needs"])
    if registry is None:
        raise BenchError(f"there is no metric '{name}': `python -m bench list metrics`")
    return str(registry.entry("metric", name).meta["needs"])


ALWAYS = ("accuracy", "balanced_accuracy", "worst_batch_accuracy", "calibration_error")
"""Metrics of predicted classes that are computed for every supervised run."""
MIXING = "batch_1nn"
"""Metric of profiles that is computed for every supervised run with several test batches."""
FEW_CLASSES = 5
"""Top-5 accuracy is skipped for tasks with at most this many classes, where it is 1."""


def scored(asked: Sequence[str], *, supervised: bool, n_classes: int) -> list[str]:
    """Return the names of the metrics that are computed for a run.

    Parameters
    ----------
    asked
        The primary and additional metrics of the split.
    supervised
        Whether classes are predicted. If not, only ``asked`` is computed.
    n_classes
        Number of classes of the task.
    """
    if not supervised:
        return list(dict.fromkeys(asked))
    names = [*ALWAYS, MIXING]
    if n_classes > FEW_CLASSES:
        names.append("top5_accuracy")
    return list(dict.fromkeys([*names, *asked]))
