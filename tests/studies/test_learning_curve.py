"""The rows that the learning-curve study trains on and scores."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from bench.records.selection import parse_derived
from bench.studies.learning_curve import FOLDS, _held_out
from tests.helpers import tiny

if TYPE_CHECKING:
    from bench.data.task import Task


def weeks(images: bool) -> Task:
    data = tiny.opened(batches=10, images=images)
    return tiny.task(data, name="tiny/weeks", hold_out="week", shares=())


@pytest.mark.parametrize("images", [False, True])
def test_test_rows_of_the_split_are_neither_trained_on_nor_scored(images: bool) -> None:
    task = weeks(images)
    derived, level = _held_out(task)
    assert derived is not None
    assert level == "plate"
    assert parse_derived(derived.split.name) is not None
    assert len(derived.folds) == FOLDS["images" if images else "profiles"] < len(task.folds)
    for part, fold in zip(derived.folds, task.folds, strict=False):
        assert part.name == fold.name
        assert {*part.train, *part.test} == {*fold.train}
        plates = task.opened.index["plate"]
        assert not set(plates.iloc[part.train]) & set(plates.iloc[part.test])


@pytest.mark.parametrize(
    ("batches", "level"),
    [
        (8, "week"),  # three weeks in training
        (6, "plate"),  # two weeks in training: holding out one would leave one
    ],
)
def test_the_held_out_level_leaves_two_batches_to_train_on(batches: int, level: str) -> None:
    data = dataclasses.replace(tiny.opened(batches=batches), level="week")
    task = tiny.task(data, test={"week": ("w0",)}, shares=())
    derived, used = _held_out(task)
    assert derived is not None
    assert used == level
    [fold] = derived.folds
    assert data.index[level].iloc[fold.train].nunique() >= 2
