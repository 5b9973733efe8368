"""RxRx1-WILDS: the published layout, its official sides, and what real files do."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from bench.datasets import _wilds
from bench.datasets.rxrx1 import RxRx1, open_folder
from PIL import Image

from bench.api import BenchError, Opened
from bench.core.registry import Registry
from bench.data.catalog import known_splits
from bench.data.folds import folds
from bench.testing.dataset import check_dataset
from tests.helpers.errors import mentions, raises

if TYPE_CHECKING:
    from pathlib import Path

COUNTS = {"HUVEC": (16, 1, 7), "RPE": (7, 1, 3), "HEPG2": (7, 1, 3), "U2OS": (3, 1, 1)}
"""Experiments of the official training, validation and test sides, as published."""
N_WELLS = 6
ABSENT = 3


@pytest.fixture(scope="module")
def folder(shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(shared_cache))
        return RxRx1().prepare("fixture")


@pytest.fixture
def opened(folder: Path) -> Opened:
    return RxRx1().open("fixture")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may change by replacing files, not by writing into them."""
    target = tmp_path / "rxrx1_v1.0"
    shutil.copytree(folder, target, copy_function=os.link)
    return target


def table_of(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "metadata.csv", dtype=str, keep_default_na=False)


def rewrite(folder: Path, table: pd.DataFrame) -> None:
    (folder / "metadata.csv").unlink()
    table.to_csv(folder / "metadata.csv", index=False)


def test_the_fixture_has_the_real_structure(opened: Opened) -> None:
    index = opened.index
    assert opened.edition == "fixture"
    assert opened.levels == ("plate", "experiment", "cell_type")
    assert index["experiment"].nunique() == 51
    assert index.groupby("experiment")["plate"].nunique().eq(4).all()
    assert index["cell_type"].nunique() == 4
    assert index["label"].nunique() >= 10
    assert index["id"].is_unique
    for cell_type, counts in COUNTS.items():
        rows = index[index["cell_type"] == cell_type]
        result = [
            rows[rows["official"] == s]["experiment"].nunique() for s in ("train", "val", "test")
        ]
        assert tuple(result) == counts, cell_type


def test_treatments_once_an_experiment_controls_once_a_plate(opened: Opened) -> None:
    wells = opened.index.drop_duplicates("well")
    treated = wells[wells["well_type"] == "treatment"]
    assert treated.groupby(["experiment", "label"]).size().eq(1).all()
    controls = wells[wells["well_type"] != "treatment"]
    assert controls.groupby(["plate", "label"]).size().eq(1).all()
    assert controls.groupby("plate")["label"].nunique().eq(3).all()
    assert not set(treated["label"]) & set(controls["label"])
    # counting classes from the end would take treatments for controls
    numbers = sorted(int(label) for label in set(controls["label"]))
    assert max(numbers) < max(int(label) for label in set(treated["label"]))


def test_treatments_fall_into_the_same_four_groups(opened: Opened) -> None:
    treated = opened.index[opened.index["well_type"] == "treatment"]
    groups = {frozenset(labels) for labels in treated.groupby("plate")["label"].agg(list)}
    assert len(groups) == 4
    assert sum(map(len, groups)) == treated["label"].nunique()


def test_negative_controls_are_told_by_their_wells(opened: Opened) -> None:
    index = opened.index
    assert index["control"].equals(index["well_type"] == "negative_control")
    assert opened.control_classes
    assert (index["label"] != "").all()


def test_rows_are_the_published_files(opened: Opened, folder: Path) -> None:
    rows = np.array([5, len(opened.index) - 1, 700])
    pixels = opened.source.read(rows)
    for row, result in zip(rows.tolist(), pixels, strict=True):
        site = opened.index.iloc[row]
        experiment, plate = site["plate"].split("/")
        path = folder / f"images/{experiment}/Plate{plate}/{site['position']}_s{site['site']}.png"
        with Image.open(path) as image:
            np.testing.assert_array_equal(np.moveaxis(result, 0, -1), np.asarray(image))


def test_images_nobody_has_are_counted(opened: Opened, folder: Path) -> None:
    listed = len(table_of(folder))
    assert len(opened.index) == listed - ABSENT
    [note] = opened.notes
    mentions(note, ABSENT, listed, "metadata.csv")
    assert "images/HEPG2-01/Plate3/B03_s1.png" in note
    ids = set(opened.index["id"])
    assert "HEPG2-01/3/B03/s1" not in ids
    assert "HEPG2-01/3/B03/s2" in ids


def test_a_site_may_be_missing(opened: Opened) -> None:
    sites = opened.index.groupby("well")["site"].nunique()
    assert sites["HUVEC-03/2/C07"] == 1
    assert (sites == 2).sum() > 1000


