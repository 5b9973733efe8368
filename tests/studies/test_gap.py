"""The generalisation gap on the test distribution, and what ordinary hold-outs say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.records.selection import parse_derived
from bench.records.store import Store
from bench.runs import holdouts as carve
from bench.runs.job import Options
from bench.runs.runner import Runner
from bench.studies import StudyContext
from bench.studies.gap import MIXED, TEST, run
from tests.helpers import tiny

if TYPE_CHECKING:
    from pathlib import Path

    from bench.data.task import Task


def ids(task: Task, rows: Any) -> set[str]:
    return set(task.opened.index["id"].iloc[rows])


def weeks(**shape: int) -> Task:
    data = tiny.opened(batches=8, **shape)
    return tiny.task(data, name="tiny/weeks", hold_out="week", shares=())


def one_plate() -> Task:
    return tiny.task(tiny.opened(batches=4))


@pytest.mark.parametrize(
    ("kind", "level", "column"),
    [
        ("random-rows", "", "id"),
        ("held-out", "plate", "plate"),
        ("held-out", "week", "week"),
    ],
)
def test_a_hold_out_tests_on_training_rows_alone(kind: str, level: str, column: str) -> None:
    task = weeks()
    result = carve.held_out(task, kind, level)
    assert result is not None
    assert [fold.name for fold in result.folds] == [fold.name for fold in task.folds]
    for part, fold in zip(result.folds, task.folds, strict=True):
        train, test = ids(task, part.train), ids(task, part.test)
        assert train | test == ids(task, fold.train)
        assert not train & test
        values = task.opened.index[column]
        assert not set(values.iloc[part.train]) & set(values.iloc[part.test])
        share = len(test) / len(fold.train)
        assert 0.1 < share < 0.45
    name = parse_derived(result.split.name)
    assert name is not None
    assert (name.split, name.kind, name.level) == ("tiny/weeks", kind, level)


def test_wells_that_hold_one_row_are_random_rows_and_are_left_out() -> None:
    assert carve.held_out(weeks(), "random-wells") is None
    data = tiny.opened(batches=8)
    index = data.index.copy()
    index["well"] = index["plate"] + "/" + (np.arange(len(index)) // 2).astype(str)
    twice = tiny.opened(index=index, X=data.source.read(np.arange(len(index))))
    task = tiny.task(twice, name="tiny/weeks", hold_out="week", shares=())
    result = carve.held_out(task, "random-wells")
    assert result is not None
    for part in result.folds:
        assert not set(index["well"].iloc[part.train]) & set(index["well"].iloc[part.test])


def test_a_level_with_one_training_value_is_left_out() -> None:
    task = tiny.task(tiny.opened(batches=4), test={"week": ("w1",)}, shares=())
    assert carve.held_out(task, "held-out", "week") is None
    assert carve.held_out(task, "held-out", "plate") is not None


def test_mixed_to_test_scores_the_same_rows_with_as_many_training_rows() -> None:
    task = weeks()
    result = carve.mixed_to_test(task)
    assert result is not None
    produced, halved = result
    assert halved == "plate"
    for fold in task.folds:
        parts = [part for part in produced.folds if part.name.startswith(f"{fold.name}#")]
        assert len(parts) == 2
        scored = [ids(task, part.test[part.scored]) for part in parts]
        assert not scored[0] & scored[1]
        assert scored[0] | scored[1] == ids(task, fold.test[fold.scored])
        for part in parts:
            assert len(part.train) == len(fold.train)
            added = ids(task, part.train) - ids(task, fold.train)
            assert added == ids(task, fold.test) - ids(task, part.test)
            plates = task.opened.index["plate"]
            assert not set(plates.iloc[part.train]) & set(plates.iloc[part.test])


def test_a_test_set_of_one_plate_is_halved_by_wells() -> None:
    result = carve.mixed_to_test(one_plate())
    assert result is not None
    assert result[1] == "well"


def test_derived_splits_do_not_depend_on_the_order_of_rows() -> None:
    data = tiny.opened(batches=8)
    order = np.random.default_rng(1).permutation(len(data.index))
    both = [
        tiny.task(d, name="tiny/weeks", hold_out="week", shares=())
        for d in (data, tiny.opened(batches=8, order=order))
    ]
    for kind, level in (("random-rows", ""), ("held-out", "plate")):
        item, other = (carve.held_out(task, kind, level) for task in both)
        assert item is not None
        assert other is not None
        assert item.digest == other.digest


def context(folder: Path, task: Task, methods: tuple[str, ...] = ("erm",)) -> StudyContext:
    options = Options("default", dict(tiny.QUICK), {}, "cpu")
    bench = tiny.Bench(folder)
    runner = Runner(Store(folder), options)
    return StudyContext(task, methods, [0, 1], [], bench.registry, runner, options, lambda *_: task)


def test_the_study_shows_both_gaps_and_reuses_what_is_there(tmp_path: Path) -> None:
    task = tiny.task(tiny.opened(batches=8), name="tiny/week", test={"week": ("w3",)}, shares=())
    first = context(tmp_path, task)
    result = run(first)
    kinds = {row["kind"]: row for row in result.table}
    assert set(kinds) == {TEST, MIXED, "held-out:plate", "held-out:week", "random-rows"}
    for name, row in kinds.items():
        if name != TEST:
            assert row["over"] == pytest.approx(row["mean"] - kinds[TEST]["mean"])
    assert kinds[MIXED]["test_rows"] == kinds[TEST]["test_rows"]
    assert kinds[MIXED]["train_rows"] == kinds[TEST]["train_rows"]
    assert len(result.reading) == 3
    assert f"{kinds[MIXED]['over']:+.3f}" in result.reading[0]
    assert f"{kinds['random-rows']['over']:+.3f}" in result.reading[1]
    assert first.left_out
    again = context(tmp_path, task)
    n = len(Store(tmp_path).load_all())
    assert run(again).table == result.table
    assert len(Store(tmp_path).load_all()) == n
    assert again.runs_digest == first.runs_digest


def test_a_shift_is_found_on_the_test_rows_and_hidden_by_random_rows(tmp_path: Path) -> None:
    data = tiny.opened(batches=8, per_class=8)
    index = data.index
    X = data.source.read(np.arange(len(index))).copy()
    # A laboratory whose classes show in other features: nothing of them can be learnt elsewhere,
    # but on its own other plate.
    new = (index["week"] == "w3").to_numpy()
    X[new] = X[new][:, [3, 4, 5, 0, 1, 2]]
    task = tiny.task(
        tiny.opened(index=index, X=X), name="tiny/new", test={"week": ("w3",)}, shares=()
    )
    result = context(tmp_path, task)
    result.options = Options("default", {"steps": 150, "batch_size": 32, "width": 32}, {}, "cpu")
    result.runner.options = result.options
    kinds = {row["kind"]: row for row in run(result).table}
    assert kinds[MIXED]["over"] > 0.15
    assert kinds["random-rows"]["over"] > kinds[MIXED]["over"]


def test_a_split_without_a_training_set_is_said_so(tmp_path: Path) -> None:
    import dataclasses

    data = dataclasses.replace(
        tiny.opened(), columns={"treatment": "label", "compound": "label", "nscb_batch": "week"}
    )
    task = tiny.task(
        data, name="tiny/profile", protocol="unsupervised", test="all", metric="nsc", shares=()
    )
    produced = context(tmp_path, task)
    result = run(produced)
    assert list(result.table) == []
    assert "no training set" in result.reading[1]
