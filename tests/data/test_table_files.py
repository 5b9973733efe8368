"""Table files as people have them: separators, encodings, control columns, spellings of wells."""

from __future__ import annotations

import csv
import gzip
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from bench.core.errors import BenchError
from bench.data.own.columns import bools
from bench.data.own.files import open_table
from bench.data.own.table import load
from bench.data.own.wells import normalised_wells, plate_column, position_column
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.api import Opened

TOML = """
name = "mine"
table = "{table}"
features = "^(Cells|Nuclei)_"
id = ["Metadata_Plate", "{well}"]
label = "Metadata_moa"
batches = ["Metadata_Plate"]
{keys}
[splits.plates]
hold_out = "Metadata_Plate"
"""


def frame() -> pd.DataFrame:
    """Return two plates of one layout: 8 wells, 2 mechanisms, one control."""
    rng = np.random.default_rng(0)
    k = np.arange(16)
    return pd.DataFrame(
        {
            "Metadata_Plate": [f"P{i // 8}" for i in k],
            "Metadata_Well": [f"A{i % 8 + 1:02d}" for i in k],
            "Metadata_moa": np.array(["a", "b, c", "a", "b, c", "a", "b, c", "a", "DMSO"])[k % 8],
            "Cells_x": rng.normal(size=16).astype(np.float32),
            "Nuclei_y": rng.normal(size=16).astype(np.float32),
        }
    )


def described(folder: Path, table: str, keys: str = "", well: str = "Metadata_Well") -> Path:
    path = folder / "mine.toml"
    path.write_text(TOML.format(table=table, keys=keys, well=well), encoding="utf-8")
    return path


def opened(
    folder: Path, table: pd.DataFrame, keys: str = "", well: str = "Metadata_Well"
) -> Opened:
    table.to_csv(folder / "t.csv", index=False)
    return load(described(folder, "t.csv", keys, well)).open()


def features(data: Opened) -> Any:
    return data.source.read(np.arange(len(data.index)))


@pytest.mark.parametrize(
    ("name", "separator"),
    [("t.tsv", "\t"), ("t.txt", "\t"), ("t.txt", ","), ("t.tsv.gz", "\t"), ("t.txt.gz", "\t")],
)
def test_delimited_text_is_read_as_the_csv(tmp_path: Path, name: str, separator: str) -> None:
    expected = opened(tmp_path, frame())
    frame().to_csv(tmp_path / name, sep=separator, index=False)
    data = load(described(tmp_path, name)).open()
    pd.testing.assert_frame_equal(data.index, expected.index)
    np.testing.assert_array_equal(features(data), features(expected))
    assert data.features == ("Cells_x", "Nuclei_y")
    np.testing.assert_array_equal(features(data), frame()[["Cells_x", "Nuclei_y"]].to_numpy())


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (lambda t: t.to_csv(index=False).replace("DMSO", "Glukoseä").encode("latin-1"), "UTF-8"),
        (lambda t: t.to_csv(index=False).encode("utf-16"), "UTF-16"),
        (lambda t: gzip.compress(t.to_csv(index=False).encode()), "gzip"),
        (lambda t: t.to_csv(index=False).replace("DMSO", "DM\0SO").encode(), "NUL"),
        (lambda t: t.to_csv(index=False).replace("A01,", "A01,,", 1).encode(), "line 2"),
    ],
)
def test_a_file_that_is_something_else_is_refused_by_its_name(
    tmp_path: Path, content: Callable[[pd.DataFrame], bytes], named: str
) -> None:
    (tmp_path / "t.csv").write_bytes(content(frame()))
    with raises(BenchError, named, "t.csv"):
        load(described(tmp_path, "t.csv")).open()


def test_long_fields_and_large_integers_are_read(tmp_path: Path) -> None:
    table = frame().assign(note="x" * 200_000, Cells_x=[str(10**25 + k) for k in range(16)])
    limit = csv.field_size_limit()
    data = opened(tmp_path, table)
    np.testing.assert_array_equal(features(data)[:, 0], np.full(16, 1e25, np.float32))
    assert csv.field_size_limit() == limit


def test_a_blank_in_a_header_is_shown_in_quotes(tmp_path: Path) -> None:
    with raises(BenchError, "' Metadata_Plate'"):
        opened(tmp_path, frame().rename(columns={"Metadata_Plate": " Metadata_Plate"}))


@pytest.mark.parametrize(
    "values", [("Yes", "No"), ("yes", "no "), ("Y", "N"), ("T", "F"), ("TRUE", "False"), ("1", "0")]
)
def test_controls_have_many_spellings(tmp_path: Path, values: tuple[str, str]) -> None:
    control = (frame()["Metadata_moa"] == "DMSO").to_numpy()
    table = frame().assign(c=np.where(control, *values))
    data = opened(tmp_path, table, 'control = "c"')
    assert data.index["control"].tolist() == control.tolist()
    assert (data.index["label"] == "").tolist() == control.tolist()


def test_control_types_name_the_negative_controls() -> None:
    column = pd.Series(["negcon", "poscon_cp", None, "trt", "poscon_diverse", "negcon"])
    expected = [True, False, False, False, False, True]
    assert bools(column, "type", typed=True).tolist() == expected
    with raises(BenchError, "type", "maybe"):
        bools(pd.Series(["negcon", "maybe"]), "type", typed=True)
    with raises(BenchError, "type", "poscon"):  # no negative control is named
        bools(pd.Series(["poscon", "trt"]), "type", typed=True)
    with raises(BenchError, "type", "1 row"):
        bools(pd.Series(["yes", None]), "type", typed=True)


