"""Loaders on real metadata tables; they are skipped where ``$BENCH_TEST_DATA`` is not set."""

from __future__ import annotations

import gzip
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.advice.checkup import JOIN, examine
from bench.advice.describe import describe
from bench.core.registry import Registry
from bench.data.fetch.listing import packaged_fetchable
from bench.data.opening import open_splits
from bench.data.own.table import load
from tests.helpers.real import real_folder

if TYPE_CHECKING:
    from pathlib import Path

    from bench.data.fetch.listing import Rows

DMSO, EMPTY = "JCP2022_033924", "JCP2022_999999"


@pytest.mark.parametrize("mechanisms", ["moa", "moa_cr_line_ends"])
def test_bbbc021_reads_the_published_tables(tmp_path: Path, mechanisms: str) -> None:
    """Also with the carriage returns that some copies of the second table have."""
    from bench.datasets.bbbc021 import IMAGES, MECHANISMS, read_index

    real = real_folder("metadata/bbbc021")
    (tmp_path / IMAGES).write_bytes(gzip.decompress((real / f"{IMAGES}.gz").read_bytes()))
    shutil.copy(real / f"BBBC021_v1_{mechanisms}.csv", tmp_path / MECHANISMS)
    index, files = read_index(tmp_path)
    treated = index[~index["control"]]
    assert (len(index), len(files)) == (3848, 3848)
    assert (index["plate"].nunique(), index["week"].nunique()) == (55, 10)
    assert (treated["treatment"].nunique(), treated["compound"].nunique()) == (103, 38)


def plate_rows() -> Rows:
    listed = packaged_fetchable("jump")
    assert listed is not None
    [rows] = listed.rows
    return rows


def test_jump_lists_one_file_per_target2_plate(tmp_path: Path) -> None:
    real = real_folder("metadata/jump")
    (tmp_path / "metadata").mkdir()
    shutil.copy(real / "plate.csv.gz", tmp_path / "metadata")
    plates = pd.read_csv(real / "plate.csv.gz", dtype=str)
    target2 = plates[plates["Metadata_PlateType"] == "TARGET2"]
    files = plate_rows().files(tmp_path)
    assert len(files) == len(target2) == 141
    assert target2["Metadata_Source"].nunique() == 11
    assert all(file.urls[0].endswith(f"/{file.name}") for file in files)


