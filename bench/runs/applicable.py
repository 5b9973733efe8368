"""Reasons why a method does not apply to a split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.access import Access
from bench.core.control_names import is_control_row
from bench.data.views import column_of

if TYPE_CHECKING:
    from bench.core.dataset import Opened
    from bench.core.types import Bools, Ints
    from bench.data.inference_batches import InferenceBatches
    from bench.data.task import StageRows, Task
    from bench.runs.chain import Chain, Stage


def _no_transfer(stage: Stage, task: Task) -> str:
    """Return why the first stage of a chain cannot transfer to another data set, or ``""``."""
    assert task.source_domain is not None
    if Access.ADAPT in stage.access:
        return (
            f"{stage.name} trains on the evaluation rows, and {task.split.name} uses an encoder "
            "trained on another data set"
        )
    source = task.source_domain.opened
    if stage.level not in source.levels:
        return (
            f"{stage.name} is trained on {source.name}; its batch levels "
            f"({', '.join(source.levels)}) do not include {stage.level}: use "
            f"--set {stage.name}.level=..."
        )
    return ""


def why_not(chain: Chain, task: Task) -> str:
    """Return why a chain cannot run on a split, or an empty string."""
    shared = {stage.name for stage in chain.stages if stage.shared}
    repeated = [stage.name for stage in chain.own if stage.name in shared]
    if repeated:
        return f"{task.split.name} already applies {repeated[0]} before every method"
    for number, stage in enumerate(chain.stages):
        fitted_on = [task.stage_rows(number, fold) for fold in task.folds]
        transferred = fitted_on[0].opened is not task.opened
        if is_control_row(stage.kind) and (
            reason := stage.cls.why_not(task.opened, transferred=transferred)
        ):
            return str(reason)
        if transferred and (reason := _no_transfer(stage, task)):
            return reason
        reason = (
            _missing_data(stage, task, fitted_on[0].opened)
            or _missing_controls(stage, task, fitted_on)
            or _one_batch(stage, task, fitted_on)
        )
        if reason:
            return reason
    return ""


def _missing_data(stage: Stage, task: Task, source: Opened) -> str:
    """Return what the data of a split lack for a stage, or ``""``."""
    # Networks without a head train without labels.
    trained = stage.kind in ("network", "classifier")
    headed = trained and getattr(stage.cls, "has_head", True)
    if headed and task.split.protocol == "unsupervised":
        return f"{stage.name} requires training labels, and {task.split.name} has none"
    if Access.TRAIN_WELL in stage.access and "well" not in source.columns:
        return f"{stage.name} requires a column 'well', and {source.name} has none"
    if "images" in stage.needs and not task.opened.is_images:
        return f"{stage.name} requires images, and {task.opened.name} has profiles"
    if "exposed" in stage.needs and not task.split.expose:
        return (
            f"{stage.name} requires a column such as the cell count or the well position, and "
            f"{task.split.name} exposes none: add expose to the split"
        )
    if "controls" in stage.needs and not task.opened.has_controls:
        return f"{stage.name} requires negative controls, and {task.opened.name} has none"
    return ""


def _missing_controls(stage: Stage, task: Task, fitted_on: list[StageRows]) -> str:
    """Return which fold has no controls although a stage requires them, or ``""``."""
    if "controls" not in stage.needs:
        return ""
    for fold, rows in zip(task.folds, fitted_on, strict=True):
        for partition, opened, kept in (
            ("test", task.opened, fold.test),
            ("training", rows.opened, rows.rows),
        ):
            if not _controls(opened, kept).any():
                return (
                    f"{stage.name} requires controls in every {partition} set, and that of "
                    f"{task.split.name} (fold {fold.name}) has none"
                )
    return ""


def _one_batch(stage: Stage, task: Task, fitted_on: list[StageRows]) -> str:
    """Return which fold has one training batch although a stage trains by batch, or ``""``."""
    # Access added by the recipe (standardising by plate) does not require training by batch.
    if stage.kind != "network" or Access.TRAIN_BATCH not in stage.cls.access(stage.params):
        return ""
    for fold, rows in zip(task.folds, fitted_on, strict=True):
        if len(np.unique(column_of(rows.opened, stage.level)[rows.rows])) < 2:
            return (
                f"{stage.name} requires at least two training batches, and {task.split.name} "
                f"(fold {fold.name}) has one {stage.level}; to use another level: "
                f"--set {stage.name}.level=..."
            )
    return ""


def why_not_grouped(chain: Chain, task: Task, grouping: InferenceBatches | None) -> str:
    """Return why a chain cannot run with a study's grouping of test rows, or an empty string."""
    if grouping is None:
        return ""
    if not task.supervised:
        return f"{task.split.name} has no training set, so its rows have no inference batches"
    if not any(stage.per_batch for stage in chain.stages):
        return f"{chain.typed} does not use test batches, so their grouping has no effect"
    for stage in chain.stages:
        if Access.ADAPT in stage.access:
            return f"{stage.name} is fitted on the evaluation rows, which cannot be regrouped"
    if grouping.drops_rows:
        if len({stage.level for stage in chain.stages if stage.per_batch}) > 1:
            return f"the stages of {chain.typed} correct several batch levels"
        if not task.opened.has_controls:
            return f"{task.opened.name} has no negative controls to omit"
        scored = (fold.test[fold.scored] for fold in task.folds)
        if any(_controls(task.opened, rows).any() for rows in scored):
            return f"the negative controls of {task.opened.name} are scored and cannot be omitted"
    return ""


def _controls(opened: Opened, rows: Ints) -> Bools:
    """Return which rows are negative controls, ``(n,)``."""
    controls: Bools = opened.index["control"].to_numpy(bool)[rows]
    return controls
