"""JUMP-CP: the published layout, what real files do, the fixture, and its splits."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from bench.api import BenchError, Opened
from bench.core.registry import Registry
from bench.data.catalog import packaged_splits
from bench.data.folds import folds
from bench.data.task import open_task
from bench.testing.dataset import check_dataset
from tests.helpers import tiny
from tests.helpers.errors import mentions, raises

if TYPE_CHECKING:
    from pathlib import Path

SPLITS = {name: s for name, s in packaged_splits().items() if s.dataset == "jump"}


def made() -> Any:
    return Registry().entry("dataset", "jump").load()(None)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fixture's files, as if somebody had downloaded them."""
    from bench.datasets._jump_fixture import ensure

    return ensure(tmp_path_factory.mktemp("jump"))


@pytest.fixture
def real(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(published, tmp_path / "data" / "jump")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data" / "jump"


def a_plate(folder: Path, n: int = 0) -> Path:
    return sorted(folder.glob("source_*/workspace/profiles/*/*/*.parquet"))[n]


def test_the_fixture_keeps_the_contract() -> None:
    check_dataset("jump", edition="fixture")


def test_the_fixture_is_the_same_everywhere(tmp_path: Path) -> None:
    from bench.datasets._jump_fixture import ensure

    item, two = ensure(tmp_path / "one"), ensure(tmp_path / "two")
    assert ensure(tmp_path / "one") == item
    for path in sorted(item.rglob("*.parquet"))[::7]:
        left, right = pd.read_parquet(path), pd.read_parquet(two / path.relative_to(item))
        pd.testing.assert_frame_equal(left, right)
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == [item.name]


def test_rows_are_wells_with_their_plates_labels_and_values(real: Path) -> None:
    dataset = made()
    assert dataset.editions() == ["real", "fixture"]
    opened = dataset.open("real")
    index = opened.index
    wells = pd.read_csv(real / "metadata" / "well.csv.gz", dtype=str)
    assert len(index) == (wells["Metadata_JCP2022"] != "JCP2022_999999").sum()
    row = 777
    source, plate, well = index["id"][row].split("/")
    [path] = real.glob(f"{source}/workspace/profiles/*/{plate}/{plate}.parquet")
    table = pd.read_parquet(path).set_index("Metadata_Well").loc[well]
    features = [c for c in table.index if c.startswith(("Cells", "Cyto", "Nuc"))]
    features.remove("Cells_Gaps")  # not finite in every well
    np.testing.assert_array_equal(
        opened.source.read(np.array([row]))[0], table[features].to_numpy(np.float32)
    )
    said = wells[(wells["Metadata_Plate"] == plate) & (wells["Metadata_Well"] == well)]
    assert index["treatment"][row] == said["Metadata_JCP2022"].iloc[0]
    assert index["batch"][row] == f"{source}/{path.parent.parent.name}"
    dmso = index["treatment"] == "JCP2022_033924"
    assert (index["control"] == dmso).all()
    assert ((index["label"] == "") == dmso).all()
    scopes = index.groupby("microscope")["source"].unique()
    assert sorted(scopes["CV8000"]) == ["source_10", "source_2", "source_6"]
    assert "1 left out" in opened.upstream[0]
    assert opened.levels == ("plate", "batch", "source", "microscope")
    for inner, outer in zip(opened.levels, opened.levels[1:], strict=False):
        assert index.groupby(inner)[outer].nunique().max() == 1


def test_what_is_read_once_is_read_from_disk(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.datasets import jump

    first = made().open("real")

    def never(*args: Any) -> None:
        raise AssertionError("the plates were read again")

    monkeypatch.setattr(jump, "read_plates", never)
    again = made().open("real")
    assert again.digest == first.digest
    pd.testing.assert_frame_equal(again.index, first.index)
    a_plate(real).unlink()
    with raises(AssertionError):
        made().open("real")


def test_extra_and_reordered_columns_rows_and_plates_do_not_matter(real: Path) -> None:
    first = made().open("real")
    path = a_plate(real, 3)
    table = pd.read_parquet(path)
    table["Image_Extra"] = 1.0
    table["Cells_Only_Here"] = 1.0
    table["Metadata_Note"] = "x"
    table = table[table.columns[::-1]].sample(frac=1, random_state=0)
    table.to_parquet(path, index=False)
    unknown = real / "source_2/workspace/profiles/Other/NotListed/NotListed.parquet"
    unknown.parent.mkdir(parents=True)
    table.assign(Metadata_Plate="NotListed").to_parquet(unknown, index=False)
    second = made().open("real")
    assert second.digest != first.digest  # other bytes
    order = {name: k for k, name in enumerate(second.index["id"])}
    rows = np.array([order[name] for name in first.index["id"]])
    every = np.arange(len(rows))
    item, two = first.source.read(every), second.source.read(rows)
    # features come in the order of the first plate
    np.testing.assert_array_equal(item, two)


def test_a_plate_in_two_files_is_refused(real: Path) -> None:
    path = a_plate(real)
    shutil.copy(path, path.with_name("copy.parquet"))
    with raises(BenchError):
        made().open("real")


def test_numbers_for_laboratories_are_understood(real: Path) -> None:
    path = real / "metadata" / "microscope_config.csv"
    table = pd.read_csv(path)
    table["Metadata_Source"] = table["Metadata_Source"].str.removeprefix("source_")
    table.to_csv(path, index=False)
    assert set(made().open("real").index["microscope"]) == set(table["Metadata_Microscope_Name"])


def test_what_is_wrong_is_one_line(real: Path, tmp_path: Path) -> None:
    path, meta = a_plate(real), real / "metadata"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with raises(BenchError, "10B1P1.parquet"):
        made().open("real")
    pd.read_parquet(a_plate(real, 1)).drop(columns="Metadata_Well").to_parquet(path)
    with raises(BenchError, "Metadata_Well"):
        made().open("real")
    path.write_bytes(whole)
    for name, column in (
        ("plate.csv.gz", "Metadata_PlateType"),
        ("well.csv.gz", "Metadata_JCP2022"),
        ("microscope_config.csv", "Metadata_Microscope_Name"),
    ):
        before = (meta / name).read_bytes()
        pd.read_csv(meta / name, dtype=str).drop(columns=column).to_csv(meta / name, index=False)
        with raises(BenchError, column):
            made().open("real")
        (meta / name).write_bytes(before)
    scopes = (meta / "microscope_config.csv").read_bytes()
    pd.read_csv(meta / "microscope_config.csv").iloc[1:].to_csv(
        meta / "microscope_config.csv", index=False
    )
    with raises(BenchError, "source_2"):
        made().open("real")
    (meta / "microscope_config.csv").write_bytes(scopes)
    assert not list((tmp_path / "cache" / "jump").iterdir())
    pd.concat([pd.read_csv(meta / "well.csv.gz", dtype=str)] * 2).to_csv(
        meta / "well.csv.gz", index=False
    )
    with raises(BenchError, "well.csv.gz"):
        made().open("real")
    (meta / "well.csv.gz").unlink()
    assert made().editions() == ["fixture"]
    with raises(BenchError, "bench data fetch jump"):
        made().open("real")


@pytest.fixture(scope="module")
def opened() -> Opened:
    data: Opened = made().open("fixture")
    return data


@pytest.mark.parametrize("name", sorted(SPLITS))
def test_splits_share_nothing_undeclared(name: str, opened: Opened) -> None:
    task = open_task(name, SPLITS[name], opened)
    assert task.warnings == ()
    assert len(task.classes) >= 10
    for fold in task.folds:
        control = opened.index["control"].to_numpy()
        assert control[fold.test].any()
        inside = opened.index.iloc[fold.test]
        for column, values in (SPLITS[name].where or {}).items():
            assert set(inside[column]) <= set(values)


def test_sides_hold_enough_batches(opened: Opened) -> None:
    for name, least in (("jump/source", 6), ("jump/microscope", 6), ("jump/batch", 2)):
        for fold in folds(SPLITS[name], opened):
            plate = opened.index["plate"].to_numpy()
            assert len(set(plate[fold.test])) >= least
            assert len(set(plate[fold.train])) >= 4


def test_scenarios_are_those_of_the_paper(opened: Opened) -> None:
    three = {"source_2", "source_6", "source_10"}
    five = three | {"source_3", "source_8"}
    both = {"COMPOUND", "TARGET2"}
    expected = {1: ({"source_6"}, {"TARGET2"}), 2: (three, {"TARGET2"}), 3: (three, both)}
    expected |= {4: (five, {"TARGET2"}), 5: (five, both)}
    for number, (sources, kinds) in expected.items():
        [fold] = folds(SPLITS[f"jump/scenario-{number}"], opened)
        rows = opened.index.iloc[fold.test]
        assert set(rows["source"]) == sources
        assert set(rows["plate_type"]) == kinds


def test_a_scenario_without_all_its_laboratories_is_refused(real: Path) -> None:
    shutil.rmtree(real / "source_8")
    data = made().open("real")
    with raises(BenchError, "source_8"):
        folds(SPLITS["jump/scenario-4"], data)
    assert len(folds(SPLITS["jump/source"], data)) == 4


@pytest.mark.slow
def test_a_run_says_what_stands_before_all_methods(tmp_path: Path, opened: Opened) -> None:
    records = tiny_runs(tmp_path, ["erm", "identity", "center"], opened)
    for record in records:
        assert record["status"] == "ok"
        assert record["preprocess"] == record["spec"]["preprocess"] == "mad-int-select"
        first = [fold["stages"][0] for fold in record["spec"]["folds"]]
        assert {stage["method"] for stage in first} == {"mad-int-select"}
        assert first == [fold["stages"][0] for fold in records[0]["spec"]["folds"]]
        assert record["spec"]["edition"] == "fixture"
        assert "fixture edition" in record["unranked_because"]
    assert [r["method_id"] for r in records] == ["erm", "identity", "identity+center"]
    assert [r["track"] for r in records] == ["test-controls", "reference", "test-controls"]
    assert [r["readout"] for r in records] == ["head", "probe", "probe"]


def tiny_runs(tmp_path: Path, methods: list[str], opened: Opened) -> list[dict[str, Any]]:
    from bench.records.store import Store
    from bench.runs.job import Options
    from bench.runs.plan import plan
    from bench.runs.runner import Runner

    task = open_task("jump/batch", SPLITS["jump/batch"], opened)
    options = Options("smoke", {"steps": 3})
    jobs = plan(methods, [task], [0], options, Registry())
    runner = Runner(Store(tmp_path), options)
    return [json.loads(json.dumps(dict(runner.run(job)))) for job in jobs]


def test_it_cannot_be_named_twice(opened: Opened) -> None:
    from bench.runs.job import Options
    from bench.runs.plan import plan

    task = open_task("jump/batch", SPLITS["jump/batch"], opened)
    for chain in ("erm+mad-int-select", "mad-int-select"):
        [job] = plan([chain], [task], [0], Options("smoke"), Registry())
        mentions(job.not_applicable, "mad-int-select")


def test_without_preprocessing_a_run_is_what_it_was(tmp_path: Path) -> None:
    from bench.runs.job import Options
    from bench.runs.plan import plan

    [job] = plan(["erm"], [tiny.task()], [0], Options("smoke"), Registry())
    assert "preprocess" not in job.spec()
    assert [stage["method"] for stage in job.spec()["folds"][0]["stages"]] == ["erm"]
