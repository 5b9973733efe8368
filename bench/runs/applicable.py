"""Reasons why a method does not apply to a split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.access import Access
from bench.core.control_names import is_control_row
from bench.core.errors import BenchError
from bench.data.views import column_of

if TYPE_CHECKING:
    from bench.core.dataset import Opened
    from bench.core.types import Bools, Ints
    from bench.data.inference_batches import InferenceBatches
    from bench.data.task import Task
    from bench.runs.chain import Chain, Stage


def _no_transfer(stage: Stage, task: Task) -> str:
    """Return why the first stage of a chain cannot transfer to another data set, or ``""``."""
    assert task.source_domain is not None
    if Access.ADAPT in stage.access:
        return (
            f"{stage.name} trains on the rows that are scored, and {task.split.name} takes the "
            "encoder as it was trained"
        )
    if stage.level not in task.source_domain.opened.levels:
        raise BenchError(
            f"{stage.name}.level is '{stage.level}', which is no batch level of "
            f"{task.source_domain.opened.name} that it is trained on: choose among "
            f"{', '.join(set(task.source_domain.opened.levels) & set(task.opened.levels))}"
        )
    return ""


def why_not(chain: Chain, task: Task) -> str:
    """Return why a chain cannot run on a split, or an empty string."""
    opened = task.opened
    for number, stage in enumerate(chain.stages):
        learnt = [task.stage_rows(number, fold) for fold in task.folds]
        source = learnt[0].opened
        transferred = source is not opened
        if is_control_row(stage.kind) and (
            reason := stage.cls.why_not(opened, transferred=transferred)
        ):
            return str(reason)
        if transferred and (reason := _no_transfer(stage, task)):
            return reason
        # Networks without a head train without labels.
        trained = stage.kind in ("network", "classifier")
        headed = trained and getattr(stage.cls, "has_head", True)
        if headed and task.split.protocol == "unsupervised":
            return f"{stage.name} needs labels to train on, and {task.split.name} gives none"
        if Access.TRAIN_WELL in stage.access and "well" not in source.columns:
            return f"{stage.name} needs to know which rows share a well; {source.name} does not say"
        if "images" in stage.needs and not opened.is_images:
            return f"{stage.name} needs images, and the rows of {opened.name} are profiles"
        if "controls" in stage.needs and not opened.has_controls:
            return f"{stage.name} needs negative controls, and {opened.name} has none"
        if "controls" in stage.needs:
            control = opened.index["control"].to_numpy(bool)
            if any(not control[fold.test].any() for fold in task.folds):
                return f"{stage.name} needs controls in every test set of {task.split.name}"
            if any(
                not part.opened.index["control"].to_numpy(bool)[part.rows].any() for part in learnt
            ):
                return f"{stage.name} needs controls in every training set of {task.split.name}"
        # Access added by the recipe (standardising by plate) does not require training by batch.
        if stage.kind == "network" and Access.TRAIN_BATCH in stage.cls.access(stage.params):
            for fold, part in zip(task.folds, learnt, strict=True):
                if len(np.unique(column_of(part.opened, stage.level)[part.rows])) < 2:
                    raise BenchError(
                        f"{stage.name} trains batch by batch, but the training rows of "
                        f"{task.split.name} (fold {fold.name}) have one {stage.level}: choose "
                        f"another level with --set {stage.name}.level=..., or another split"
                    )
    return ""


def why_not_grouped(chain: Chain, task: Task, grouping: InferenceBatches | None) -> str:
    """Return why a chain cannot run with a study's grouping of test rows, or an empty string."""
    if grouping is None:
        return ""
    if not task.supervised:
        return f"{task.split.name} has no training set: its rows are corrected as they are"
    if not any(stage.per_batch for stage in chain.stages):
        return f"{chain.typed} looks at no test batch: how rows are grouped there moves nothing"
    for stage in chain.stages:
        if Access.ADAPT in stage.access:
            return f"{stage.name} is fitted on the evaluation rows: they cannot be grouped anew"
    if grouping.drops_rows:
        if len({stage.level for stage in chain.stages if stage.per_batch}) > 1:
            return f"the stages of {chain.typed} correct several batch levels"
        if not task.opened.has_controls:
            return f"{task.opened.name} has no negative controls to leave out"
        scored = (fold.test[fold.scored] for fold in task.folds)
        if any(_controls(task.opened, rows).any() for rows in scored):
            return f"the negative controls of {task.opened.name} are scored: none can be left out"
    return ""


def _controls(opened: Opened, rows: Ints) -> Bools:
    """Return which rows are negative controls, ``(n,)``."""
    controls: Bools = opened.index["control"].to_numpy(bool)[rows]
    return controls