def test_it_keeps_the_contract_of_data_sets() -> None:
    check_dataset("rxrx1", edition="fixture")


def test_editions(monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path) -> None:
    assert RxRx1().editions() == ["fixture"]
    with raises(BenchError, "simulated"):
        RxRx1().open("simulated")
    with raises(BenchError, "show dataset rxrx1"):
        RxRx1().open("real")
    for inside in ("rxrx1/rxrx1_v1.0", "rxrx1_v1.0", "rxrx1"):
        home = tmp_path / inside.replace("/", "-")
        (home / inside).parent.mkdir(parents=True)
        (home / inside).symlink_to(folder)
        monkeypatch.setenv("BENCH_DATA", str(home))
        assert RxRx1().editions() == ["real", "fixture"]
        assert RxRx1().open("real").edition == "real"


@pytest.mark.parametrize("scheme", ["official", "mixed-to-test"])
def test_sides_are_those_of_wilds(opened: Opened, folder: Path, scheme: str) -> None:
    result = _wilds.wilds_class("rxrx1")(root_dir=folder.parent, split_scheme=scheme)
    theirs: dict[str, str] = {}
    words = {number: word for word, number in result.split_dict.items()}
    for path, number, y in zip(
        result._input_array, result.split_array, result.y_array, strict=True
    ):
        _, experiment, plate, name = path.split("/")
        place = name.removesuffix(".png").replace("_", "/")
        key = f"{experiment}/{plate.removeprefix('Plate')}/{place}"
        theirs[key] = f"{words.get(int(number), '')} {int(y)}"
    index = opened.index
    column = {"official": "official", "mixed-to-test": "mixed"}[scheme]
    side = index[column].replace({"id": "id_test"})
    ours = dict(zip(index["id"], side + " " + index["label"], strict=True))
    assert ours == {key: theirs[key] for key in ours}
    assert len(theirs) - len(ours) == ABSENT


def test_wilds_is_imported_without_its_thread(folder: Path) -> None:
    import sys

    _wilds.wilds_class("rxrx1")
    assert sys.modules.get("outdated", "absent") is not None
    assert sys.modules["wilds.version"].check_outdated is None


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("rxrx1/test", {"train"}, {"test"}),
        ("rxrx1/wells", {"train"}, {"test"}),
        ("rxrx1/val", {"train"}, {"val"}),
        ("rxrx1/id", {"train"}, {"id"}),
        ("rxrx1/huvec", {"train"}, {"test"}),
        ("rxrx1/rpe", {"train"}, {"test"}),
        ("rxrx1/hepg2", {"train"}, {"test"}),
        ("rxrx1/u2os", {"train"}, {"test"}),
    ],
)
def test_splits_are_the_official_sides(
    opened: Opened, name: str, train: set[str], test: set[str]
) -> None:
    [fold] = folds(known_splits(Registry())[name], opened)
    index = opened.index
    assert set(index["official"].iloc[fold.train]) == train
    assert set(index["site"].iloc[fold.train]) == {"1"}
    assert index["experiment"].iloc[fold.train].nunique() == 33
    held = index.iloc[fold.test]
    assert set(held["official"]) == test
    assert fold.scored.all(), "controls are classes here"
    cell_type = name.split("/")[1].upper()
    if cell_type in COUNTS:
        assert set(held["cell_type"]) == {cell_type}
        assert held["experiment"].nunique() == COUNTS[cell_type][2]
    else:
        everything = index["official"].isin(test)
        assert len(held) == everything.sum()
    assert set(held["site"]) == ({"2"} if name == "rxrx1/id" else {"1", "2"})


def test_mixed_to_test_trains_on_site_1_of_the_test_experiments(opened: Opened) -> None:
    [fold] = folds(known_splits(Registry())["rxrx1/mixed-to-test"], opened)
    train, test = opened.index.iloc[fold.train], opened.index.iloc[fold.test]
    assert set(train["site"]) == {"1"}
    assert set(test["site"]) == {"2"}
    assert test["experiment"].nunique() == 14
    assert set(test["experiment"]) <= set(train["experiment"])
    assert train["experiment"].nunique() == 33


def test_all_that_trains_alike_is_one_training(opened: Opened) -> None:
    known = known_splits(Registry())
    alike = [known[f"rxrx1/{n}"] for n in ("test", "wells", "val", "id", "huvec", "u2os")]
    result = [folds(split, opened)[0] for split in alike]
    assert all(np.array_equal(fold.train, result[0].train) for fold in result)
    assert all(fold.classes == result[0].classes for fold in result)


