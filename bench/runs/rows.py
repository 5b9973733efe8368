"""Conversion of user input to rows for ``Corrector``."""

from __future__ import annotations

import functools
import hashlib
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.access import Access
from bench.core.dataset import Opened
from bench.core.errors import BenchError, did_you_mean
from bench.core.meta import PLUGINS
from bench.core.method import Context
from bench.core.registry import ISOLATE, Registry
from bench.core.seeds import seed_for
from bench.data.own.array_source import ArraySource
from bench.data.views import Partition, make_partition
from bench.runs.apply import apply_all, grouping_of
from bench.training.recipes import resolve

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from bench.core.samples import Output
    from bench.core.types import Array, Recipe
    from bench.runs.chain import Stage

NAME = "corrector"
LEVEL = "batch"


def registry_of(isolate: str) -> Registry:
    """Return all registered methods; reloaded only if ``$BENCH_PLUGINS`` changes.

    Raises
    ------
    BenchError
        If ``isolate`` is not one of :data:`bench.core.registry.ISOLATE`.
    """
    if isolate not in ISOLATE:
        raise BenchError(f"isolate: {did_you_mean(isolate, list(ISOLATE), 'value')}")
    return _registry(os.environ.get(PLUGINS, "")).isolating(isolate)


@functools.cache
def _registry(plugins: str) -> Registry:  # noqa: ARG001 - the argument is the key of the cache
    return Registry()


def column(values: ArrayLike, n: int, name: str) -> NDArray[np.str_]:
    """Return user input as strings, ``(n,)``.

    Raises
    ------
    ValueError
        If the length differs, or a value is missing (``None``, NaN, NaT or ``pandas.NA``).
    """
    import pandas as pd

    array = np.asarray(values)
    if array.shape != (n,):
        raise ValueError(
            f"{name} must have one value per row of X, shape ({n},), not {array.shape}"
        )
    missing = np.flatnonzero(pd.isna(array))
    if len(missing):
        raise ValueError(
            f"{name} is missing in {len(missing)} of {n} rows (first: row {missing[0]}): give the "
            f"{name} of each row, or drop these rows"
        )
    return array.astype(str)


def ids(X: NDArray[np.float32], batch: NDArray[np.str_]) -> list[str]:
    """Name rows by their content, independent of the other rows."""
    seen: dict[str, int] = {}
    names = []
    for row, name in zip(np.ascontiguousarray(X), batch.tolist(), strict=True):
        content = hashlib.sha256(name.encode() + b"\x1f" + row.tobytes()).hexdigest()[:32]
        seen[content] = seen.get(content, 0) + 1
        names.append(f"{content}-{seen[content]}")
    return names


def learned(
    stage: Stage,
    train: Partition,
    other: Partition,
    recipe: Recipe | None,
    seed: int,
    *,
    supervised: bool,
) -> Any:  # noqa: ANN401 - a class of a plugin
    """Return a fitted stage.

    Parameters
    ----------
    train, other
        Training rows, and rows for methods that adapt during fitting.
    recipe
        Overrides of the default recipe.
    supervised
        Whether the training rows have classes.
    """
    owner = stage.entry.meta.get("fit", stage.name)
    resolved = resolve("default", "profiles", dict(recipe or {}))
    context = Context(seed=seed_for("fit", owner, NAME, seed), recipe=resolved)
    access = stage.access
    view = train.view(access, batches=Access.TRAIN_BATCH in access, labels=supervised)
    adapt = other.view(access, batches=True) if Access.ADAPT in access else None
    method = stage.cls(stage.params)
    method.fit(view, adapt, context)
    return method


def applied(method: Any, stage: Stage, partition: Partition, seed: int) -> Output:  # noqa: ANN401 - a class of a plugin
    """Apply a stage to a partition with its declared access."""
    access = stage.access
    view = partition.view(access, batches=stage.per_batch)
    grouping = grouping_of(view.batch, stage.per_batch)
    return apply_all(method, view, grouping, seed_for("chunks", NAME, seed))


def require_controls(stage: Stage, partition: Partition) -> None:
    """Raise if a stage needs negative controls, and no row is one."""
    if "controls" in stage.needs and not partition.controls.any():
        raise BenchError(
            f"{stage.name} needs negative controls, and no row is one: pass controls=, a mask "
            "with true for each control"
        )


def require_rows(stage: Stage) -> None:
    """Raise if a stage needs more than rows of a table with batches, classes and controls."""
    if Access.TRAIN_WELL in stage.access:
        raise BenchError(f"{stage.name} needs to know which rows share a well: use `run`")
    if "images" in stage.needs:
        raise BenchError(f"{stage.name} needs images, and Corrector takes tables")


def in_order(partition: Partition) -> NDArray[np.float32]:
    """Return the profiles of a partition in input order."""
    assert partition.X is not None
    out = np.empty_like(partition.X)
    out[partition.rows] = partition.X
    return out


def partition_of(
    X: NDArray[np.float32],
    batch: ArrayLike | None,
    controls: ArrayLike | None,
    labels: Array | None,
    seed: int,
) -> Partition:
    """Convert rows to a :class:`Partition`; missing inputs use neutral values.

    Raises
    ------
    ValueError
        If batches or controls have the wrong shape or type.
    """
    import pandas as pd

    n = len(X)
    names = column(batch, n, "batch") if batch is not None else np.full(n, "all")
    control = np.zeros(n, dtype=bool)
    if controls is not None:
        mask = np.asarray(controls)
        if mask.shape != (n,) or mask.dtype != np.bool_:
            raise ValueError(
                f"controls must be a boolean mask of shape ({n},), one value per row of X, not "
                f"{mask.dtype} of shape {mask.shape}"
            )
        control = mask
    classes: tuple[str, ...] = ()
    text = np.full(n, "", dtype=object)
    if labels is not None:
        names_of_classes, codes = np.unique(labels, return_inverse=True)
        classes = tuple(f"{k:06d}" for k in range(len(names_of_classes)))
        text[:] = [classes[k] for k in codes.tolist()]
    index = pd.DataFrame(
        {"id": ids(X, names), "label": text, "control": control, LEVEL: names.astype(object)}
    )
    opened = Opened(
        name=NAME,
        index=index,
        source=ArraySource(X),
        levels=(LEVEL,),
        level=LEVEL,
        edition="real",
        digest="",
    )
    rows = np.arange(n, dtype=np.int64)
    return make_partition(opened, rows, classes, LEVEL, NAME, seed, labels=labels is not None)
