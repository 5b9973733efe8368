"""BBBC021's loader: the published layout, what real files do, and the counts of the whole set."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from bench.datasets import _bbbc021_fixture as fixture
from bench.datasets import bbbc021
from bench.datasets.bbbc021 import BBBC021, IMAGES, MECHANISMS, Settings, read_index

from bench.core.errors import BenchError
from bench.metrics import compute
from bench.testing.dataset import check_dataset
from tests.helpers.errors import mentions, raises

DATA = os.environ.get("BENCH_TEST_DATA", "")


@pytest.fixture(scope="module")
def files(shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "bbbc021"
    folder.mkdir()
    fixture.write(folder)
    return folder


@pytest.fixture
def real(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a new folder with the published files."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    shutil.copytree(files, tmp_path / "bbbc021")
    return tmp_path / "bbbc021"


def edited(path: Path, change: Any) -> None:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    change(table).to_csv(path, index=False)


def test_the_fixture_has_the_structure_of_the_set() -> None:
    opened = BBBC021().open("fixture")
    index = opened.index
    treated = index[~index["control"]]
    assert opened.edition == "fixture"
    assert opened.levels == ("plate", "week")
    assert treated["label"].nunique() == 12
    assert (index["plate"].nunique(), index["week"].nunique()) == (8, 4)
    assert (treated.groupby("compound")["week"].nunique() == 1).all()
    weeks = treated.groupby("label")["week"].nunique()
    assert set(weeks.index[weeks == 1]) == set(fixture.ONE_WEEK)
    assert index.groupby("plate")["control"].sum().min() >= 3
    assert set(index.loc[index["control"], "label"]) == {""}
    assert not index["compound"].str.startswith("unknown").any()
    assert opened.channels == ("DNA", "tubulin", "actin")
    mentions(opened.notes, "compound", "week")
    check_dataset("bbbc021")


def test_channels_are_those_of_the_files(files: Path) -> None:
    opened = BBBC021().open("fixture")
    _, paths = read_index(files)
    rows = np.array([0, 5, 31])
    for row, image in zip(rows, opened.source.read(rows), strict=True):
        mine = next(p for p in paths if opened.index["id"][row].endswith(p[0].stem))
        assert image.dtype == np.uint16
        for channel, path in zip(image, mine, strict=True):
            assert np.array_equal(channel, tifffile.imread(path))
            assert f"_w{(1, 2, 4)[mine.index(path)]}" in path.name


def test_a_field_without_all_its_files_is_left_out_and_counted() -> None:
    opened = BBBC021().open("fixture")
    assert len(opened.index) == 167
    mentions(opened.notes[0], "168", "BBBC021_v1_image.csv")
    assert "Week2_" in opened.notes[0]


def test_some_plates_will_do(real: Path) -> None:
    for folder in real.glob("Week[34]_*"):
        shutil.rmtree(folder)
    opened = BBBC021().open("real")
    assert set(opened.index["week"]) == {"Week1", "Week2"}
    mentions(opened.notes[0], "BBBC021_v1_image.csv")
    for folder in real.glob("Week*"):
        shutil.rmtree(folder)
    with raises(BenchError, "BBBC021_v1_image.csv"):
        BBBC021().open("real")


def test_other_columns_orders_and_spellings_are_one_data_set(real: Path, files: Path) -> None:
    before = BBBC021().open("real").digest

    def change(table: pd.DataFrame) -> pd.DataFrame:
        table["Image_Metadata_Concentration"] = table["Image_Metadata_Concentration"] + "0"
        for name in ("DAPI", "Tubulin", "Actin"):
            table[f"Image_PathName_{name}"] = table[f"Image_PathName_{name}"].str.replace("/", "\\")
        return table.assign(Extra="1")[sorted([*table.columns, "Extra"])]

    edited(real / IMAGES, change)
    edited(real / MECHANISMS, lambda t: t[["moa", "concentration", "compound"]])
    assert BBBC021().open("real").digest == before
    path = next((real / "Week1_22101").glob("*.tif"))
    pixels = tifffile.imread(path)
    tifffile.imwrite(path, pixels, byteorder=">", compression="lzw")
    assert BBBC021().open("real").digest == before
    tifffile.imwrite(path, pixels + 1)
    assert BBBC021().open("real").digest != before


def test_the_pixel_size_is_a_setting_of_the_data() -> None:
    assert BBBC021().open("fixture").settings == {}
    opened = BBBC021(Settings(pixel=0.5)).open("fixture")
    assert opened.pixel == 0.5
    assert opened.settings == {"pixel": 0.5}


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        (IMAGES, lambda t: t.drop(columns="Replicate"), ("Replicate",)),
        (IMAGES, lambda t: t.iloc[:0], ()),
        (IMAGES, lambda t: t.assign(Image_FileName_Actin=""), ("1",)),
        (IMAGES, lambda t: t.assign(Image_Metadata_Concentration="high"), ()),
        (IMAGES, lambda t: pd.concat([t, t.iloc[:1]]), ()),
        (MECHANISMS, lambda t: t.drop(columns="moa"), ("moa",)),
        (MECHANISMS, lambda t: t.assign(compound="other"), ()),
        (MECHANISMS, lambda t: t.assign(compound=t.index.astype(str)), ()),
    ],
)
def test_a_wrong_table_is_said_on_one_line(real: Path, name: str, change: Any, says: str) -> None:
    edited(real / name, change)
    with raises(BenchError, *says) as caught:
        BBBC021().open("real")
    assert name in str(caught.value)


def test_a_file_that_is_missing_or_no_table(real: Path, tmp_path: Path) -> None:
    (real / IMAGES).write_bytes(b"\xff\xfe\x00")
    with raises(BenchError, "CSV"):
        BBBC021().open("real")
    (real / MECHANISMS).unlink()
    with raises(BenchError, MECHANISMS):
        BBBC021().open("real")
    with raises(BenchError, "fixture", "simulated"):
        BBBC021().open("simulated")
    (real / IMAGES).unlink()
    assert BBBC021().editions() == ["fixture"]


def test_an_image_of_another_size_or_damaged(real: Path) -> None:
    path = next((real / "Week1_22101").glob("*.tif"))
    tifffile.imwrite(path, np.zeros((10, 10), np.uint16))
    with raises(BenchError, path.name):
        BBBC021().open("real")
    path.write_bytes(path.read_bytes()[:60])
    with raises(BenchError, path.name):
        BBBC021().open("real")


@pytest.mark.skipif(not DATA, reason="BENCH_TEST_DATA names no folder with real tables")
def test_counts_of_the_whole_set_on_its_real_metadata(tmp_path: Path) -> None:
    """103 treatments, 38 compounds, 12 mechanisms, 55 plates, 10 weeks; 92 treatments for NSCB."""
    wells = pd.read_parquet(Path(DATA) / "bbbc021_ljosa2013" / "bbbc021_ljosa2013_wells.parquet")
    wells = wells[[name for name in wells if name.startswith("meta_")]]
    sites = wells.loc[wells.index.repeat(4)].reset_index(drop=True)
    site = np.tile(np.arange(1, 5), len(wells))
    plate, well = sites["meta_plate"].astype(str), sites["meta_well"].astype(str)
    table: dict[str, Any] = {"TableNumber": 4, "ImageNumber": np.arange(len(sites))}
    for number, name in ((1, "DAPI"), (2, "Tubulin"), (4, "Actin")):
        stem = plate + "_" + well + "_s" + pd.Series(site).astype(str)
        table[f"Image_FileName_{name}"] = stem + f"_w{number}.tif"
        table[f"Image_PathName_{name}"] = plate.str.partition("_")[0] + "/" + plate
    table |= {
        "Image_Metadata_Plate_DAPI": plate,
        "Image_Metadata_Well_DAPI": well,
        "Replicate": sites["meta_replicate"],
        "Image_Metadata_Compound": sites["meta_compound"],
        "Image_Metadata_Concentration": sites["meta_concentration"],
    }
    pd.DataFrame(table).to_csv(tmp_path / IMAGES, index=False)
    moa = wells[["meta_compound", "meta_concentration", "meta_moa"]].drop_duplicates()
    moa.columns = ["compound", "concentration", "moa"]
    moa.to_csv(tmp_path / MECHANISMS, index=False)

    index, paths = read_index(tmp_path)
    treated = index[~index["control"]]
    assert (index["plate"].nunique(), index["week"].nunique()) == (55, 10)
    assert (treated["compound"].nunique(), treated["label"].nunique()) == (38, 12)
    assert treated["treatment"].nunique() == 103
    assert paths[0][0].parent.name == index["plate"][0]
    X = np.random.default_rng(0).normal(size=(len(treated), 5))
    columns = {name: treated[name].to_numpy(str) for name in ("label", "compound", "treatment")}
    assert compute("nsc", X=X, **columns).n == 103
    assert compute("nscb", X=X, batch=treated["week"].to_numpy(str), **columns).n == 92
    assert bbbc021.CONFOUNDED