def test_columns_may_be_more_and_in_another_order(copy: Path, opened: Opened) -> None:
    table = table_of(copy)
    table = table[sorted(table.columns, reverse=True)].assign(comment="x", **{"Unnamed: 0": "1"})
    rewrite(copy, table)
    dataset = open_folder(copy, "real")
    pd.testing.assert_frame_equal(dataset.index, opened.index)
    assert dataset.digest == opened.digest


def test_numbers_may_be_written_as_floats(copy: Path, opened: Opened) -> None:
    table = table_of(copy)
    for column in ("sirna_id", "site", "plate"):
        table[column] += ".0"
    rewrite(copy, table)
    pd.testing.assert_frame_equal(open_folder(copy, "real").index, opened.index)


def test_labels_may_be_names(copy: Path, opened: Opened) -> None:
    table = table_of(copy)
    table["sirna_id"] = "siRNA " + table["sirna_id"]
    rewrite(copy, table)
    dataset = open_folder(copy, "real").index
    assert set(dataset["label"]) == {f"siRNA {label}" for label in set(opened.index["label"])}
    for column in ("official", "mixed", "control", "id"):
        assert dataset[column].equals(opened.index[column])


def test_rows_may_be_in_another_order(copy: Path, opened: Opened) -> None:
    rewrite(copy, table_of(copy).iloc[::-1])
    dataset = open_folder(copy, "real")
    assert dataset.index["id"].tolist() == opened.index["id"].tolist()[::-1]
    np.testing.assert_array_equal(
        dataset.source.read(np.arange(3)), opened.source.read(len(opened.index) - 1 - np.arange(3))
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda t: t.drop(columns="well_type"), ("well_type",)),
        (lambda t: t.assign(dataset="training"), ("training", "dataset")),
        (lambda t: t.assign(well_type="empty"), ("empty", "well_type")),
        (lambda t: t.assign(site=t["site"].where(t.index != 4, "")), ("5", "site")),
        (lambda t: t.assign(plate="one"), ("one", "plate")),
        (lambda t: pd.concat([t, t.iloc[7:9]]), ()),
        (lambda t: t.iloc[:0], ()),
    ],
)
def test_a_wrong_table_is_one_line(copy: Path, spoil: Any, said: str) -> None:
    rewrite(copy, spoil(table_of(copy)))
    with raises(BenchError, *said) as caught:
        open_folder(copy, "real")
    assert str(copy) in str(caught.value)


def test_bytes_that_are_no_table_are_one_line(copy: Path) -> None:
    (copy / "metadata.csv").unlink()
    (copy / "metadata.csv").write_bytes(b"\xff\xfe\x00\x01" * 100)
    with raises(BenchError, "CSV"):
        open_folder(copy, "real")


def test_half_an_archive_is_refused(copy: Path) -> None:
    shutil.rmtree(copy / "images" / "RPE-08")
    with raises(BenchError, "204", "RPE-08/Plate1"):
        open_folder(copy, "real")


def test_an_unreadable_image_is_named(copy: Path) -> None:
    path = copy / "images" / "RPE-08" / "Plate2" / "B02_s1.png"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:50])
    with raises(BenchError, "RPE-08/Plate2/B02_s1.png"):
        open_folder(copy, "real")


def test_the_index_is_kept_until_the_folder_changes(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_folder(copy, "real")

    def never(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("read again")

    with monkeypatch.context() as patch:
        patch.setattr(_wilds, "read_metadata", never)
        patch.setattr(_wilds, "wilds_class", never)
        patch.setattr(_wilds, "decoded", never)
        again = open_folder(copy, "real")
    pd.testing.assert_frame_equal(again.index, first.index)
    assert (again.digest, again.notes) == (first.digest, first.notes)
    (copy / "images" / "RPE-08" / "Plate2" / "B02_s1.png").unlink()
    less = open_folder(copy, "real")
    assert len(less.index) == len(first.index) - 1
    assert less.digest != first.digest
    table = table_of(copy)
    rewrite(copy, table.assign(sirna_id=table["sirna_id"].replace({"1": "3", "3": "1"})))
    changed = open_folder(copy, "real")
    assert changed.digest != less.digest


def test_pixels_that_were_cleaned_away_are_decoded_again(copy: Path) -> None:
    first = open_folder(copy, "real")
    expected = first.source.read(np.arange(4))
    shutil.rmtree(first.source.folder)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(open_folder(copy, "real").source.read(np.arange(4)), expected)


def test_what_a_plate_gives_away_is_said_of_plates_alone(opened: Opened) -> None:
    assert set(opened.cautions) == {"plate"}
    assert "four groups" in opened.cautions["plate"]
