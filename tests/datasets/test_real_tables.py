"""Real tables by name: joined from files in the published layout, equal to the tables handed on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.core.errors import BenchError
from bench.core.registry import Registry
from bench.data.catalog import packaged_splits
from bench.data.fetch.listing import packaged_fetchable
from bench.data.folds import folds
from bench.data.own.table import load
from bench.runs.identity import rows_digest
from bench.testing.dataset import check_dataset
from tests.helpers import tiny
from tests.helpers.errors import raises

GZIP = {"method": "gzip", "compresslevel": 1}
"""The default level takes most of the time of these tests."""

FOLDERS = {
    "bbbc021-profiles": "bbbc021_ljosa2013",
    "jump-stains": "jump_moa_dye_batches",
    "jump-source3": "jump_source3_image_stats",
    "cpjump1": "cpjump1_compound_plates",
}
SPLITS = {
    "bbbc021-profiles": ("weeks", "profile"),
    "jump-stains": ("stains",),
    "jump-source3": ("batches", "last-batch"),
    "cpjump1": ("times",),
}
NAMES = tuple(FOLDERS)


def here(name: str) -> Path:
    root = os.environ.get("BENCH_TEST_DATA", "")
    folder = Path(root) / FOLDERS[name]
    if not root or not (folder / "dataset.toml").exists():
        pytest.skip(f"the real table of {name} is not here: set BENCH_TEST_DATA to its folder")
    return folder


def made(name: str) -> Any:
    return Registry().entry("dataset", name).load()(None)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))


@pytest.mark.parametrize("name", NAMES)
def test_without_files_one_line_says_what_to_do(name: str, tmp_path: Path) -> None:
    dataset = made(name)
    assert dataset.editions() == []
    with raises(BenchError, "bench data fetch", name) as caught:
        dataset.open("real")
    assert str(tmp_path / "data" / name) in str(caught.value)
    with raises(BenchError, "fixture"):
        dataset.open("fixture")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["published", "own", "root"])
def test_a_joined_table_is_the_one_of_its_toml(
    name: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = here(name)
    dataset = made(name)
    if place == "published":
        monkeypatch.setenv("BENCH_DATA", str(folder.parent))
    elif place == "root":
        monkeypatch.setenv("BENCH_DATA", str(folder))
    else:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / name).symlink_to(folder)
    assert dataset.editions() == ["real"]
    opened = dataset.open("real")
    own = load(folder / "dataset.toml").open()
    # the columns that only a split of the file names may be missing, no others
    pd.testing.assert_frame_equal(opened.index, own.index[list(opened.index)])
    rows = np.arange(len(own.index))
    np.testing.assert_array_equal(opened.source.read(rows), own.source.read(rows))
    for field in ("digest", "levels", "level", "upstream", "edition"):
        assert getattr(opened, field) == getattr(own, field), field
    columns = dict(opened.columns)
    if "cell_count" not in own.columns:  # only the published table may name it
        columns.pop("cell_count", None)
    assert columns == own.columns
    assert (opened.name, opened.known_as) == (name, own.name)


@pytest.mark.parametrize(("name", "split"), [(n, s) for n in NAMES for s in SPLITS[n]])
def test_splits_and_fits_are_those_of_the_toml(
    name: str, split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.runs.chain import parse_chain
    from bench.training.recipes import resolve

    folder = here(name)
    monkeypatch.setenv("BENCH_DATA", str(folder.parent))
    registry, opened = Registry(), made(name).open("real")
    own = load(folder / "dataset.toml")
    other = own.open()
    mine = packaged_splits()[f"{name}/{split}"]
    sides = folds(mine, opened)
    theirs = folds(own.split(split), other)
    recipe = resolve("default", "profiles", {})
    for fold, their in zip(sides, theirs, strict=True):
        assert (fold.name, fold.classes) == (their.name, their.classes)
        assert rows_digest(opened, fold.test) == rows_digest(other, their.test)
        ids = [
            tiny.stage_ids(
                parse_chain("erm+zscore", registry, data, {}, recipe),
                registry,
                data,
                recipe,
                item.classes,
                item.train,
                item.test,
                0,
                supervised=True,
            )
            for data, item in ((opened, fold), (other, their))
        ]
        assert ids[0] == ids[1]
    for field in ("metric", "metrics", "score_unit", "protocol", "task"):
        assert getattr(mine, field) == getattr(own.split(split), field)


@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_the_contract(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(here(name).parent))
    check_dataset(name)


def written(name: str, folder: Path) -> None:
    """Write the source files of a table in their published layout, rows of the keys shuffled."""
    frame = pd.read_parquet(here(name) / made(name).table)
    features = [c for c in frame.columns if not c.startswith("meta_")]
    rng = np.random.default_rng(0)
    # the shortest text that reads back as the same float32
    numbers = frame[features].astype(str).astype(float)
    if name == "bbbc021-profiles":
        keys = frame[["meta_plate", "meta_well"]].set_axis(
            ["Image_Metadata_Plate", "Image_Metadata_Well"], axis=1
        )
        pd.concat([keys, numbers], axis=1).to_csv(
            folder / "ljosa_jbiomolscreen_2013_per_well_mean.csv.gz",
            index=False,
            compression=GZIP,
        )
        images = pd.DataFrame(
            {
                "ImageNumber": np.arange(len(frame)),
                "Image_PathName_DAPI": frame["meta_week"] + "/" + frame["meta_plate"],
                "Image_Metadata_Plate_DAPI": frame["meta_plate"],
                "Image_Metadata_Well_DAPI": frame["meta_well"],
                "Replicate": frame["meta_replicate"],
                "Image_Metadata_Compound": frame["meta_compound"],
                "Image_Metadata_Concentration": frame["meta_concentration"],
            }
        )
        four = pd.concat([images] * 4)  # fields of view
        extra = images.head(1).assign(Image_Metadata_Well_DAPI="Z99")
        four = pd.concat([four, extra]).iloc[rng.permutation(4 * len(images) + 1)]
        four.to_csv(folder / "BBBC021_v1_image.csv.gz", index=False, compression=GZIP)
        moa = frame[["meta_compound", "meta_concentration", "meta_moa"]].drop_duplicates()
        moa.set_axis(["compound", "concentration", "moa"], axis=1).to_csv(
            folder / "BBBC021_v1_moa.csv", index=False
        )
        return
    if name == "jump-stains":
        from importlib import import_module

        module = import_module("bench.datasets.jump_stains")
        back = {new: old for old, new in module.COLUMNS.items()}
        meta = frame[list(back)].rename(columns=back)
        for number, batch in enumerate(module.BATCHES):
            mine = (frame["meta_batch"] == batch).to_numpy()
            part = pd.concat([meta[mine], numbers[mine]], axis=1)
            part[f"Cells_Only_In_{number}"] = 1.0
            part["Image_Granularity"] = 1.0
            if number:
                part = part[part.columns[rng.permutation(part.shape[1])]]
            file = f"{batch}_normalized_feature_select_negcon_batch.csv.gz"
            part.to_csv(folder / file, index=False, compression=GZIP)
        return
    if name == "cpjump1":
        meta = frame[["meta_plate", "meta_well", "meta_compound", "meta_target_gene"]].copy()
        meta.columns = pd.Index(
            ["Metadata_Plate", "Metadata_Well", "Metadata_pert_iname", "Metadata_gene"]
        )
        kind = frame["meta_control_type"]
        meta["Metadata_control_type"] = kind.where(kind != "treated")
        for plate, rows in pd.concat([meta, numbers], axis=1).groupby("Metadata_Plate"):
            file = f"{plate}_normalized_feature_select_negcon_batch.csv.gz"
            rows.to_csv(folder / file, index=False, compression=GZIP)
        plates = frame[["meta_plate", "meta_time_h", "meta_stain_anomaly"]].drop_duplicates()
        plates.columns = pd.Index(["Assay_Plate_Barcode", "Time", "Anomaly"])
        other = plates.assign(Batch="2020_11_04_CPJUMP1_DL", Time=0)
        both = pd.concat([other, plates.assign(Batch="2020_11_04_CPJUMP1")])
        both.to_csv(folder / "experiment-metadata.tsv", sep="\t", index=False)
        return
    names = "source_3_" + frame["meta_batch"] + "_" + frame["meta_plate"] + "_"
    names += frame["meta_well"] + "_" + frame["meta_site"].astype(str)
    numbers.assign(Metadata_Batch=frame["meta_batch"], Metadata_Sample_ID=names).to_csv(
        folder / "per_image_features.csv", index=False
    )
    wells = frame[["meta_source", "meta_plate", "meta_well", "meta_jcp2022"]].drop_duplicates()
    wells.columns = pd.Index(
        ["Metadata_Source", "Metadata_Plate", "Metadata_Well", "Metadata_JCP2022"]
    )
    elsewhere = wells.assign(Metadata_Source="source_9", Metadata_JCP2022="JCP2022_999999")
    pd.concat([elsewhere, wells]).to_csv(folder / "well.csv.gz", index=False)
    named = frame[["meta_jcp2022", "meta_compound"]].drop_duplicates()
    named.columns = pd.Index(["Metadata_JCP2022", "Metadata_Name"])
    named.to_csv(folder / "perturbation_control.csv", index=False)


@pytest.mark.parametrize("name", NAMES)
def test_the_join_of_files_in_the_published_layout_is_the_table(name: str, tmp_path: Path) -> None:
    written(name, tmp_path)
    joined = made(name).join(tmp_path)
    table = pd.read_parquet(here(name) / made(name).table)
    # text, numbers and order alike; how "no value" is written depends on the reader
    pd.testing.assert_frame_equal(joined.fillna(np.nan), table.fillna(value=np.nan))


@pytest.mark.parametrize("name", NAMES)
def test_the_published_files_give_the_table(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(os.environ.get("BENCH_TEST_DATA", "")) / "sources" / name
    what = packaged_fetchable(name)
    assert what is not None
    if not all((root / file.name).exists() for file in what.files):
        pytest.skip(f"the published files of {name} are not in {root}")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).symlink_to(root)
    opened = made(name).open("real")  # sha256 of the files, join and content are checked in there
    assert (tmp_path / "cache" / "tables" / made(name).table).exists()
    assert opened.digest == load(here(name) / "dataset.toml").open().digest


def test_another_table_of_the_same_name_is_refused(tmp_path: Path) -> None:
    frame = pd.read_parquet(here("jump-source3") / made("jump-source3").table)
    frame.loc[0, "AGP_mean"] += np.float32(1e-3)
    folder = tmp_path / "data" / "jump-source3"
    folder.mkdir(parents=True)
    frame.to_parquet(folder / made("jump-source3").table)
    with raises(BenchError, "jump-source3"):
        made("jump-source3").open("real")
    (folder / made("jump-source3").table).write_bytes(b"PAR1 no")
    with raises(BenchError, "jump_source3_image_stats.parquet"):
        made("jump-source3").open("real")


def test_another_source_file_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "jump-stains"
    folder.mkdir(parents=True)
    written("jump-stains", folder)
    with raises(BenchError, "2023_05_15_Batch1_normalized_feature_select_negcon_batch.csv.gz"):
        made("jump-stains").open("real")
    assert not (tmp_path / "cache" / "tables").exists()
