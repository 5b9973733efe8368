"""Own tables: what is read, and one line for everything that can be wrong with them."""

from __future__ import annotations

import gzip
import hashlib
import os
import tomllib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from bench.core.errors import BenchError
from bench.data.audit import audit
from bench.data.catalog import parse_split_argument
from bench.data.folds import folds
from bench.data.own.table import load
from bench.data.views import encode
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.api import Opened

N = 24
TOML = """
name = "mine"
table = "mine.parquet"
features = "^(Cells|Nuclei)_"
id = ["meta_plate", "meta_well"]
label = "meta_moa"
batches = ["meta_plate", "meta_week"]
control = "meta_is_control"
treatment = ["meta_compound", "meta_dose"]
compound = "meta_compound"
nscb_batch = "meta_week"
metadata = ["meta_count"]
upstream = ["normalised per plate"]
licence = "CC0"

[splits.weeks]
hold_out = "meta_week"

[splits.last]
test = { meta_week = ["w2"] }
validation = { meta_plate = ["p1"] }

[splits.profile]
protocol = "unsupervised"
test = "all"
score_unit = "treatment"
metrics = ["nscb", "nsc"]
"""


def table() -> pd.DataFrame:
    """Return 24 wells on 4 plates in 2 weeks: 3 mechanisms and one control on each plate."""
    rng = np.random.default_rng(0)
    i = np.arange(N)
    moa = np.array(["Eg5", "actin", "DNA, damage", "DMSO"])[i % 4]
    frame = pd.DataFrame(
        {
            "meta_plate": [f"p{k // 6}" for k in i],
            "meta_week": [f"w{1 + k // 12}" for k in i],
            "meta_well": [f"A{k % 6:02d}" for k in i],
            "meta_moa": moa,
            "meta_compound": np.where(moa == "DMSO", "DMSO", np.char.add("c", (i % 3).astype(str))),
            "meta_dose": np.where(i % 2 == 0, 3.0, 0.1),
            "meta_is_control": moa == "DMSO",
            "meta_count": 100 + i,
        }
    )
    frame["meta_compound"] = [f"c{m}" for m in moa]
    for name in ("Cells_a", "Cells_b", "Nuclei_a"):
        frame[name] = rng.normal(size=N).astype(np.float32)
    frame["Other_a"] = 1.0
    return frame


def write(folder: Path, frame: pd.DataFrame | None = None, toml: str = TOML) -> Path:
    """Write the table in the format that the TOML names, and the TOML; return its path."""
    frame = table() if frame is None else frame
    path = folder / "mine.toml"
    path.write_text(toml, encoding="utf-8")
    try:
        name = tomllib.loads(toml)["table"]
    except (tomllib.TOMLDecodeError, KeyError, TypeError):
        return path
    save(frame, folder / str(name))
    return path