def test_positions_have_one_spelling() -> None:
    texts = np.array(["A1", "a01", " A-001", "P24", "AF48", "", "A10"], dtype=object)
    assert normalised_wells(texts).tolist() == ["A01", "A01", "A01", "P24", "AF48", "", "A10"]
    other = np.array(["A1", "r01c02"], dtype=object)
    assert normalised_wells(other) is other


@pytest.mark.parametrize("explicit", [False, True])
def test_wells_spelt_in_two_ways_are_one_position(tmp_path: Path, explicit: bool) -> None:
    table, keys = frame(), 'position = "Metadata_Well"' if explicit else ""
    expected = opened(tmp_path, table, keys)
    first = table["Metadata_Plate"] == "P0"
    table.loc[first, "Metadata_Well"] = table["Metadata_Well"].str.replace("A0", "a")
    data = opened(tmp_path, table, keys)
    for role in ("position", "well"):
        assert data.index[role].tolist() == expected.index[role].tolist()
    assert data.index["id"].iloc[0] == "P0|a1"  # ids, and so identities of runs, are as written


def test_sites_of_a_well_spelt_in_two_ways_are_one_unit(tmp_path: Path) -> None:
    sites = pd.concat(
        [
            frame().assign(site=1),
            frame().assign(site=2, Metadata_Well=frame()["Metadata_Well"].str.replace("A0", "A")),
        ]
    )
    data = opened(tmp_path, sites, "", 'Metadata_Well", "site')
    assert data.index["well"].nunique() == 16


@pytest.mark.parametrize(
    "name",
    [
        "Metadata_Well",
        "well",
        "Image_Metadata_Well",
        "Metadata_well_position",
        "Assay_Plate_Well",
        "WellName",
    ],
)
def test_the_well_column_is_found_by_its_name(tmp_path: Path, name: str) -> None:
    table = frame().rename(columns={"Metadata_Well": name})
    if name == "Assay_Plate_Well":
        assert position_column(list(table)) is None
        return
    data = opened(tmp_path, table, well=name)
    assert data.columns["position"] == "position"
    assert data.index["position"].tolist() == frame()["Metadata_Well"].tolist()
    assert data.index["well"].tolist()[:2] == ["P0|A01", "P0|A02"]


def test_of_several_well_columns_the_most_common_name_is_used() -> None:
    assert position_column(["Metadata_well_position", "Metadata_Well"]) == "Metadata_Well"
    assert position_column(["Image_Metadata_Well", "Metadata_Well"]) == "Metadata_Well"
    assert position_column(["Metadata_Well", "meta_well"]) is None
    assert plate_column(["Metadata_Plate_Barcode", "Cells_x"]) == "Metadata_Plate_Barcode"
    assert plate_column(["Image_Metadata_Plate", "Metadata_Plate_Name"]) == "Image_Metadata_Plate"


def test_features_may_be_a_layer(tmp_path: Path) -> None:
    import anndata

    table = frame().rename(columns={"Cells_x": "f0", "Nuclei_y": "f1"})
    obs = table[["Metadata_Plate", "Metadata_Well", "Metadata_moa"]]
    obs.index = obs.index.astype(str)
    X = table[["f0", "f1"]].to_numpy(np.float32)
    data = anndata.AnnData(X, obs=obs, layers={"raw": X + 1}, var=pd.DataFrame(index=["f0", "f1"]))
    data.write_h5ad(tmp_path / "t.h5ad")
    path = described(tmp_path, "t.h5ad")
    path.write_text(path.read_text().replace("^(Cells|Nuclei)_", "^f"))
    plain = load(path).open()
    np.testing.assert_array_equal(features(plain), X)
    path.write_text(path.read_text().replace("features =", 'layer = "raw"\nfeatures ='))
    layer = load(path).open()
    np.testing.assert_array_equal(features(layer), X + 1)
    assert layer.digest != plain.digest
    path.write_text(path.read_text().replace('"raw"', '"rwa"'))
    with raises(BenchError, "rwa", "raw"):
        load(path).open()
    path.write_text(path.read_text().replace("t.h5ad", "t.csv"))
    frame().to_csv(tmp_path / "t.csv", index=False)
    with raises(BenchError, "layer", "t.csv"):
        load(path).open()


def test_a_header_of_two_lines_is_joined(tmp_path: Path) -> None:
    """As CellProfiler writes object.csv: the object, then the name of the measurement."""
    text = (
        "Image,Cells,Cells,Nuclei\nImageNumber,ObjectNumber,Area,Area\n1,1,2.5,1.5\n1,2,3.5,0.5\n"
    )
    (tmp_path / "object.csv").write_text(text, encoding="utf-8")
    table = open_table(tmp_path / "object.csv")
    names = ["Image_ImageNumber", "Cells_ObjectNumber", "Cells_Area", "Nuclei_Area"]
    assert table.columns == names
    assert table.numeric() == names
    frame, X = table.read(["Cells_ObjectNumber"], ["Cells_Area", "Nuclei_Area"])
    assert frame["Cells_ObjectNumber"].tolist() == ["1", "2"]
    np.testing.assert_array_equal(X, np.float32([[2.5, 1.5], [3.5, 0.5]]))


def test_controls_may_be_values_of_a_column(tmp_path: Path) -> None:
    data = opened(tmp_path, frame(), 'control = { Metadata_moa = ["DMSO"] }')
    assert data.index["control"].tolist() == (frame()["Metadata_moa"] == "DMSO").tolist()
    assert set(data.index["label"]) == {"a", "b, c", ""}
    with raises(BenchError, "'DMS'", "DMSO"):
        opened(tmp_path, frame(), 'control = { Metadata_moa = ["DMS"] }')
