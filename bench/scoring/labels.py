"""Scoring: the only module that reads the labels of evaluation rows.

A fold's profiles are read out by the method's own head where there is one, by the probe that all
rows of a board share (``bench.scoring.probe``), and by the class of the nearest training profile
(``bench.scoring.nearest``). Predictions of all folds are pooled, averaged to
the split's score unit, and scored overall, for each fold, batch, class and cluster.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bench.core.canonical import canonical_json, digest
from bench.core.seeds import generator
from bench.data.grouping import pieces
from bench.data.views import batches_of, class_codes, column_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.core.dataset import Opened
    from bench.core.types import Ints
    from bench.data.grouping import Grouping
    from bench.data.views import Side

CLUSTERED = ("accuracy", "balanced_accuracy")
"""Metrics whose value in each cluster is recorded, for intervals and paired differences."""
TREATMENTS = "accuracy_treatments"
"""The same, where controls are classes: the one metric of runs that saw which rows are controls."""


def truth(side: Side, classes: tuple[str, ...]) -> Ints:
    """Return the true classes of a side in view order, ``(n,)`` int64, -1 without one."""
    return class_codes(side.opened, side.rows, classes)


def inference_batches(grouping: Grouping, side: Side, seed: int) -> Side:
    """Group the rows of the evaluation side into inference batches, as a study wants them.

    The rows of each batch of the side are dealt out by :func:`bench.data.grouping.pieces`, which
    may look at their classes. The method sees the batches that come of it, and no label.

    Parameters
    ----------
    grouping
        How.
    side
        The evaluation side, its batches whole.
    seed
        The run's seed. Draws depend on it, on the grouping and on the ids of the batch's rows: all
        methods with a seed meet the same inference batches, whatever the order of the rows.
    """
    opened, n = side.opened, len(side)
    names = np.full(n, "", dtype=object)
    labels = column_of(opened, "label")[side.rows].copy()
    labels[side.controls] = ""
    role = opened.columns.get("position")
    position = None if role is None else column_of(opened, role)[side.rows]
    ids = column_of(opened, "id")[side.rows]
    for whole in batches_of(side.batch):
        batch = whole[np.argsort(ids[whole], kind="stable")]
        address = (canonical_json(grouping.spec), digest(ids[batch].tolist()), seed)
        found = pieces(
            grouping,
            labels[batch],
            side.controls[batch],
            None if position is None else position[batch],
            generator("grouping", *address),
        )
        for k, part in enumerate(found):
            names[batch[part]] = f"{side.batch[batch[0]]}\x1f{k}"
    kept = np.flatnonzero(names != "")
    return replace(side, batch=names.astype(str)).take(kept)


def treatment_classes(opened: Opened, classes: tuple[str, ...]) -> NDArray[np.bool_]:
    """Return which classes are treatments, ``(n_classes,)``.

    A class is one if every row of it is a treated one, by the column in the role ``kind``; without
    such a column, if none of its rows is a negative control. Names and numbers say nothing.
    """
    column = opened.columns.get("kind")
    if column is None:
        is_control = opened.index["control"].to_numpy(bool)
    else:
        is_control = column_of(opened, column) != "treatment"
    controls = set(column_of(opened, "label")[is_control].tolist())
    return np.array([name not in controls for name in classes])