def save(frame: pd.DataFrame, file: Path) -> None:
    if file.name.endswith(".parquet"):
        frame.to_parquet(file)
    elif file.name.endswith((".csv", ".csv.gz")):
        frame.to_csv(file, index=False)
    elif file.name.endswith(".h5ad"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import anndata

            of = [not name.startswith("meta_") for name in frame.columns]
            obs = frame.loc[:, [not is_feature for is_feature in of]]
            obs.index = obs.index.astype(str)
            if obs["meta_is_control"].dtype == object and True in set(obs["meta_is_control"]):
                # h5ad knows no column of objects
                obs["meta_is_control"] = obs["meta_is_control"].astype("boolean")
            values = frame.loc[:, of]
            var = pd.DataFrame(index=list(values.columns))
            X = values.to_numpy(dtype=np.float32)
            anndata.AnnData(X, obs=obs, var=var).write_h5ad(file)


def matrix(data: Opened) -> np.ndarray[Any, Any]:
    return data.source.read(np.arange(len(data.index)))


def test_the_index_holds_roles_levels_and_metadata_as_text(tmp_path: Path) -> None:
    frame = table()
    data = load(write(tmp_path, frame)).open()
    assert (data.name, data.edition, data.level) == ("mine", "real", "meta_plate")
    assert data.levels == ("meta_plate", "meta_week")
    assert data.upstream == ("normalised per plate",)
    assert dict(data.columns) == {
        "treatment": "treatment",
        "compound": "compound",
        "well": "well",
        "position": "position",
        "nscb_batch": "meta_week",
    }
    control = frame["meta_is_control"].to_numpy()
    index = data.index
    assert index["control"].dtype == bool
    assert index["control"].tolist() == control.tolist()
    assert index["label"].tolist() == np.where(control, "", frame["meta_moa"]).tolist()
    assert index["id"].tolist() == [
        f"{plate}|{well}"
        for plate, well in zip(frame["meta_plate"], frame["meta_well"], strict=True)
    ]
    assert index["treatment"][0] == "cEg5|3.0"
    assert index["treatment"][1] == "cactin|0.1"
    assert index["position"][7] == "A01"
    assert index["well"][7] == "w1|p1|A01"
    assert index["meta_count"][7] == "107"
    for name in index.columns.drop("control"):
        assert all(isinstance(value, str) for value in index[name]), name
    assert "Other_a" not in index
    np.testing.assert_array_equal(matrix(data), frame[["Cells_a", "Cells_b", "Nuclei_a"]])
    assert matrix(data).dtype == np.float32
    assert data.source.shape == (3,)
    rows = np.array([5, 0, 5])
    np.testing.assert_array_equal(data.source.read(rows), matrix(data)[rows])


def test_splits_are_named_by_the_data_set_and_say_what_shifts(tmp_path: Path) -> None:
    own = load(write(tmp_path))
    assert list(own.splits) == ["mine/weeks", "mine/last", "mine/profile"]
    assert own.splits["mine/weeks"].shift == (
        "each value of meta_week is the test set once; the rest trains"
    )
    assert own.splits["mine/last"].shift == (
        "the test set is meta_week w2; meta_plate p1 validates; all other rows train"
    )
    assert all(split.shift for split in own.splits.values())
    profile = own.split("profile")
    assert (profile.task, profile.metric, profile.score_unit) == ("retrieve", "nscb", "treatment")
    assert own.split("mine/weeks").metric == "balanced_accuracy"
    assert own.licence == "CC0"


def test_a_lone_split_needs_no_name(tmp_path: Path) -> None:
    toml = TOML.partition("[splits.last]")[0]
    assert load(write(tmp_path, toml=toml)).split().name == "mine/weeks"


def test_the_encoder_of_a_table_of_embeddings_is_recorded_upstream(tmp_path: Path) -> None:
    plain = load(write(tmp_path)).open()
    named = load(
        write(tmp_path, toml=TOML.replace("upstream", 'encoder = "net 1"\nupstream'))
    ).open()
    assert named.upstream == ("encoder: net 1", "normalised per plate")
    assert named.digest == plain.digest


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "h5ad"])
def test_all_formats_read_as_the_same_data(tmp_path: Path, ending: str) -> None:
    item = load(write(tmp_path)).open()
    other = load(write(tmp_path, toml=TOML.replace(".parquet", f".{ending}"))).open()
    pd.testing.assert_frame_equal(item.index, other.index)
    np.testing.assert_array_equal(matrix(item), matrix(other))
    assert item.digest != other.digest


@pytest.mark.parametrize("X", ["scalar", "one axis", "too few rows", "group"])
def test_an_h5ad_of_which_x_is_no_matrix_of_the_table_is_one_line(tmp_path: Path, X: str) -> None:
    import h5py

    path = write(tmp_path, toml=TOML.replace(".parquet", ".h5ad"))
    with h5py.File(tmp_path / "mine.h5ad", "r+") as file:
        values = file["X"][:]
        del file["X"]
        if X == "group":
            file.create_group("X")["data"] = values.ravel()
        else:
            file["X"] = {"scalar": 1.0, "one axis": values[:, 0], "too few rows": values[1:]}[X]
    with raises(BenchError, "mine.h5ad"):
        load(path).open()


def test_a_sparse_h5ad_reads_as_the_dense_one(tmp_path: Path) -> None:
    import scipy.sparse

    dense = load(write(tmp_path, toml=TOML.replace(".parquet", ".h5ad"))).open()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import anndata

        data = anndata.read_h5ad(tmp_path / "mine.h5ad")
        data.X = scipy.sparse.csr_matrix(data.X)
        data.write_h5ad(tmp_path / "mine.h5ad")
    sparse = load(tmp_path / "mine.toml").open()
    np.testing.assert_array_equal(matrix(dense), matrix(sparse))