def test_jump_opens_plates_described_by_the_real_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two plates of each of three laboratories, with the real table of controls."""
    real = real_folder("metadata/jump")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data" / "jump"
    (folder / "metadata").mkdir(parents=True)
    for name in ("plate.csv.gz", "microscope_config.csv", "perturbation_control.csv"):
        shutil.copy(real / name, folder / "metadata")
    plates = pd.read_csv(real / "plate.csv.gz", dtype=str)
    plates = plates[plates["Metadata_PlateType"] == "TARGET2"]
    chosen = plates.groupby("Metadata_Source").head(2)
    chosen = chosen[chosen["Metadata_Source"].isin(["source_3", "source_5", "source_8"])]
    controls = pd.read_csv(real / "perturbation_control.csv", dtype=str)
    positive = controls["Metadata_JCP2022"][controls["Metadata_pert_type"] == "poscon"].tolist()
    compounds = [DMSO, EMPTY, *positive[:3]]
    rng = np.random.default_rng(0)
    wells = []
    for plate in chosen.to_dict("records"):
        names = [f"{'ABCDE'[k % 5]}{k // 5 + 1:02d}" for k in range(15)]
        meta = pd.DataFrame(
            {
                "Metadata_Source": plate["Metadata_Source"],
                "Metadata_Plate": plate["Metadata_Plate"],
                "Metadata_Well": names,
            }
        )
        wells.append(meta.assign(Metadata_JCP2022=compounds * 3))
        path = folder / plate_rows().name.format_map(plate)
        path.parent.mkdir(parents=True)
        values = {f"Cells_{k}": rng.normal(size=15).astype(np.float32) for k in range(4)}
        meta.assign(**values).to_parquet(path)
    pd.concat(wells).to_csv(folder / "metadata" / "well.csv.gz", index=False)
    keys = pd.DataFrame({"Metadata_JCP2022": compounds, "Metadata_InChIKey": list("abcde")})
    keys.to_csv(folder / "metadata" / "compound.csv.gz", index=False)
    [task] = open_splits(["jump/source"], Registry(), "real", {}, lambda line: None)
    index = task.opened.index
    assert len(index) == 6 * 12  # empty wells are left out
    assert int(index["control"].sum()) == 6 * 3
    assert set(index["label"]) == {"", *positive[:3]}
    scopes = pd.read_csv(real / "microscope_config.csv", dtype=str)
    expected = scopes.set_index("Metadata_Source")["Metadata_Microscope_Name"]
    assert (index["microscope"] == index["source"].map(expected)).all()


@pytest.mark.parametrize("part", ["train", "val"])
def test_tables_of_rxrx1_from_kaggle_are_described_and_opened(tmp_path: Path, part: str) -> None:
    """Plates are numbered 1 to 4 in each experiment, which is said; ids are the files."""
    table = pd.read_csv(real_folder("metadata/rxrx1_kaggle") / f"{part}.csv.gz", dtype=str)
    some = table.groupby(["experiment", "plate"]).head(3)
    some = some[some["sirna"].isin(some["sirna"].value_counts().index[:5]) | (some.index % 2 == 0)]
    some = some.assign(sirna=np.where(np.arange(len(some)) % 2, "a", "b"))
    some.to_csv(tmp_path / "table.csv", index=False)
    missing = describe(tmp_path / "table.csv", "rxrx1-kaggle", tmp_path)
    assert missing.missing == ("images",)
    rng = np.random.default_rng(0)
    for name in some["filename"]:
        pixels = rng.integers(256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    described = describe(tmp_path / "table.csv", "rxrx1-kaggle", tmp_path)
    keys = {item.key: item for item in described.guesses}
    assert described.missing == ()
    assert (keys["id"].value, keys["images"].value) == (["filename"], ["filename"])
    assert keys["label"].value == "sirna"
    assert keys["batches"].value == ["experiment", "plate"]
    assert JOIN.format("plate", "experiment") in keys["batches"].reason
    (tmp_path / "mine.toml").write_text(described.text, encoding="utf-8")
    opened = load(tmp_path / "mine.toml").open()
    assert opened.index["experiment"].nunique() == table["experiment"].nunique()
    warned = {check.topic: check.state for check in examine(opened, [])}
    assert warned["level plate"] == "warn"


def test_tables_without_a_reader_are_refused_or_described_with_a_question(tmp_path: Path) -> None:
    """Tables of genes, sources and filters have no features: nothing is invented."""
    real = real_folder("metadata/jump")
    names = ("crispr.csv.gz", "compound_source.csv.gz", "microscope_filter.csv")
    for name in (*names, "cellprofiler_version.csv", "cpg0016_well_count.csv"):
        described = describe(real / name, "jump", tmp_path)
        assert described.missing, name
        keys = {item.key: item.value for item in described.guesses}
        assert keys["label"] is None or keys.get("features") is None, name


def test_the_scanners_of_mitosis_scanners_are_those_of_midog() -> None:
    """Slide and scanner of each packaged image, against the table of MIDOG++."""
    import bench.datasets

    table = real_folder("metadata/midogpp") / "datasets_xvalidation.csv"
    midog = pd.read_csv(table, sep=";", dtype=str).set_index("Slide")
    [folder] = {*bench.datasets.__path__}
    index = pd.read_csv(f"{folder}/index/mitosis-scanners.csv.gz", dtype=str)
    slide = index["case"].str.extract(r"MIDOG21-0*(\d+)")[0]
    known = slide.map(midog["Scanner"]).str.replace("Hamammatsu", "Hamamatsu").str.replace(" ", "-")
    assert known.notna().all()
    assert (known == index["scanner"]).all()
    assert set(slide.map(midog["Tumor"])) == {"human breast cancer"}
