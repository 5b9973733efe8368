"""Descriptions guessed from tables: what people have on disk, and published tables."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from bench.advice.describe import describe
from bench.cli.main import main
from bench.core.errors import BenchError
from bench.data.own.table import load
from tests.helpers.errors import raises
from tests.helpers.real import real_folder

if TYPE_CHECKING:
    from pathlib import Path

N = 96


def wells(prefix: str = "Metadata_", n: int = N) -> pd.DataFrame:
    """Return wells of four plates in two batches: 24 wells each, 5 compounds and DMSO."""
    k = np.arange(n)
    return pd.DataFrame(
        {
            f"{prefix}Plate": [f"BR{i // 24}" for i in k],
            f"{prefix}Well": [f"{'ABCD'[i % 24 // 6]}{i % 6 + 1:02d}" for i in k],
            f"{prefix}Batch": [f"b{i // 48}" for i in k],
            f"{prefix}pert_iname": np.array(["DMSO", "a", "b", "c", "d", "e"])[k % 6],
        }
    )


def with_features(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(len(frame), len(names))).astype(np.float32)
    return pd.concat([frame, pd.DataFrame(X, columns=names)], axis=1)


CELLPROFILER = ["Cells_AreaShape_Area", "Cells_Location_Center_X", "Cytoplasm_Texture_a"]
CELLPROFILER += ["Nuclei_Intensity_a", "Nuclei_Number_Object_Number", "Nuclei_Texture_b"]


def described(path: Path, folder: Path | None = None) -> dict[str, Any]:
    """Describe a table, write the description, open it, and return its keys."""
    folder = folder or path.parent
    result = describe(path, "mine", folder)
    toml = folder / "mine.toml"
    toml.write_text(result.text, encoding="utf-8")
    keys: dict[str, Any] = tomllib.loads(result.text)
    if not result.missing:
        opened = load(toml).open()
        keys["rows"], keys["n_features"] = len(opened.index), len(opened.features)
        keys["n_controls"] = int(opened.index["control"].sum())
    return keys


@pytest.mark.parametrize("prefix", ["Metadata_", "Image_Metadata_", "meta_"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".csv.gz"])
def test_tables_of_cellprofiler(tmp_path: Path, prefix: str, suffix: str) -> None:
    frame = with_features(wells(prefix), CELLPROFILER)
    path = tmp_path / f"profiles{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if "tsv" in suffix else ",")
    keys = described(path)
    assert keys["id"] == [f"{prefix}Plate", f"{prefix}Well"]
    assert keys["label"] == f"{prefix}pert_iname"
    assert keys["batches"] == [f"{prefix}Plate", f"{prefix}Batch"]
    assert keys["control"] == {f"{prefix}pert_iname": ["DMSO"]}
    assert (keys["n_features"], keys["n_controls"]) == (4, N // 6)
    assert keys["splits"]["batches"] == {"hold_out": f"{prefix}Batch"}
    # a plate is held out while others of its batch train
    assert keys["splits"]["plates"]["shares"] == [f"{prefix}Batch"]


def test_a_column_of_control_types_and_a_mechanism(tmp_path: Path) -> None:
    frame = with_features(wells(), CELLPROFILER)
    compound = frame["Metadata_pert_iname"]
    frame["Metadata_moa"] = compound.map(dict(zip("abcde", "xxyyy", strict=True))).fillna("")
    frame["Metadata_control_type"] = np.where(compound == "DMSO", "negcon", "trt")
    frame["Metadata_mmoles_per_liter"] = 1.5
    frame.to_csv(tmp_path / "t.csv", index=False)
    keys = described(tmp_path / "t.csv")
    assert keys["label"] == "Metadata_moa"
    assert keys["control"] == "Metadata_control_type"
    assert keys["compound"] == ["Metadata_pert_iname"]
    assert keys["treatment"] == ["Metadata_pert_iname", "Metadata_mmoles_per_liter"]


def test_columns_with_missing_values_are_left_out_by_name(tmp_path: Path) -> None:
    frame = with_features(wells(), CELLPROFILER)
    frame.loc[3, "Nuclei_Texture_b"] = np.nan
    frame["Cells_Comment_x"] = "text"
    frame.to_csv(tmp_path / "t.csv", index=False)
    keys = described(tmp_path / "t.csv")
    assert keys["n_features"] == 3
    assert "Nuclei_Texture_b" in keys["features"]


def test_embeddings_and_plain_columns(tmp_path: Path) -> None:
    names = wells().rename(columns=lambda name: name.removeprefix("Metadata_").lower())
    with_features(names, [f"emb_{i}" for i in range(6)]).to_csv(tmp_path / "e.csv", index=False)
    keys = described(tmp_path / "e.csv")
    assert keys["features"] == r"^emb_\d+$"
    assert keys["label"] == "pert_iname"
    with_features(names, ["area", "a.b", "row"]).to_csv(tmp_path / "p.csv", index=False)
    assert described(tmp_path / "p.csv")["features"] == r"^(area|a\.b)$"
    many = [f"{a}{b}" for a in "abcdefgh" for b in "xyz"]
    with_features(names, [*many, "site"]).to_csv(tmp_path / "m.csv", index=False)
    assert described(tmp_path / "m.csv")["n_features"] == len(many)


@pytest.mark.parametrize("where", ["X", "layers", "obsm"])
def test_anndata(tmp_path: Path, where: str) -> None:
    import anndata

    frame = wells("")
    X = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
    obs = frame.set_axis([f"cell{i}" for i in range(N)])
    data = anndata.AnnData(
        X if where == "X" else None, obs=obs, shape=None if where == "X" else (N, 5)
    )
    if where == "layers":
        data.layers["norm"] = X
    if where == "obsm":
        data.obsm["X_pca"] = X[:, :3]
    data.write_h5ad(tmp_path / "a.h5ad")
    keys = described(tmp_path / "a.h5ad")
    assert keys.get("layer") == ("norm" if where == "layers" else None)
    assert keys.get("obsm") == ("X_pca" if where == "obsm" else None)
    assert keys["n_features"] == (3 if where == "obsm" else 5)
    source = load(tmp_path / "mine.toml").open().source
    expected = X[:, :3] if where == "obsm" else X
    np.testing.assert_array_equal(source.read(np.arange(N)), expected)


def test_a_sparse_matrix_is_read_as_the_dense_one(tmp_path: Path) -> None:
    import anndata
    from scipy import sparse

    X = np.random.default_rng(0).poisson(0.5, size=(N, 5)).astype(np.float32)
    obs = wells("").set_axis([f"cell{i}" for i in range(N)])
    for name, matrix in (("csr", sparse.csr_matrix(X)), ("csc", sparse.csc_matrix(X))):
        anndata.AnnData(matrix, obs=obs).write_h5ad(tmp_path / f"{name}.h5ad")
        described(tmp_path / f"{name}.h5ad")
        source = load(tmp_path / "mine.toml").open().source
        np.testing.assert_array_equal(source.read(np.arange(N)), X)


def test_what_is_not_recognised_is_a_question(tmp_path: Path) -> None:
    with_features(pd.DataFrame({"name": [f"n{i}" for i in range(9)]}), CELLPROFILER).to_csv(
        tmp_path / "t.csv", index=False
    )
    result = describe(tmp_path / "t.csv", "mine", tmp_path)
    assert result.missing == ("label", "batches")
    assert tomllib.loads(result.text)["label"] == "?"
    (tmp_path / "empty.csv").write_text("a,b\n", encoding="utf-8")
    with raises(BenchError, "empty.csv"):
        describe(tmp_path / "empty.csv", "mine", tmp_path)
    (tmp_path / "twice.csv").write_text("a,a\n1,2\n", encoding="utf-8")
    with raises(BenchError, "'a'"):
        describe(tmp_path / "twice.csv", "mine", tmp_path)


def test_constant_and_duplicate_levels_are_left_out_with_the_reason(tmp_path: Path) -> None:
    frame = with_features(wells(), CELLPROFILER)
    frame["Metadata_Source"] = "source_3"
    frame["Metadata_Week"] = frame["Metadata_Batch"].str.replace("b", "w")
    frame.to_csv(tmp_path / "t.csv", index=False)
    result = describe(tmp_path / "t.csv", "mine", tmp_path)
    reason = next(item.reason for item in result.guesses if item.key == "batches")
    assert "Metadata_Source" in reason
    assert "Metadata_Week" in reason
    assert tomllib.loads(result.text)["batches"] == ["Metadata_Plate", "Metadata_Batch"]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (
            "bbbc021_ljosa2013/bbbc021_ljosa2013_wells.parquet",
            {"label": "meta_moa", "control": "meta_is_control", "rows": 632},
        ),
        (
            "cpjump1_compound_plates/cpjump1_compound_wells.parquet",
            {"label": "meta_compound", "control": "meta_is_control", "rows": 2688},
        ),
        (
            "jump_moa_dye_batches/jump_moa_dye_wells.parquet",
            {"label": "meta_moa", "control": "meta_is_control", "n_features": 259},
        ),
        (
            "jump_source3_image_stats/jump_source3_image_stats.parquet",
            {"label": "meta_compound", "batches": ["meta_plate", "meta_batch"], "n_features": 65},
        ),
        (
            "breinig2015_single_cells/breinig2015_single_cells.parquet",
            {"label": "meta_target", "batches": ["meta_plate", "meta_replicate"]},
        ),
    ],
)
def test_published_tables_are_described_as_by_hand(
    tmp_path: Path, file: str, expected: dict[str, Any]
) -> None:
    folder, name = file.split("/")
    keys = described(real_folder(folder) / name, tmp_path)
    assert {key: keys[key] for key in expected} == expected


def test_the_command_writes_a_description_that_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with_features(wells(), CELLPROFILER).to_csv("wells.csv", index=False)

    def code(*words: str) -> int:
        with pytest.raises(SystemExit) as stop:
            main(list(words))
        return int(stop.value.code or 0)

    assert code("new", "dataset", "mine", "--from", "wells.csv", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["written"] == ["mine.toml"]
    assert shown["problem"] == ""
    assert {item["key"] for item in shown["guesses"]} >= {"label", "batches", "features"}
    assert code("check-data", "mine.toml") == 0
    for words in (
        ("dataset", "other", "--from", "nowhere.csv"),
        ("metric", "other", "--from", "wells.csv"),
        ("dataset", "other", "--images", "--from", "wells.csv"),
    ):
        assert code("new", *words) == 2
    assert sorted(p.name for p in tmp_path.glob("*.toml")) == ["mine.toml"]


def test_folders_and_names_of_images_in_two_columns(tmp_path: Path) -> None:
    """As in the tables that CellProfiler loads images from; planes are never features."""
    rows = [
        {"PathName_DNA": "raw", "FileName_DNA": f"{i}.tiff", "Metadata_Plate": "ab"[i % 2], "z": i}
        for i in range(8)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "load_data.csv", index=False)
    result = describe(tmp_path / "load_data.csv", "mine", tmp_path)
    assert "images" in result.missing
    [images] = [guess for guess in result.guesses if guess.key == "images"]
    assert "PathName_DNA" in images.reason