@pytest.mark.parametrize(
    "values",
    [
        lambda c: c,
        lambda c: c.astype(int),
        lambda c: c.map({True: "True", False: "false"}),
        lambda c: c.astype("boolean"),
        lambda c: c.astype(object),
    ],
    ids=["bool", "0/1", "text", "nullable", "object"],
)
@pytest.mark.parametrize("ending", ["parquet", "csv", "h5ad"])
def test_controls_may_be_spelt_in_three_ways(
    tmp_path: Path, values: Callable[[Any], Any], ending: str
) -> None:
    frame = table()
    control = frame["meta_is_control"].tolist()
    frame["meta_is_control"] = values(frame["meta_is_control"])
    data = load(write(tmp_path, frame, TOML.replace(".parquet", f".{ending}"))).open()
    assert data.index["control"].tolist() == control


def test_without_optional_keys_rows_are_numbered_and_nothing_is_a_control(tmp_path: Path) -> None:
    toml = """
        name = "bare"
        table = "mine.csv"
        features = "Cells"
        label = "meta_moa"
        batches = "meta_plate"
        level = "meta_plate"
        [splits.a]
        hold_out = "meta_plate"
    """
    data = load(write(tmp_path, table().rename(columns={"meta_well": "site"}), toml)).open()
    assert data.index["id"].tolist() == [str(i) for i in range(N)]
    assert not data.has_controls
    assert list(data.index.columns) == ["id", "label", "control", "meta_plate"]
    assert dict(data.columns) == {}


def test_a_byte_order_mark_is_not_part_of_a_name(tmp_path: Path) -> None:
    item = load(write(tmp_path, toml=TOML.replace(".parquet", ".csv"))).open()
    for name in ("mine.csv", "mine.toml"):
        file = tmp_path / name
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    pd.testing.assert_frame_equal(item.index, load(tmp_path / "mine.toml").open().index)


def test_text_of_a_csv_stays_as_written(tmp_path: Path) -> None:
    frame = table()
    frame["meta_plate"] = [f"{k // 6:03d}" for k in range(N)]
    frame["meta_moa"] = frame["meta_moa"].replace("Eg5", "None")
    data = load(write(tmp_path, frame, TOML.replace(".parquet", ".csv"))).open()
    assert data.index["meta_plate"][0] == "000"
    assert "None" in set(data.index["label"])


def test_numbers_of_a_column_have_one_spelling(tmp_path: Path) -> None:
    frame = table()
    frame["meta_week"] = np.where(frame["meta_week"] == "w1", 1, 2)
    toml = TOML.replace('["w2"]', "[2.0]")
    own = load(write(tmp_path, frame, toml))
    (fold,) = folds(own.split("last"), own.open())
    assert fold.test.tolist() == list(range(12, 24))


def test_joined_names_never_collide(tmp_path: Path) -> None:
    frame = table()
    frame["meta_plate"] = [f"{p}|x" if k % 6 == 0 else p for k, p in enumerate(frame["meta_plate"])]
    frame["meta_well"] = [
        f"{k}" if k % 6 == 0 else ("x|0" if k == 1 else w) for k, w in enumerate(frame["meta_well"])
    ]
    index = load(write(tmp_path, frame)).open().index
    assert index["id"][0] == r"p0\|x|0"
    assert index["id"][1] == r"p0|x\|0"


def test_the_digest_is_of_the_content_and_its_meaning(tmp_path: Path) -> None:
    first = load(write(tmp_path)).open().digest
    assert len(first) == len(hashlib.sha256().hexdigest())
    assert set(first) <= set("0123456789abcdef")
    aside = TOML.replace("CC0", "MIT").replace('"mine"', '"yours"').replace('["meta_count"]', "[]")
    assert load(write(tmp_path, toml=aside)).open().digest == first
    for old, new in (
        ("^(Cells|Nuclei)_", "^Cells_"),
        ('label = "meta_moa"', 'label = "meta_compound"'),
        ('control = "meta_is_control"\n', ""),
    ):
        assert load(write(tmp_path, toml=TOML.replace(old, new))).open().digest != first
    frame = table()
    frame.loc[3, "Cells_a"] = np.float32(frame.loc[3, "Cells_a"] + 1)
    assert load(write(tmp_path, frame)).open().digest != first
    other = tmp_path / "elsewhere"
    other.mkdir()
    moved = TOML.replace("mine.parquet", "renamed.parquet")
    assert load(write(other, toml=moved)).open().digest == first


