"""JUMP-Lite in files of the published layout, and each way in which they can be wrong."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
import pandas as pd
import pytest

from bench.core.errors import BenchError
from bench.core.registry import Registry
from bench.data.fetch.listing import packaged_fetchable
from bench.data.opening import open_splits
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from pathlib import Path

    from bench.data.task import Task

DMSO = "JCP2022_033924"
COMPOUNDS = (DMSO, "JCP2022_037716", "JCP2022_025848")
SCOPES = {"source_2": "CV8000", "source_6": "CV8000", "source_7": "Opera"}
SIDE = 40


def site(path: Path, image: np.ndarray) -> None:
    """Write an array as the release does: format 2, one chunk, JPEG XL."""
    path.mkdir(parents=True)
    meta = {
        "zarr_format": 2,
        "shape": image.shape,
        "chunks": image.shape,
        "dtype": "<u2",
        "order": "C",
        "fill_value": 0,
        "filters": None,
        "compressor": {"id": "imagecodecs_jpegxl", "distance": 20.0, "lossless": False},
    }
    (path / ".zarray").write_text(json.dumps(meta))
    (path / "0.0.0").write_bytes(imagecodecs.jpegxl_encode(image, distance=20.0))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release") / "jump-lite"
    (folder / "metadata").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for source in SCOPES:
        for number in (1, 2):
            for k in range(6):
                keys = source, f"batch{number}", f"P{source[-1]}{number}", f"B{k + 1:02d}"
                rows.append((*keys, COMPOUNDS[k % 3]))
                ramp = np.linspace(500, 3000, SIDE + 8, dtype=np.uint16)
                image = np.broadcast_to(ramp, (5, SIDE, SIDE + 8)) + rng.integers(
                    0, 50, (5, SIDE, SIDE + 8), dtype=np.uint16
                )
                site(folder / "jpegxl_lossy_d20.zarr" / ("__".join(keys) + "__1"), image)
    names = [f"Metadata_{n}" for n in ("Source", "Batch", "Plate", "Well", "JCP2022")]
    table = pd.DataFrame(rows, columns=names)
    table.insert(0, "Metadata_Well_Key", table[names[:4]].agg("__".join, axis=1))
    more = table[:1].assign(Metadata_Well_Key="source_2__b__p__Z99")  # a well without an image
    table = pd.concat([table, more], ignore_index=True)
    table.to_parquet(folder / "metadata" / "jump_lite_perturbation_metadata.parquet")
    pd.DataFrame(
        {"Metadata_Source": list(SCOPES), "Metadata_Microscope_Name": list(SCOPES.values())}
    ).to_csv(folder / "metadata" / "microscope_config.csv", index=False)
    return folder


@pytest.fixture
def data(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return shutil.copytree(written, tmp_path / "data" / "jump-lite")


def opened(*names: str, crop: int = 32) -> list[Task]:
    splits = [f"jump-lite/{name}" for name in names]
    return open_splits(splits, Registry(), "auto", {"crop": crop}, lambda line: None)


def test_sites_have_their_wells_and_the_centre_of_their_images(data: Path) -> None:
    laboratories, microscopes, plates = opened("laboratories", "microscopes", "plates")
    index, source = laboratories.opened.index, laboratories.opened.source
    assert len(index) == 36
    assert int(index["control"].sum()) == 12
    assert set(index["label"]) == {"", *COMPOUNDS[1:]}
    assert laboratories.opened.channels == ("AGP", "DNA", "ER", "Mito", "RNA")
    assert (source.shape, source.dtype) == ((5, 32, 32), np.uint16)
    first = data / "jpegxl_lossy_d20.zarr" / index["id"].iloc[0]
    whole = imagecodecs.jpegxl_decode((first / "0.0.0").read_bytes())
    np.testing.assert_array_equal(source.read(np.array([0]))[0], whole[:, 4:36, 8:40])
    assert {fold.name for fold in laboratories.folds} == set(SCOPES)
    assert {fold.name for fold in microscopes.folds} == {"CV8000", "Opera"}
    for fold in plates.folds:
        train, test = (set(index["plate"].iloc[rows]) for rows in (fold.train, fold.test))
        assert not train & test


def test_only_sites_that_are_there_are_rows(data: Path) -> None:
    [before] = opened("laboratories")
    shutil.rmtree(data / "jpegxl_lossy_d20.zarr" / before.opened.index["id"].iloc[3])
    [after] = opened("laboratories")
    assert len(after.opened.index) == 35
    assert after.opened.digest != before.opened.digest


def test_what_is_wrong_is_named(data: Path) -> None:
    with raises(BenchError, "data.crop", SIDE):
        opened("laboratories", crop=44)
    store = data / "jpegxl_lossy_d20.zarr"
    image = sorted(store.iterdir())[0]
    (image / "0.0.0").write_bytes(b"damaged")
    with raises(BenchError, image.name):
        opened("laboratories")
    (image / ".zarray").write_text("{")
    with raises(BenchError, image.name, ".zarray"):
        opened("laboratories")
    scopes = data / "metadata" / "microscope_config.csv"
    scopes.write_text("Metadata_Source,Metadata_Microscope_Name\nsource_2,CV8000\n")
    with raises(BenchError, "source_6"):
        opened("laboratories")
    table = data / "metadata" / "jump_lite_perturbation_metadata.parquet"
    wells = pd.read_parquet(table)
    wells.assign(Metadata_Well_Key="x").to_parquet(table)
    with raises(BenchError, store.name):
        opened("laboratories")
    wells.drop(columns="Metadata_JCP2022").to_parquet(table)
    with raises(BenchError, "Metadata_JCP2022"):
        opened("laboratories")
    shutil.rmtree(store)
    with raises(BenchError, "data fetch jump-lite"):
        opened("laboratories")


def test_two_files_per_control_well_are_fetched(data: Path) -> None:
    listed = packaged_fetchable("jump-lite")
    assert listed is not None
    names = {file.name for rows in listed.rows for file in rows.files(data)}
    there = {p.relative_to(data).as_posix() for p in data.rglob("*.zarr/*/*") if p.is_file()}
    assert there == {name for name in names if "Z99" not in name}
    assert len(names) == 2 * 37
    (data / "metadata" / "jump_lite_perturbation_metadata.parquet").write_text("no table")
    with raises(BenchError, "jump_lite_perturbation_metadata.parquet"):
        listed.rows[0].files(data)
