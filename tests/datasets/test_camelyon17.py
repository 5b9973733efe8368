"""Camelyon17-WILDS: the published layout, its official sides, and slides as clusters."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pandas as pd
import pytest
from bench.datasets import _wilds
from bench.datasets.camelyon17 import ABSENT, Camelyon17, open_folder
from PIL import Image

from bench.api import BenchError, Opened
from bench.core.registry import Registry
from bench.data.audit import audit
from bench.data.catalog import known_splits
from bench.data.folds import folds
from bench.testing.dataset import check_dataset
from tests.helpers import tiny
from tests.helpers.errors import mentions, raises


@pytest.fixture(scope="module")
def folder(shared_cache: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(shared_cache))
        return Camelyon17().prepare("fixture")


@pytest.fixture
def opened(folder: Path) -> Opened:
    return Camelyon17().open("fixture")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may change by replacing files, not by writing into them."""
    task = tmp_path / "camelyon17_v1.0"
    shutil.copytree(folder, task, copy_function=os.link)
    return task


def table_of(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "metadata.csv", dtype=str, keep_default_na=False, index_col=0)


def rewrite(folder: Path, table: pd.DataFrame) -> None:
    (folder / "metadata.csv").unlink()
    table.to_csv(folder / "metadata.csv")


def test_the_fixture_has_the_real_structure(opened: Opened) -> None:
    index = opened.index
    assert (opened.levels, opened.level) == (("slide", "hospital"), "hospital")
    assert index["hospital"].nunique() == 5
    assert index.groupby("hospital")["slide"].nunique().eq(10).all()
    assert index.groupby("slide")["hospital"].nunique().eq(1).all()
    assert set(index["label"]) == {"normal", "tumor"}
    assert not opened.has_controls
    assert set(index[index["official"] == "test"]["hospital"]) == {"2"}
    assert set(index[index["official"] == "val"]["hospital"]) == {"1"}
    assert set(index[index["official"].isin(["train", "id"])]["hospital"]) == {"0", "3", "4"}


def test_sides_are_those_of_wilds(opened: Opened, folder: Path) -> None:
    result = _wilds.wilds_class("camelyon17")(root_dir=folder.parent)
    words = {number: word for word, number in result.split_dict.items()}
    theirs = {}
    for path, number, row in zip(
        result._input_array, result.split_array, result.metadata_array.tolist(), strict=True
    ):
        name = Path(path).stem.removeprefix("patch_")
        node, _, place = name.partition("_x_")
        hospital, slide, y = row[:3]
        theirs[f"{node}/x_{place}"] = (words[int(number)], str(hospital), str(slide), y)
    index = opened.index
    columns = [
        index["official"].replace({"id": "id_val"}),
        index["hospital"],
        index["slide"],
        (index["label"] == "tumor").astype(int),
    ]
    ours = dict(zip(index["id"], zip(*columns, strict=True), strict=True))
    assert ours == {key: theirs[key] for key in ours}
    assert len(theirs) - len(ours) == len(ABSENT)


def test_rows_are_the_files_as_wilds_reads_them(opened: Opened, folder: Path) -> None:
    produced = _wilds.wilds_class("camelyon17")(root_dir=folder.parent)
    there = [i for i in range(len(produced)) if i not in ABSENT]
    for row in (0, 200, len(there) - 1):
        expected = np.asarray(produced.get_input(there[row]))
        result = opened.source.read(np.array([row]))[0]
        np.testing.assert_array_equal(np.moveaxis(result, 0, -1), expected)


def test_images_nobody_has_are_counted(opened: Opened) -> None:
    [note] = opened.notes
    mentions(note, "2", "600", "metadata.csv")


@pytest.mark.parametrize("side", ["test", "val", "id"])
def test_splits_are_the_official_sides(opened: Opened, side: str) -> None:
    split = known_splits(Registry())[f"camelyon17/{side}"]
    [fold] = folds(split, opened)
    assert set(opened.index["official"].iloc[fold.train]) == {"train"}
    held = opened.index["official"] == side
    assert np.array_equal(fold.test, np.flatnonzero(held))
    assert not audit(split, opened, [fold])


def test_intervals_are_over_slides(tmp_path: Path) -> None:
    bench = tiny.Bench(tmp_path / "results")
    from bench.data.opening import open_splits

    names = ["camelyon17", "camelyon17/id"]
    tasks = open_splits(names, bench.registry, "fixture", {}, lambda line: None)
    for where, n in zip(tasks, (10, 30), strict=True):
        [record] = bench.run("identity", where)
        assert record["clusters"]["level"] == "slide"
        assert len(record["clusters"]["names"]) == n
        assert record["spec"]["cluster"] == "slide"


def test_an_alpha_channel_is_left_out_as_wilds_does(copy: Path, opened: Opened) -> None:
    for path in sorted((copy / "patches").glob("*/*.png")):
        with Image.open(path) as image:
            rgba = np.asarray(image.convert("RGBA")).copy()
        rgba[..., 3] = 90
        path.unlink()
        path.write_bytes(imagecodecs.png_encode(rgba))
    dataset = open_folder(copy, "real")
    assert dataset.source.shape == (3, 32, 32)
    assert dataset.digest == opened.digest


def test_patients_keep_their_zeros(copy: Path, opened: Opened) -> None:
    table = table_of(copy)
    rewrite(copy, table.assign(patient=[str(int(p)) for p in table["patient"]]))
    pd.testing.assert_frame_equal(open_folder(copy, "real").index, opened.index)


def test_columns_may_be_more_and_in_another_order(copy: Path, opened: Opened) -> None:
    table = table_of(copy)
    table = table[sorted(table.columns)].assign(comment="x")
    for column in ("slide", "center", "tumor", "node"):
        table[column] += ".0"
    rewrite(copy, table)
    pd.testing.assert_frame_equal(open_folder(copy, "real").index, opened.index)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda t: t.drop(columns="center"), ("center",)),
        (lambda t: t.assign(tumor="2"), ("tumor", "0", "1", "2")),
        (lambda t: t.assign(slide="a"), ("a", "slide")),
        (lambda t: pd.concat([t, t.iloc[:1]]), ()),
    ],
)
def test_a_wrong_table_is_one_line(copy: Path, spoil: Any, said: str) -> None:
    rewrite(copy, spoil(table_of(copy)))
    with raises(BenchError, *said):
        open_folder(copy, "real")


def test_half_an_archive_is_refused(copy: Path) -> None:
    shutil.rmtree(copy / "patches" / "patient_004_node_0")
    with raises(BenchError, "1", "50"):
        open_folder(copy, "real")


def test_it_keeps_the_contract_of_data_sets() -> None:
    check_dataset("camelyon17", edition="fixture")


def test_editions() -> None:
    assert Camelyon17().editions() == ["fixture"]
    with raises(BenchError, "show dataset camelyon17"):
        Camelyon17().open("real")
    with raises(BenchError, "simulated"):
        Camelyon17().open("simulated")