def test_the_label_map_does_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    frame = table()
    item = load(write(tmp_path, frame))
    result = folds(item.split("weeks"), item.open())
    order = np.random.default_rng(1).permutation(N)
    two = load(write(tmp_path, frame.iloc[order].reset_index(drop=True)))
    again = folds(two.split("weeks"), two.open())
    assert [fold.classes for fold in result] == [fold.classes for fold in again]
    index = two.open().index
    codes = encode(index["label"], result[0].classes).tolist()
    expected = {
        f"{r.meta_plate}|{r.meta_well}": -1
        if r.meta_is_control
        else result[0].classes.index(str(r.meta_moa))
        for r in frame.itertuples()
    }
    assert dict(zip(index["id"], codes, strict=True)) == expected


def test_a_column_that_only_a_split_names_is_read(tmp_path: Path) -> None:
    toml = TOML.replace('metadata = ["meta_count"]', "") + (
        '\n[splits.count]\ntest = { meta_count = [100, 101, 102, 103] }\nexpose = ["position"]\n'
    )
    own = load(write(tmp_path, toml=toml))
    (fold,) = folds(own.split("count"), own.open())
    assert fold.test.tolist() == [0, 1, 2, 3]
    assert own.split("count").expose == ("position",)


def test_a_row_number_column_of_pandas_is_never_a_feature(tmp_path: Path) -> None:
    toml = TOML.replace(".parquet", ".csv").replace("^(Cells|Nuclei)_", "^(?!meta_)")
    path = write(tmp_path, toml=toml)
    table().to_csv(tmp_path / "mine.csv")  # with the index, under an empty name
    assert load(path).open().source.shape == (4,)
    frame = table().rename_axis("row").set_index(np.arange(N)[::-1], append=False)
    frame.index.name = "row"
    frame.to_parquet(tmp_path / "mine.parquet")
    path.write_text(toml.replace(".csv", ".parquet"))
    assert load(path).open().source.shape == (4,)


@pytest.mark.parametrize(
    "text, file, name",
    [
        ("a/dataset.toml:weeks", "a/dataset.toml", "weeks"),
        ("a/dataset.toml", "a/dataset.toml", None),
        ("C:/a/dataset.toml:weeks", "C:/a/dataset.toml", "weeks"),
        ("C:/a/dataset.toml", "C:/a/dataset.toml", None),
        ("a:b/set.toml:x", "a:b/set.toml", "x"),
        ("a.toml:b/set.toml:x", "a.toml:b/set.toml", "x"),
        ("a.toml:b/set.toml", "a.toml:b/set.toml", None),
        ("a b/Ä.TOML:last-batch", "a b/Ä.TOML", "last-batch"),
    ],
)
def test_the_argument_is_cut_at_the_last_colon_after_toml(
    text: str, file: str, name: str | None
) -> None:
    assert parse_split_argument(text) == (Path(file), name)


@pytest.mark.parametrize("text", ["ottawa", "coos7/test4", "dataset.tomlx:weeks", "x.parquet", ""])
def test_other_arguments_are_names_of_packaged_splits(text: str) -> None:
    assert parse_split_argument(text) is None


def test_an_empty_name_after_the_colon_is_an_error() -> None:
    with raises(BenchError, "a/set.toml:NAME"):
        parse_split_argument("a/set.toml:")


def one_line(act: Callable[[], object], *mends: str) -> str:
    with pytest.raises(BenchError) as caught:
        act()
    message = str(caught.value)
    assert "\n" not in message
    for mend in mends:
        assert mend in message
    return message


