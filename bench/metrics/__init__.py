"""Metrics: pure functions from arrays to a number and what it rests on.

One file a metric, with a literal ``META`` at its top, found by its name. Nothing heavy is imported
until a metric is computed. What a metric needs is in ``META["needs"]``:

``predictions``
    ``f(y_true, y_pred, *, batch)``: ``(n,)`` int64 classes, rows with ``y_true = -1`` left out.
``scores``
    ``f(y_true, scores)``: ``(n, n_classes)`` probabilities.
``embedding``
    ``f(X, *, label, batch, compound, treatment, neighbours)``: ``(n, d)`` profiles and columns of
    length n; each metric takes those that it needs. Neighbours are by cosine similarity, and the
    graph can be computed once and handed to all.
"""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.errors import BenchError
from bench.metrics._core import NEIGHBOURS, Neighbours, Value, neighbours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike

    from bench.core.meta import Meta
    from bench.core.registry import Registry

__all__ = [
    "METRICS",
    "MIXING",
    "NEIGHBOURS",
    "Neighbours",
    "Value",
    "compute",
    "compute_all",
    "compute_by",
    "list_metrics",
    "neighbours",
    "scored",
    "uses_graph",
]

METRICS: Mapping[str, Meta]
"""The packaged metrics: name to the literal of its file, read without importing it."""


def __getattr__(name: str) -> Any:
    if name == "METRICS":
        return _packaged()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@functools.cache
def _packaged() -> dict[str, Meta]:
    from bench.core.meta import read_folder

    return {meta["name"]: meta for _, meta in read_folder(Path(__file__).parent, "metric")}


def list_metrics(registry: Registry | None = None) -> dict[str, dict[str, Any]]:
    """Return the literals of all known metrics by name, without importing any.

    Parameters
    ----------
    registry
        Where to look; by default the packaged metrics, entry points and ``$BENCH_PLUGINS``.

    Raises
    ------
    BenchError
        If two metrics share a name.
    """
    from bench.core.registry import Registry

    registry = registry or Registry()
    return {entry.name: dict(entry.meta) for entry in registry.entries("metric")}


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

    function: Callable[..., Value] = (registry or Registry()).entry("metric", name).load()
    return function


def compute(name: str, /, *, registry: Registry | None = None, **arrays: Any) -> Value:
    """Compute one metric.

    Parameters
    ----------
    name
        Name of a metric, such as ``balanced_accuracy``.
    registry
        Where else to look, for metrics of plugin files.
    **arrays
        Whatever is at hand (see the module); the metric takes what it needs.

    Raises
    ------
    BenchError
        For an unknown name, a missing array, or arrays that do not fit.
    """
    return _call(name, _function(name, registry), arrays)


def _call(name: str, function: Callable[..., Value], arrays: Mapping[str, Any]) -> Value:
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


def uses_graph(name: str, registry: Registry | None = None) -> bool:
    """Whether a metric takes the neighbour graph that can be computed once for all."""
    return "neighbours" in inspect.signature(_function(name, registry)).parameters


def compute_all(
    names: Iterable[str], /, *, registry: Registry | None = None, **arrays: Any
) -> dict[str, Value]:
    """Compute several metrics; those that use the neighbour graph share one.

    The parameters are those of :func:`compute`.
    """
    functions = {name: _function(name, registry) for name in names}
    graph = arrays.get("neighbours")
    values: dict[str, Value] = {}
    for name, function in functions.items():
        looks = "neighbours" in inspect.signature(function).parameters
        if looks and graph is None and arrays.get("X") is not None and len(arrays["X"]) > 1:
            graph = neighbours(arrays["X"])
        values[name] = _call(name, function, {**arrays, "neighbours": graph})
    return values


def compute_by(
    name: str, groups: ArrayLike, /, *, registry: Registry | None = None, **arrays: Any
) -> dict[str, Value]:
    """Compute one metric within each group of rows, such as each batch or each class.

    Parameters
    ----------
    name
        Name of a metric.
    groups
        ``(n,)`` group of each row.
    registry, **arrays
        As for :func:`compute`; each array has n rows. A neighbour graph cannot be cut and is
        computed again within each group.

    Returns
    -------
    dict
        Group name to value, in sorted order.
    """
    column = np.asarray(groups)
    given = {
        key: np.asarray(a) for key, a in arrays.items() if key != "neighbours" and a is not None
    }
    for key, array in given.items():
        if len(array) != len(column):
            raise BenchError(f"{key} has {len(array)} rows, the groups have {len(column)}")
    function = _function(name, registry)
    values: dict[str, Value] = {}
    for group in np.unique(column):
        mask = column == group
        values[str(group)] = _call(name, function, {key: a[mask] for key, a in given.items()})
    return values


ALWAYS = ("accuracy", "balanced_accuracy", "worst_batch_accuracy", "calibration_error")
"""Metrics of predicted classes that every supervised run is scored by."""
MIXING = "batch_1nn"
"""Metric of profiles that every supervised run is scored by where its test batches differ."""
FEW_CLASSES = 5
"""Top-5 accuracy is left out for tasks with at most so many classes: it would be 1."""


def scored(asked: Sequence[str], *, supervised: bool, n_classes: int) -> list[str]:
    """Return the names of the metrics that a run is scored by.

    Parameters
    ----------
    asked
        The split's primary metric and its further ones.
    supervised
        Whether classes are predicted; otherwise only what was asked for is scored.
    n_classes
        Number of classes of the task.
    """
    if not supervised:
        return list(dict.fromkeys(asked))
    names = [*ALWAYS, MIXING]
    if n_classes > FEW_CLASSES:
        names.append("top5_accuracy")
    return list(dict.fromkeys([*names, *asked]))
