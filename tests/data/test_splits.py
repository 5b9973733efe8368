"""Splits: rows on each side, one label map, exclusions counted, sharing named."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.api import Opened, Split
from bench.core.errors import BenchError
from bench.data.audit import audit, split_digest
from bench.data.catalog import find_split, packaged_splits
from bench.data.folds import folds
from bench.data.own.array_source import ArraySource
from bench.data.rules import check_split
from bench.data.views import encode
from tests.helpers.errors import mentions, raises

if TYPE_CHECKING:
    from bench.data.partitions import Fold


def opened(
    label: list[str],
    control: list[bool] | None = None,
    levels: tuple[str, ...] = ("plate",),
    **columns: list[str],
) -> Opened:
    n = len(label)
    control = control or [False] * n
    index = pd.DataFrame(
        {
            "id": [f"s{i}" for i in range(n)],
            "label": ["" if c else name for name, c in zip(label, control, strict=True)],
            "control": np.array(control, dtype=bool),
            **columns,
        }
    )
    X = np.arange(n, dtype=np.float32)[:, None]
    return Opened("t", index, ArraySource(X), levels, levels[0], "real", "0" * 64)


def split(**fields: Any) -> Split:
    return Split(**{"name": "t/s", "dataset": "t", "shift": "the plate is new", **fields})


def one_line(data: Opened, **fields: Any) -> str:
    with pytest.raises(BenchError) as caught:
        folds(split(**fields), data)
    message = str(caught.value)
    assert "\n" not in message
    return message


PLATES = ["P1", "P1", "P1", "P2", "P2", "P2", "P10", "P10"]
LABELS = ["a", "b", "DMSO", "a", "c", "b", "b", "DMSO"]
CONTROL = [name == "DMSO" for name in LABELS]


def test_each_held_out_value_is_the_test_side_once() -> None:
    data = opened(LABELS, CONTROL, plate=PLATES)
    result = folds(split(hold_out="plate"), data)
    assert [fold.name for fold in result] == ["P1", "P2", "P10"]  # natural order
    second = result[1]
    assert second.train.tolist() == [0, 1, 2, 6, 7]
    assert second.test.tolist() == [3, 4, 5]
    assert second.train.dtype == second.test.dtype == second.validation.dtype == np.int64
    assert len(second.validation) == 0


def test_only_rows_of_where_take_part() -> None:
    kind = ["x", "x", "x", "x", "y", "x", "x", "y"]
    data = opened(LABELS, CONTROL, plate=PLATES, kind=kind)
    inside = {i for i, k in enumerate(kind) if k == "x"}
    where = {"kind": ("x",)}
    for fold in folds(split(hold_out="plate", where=where), data):
        assert {*fold.train.tolist(), *fold.test.tolist()} == inside
        assert len(fold.scored) == len(fold.test)
    # class c, of one plate among all rows, has none left; b has two plates left
    assert folds(split(hold_out="plate", where=where), data)[0].classes == ("a", "b")
    (fixed,) = folds(split(test={"plate": ("P10",)}, where=where), data)
    assert (fixed.train.tolist(), fixed.test.tolist()) == ([0, 1, 2, 3, 5], [6])
    every = split(protocol="unsupervised", task="retrieve", test="all", where=where)
    (whole,) = folds(every, data)
    assert set(whole.test.tolist()) == set(whole.train.tolist()) == inside
    assert whole.scored.tolist() == [LABELS[i] != "DMSO" for i in sorted(inside)]
    assert split_digest(data, folds(split(hold_out="plate", where={"kind": ("x", "y")}), data)) == (
        split_digest(data, folds(split(hold_out="plate"), data))
    )


def test_each_value_of_where_must_have_rows() -> None:
    data = opened(LABELS, CONTROL, plate=PLATES)
    said = one_line(data, hold_out="plate", where={"plate": ("P1", "P3", "P4")})
    mentions(said, "plate", "P3", "P4")
    assert "where is empty" in one_line(data, hold_out="plate", where={"plate": ()})


def test_a_class_of_one_value_is_excluded_and_counted_and_stays_in_its_batch() -> None:
    data = opened(LABELS, CONTROL, plate=PLATES)
    result = folds(split(hold_out="plate"), data)
    assert all(fold.classes == ("a", "b") for fold in result)
    second = result[1]
    assert second.scored.tolist() == [True, False, True]  # 'c' occurs on this plate alone
    assert (second.n_excluded, second.excluded_classes) == (1, ("c",))
    # a control is not scored and not counted as excluded
    assert result[0].scored.tolist() == [True, True, False]
    assert (result[0].n_excluded, result[0].excluded_classes) == (0, ())
    codes = encode(data.index["label"], result[0].classes)
    assert codes.tolist() == [0, 1, -1, 0, -1, 1, 1, -1]
    assert codes.dtype == np.int64


def test_a_fold_may_have_nothing_to_score() -> None:
    data = opened(
        ["a", "b", "a", "b", "c", "DMSO"],
        [False] * 5 + [True],
        plate=["1", "1", "2", "2", "3", "3"],
    )
    result = folds(split(hold_out="plate"), data)
    assert [int(fold.scored.sum()) for fold in result] == [2, 2, 0]
    assert result[2].n_excluded == 1


def test_without_train_all_other_rows_train() -> None:
    data = opened(LABELS, CONTROL, plate=PLATES)
    (fold,) = folds(split(test={"plate": ("P10",)}, validation={"plate": ("P2",)}), data)
    assert fold.name == "all"
    assert fold.train.tolist() == [0, 1, 2]
    assert fold.validation.tolist() == [3, 4, 5]
    assert fold.test.tolist() == [6, 7]


def test_all_columns_of_a_side_must_match() -> None:
    data = opened(
        ["a", "b", "a", "b", "a", "b"],
        plate=["1", "1", "2", "2", "3", "3"],
        site=["x", "y", "x", "y", "x", "y"],
    )
    (fold,) = folds(
        split(train={"plate": ("1",)}, test={"plate": ("2", "3"), "site": ("x",)}), data
    )
    assert fold.train.tolist() == [0, 1]
    assert fold.test.tolist() == [2, 4]  # row 3 and 5 are on no side


def test_the_label_map_of_a_fixed_split_does_not_depend_on_the_test_side() -> None:
    data = opened(["a", "b", "c", "a", "d", "b"], plate=["1", "1", "1", "2", "2", "3"])
    train = {"plate": ("1",)}
    (two,) = folds(split(train=train, test={"plate": ("2",)}), data)
    (three,) = folds(split(train=train, test={"plate": ("3",)}), data)
    assert two.classes == three.classes == ("a", "b", "c")
    assert two.scored.tolist() == [True, False]
    assert two.excluded_classes == ("d",)


def test_unsupervised_has_all_rows_on_both_sides() -> None:
    data = opened(LABELS, CONTROL, plate=PLATES)
    (fold,) = folds(split(protocol="unsupervised", test="all"), data)
    assert fold.train.tolist() == fold.test.tolist() == list(range(8))
    assert fold.scored.tolist() == [not control for control in CONTROL]
    assert fold.classes == ("a", "b", "c")
    assert audit(split(protocol="unsupervised", test="all"), data, [fold]) == []


@pytest.mark.parametrize("wanted, value", [("3", "3.0"), ("3.0", "3.0"), ("1", "01")])
def test_a_number_names_the_value_that_is_equal_to_it(wanted: str, value: str) -> None:
    doses = ["01", "01", "3.0", "3.0"]
    data = opened(["a", "b", "a", "b"], dose=doses)
    (fold,) = folds(split(test={"dose": (wanted,)}), data)
    assert {doses[i] for i in fold.test} == {value}


CASES: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({}, ("hold_out",)),
    ({"hold_out": "plat"}, ("plat", "plate")),
    ({"hold_out": "lab"}, ("'here'",)),
    ({"hold_out": "holes"}, ("2", "holes")),
    ({"hold_out": "own"}, ("own",)),
    ({"hold_out": "plate", "test": {"plate": ("P1",)}}, ("hold_out", "test")),
    ({"test": {"plat": ("P1",)}}, ("test", "plat", "plate")),
    ({"test": {"plate": ("p1",)}}, ("plate", "p1", "P1")),
    ({"test": {"plate": ()}}, ("test", "plate")),
    ({"test": {}}, ("test",)),
    ({"test": "all"}, ('protocol = "unsupervised"',)),
    ({"test": {"plate": ("P1", "P2", "P10")}}, ("train",)),
    (
        {"test": {"plate": ("P1",), "lab": ("here",)}, "train": {"lab": ("here",)}},
        ("train", "test"),
    ),
    (
        {"test": {"plate": ("P1",)}, "validation": {"plate": ("P1", "P2")}},
        ("3", "validation", "test"),
    ),
    ({"test": {"plate": ("P1",), "own": ("x4",)}}, ("test",)),
    ({"test": {"holes": ("1",)}}, ("2", "holes")),
    ({"train": {"own": ("x0",)}, "test": {"plate": ("P2",)}}, ("classes",)),
    ({"train": {"own": ("x0", "x1")}, "test": {"own": ("x4",)}}, ("train", "test")),
    ({"hold_out": "plate", "shift": " "}, ("shift",)),
    ({"hold_out": "plate", "task": "classif"}, ("classif", "classify")),
    ({"hold_out": "plate", "protocol": "unsupervized"}, ("unsupervized", "unsupervised")),
    ({"hold_out": "plate", "protocol": "unsupervised"}, ('test = "all"',)),
    ({"hold_out": "plate", "expose": ("label",)}, ("expose", "label")),
    ({"hold_out": "plate", "expose": ("laboratory",)}, ("expose", "laboratory")),
    ({"hold_out": "plate", "shares": ("laboratory",)}, ("shares", "laboratory")),
    ({"hold_out": "plate", "score_unit": "labb"}, ("labb", "lab")),
    ({"hold_out": "plate", "score_unit": "lab"}, ("score_unit", "lab")),
    (
        {"hold_out": "plate", "score_unit": "gaps"},
        ("1", "gaps"),
    ),
]


@pytest.mark.parametrize("fields, names", CASES, ids=lambda value: str(value)[:40])
def test_every_contradiction_is_one_line_that_says_how_to_mend_it(
    fields: dict[str, Any], names: tuple[str, ...]
) -> None:
    data = opened(
        LABELS,
        CONTROL,
        plate=PLATES,
        lab=["here"] * 8,
        gaps=["1", "2", "3", "4", "5", "", "7", "8"],
        holes=["1", "1", "1", "1", "1", "", "", "2"],
        own=[f"x{i}" for i in range(8)],
    )
    if fields == {"hold_out": "own"}:  # every class under one value
        data = opened(["a", "b", "c"], own=["1", "2", "3"])
    mentions(one_line(data, **fields), "t/s", *names)


def test_an_empty_data_set_is_refused() -> None:
    assert "has no rows" in one_line(opened([], plate=[]), hold_out="plate")


def test_a_shared_level_is_reported_unless_it_is_declared() -> None:
    data = opened(
        ["a", "b"] * 4,
        levels=("plate", "week"),
        plate=["1", "1", "2", "2", "3", "3", "4", "4"],
        week=["x", "x", "x", "x", "y", "y", "y", "y"],
        well=["1A", "1B", "2A", "2B", "3A", "3B", "4A", "4B"],
    )
    by_plate = split(hold_out="plate")
    (sentence,) = audit(by_plate, data, folds(by_plate, data))
    mentions(sentence, "4", "week")
    mentions(sentence, "4")
    declared = dataclasses.replace(by_plate, shares=("week",))
    assert audit(declared, data, folds(declared, data)) == []
    by_week = split(hold_out="week")
    assert audit(by_week, data, folds(by_week, data)) == []


def test_a_shared_well_is_reported() -> None:
    data = opened(
        ["a", "b"] * 2,
        levels=("batch",),
        batch=["1", "1", "2", "2"],
        site=["1", "2", "1", "2"],
        well=["A", "B", "A", "C"],
    )
    by_batch = split(test={"batch": ("2",)})
    (sentence,) = audit(by_batch, data, folds(by_batch, data))
    mentions(sentence, "1", "2", "well")


def test_a_sample_on_both_sides_is_an_error() -> None:
    data = opened(["a", "b"] * 2, plate=["1", "1", "2", "2"])
    data.index["id"] = ["s", "t", "s", "u"]
    held = split(hold_out="plate")
    with raises(BenchError, "1", "s"):
        audit(held, data, folds(held, data))


def test_the_digest_sees_sides_and_not_row_order() -> None:
    data = opened(LABELS, CONTROL, plate=PLATES)
    order = np.random.default_rng(0).permutation(8)
    mixed = dataclasses.replace(data, index=data.index.iloc[order].reset_index(drop=True))
    held = split(hold_out="plate")
    item = split_digest(data, folds(held, data))
    assert item == split_digest(mixed, folds(held, mixed))
    moved = dataclasses.replace(data, index=data.index.assign(plate=[*PLATES[:-1], "P1"]))
    assert item != split_digest(moved, folds(held, moved))


rows = st.lists(
    st.tuples(
        st.sampled_from("abcd"), st.sampled_from(["1", "2", "10"]), st.booleans(), st.booleans()
    ),
    min_size=1,
    max_size=30,
)


def naive(label: list[str], plate: list[str], control: list[bool]) -> dict[str, set[int]]:
    """Scored rows of each held-out plate by a loop over pairs of rows."""
    scored: dict[str, set[int]] = {value: set() for value in plate}
    for i, value in enumerate(plate):
        for j, other in enumerate(plate):
            if other != value and label[j] == label[i] and not control[i] and not control[j]:
                scored[value].add(i)
    return scored


@settings(max_examples=60, deadline=None)
@given(rows, st.randoms(use_true_random=False))
def test_sides_are_disjoint_and_cover_and_do_not_depend_on_row_order(
    table: list[tuple[str, str, bool, bool]], random: Any
) -> None:
    label, plate, rare, _ = (list(column) for column in zip(*table, strict=True))
    control = [r and i % 3 == 0 for i, r in enumerate(rare)]
    data = opened(label, control, plate=plate)
    held = split(hold_out="plate")
    scored = naive(label, plate, control)
    classes = {label[i] for members in scored.values() for i in members}
    if len(set(plate)) < 2 or len(classes) < 2:
        with pytest.raises(BenchError):
            folds(held, data)
        return
    result = folds(held, data)
    assert sorted(np.concatenate([fold.test for fold in result]).tolist()) == list(
        range(len(label))
    )
    for fold in result:
        assert sorted([*fold.train, *fold.test]) == list(range(len(label)))
        assert set(fold.test[fold.scored].tolist()) == scored[fold.name]
        assert fold.classes == tuple(sorted(classes))
        treated = sum(not control[i] for i in fold.test)
        assert fold.n_excluded + int(fold.scored.sum()) == treated
    order = list(range(len(label)))
    random.shuffle(order)
    mixed = dataclasses.replace(data, index=data.index.iloc[order].reset_index(drop=True))
    again = folds(held, mixed)

    def named(index: pd.DataFrame, fold: Fold) -> tuple[Any, ...]:
        ids = index["id"].to_numpy()
        kept = fold.test[fold.scored]
        return fold.name, fold.classes, set(ids[fold.train]), set(ids[kept]), fold.n_excluded

    item = [named(data.index, fold) for fold in result]
    assert item == [named(mixed.index, fold) for fold in again]


GOOD = """
[[split]]
name = "set/one"
dataset = "set"
alias = "first"
shift = "the day is new"
hold_out = "day"
shares = ["plate"]