@pytest.mark.parametrize(
    "old, new, mend",
    [
        ('label = "meta_moa"', "label = ", ("6", "9")),
        (
            'label = "meta_moa"',
            'lable = "meta_moa"',
            ("lable", "label"),
        ),
        ('label = "meta_moa"', "", ("label", "COLUMN")),
        ('label = "meta_moa"', "label = 3", ("label", "3")),
        ('label = "meta_moa"', 'label = ""', ("label",)),
        ('label = "meta_moa"', 'label = "meta_plate"', ()),
        ('["meta_plate", "meta_week"]', "[]", ()),
        ('["meta_plate", "meta_week"]', "true", ("true",)),
        ('["meta_plate", "meta_week"]', '["a", "a"]', ()),
        ('["meta_plate", "meta_week"]', '["a", ""]', ()),
        ('["meta_count"]', '[["meta_count"]]', ("metadata",)),
        ('control = "meta_is_control"', "control = true", ("control", "true")),
        ('name = "mine"', 'name = "my plates"', ()),
        ('name = "mine"', 'name = "mine"\nkind = "profile"', ("profiles",)),
        ('name = "mine"', 'name = "mine"\nlevel = "meta_weak"', ("meta_week",)),
        ("^(Cells|Nuclei)_", "^((", ()),
        ("[splits.weeks]", "[split.weeks]", ("splits",)),
        ("[splits.weeks]", "[weeks]", ("splits.weeks",)),
        ('[splits.weeks]\nhold_out = "meta_week"', "[splits]\nweeks = 3", ("splits.weeks",)),
        ("[splits.weeks]", '[splits."a:b"]', ("a:b",)),
        ("hold_out", "holdout", ("splits.weeks", "holdout", "hold_out")),
        ("[splits.weeks]", '[splits.weeks]\ncitation = "x"', ()),
        ("[splits.weeks]", '[splits.weeks]\nexpose = ["meta_moa"]', ("expose",)),
        ("[splits.weeks]", '[splits.weeks]\nexpose = ["meta_is_control"]', ("control",)),
        ('{ meta_week = ["w2"] }', '"w2"', ("splits.last.test",)),
        ('{ meta_week = ["w2"] }', "{ meta_week = [[1]] }", ()),
        ('{ meta_week = ["w2"] }', "{ meta_week = [] }", ()),
        ('{ meta_week = ["w2"] }', '"all"', ("protocol", "unsupervised")),
        ('protocol = "unsupervised"', 'protocol = "none"', ("protocol",)),
        ('metrics = ["nscb", "nsc"]', "", ("metrics", "nscb")),
        ('hold_out = "meta_week"', "", ("hold_out", "COLUMN")),
        ('hold_out = "meta_week"', 'hold_out = "meta_week"\nshift = ""', ()),
        (TOML.partition("[splits.weeks]")[2], "", ("mine/weeks",)),
        (TOML[TOML.index("[splits.weeks]") :], "", ("splits.NAME",)),
        (TOML, " \n", ()),
    ],
)
def test_every_mistake_in_the_toml_is_one_line(
    tmp_path: Path, old: str, new: str, mend: str
) -> None:
    assert old in TOML
    path = write(tmp_path, toml=TOML.replace(old, new, 1))
    message = one_line(lambda: load(path), *mend)
    assert message.count("mine.toml") == 1  # says where, once


def test_a_misspelt_key_is_named_before_the_one_that_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path, toml=TOML.replace("label =", "lable ="))
    one_line(lambda: load(path), "lable", "1")


def test_the_name_of_a_packaged_split_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.api import Split
    from bench.data.own import spec as table_spec

    path = write(tmp_path)
    for name in ("mine/x", "mine/weeks"):
        taken = {name: Split(name, "mine", "everything")}
        monkeypatch.setattr(table_spec, "packaged_splits", lambda taken=taken: taken)
        if name == "mine/x":
            assert load(path).name == "mine"
    one_line(lambda: load(path), "mine/weeks")


def test_a_toml_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    path = write(tmp_path)
    one_line(lambda: load(tmp_path / "mien.toml"), "mine.toml?")
    one_line(lambda: load(tmp_path / "no" / "mine.toml"))
    one_line(lambda: load(tmp_path), "dataset.toml")
    path.write_bytes(b"name = '\xff\xfe'")
    one_line(lambda: load(path), "UTF-8")


def test_a_split_is_named_when_there_are_several(tmp_path: Path) -> None:
    own = load(write(tmp_path))
    one_line(own.split, "3", "mine.toml:weeks", "mine.toml:profile")
    one_line(lambda: own.split("week"), "mine.toml", "weeks")
    one_line(lambda: own.split("zzz"), "profile", "weeks")


