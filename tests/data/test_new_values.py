"""Splits in which the well position, or another column, is new as well as the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from bench.api import Opened, Split
from bench.core.errors import BenchError
from bench.core.registry import Registry
from bench.data.catalog import packaged_splits
from bench.data.folds import folds
from bench.data.new_values import grouped_values
from bench.data.opening import open_splits
from bench.data.own.array_source import ArraySource
from bench.data.rules import check_split
from bench.runs.job import Options
from bench.runs.plan import plan
from tests.helpers import tiny
from tests.helpers.errors import raises
from tests.helpers.real import real_folder

if TYPE_CHECKING:
    from pathlib import Path


def plates(positions: dict[str, list[str]], controls: int = 2, n_plates: int = 3) -> Opened:
    """Return plates of one layout: class -> its well positions, and controls in own wells."""
    wells = [(name, label) for label, names in positions.items() for name in names]
    wells += [(f"H{k:02d}", "") for k in range(controls)]
    rows = [
        {
            "id": f"{plate}-{well}",
            "label": label,
            "control": not label,
            "plate": f"p{plate}",
            "position": well,
            "compound": f"{label}-{well}",
        }
        for plate in range(n_plates)
        for well, label in wells
    ]
    index = pd.DataFrame(rows)
    return Opened(
        name="plates",
        index=index,
        source=ArraySource(np.zeros((len(index), 2), np.float32)),
        levels=("plate",),
        level="plate",
        edition="fixture",
        digest="0" * 64,
        columns={"position": "position"},
    )


LAYOUT = {"a": ["A01", "A02", "A03", "A10"], "b": ["B01", "B02", "B03"], "c": ["C01", "C02", "C03"]}


def split(**fields: Any) -> Split:
    values: dict[str, Any] = {"hold_out": "plate", "also_new": "well", **fields}
    return Split(name="plates/x", dataset="plates", shift="plate and well", **values)


def test_no_scored_position_trains_and_each_row_is_scored_once() -> None:
    opened = plates(LAYOUT)
    index = opened.index
    plain, divided = folds(split(also_new=""), opened), folds(split(), opened)
    assert [fold.name for fold in divided] == [f"p{p}#{g}" for p in range(3) for g in (1, 2, 3)]
    scored: list[int] = []
    for k, fold in enumerate(divided):
        original = plain[k // 3]
        test, train = index.iloc[fold.test[fold.scored]], index.iloc[fold.train]
        treated = train[~train["control"]]
        assert not set(test["position"]) & set(treated["position"])
        assert not set(test["plate"]) & set(train["plate"])
        assert set(treated["label"]) == set(LAYOUT)
        # controls and the rows of the test batch stay, for statistics of batches
        assert train["control"].sum() == index.iloc[original.train]["control"].sum()
        np.testing.assert_array_equal(fold.test, original.test)
        # only the rows that must not train are left out
        left = index.iloc[np.setdiff1d(original.train, fold.train)]
        assert set(left["position"]) == set(test["position"])
        scored += fold.test[fold.scored].tolist()
    assert sorted(scored) == np.flatnonzero(~index["control"]).tolist()
    assert sum(fold.n_excluded for fold in divided) == 0


def test_the_number_of_groups_is_that_of_the_class_with_fewest_values() -> None:
    many = {label: [f"{label}{k:02d}" for k in range(9)] for label in "ab"}
    assert len(folds(split(), plates(many))) == 3 * 4
    two = {**many, "c": ["c00", "c01"]}
    assert len(folds(split(), plates(two))) == 3 * 2


def test_a_class_with_one_value_is_excluded_where_it_is_new() -> None:
    divided = folds(split(), plates({**LAYOUT, "d": ["D01"]}))
    assert sum(fold.n_excluded for fold in divided) == 3  # once per plate
    assert {c for fold in divided for c in fold.excluded_classes} == {"d"}
    assert sum(int(fold.scored.sum()) for fold in divided) == 3 * 10


def test_validation_rows_at_the_scored_positions_are_left_out() -> None:
    opened = plates(LAYOUT)
    fields = {"hold_out": None, "test": {"plate": ("p2",)}, "validation": {"plate": ("p1",)}}
    divided = folds(split(**fields), opened)
    assert [fold.name for fold in divided] == ["all#1", "all#2", "all#3"]
    for fold in divided:
        scored = set(opened.index["position"].iloc[fold.test[fold.scored]])
        for rows in (fold.train, fold.validation):
            labelled = opened.index.iloc[rows].query("label != ''")
            assert not scored & set(labelled["position"])
            assert len(rows)


def test_any_column_can_be_new() -> None:
    opened = plates(LAYOUT)
    for fold in folds(split(also_new="compound"), opened):
        compounds = opened.index["compound"]
        assert not set(compounds.iloc[fold.test[fold.scored]]) & set(compounds.iloc[fold.train])


@pytest.mark.parametrize("n_groups", [2, 3, 4])
def test_values_of_each_class_are_spread(n_groups: int) -> None:
    rng = np.random.default_rng(n_groups)
    values = {
        f"c{k}": {f"A{p:02d}" for p in rng.choice(96, rng.integers(2, 12), replace=False)}
        for k in range(12)
    }
    groups = grouped_values(values, n_groups)
    assert set(groups) == set().union(*values.values())
    disjoint = {"x": {"A1", "A2", "A10", "A11"}, "y": {"B1", "B2", "B3", "B4", "B5"}}
    groups = grouped_values(disjoint, n_groups)
    for own in disjoint.values():
        counts = np.bincount([groups[value] for value in own], minlength=n_groups)
        assert counts.max() - counts.min() <= 1
    # independent of the order in which classes and values come
    assert groups == grouped_values({name: disjoint[name] for name in ("y", "x")}, n_groups)


def test_errors_name_the_key() -> None:
    opened = plates(LAYOUT)
    with raises(BenchError, "also_new", "position"):
        folds(split(), plates(LAYOUT).__class__(**{**vars(opened), "columns": {}}))
    with raises(BenchError, "also_new", "compound"):
        folds(split(also_new="compond"), opened)
    with raises(BenchError, "also_new", "1 of 2"):
        folds(split(), plates({"a": ["A01", "A02"], "b": ["B01"]}))
    index = opened.index.copy()
    index.loc[0, "position"] = ""
    with raises(BenchError, "also_new", "1 row"):
        folds(split(), opened.__class__(**{**vars(opened), "index": index}))
    for fields in ({"also_new": "plate"}, {"also_new": "label"}):
        with raises(BenchError, "also_new"):
            check_split(split(**fields))
    with raises(BenchError, "also_new"):
        check_split(split(hold_out=None, test="all", protocol="unsupervised"))


def test_a_toml_takes_the_option_and_the_id_names_it(tmp_path: Path) -> None:
    splits = '\n[splits.plates]\nhold_out = "plate"\nshares = ["week"]\n'
    path = tiny.write_table(tmp_path, splits + splits.replace("plates]", 'new]\nalso_new = "well"'))
    plain, divided = tiny.open_table(path, "plates", "new")
    assert len(divided.folds) == 4 * len(plain.folds)
    assert "well position" in divided.split.shift
    jobs = plan(["identity"], [plain, divided], [0], Options("smoke"), Registry())
    specs = [job.spec() for job in jobs]
    assert ["also_new" in spec for spec in specs] == [False, True]
    assert specs[0]["split_digest"] != specs[1]["split_digest"]


@pytest.mark.parametrize("name", ["jump-source3/batches-and-wells", "jump-stains/stains-and-wells"])
def test_registered_splits_have_no_scored_position_in_training(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = "jump_source3_image_stats" if "source3" in name else "jump_moa_dye_batches"
    monkeypatch.setenv("BENCH_DATA", str(real_folder(folder).parent))
    assert packaged_splits()[name].also_new == "well"
    plain, divided = open_splits(
        [name.removesuffix("-and-wells"), name], Registry(), "auto", {}, lambda line: None
    )
    position = divided.opened.index["position"]
    for fold in divided.folds:
        train = fold.train[divided.opened.index["label"].iloc[fold.train] != ""]
        assert not set(position.iloc[fold.test[fold.scored]]) & set(position.iloc[train])
    n_scored = [sum(int(f.scored.sum()) for f in task.folds) for task in (plain, divided)]
    assert n_scored[0] == n_scored[1]