[[split]]
name = "set/two"
dataset = "set"
shift = "two days are new"
train = { day = [1, 2] }
test = { day = ["3"] }
"""


def test_packaged_splits_are_read_from_toml(tmp_path: Path) -> None:
    (tmp_path / "set.toml").write_text(GOOD)
    known = packaged_splits([tmp_path])
    assert list(known) == ["set/one", "set/two"]
    assert known["set/one"].shares == ("plate",)
    assert known["set/two"].train == {"day": ("1", "2")}
    assert find_split("first", known) is known["set/one"]
    assert find_split("set/two", known) is known["set/two"]
    with raises(BenchError, "set/two", "FILE.toml:NAME"):
        find_split("set/tow", known)


@pytest.mark.parametrize(
    "old, new, mend",
    [
        ("hold_out", "hold_outs", ("hold_out",)),
        ('[[split]]\nname = "set/two"', '[[split]\nname = "set/two"', ("10",)),
        ('shift = "the day is new"', "", ("shift",)),
        ('shift = "the day is new"', "shift = 3", ("shift", "3")),
        ('shares = ["plate"]', 'shares = "plate"', ()),
        ("{ day = [1, 2] }", "{ day = 1 }", ()),
        ("set/two", "set/one", ("set/one", "set.toml")),
        ("set/two", "first", ("set/…",)),
        ('"first"', '"set/two"', ("set/two",)),
        ("[[split]]", "[[splits]]", ()),
        ('hold_out = "day"', "", ("hold_out",)),
    ],
)
def test_a_bad_packaged_file_is_one_line(tmp_path: Path, old: str, new: str, mend: str) -> None:
    assert old in GOOD
    (tmp_path / "set.toml").write_text(GOOD.replace(old, new, 1))
    with pytest.raises(BenchError) as caught:
        packaged_splits([tmp_path])
    mentions(str(caught.value), *mend)


def test_the_splits_that_come_along_are_valid() -> None:
    for name, known in packaged_splits().items():
        assert known.name == name
        assert check_split(known) is known
        assert known.shift


def test_reading_packaged_splits_imports_nothing_heavy() -> None:
    code = (
        "import sys; from bench.data.catalog import packaged_splits; packaged_splits(); "
        "heavy = {'pandas', 'torch', 'sklearn', 'pydantic', 'scipy'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False
    )
    assert done.returncode == 0, done.stderr