@pytest.mark.parametrize(
    "old, new, mend",
    [
        ("mine.parquet", "mien.parquet", ("mien.parquet", "mine.parquet")),
        ("mine.parquet", "mine.xlsx", (".parquet", ".csv", ".gz", ".h5ad")),
        ("mine.parquet", ".", ()),
        ('label = "meta_moa"', 'label = "meta_mao"', ("label", "meta_mao")),
        ('control = "meta_is_control"', 'control = "is_ctl"', ("control",)),
        ('id = ["meta_plate", "meta_well"]', 'id = "meta_wel"', ("meta_well",)),
        ('id = ["meta_plate", "meta_well"]', 'id = "meta_well"', ("id",)),
        ('["meta_plate", "meta_week"]', '["meta_plat"]', ("meta_plat",)),
        ('["meta_compound", "meta_dose"]', '"qqqq"', ("Other_a", "meta_compound")),
        ('compound = "meta_compound"', 'compound = "compund"', ("compound",)),
        ('nscb_batch = "meta_week"', 'nscb_batch = "weeek"', ("nscb_batch",)),
        ('["meta_count"]', '["meta_cuont"]', ("metadata", "meta_cuont")),
        ('name = "mine"', 'name = "mine"\nposition = "wel"', ("position",)),
        ('name = "mine"', 'name = "mine"\nwell = ["wel"]', ("well",)),
        ('hold_out = "meta_week"', 'hold_out = "meta_weak"', ("hold_out", "splits.weeks")),
        ("{ meta_week =", "{ meta_weak =", ("splits.last", "meta_weak")),
        ('score_unit = "treatment"', 'score_unit = "treatmnt"', ("score_unit", "splits.profile")),
        ('treatment = ["meta_compound", "meta_dose"]\n', "", ("treatment",)),
        ("^(Cells|Nuclei)_", "^Mito_", ("Cells_a", "Cells_b", "Nuclei_a", "Other_a")),
        ("^(Cells|Nuclei)_", "^(Cells|meta_count)", ("meta_count", "metadata")),
        ("^(Cells|Nuclei)_", ".", ("meta_moa", "label")),
        ("^(Cells|Nuclei)_", "^(Cells_|meta_is)", ("meta_is_control",)),
        ('control = "meta_is_control"', 'control = "meta_moa"', ("Eg5",)),
        ('control = "meta_is_control"', 'control = "meta_count"', ("100",)),
        ('control = "meta_is_control"', 'control = "meta_dose"', ()),
        ('label = "meta_moa"', 'label = "Other_a"', ("1.0",)),
    ],
)
def test_every_mistake_about_columns_is_one_line(
    tmp_path: Path, old: str, new: str, mend: str
) -> None:
    assert old in TOML
    path = write(tmp_path)
    path.write_text(TOML.replace(old, new, 1))
    if new == "mine.xlsx":
        (tmp_path / new).write_text("x")
    own = load(path)
    message = one_line(own.open, *mend)
    assert str(tmp_path) in message


