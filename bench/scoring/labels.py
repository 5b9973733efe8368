"""Labels of evaluation rows, which are read here only.

Other modules of this package get the classes of rows from here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bench.core.canonical import canonical_json, digest
from bench.core.seeds import generator
from bench.data.inference_batches import pieces
from bench.data.views import batches_of, class_codes, column_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.core.dataset import Opened
    from bench.core.types import Ints
    from bench.data.inference_batches import InferenceBatches
    from bench.data.views import Partition

CLUSTERED = ("accuracy", "balanced_accuracy")
"""Metrics that are recorded per cluster, for intervals and paired differences."""
TREATMENTS = "accuracy_treatments"
"""The same if controls are classes: the only metric of runs that see which rows are controls."""


def truth(partition: Partition, classes: tuple[str, ...]) -> Ints:
    """Return the true classes of a side in view order, ``(n,)`` int64; -1 for no class."""
    return class_codes(partition.opened, partition.rows, classes)


def inference_batches(grouping: InferenceBatches, partition: Partition, seed: int) -> Partition:
    """Partition the rows of the evaluation side into inference batches for a study.

    The rows of each batch are partitioned by :func:`bench.data.inference_batches.pieces`, which may
    use their classes. The method sees the resulting batches, but no labels.

    Parameters
    ----------
    seed
        The run's seed. Draws depend on the seed, the grouping and the ids of the batch's rows.
        All methods with the same seed get the same inference batches, for any row order.
    """
    opened, n = partition.opened, len(partition)
    names = np.full(n, "", dtype=object)
    labels = column_of(opened, "label")[partition.rows].copy()
    labels[partition.controls] = ""
    role = opened.columns.get("position")
    position = None if role is None else column_of(opened, role)[partition.rows]
    ids = column_of(opened, "id")[partition.rows]
    for members in batches_of(partition.batch):
        batch = members[np.argsort(ids[members], kind="stable")]
        address = (canonical_json(grouping.spec), digest(ids[batch].tolist()), seed)
        subsets = pieces(
            grouping,
            labels[batch],
            partition.controls[batch],
            None if position is None else position[batch],
            generator("grouping", *address),
        )
        for k, subset in enumerate(subsets):
            names[batch[subset]] = f"{partition.batch[batch[0]]}\x1f{k}"
    kept = np.flatnonzero(names != "")
    return replace(partition, batch=names.astype(str)).take(kept)


def treatment_classes(opened: Opened, classes: tuple[str, ...]) -> NDArray[np.bool_]:
    """Return which classes are treatments, ``(n_classes,)``.

    A class is a treatment if all its rows are treated, according to the column with the role
    ``kind``, or if that column is missing, if none of its rows is a negative control. Class names
    and numbers are not used.
    """
    column = opened.columns.get("kind")
    if column is None:
        is_control = opened.index["control"].to_numpy(bool)
    else:
        is_control = column_of(opened, column) != "treatment"
    controls = set(column_of(opened, "label")[is_control].tolist())
    return np.array([name not in controls for name in classes])
