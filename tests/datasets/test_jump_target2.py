"""JUMP-Target-2 in files of the published layout, and each way in which they can be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import bench
from bench.core.errors import BenchError
from bench.core.registry import Registry
from bench.data.fetch.listing import packaged_fetchable
from bench.data.opening import open_splits
from tests.helpers.errors import raises
from tests.helpers.real import real_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.data.task import Task

DMSO = "JCP2022_033924"
SCOPES = {"source_2": "CV8000", "source_4": "Opera Phenix", "source_6": "CV8000", "source_7": "X"}


def write(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame] | None = None) -> Path:
    """Write tables of two encoders: four laboratories, two plates each, one layout of 24 wells."""
    folder = folder / "jump-target2"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = [
        {
            "Metadata_Source": source,
            "Metadata_Plate": f"P{number}{source[-1]}",
            "Metadata_Well": f"{'ABCD'[k // 6]}{k % 6 + 1:02d}",
            "Metadata_JCP2022": DMSO if k % 4 == 0 else f"JCP2022_00000{k % 4}",
            "Metadata_Symbol": None,
            "Metadata_Batch": f"batch_{number}",
            "Metadata_PlateType": "TARGET2",
        }
        for source in SCOPES
        for number in (1, 2)
        for k in range(24)
    ]
    rows.append({**rows[-1], "Metadata_Well": "P24", "Metadata_JCP2022": "JCP2022_999999"})
    table = pd.DataFrame(rows)
    for k in range(8):
        table[f"PC_{k}"] = rng.normal(size=len(table))
    table = table if change is None else change(table)
    table.to_parquet(folder / "cellprofiler_normalized.parquet")
    table.assign(PC_0=0.5).to_parquet(folder / "subcell_normalized.parquet")
    scopes = pd.DataFrame(
        {"Metadata_Source": list(SCOPES), "Metadata_Microscope_Name": list(SCOPES.values())}
    )
    scopes.to_csv(folder / "microscope_config.csv", index=False)
    return folder


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"


def opened(*names: str, **settings: object) -> list[Task]:
    splits = [f"jump-target2/{name}" for name in names]
    return open_splits(splits, Registry(), "auto", settings, lambda line: None)


def test_wells_levels_and_controls(data: Path) -> None:
    write(data)
    [task] = opened("laboratories")
    index = task.opened.index
    assert len(index) == 4 * 2 * 24
    assert int(index["control"].sum()) == 4 * 2 * 6
    assert set(index["label"]) == {"", *(f"JCP2022_00000{k}" for k in (1, 2, 3))}
    assert task.opened.levels == ("plate", "batch", "source", "microscope")
    assert task.opened.source.shape == (8,)
    assert any("cellprofiler" in step for step in task.opened.upstream)
    assert "MIT" in task.opened.licence


def test_the_splits_hold_out_what_they_say(data: Path) -> None:
    write(data)
    laboratories, microscopes, plates, layout = opened(
        "laboratories", "microscopes", "plates", "layout"
    )
    assert {fold.name for fold in laboratories.folds} == set(SCOPES)
    assert len(microscopes.folds) == 3
    index = plates.opened.index
    for fold in plates.folds:
        train, test = (set(index["plate"].iloc[rows]) for rows in (fold.train, fold.test))
        assert not train & test
    for fold in layout.folds:
        position = layout.opened.index["position"]
        labelled = fold.train[layout.opened.index["label"].iloc[fold.train] != ""]
        scored = fold.test[fold.scored]
        assert not set(position.iloc[labelled]) & set(position.iloc[scored])


def test_an_encoder_is_a_setting_of_the_data(data: Path, tmp_path: Path) -> None:
    write(data)
    [plain] = opened("laboratories")
    [other] = opened("laboratories", encoder="subcell")
    assert (plain.opened.settings, other.opened.settings) == ({}, {"encoder": "subcell"})
    assert plain.opened.digest != other.opened.digest
    with raises(BenchError, "cellpofiler", "cellprofiler"):
        opened("laboratories", encoder="cellpofiler")
    records = bench.run(
        "tvn", "jump-target2/laboratories", results=tmp_path / "results", controls=False
    )
    assert [record.status for record in records] == ["ok"]
    [retrieved] = bench.run(
        "center", "jump-target2/retrieval", results=tmp_path / "results", controls=False
    )
    assert retrieved.value("map") is not None


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda t: t.drop(columns="Metadata_JCP2022"), ["Metadata_JCP2022"]),
        (lambda t: t.filter(regex="Metadata"), ["PC_0"]),
        (lambda t: t[t["Metadata_JCP2022"] != DMSO], [DMSO]),
        (lambda t: t.assign(Metadata_Source="source_99"), ["source_99", "microscope_config.csv"]),
        (lambda t: pd.concat([t, t[:1]]), ["A01"]),
        (lambda t: t.assign(PC_1=np.nan), ["PC_1"]),
    ],
)
def test_wrong_tables_are_refused(
    data: Path, change: Callable[[pd.DataFrame], pd.DataFrame], names: list[str]
) -> None:
    write(data, change)
    with raises(BenchError, *names):
        opened("laboratories")


def test_missing_and_damaged_files_are_named(data: Path) -> None:
    with raises(BenchError, "data fetch jump-target2"):
        opened("laboratories")
    folder = write(data)
    (folder / "cellprofiler_normalized.parquet").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:74d7\nsize 23640148\n"
    )
    with raises(BenchError, "cellprofiler_normalized.parquet"):
        opened("laboratories")
    (folder / "microscope_config.csv").write_text("a,b\n1,2\n")
    write_again = pd.DataFrame({"Metadata_Source": []})
    write_again.to_parquet(folder / "cellprofiler_normalized.parquet")
    with raises(BenchError, "Metadata_Plate"):
        opened("laboratories")


def test_the_real_table_of_microscopes_has_all_laboratories(data: Path) -> None:
    folder = write(data)
    real = real_folder("metadata/jump") / "microscope_config.csv"
    (folder / "microscope_config.csv").write_bytes(real.read_bytes())
    [task] = opened("microscopes")
    assert set(task.opened.index["microscope"]) == {"CV7000", "CV8000", "Opera Phenix"}


def test_the_published_files_are_listed() -> None:
    files = packaged_fetchable("jump-target2")
    assert files is not None
    assert len(files.files) == 9
    assert files.bytes == sum(file.bytes or 0 for file in files.files) > 180_000_000
    assert all(len(file.sha256) == 64 for file in files.files)