def change(column: str, row: Any, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def act(frame: pd.DataFrame) -> pd.DataFrame:
        if isinstance(value, str) or value is None:
            frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value
        return frame

    return act


@pytest.mark.parametrize("ending", ["parquet", "csv", "csv.gz", "h5ad"])
@pytest.mark.parametrize(
    "act, mend",
    [
        (change("Cells_b", [2, 5], np.nan), ("Cells_b", "NaN", "p0|A02")),
        (change("Cells_b", 2, np.inf), ("Cells_b", "1", "p0|A02")),
        (change(["Cells_b", "Nuclei_a"], 2, np.nan), ("1",)),
        (change("meta_moa", 0, None), ("label", "meta_moa", "1")),
        (change("meta_plate", 0, None), ("meta_plate", "1")),
        (change("meta_week", 0, None), ("meta_week", "1")),
        (change("meta_compound", 0, None), ("treatment", "meta_compound", "1")),
        (change("meta_is_control", slice(None), "maybe"), ("maybe",)),
        (change("meta_is_control", 0, None), ("meta_is_control", "1")),
        (change("meta_well", 1, "A00"), ("p0|A00", "id")),
        (lambda frame: frame.iloc[:0], ()),
        (lambda frame: frame[frame["meta_is_control"]], ("control",)),
    ],
)
def test_every_mistake_in_the_rows_is_one_line_in_every_format(
    tmp_path: Path, ending: str, act: Callable[[pd.DataFrame], pd.DataFrame], mend: str
) -> None:
    path = write(tmp_path, act(table()), TOML.replace(".parquet", f".{ending}"))
    own = load(path)
    message = one_line(own.open, *mend)
    assert "mine." in message


def test_controls_need_no_label_compound_or_dose(tmp_path: Path) -> None:
    frame = table()
    rows = frame["meta_is_control"]
    for column in ("meta_moa", "meta_compound", "meta_dose"):
        frame[column] = frame[column].where(~rows)
    data = load(write(tmp_path, frame)).open()
    assert int(data.index["control"].sum()) == 6
    assert set(data.index["compound"][rows]) == {""}


@pytest.mark.parametrize("ending", ["parquet", "csv"])
@pytest.mark.parametrize(
    "values, kind",
    [(["low"] + ["high"] * (N - 1), "low"), ([True] * N, "bool")],
    ids=["text", "bool"],
)
def test_a_feature_that_is_not_a_number_is_refused(
    tmp_path: Path, ending: str, values: list[Any], kind: str
) -> None:
    frame = table()
    frame["Cells_b"] = values
    path = write(tmp_path, frame, TOML.replace(".parquet", f".{ending}"))
    one_line(load(path).open, "Cells_b")


def test_a_number_that_single_precision_cannot_hold_is_refused(tmp_path: Path) -> None:
    frame = table()
    frame["Cells_b"] = 1e300
    one_line(load(write(tmp_path, frame)).open, "Cells_b", "24")


@pytest.mark.parametrize("ending", ["parquet", "csv.gz", "h5ad"])
@pytest.mark.parametrize("content", ["truncated", "text", "nothing"])
def test_a_damaged_file_is_one_line(tmp_path: Path, ending: str, content: str) -> None:
    path = write(tmp_path, toml=TOML.replace(".parquet", f".{ending}"))
    file = tmp_path / f"mine.{ending}"
    whole = file.read_bytes()
    damaged = {"truncated": whole[: len(whole) // 2], "text": b"not a table\n", "nothing": b""}
    file.write_bytes(damaged[content])
    one_line(load(path).open, f"mine.{ending}")


def test_a_damaged_csv_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, toml=TOML.replace(".parquet", ".csv"))
    file = tmp_path / "mine.csv"
    whole = file.read_text()
    file.write_text(whole[: len(whole) // 2])
    one_line(load(path).open, "mine.csv", "13", "12")
    # row names without a name of their own, as R writes them
    header, _, rows = whole.partition("\n")
    file.write_text(header + "\n" + "".join(f"7,{row}\n" for row in rows.splitlines()))
    one_line(load(path).open, "mine.csv", "13", "12")
    file.write_text(whole.replace('"DNA, damage"', "DNA, damage"))
    one_line(load(path).open, "mine.csv", "4", "13")
    file.write_text(whole.replace("Eg5,", "", 1))
    one_line(load(path).open, "mine.csv", "2", "11")
    file.write_text("")
    one_line(load(path).open)
    file.write_bytes(whole.encode("utf-16"))
    one_line(load(path).open)
    file.write_text(whole.replace(",", ";"))
    one_line(load(path).open)
    file.write_text(whole.replace("Cells_b", "Cells_a"))
    one_line(load(path).open, "Cells_a")


def test_damage_inside_a_gzip_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, toml=TOML.replace(".parquet", ".csv.gz"))
    file = tmp_path / "mine.csv.gz"
    raw = bytearray(gzip.compress(table().to_csv(index=False).encode()))
    raw[len(raw) // 2] ^= 255
    file.write_bytes(bytes(raw))
    one_line(load(path).open)


def test_a_file_that_may_not_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = load(write(tmp_path))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")  # chmod would not stop root

    monkeypatch.setattr("pyarrow.parquet.ParquetFile", refuse)
    one_line(own.open, "mine.parquet")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    one_line(lambda: load(own.path), "mine.toml")


def test_a_column_that_has_the_name_of_a_role_must_mean_it(tmp_path: Path) -> None:
    frame = table().rename(columns={"meta_well": "well"})
    toml = TOML.replace('"meta_well"', '"well"') + '\n[splits.w]\nhold_out = "well"\n'
    one_line(load(write(tmp_path, frame, toml)).open, "meta_well")
    # as metadata it is dropped: 'position' has it
    toml = TOML.replace('"meta_well"', '"well"').replace('["meta_count"]', '["well"]')
    index = load(write(tmp_path, frame, toml)).open().index
    assert index["well"][0] == "w1|p0|A00"
    assert index["position"][0] == "A00"


def real(folder: str) -> Path:
    where = os.environ.get("BENCH_TEST_DATA")
    if not where:
        pytest.skip("real tables are not here: set BENCH_TEST_DATA to their folder")
    return Path(where) / folder / "dataset.toml"


def test_real_weeks_exclude_and_count_the_mechanisms_of_one_week() -> None:
    own = load(real("bbbc021_ljosa2013"))
    data = own.open()
    assert (len(data.index), data.source.shape) == (632, (516,))
    assert int(data.index["control"].sum()) == 330
    assert data.index["treatment"][~data.index["control"]].nunique() == 103
    result = folds(own.split("weeks"), data)
    assert [fold.name for fold in result] == [f"Week{i}" for i in range(1, 11)]
    assert len(result[0].classes) == 10
    assert sum(int(fold.scored.sum()) + fold.n_excluded for fold in result) == 302
    assert {
        fold.name: (fold.n_excluded, fold.excluded_classes) for fold in result if fold.n_excluded
    } == {
        "Week7": (10, ("Kinase inhibitors",)),
        "Week9": (18, ("Cholesterol-lowering",)),
    }
    assert audit(own.split("weeks"), data, result) == []
    (whole,) = folds(own.split("profile"), data)
    assert len(whole.classes) == 12
    assert int(whole.scored.sum()) == 302


def test_real_stains_are_four_folds_with_every_class() -> None:
    own = load(real("jump_moa_dye_batches"))
    data = own.open()
    assert (len(data.index), data.source.shape) == (1535, (259,))
    assert int(data.index["control"].sum()) == 96
    result = folds(own.split(), data)
    assert len(result) == 4
    assert all(len(fold.classes) == 47 and fold.n_excluded == 0 for fold in result)
    assert sum(int(fold.scored.sum()) for fold in result) == 1535 - 96
    assert len(data.upstream) == 2
    assert audit(own.split(), data, result) == []


def test_real_batches_are_nine_folds_and_one_fixed_holdout_with_validation() -> None:
    own = load(real("jump_source3_image_stats"))
    data = own.open()
    assert (len(data.index), data.source.shape, data.level) == (1800, (65,), "meta_batch")
    assert data.index["meta_plate"].nunique() == 172
    result = folds(own.split("batches"), data)
    assert [len(fold.test) for fold in result] == [200] * 9
    assert all(len(fold.classes) == 8 and fold.scored.all() for fold in result)
    (last,) = folds(own.split("last-batch"), data)
    assert [len(rows) for rows in (last.train, last.validation, last.test)] == [1400, 200, 200]
    assert set(data.index["meta_batch"].iloc[last.validation]) == {"CP59"}
    for name in ("batches", "last-batch"):
        assert audit(own.split(name), data, folds(own.split(name), data)) == []


def test_real_single_cells_are_scored_by_well() -> None:
    own = load(real("breinig2015_single_cells"))
    data = own.open()
    assert (len(data.index), data.source.shape) == (51267, (26,))
    split = own.split()
    result = folds(split, data)
    assert [fold.name for fold in result] == ["1", "2"]
    assert len(result[0].classes) == 17
    assert split.score_unit == "well"
    wells = data.index["well"]
    assert wells.groupby(data.index["label"]).nunique().sum() == wells.nunique()
    assert audit(split, data, result) == []


@pytest.mark.parametrize("ending", ["csv.gz", "h5ad"])
def test_a_real_table_reads_the_same_from_other_formats(tmp_path: Path, ending: str) -> None:
    source = real("bbbc021_ljosa2013")
    item = load(source).open()
    frame = pd.read_parquet(source.parent / "bbbc021_ljosa2013_wells.parquet")
    save(frame, tmp_path / f"t.{ending}")
    toml = source.read_text().replace("bbbc021_ljosa2013_wells.parquet", f"t.{ending}")
    (tmp_path / "dataset.toml").write_text(toml)
    other = load(tmp_path / "dataset.toml").open()
    pd.testing.assert_frame_equal(item.index, other.index)
    np.testing.assert_array_equal(matrix(item), matrix(other))
