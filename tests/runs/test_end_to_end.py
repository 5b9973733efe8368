"""Whole runs: a table written to disk, and real tables where they are at hand."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.data.opening import open_splits
from tests.helpers import tiny
from tests.helpers.real import real_folder

pytestmark = pytest.mark.usefixtures("few_penalties")

DATA = os.environ.get("BENCH_TEST_DATA", "")
needs_data = pytest.mark.skipif(
    not DATA, reason="set BENCH_TEST_DATA to the folder of real tables to run them"
)
N_STAINED = 12
"""Mechanisms of action of the test on stains."""
REFERENCES = "identity,shuffle,batch-mean,label-oracle,position-only,batch-only"


def real(bench: tiny.Bench, table: str, name: str) -> Any:
    file = Path(DATA) / table / "dataset.toml"
    if not file.is_file():
        pytest.skip(f"there is no {file}")
    [where] = open_splits([f"{file}:{name}"], bench.registry, "auto", {}, lambda line: None)
    return where


def by_method(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    for record in records:
        assert record["status"] == "ok", f"{record['method']}: {record['reason']}"
        assert record["undeclared_adaptation"] is None, record["method"]
    return {record["method"]: record for record in records}


def primary(record: dict[str, Any]) -> float:
    return float(record["metrics"][record["primary"]]["all"])


def test_a_table_from_its_file_to_its_records(tmp_path: Path) -> None:
    path = tiny.write_table(tmp_path / "data", per_class=12, controls=6)
    [where] = tiny.open_table(path)
    bench = tiny.Bench(tmp_path / "results")
    methods = f"{REFERENCES},erm,ben,ben-controls,adabn,erm-plate,zscore,robust,erm+zscore"
    fitted = by_method(bench.run(methods, where, steps=60))
    assert primary(fitted["label-oracle"]) == primary(fitted["position-only"]) == 1.0
    assert primary(fitted["batch-only"]) == pytest.approx(1 / 3)
    assert primary(fitted["batch-mean"]) == pytest.approx(1 / 3)
    # A plate is shifted and nothing else: its controls are all that it takes to mend it.
    assert primary(fitted["zscore"]) > primary(fitted["identity"]) + 0.05
    assert primary(fitted["erm"]) > 0.5
    for record in fitted.values():
        assert record["n_eval"] == 4 * 36
        assert record["batches"]["n_test"] == 4
        kept = bench.store.find(record["run_id"])
        assert kept is not None
        frame = kept.predictions()
        assert frame is not None
        assert not set(frame["id"]) & set(where.opened.index["id"][where.opened.index["control"]])
    assert fitted["ben"]["track"] == "test-batch"
    assert fitted["ben-controls"]["track"] == "test-controls"


def test_images_from_pixels_to_records(tmp_path: Path) -> None:
    where = tiny.task(tiny.opened(images=True, per_class=12), hold_out="plate")
    fitted = by_method(tiny.Bench(tmp_path).run("erm,ben,zscore,identity", where, steps=30))
    assert fitted["zscore"]["method_id"] == "erm+zscore"
    assert fitted["zscore"]["cost"]["fit_s"] >= fitted["erm"]["cost"]["fit_s"]


@needs_data
@pytest.mark.slow
def test_stains_never_seen_in_training(tmp_path: Path) -> None:
    bench = tiny.Bench(tmp_path)
    folder = real_folder("jump_moa_dye_batches")
    table = pd.read_parquet(folder / "jump_moa_dye_wells.parquet")
    counts = table["meta_moa"].value_counts()[:N_STAINED]  # the probe of all 47 is slow
    few = table[table["meta_is_control"] | table["meta_moa"].isin(counts.index)]
    few.to_parquet(tmp_path / "jump_moa_dye_wells.parquet")
    path = Path(shutil.copy(folder / "dataset.toml", tmp_path))
    [where] = open_splits([f"{path}:stains"], bench.registry, "auto", {}, lambda line: None)
    methods = "identity,shuffle,position-only,batch-only,erm"
    fitted = by_method(bench.run(methods, where, steps=60, batch_size=32, width=32))
    assert {r["n_eval"] for r in fitted.values()} == {int(counts.sum())}
    assert primary(fitted["position-only"]) == 1.0  # one layout on all plates
    assert primary(fitted["batch-only"]) == pytest.approx(1 / N_STAINED)
    assert abs(primary(fitted["shuffle"]) - 1 / N_STAINED) < 0.08
    assert primary(fitted["identity"]) > 0.5
    assert primary(fitted["erm"]) > 2 / N_STAINED
    assert fitted["erm"]["upstream"]
    assert fitted["erm"]["clusters"]["level"] == "meta_plate"
    assert len(fitted["erm"]["clusters"]["names"]) == 4


@needs_data
def test_a_batch_of_another_microscope(tmp_path: Path) -> None:
    bench = tiny.Bench(tmp_path)
    where = real(bench, "jump_source3_image_stats", "last-batch")
    options = {"steps": 60, "batch_size": 32, "width": 32}
    fitted = by_method(bench.run("erm,ben", where, standardise="plate", **options))
    assert {r["track"] for r in fitted.values()} == {"test-batch"}
    assert primary(fitted["erm"]) > 2 / 8
    assert fitted["erm"]["n_eval"] == 200
    assert fitted["erm"]["level"] == "meta_batch"


@needs_data
@pytest.mark.slow
def test_weeks_with_classes_of_their_own(tmp_path: Path) -> None:
    bench = tiny.Bench(tmp_path)
    where = real(bench, "bbbc021_ljosa2013", "weeks")
    index = where.opened.index
    records = bench.run("zscore,erm,label-oracle", where, steps=80, width=32, lr=3e-3)
    fitted = by_method(records)
    treated = index[~index["control"]]
    weeks_of = treated.groupby("label")["meta_week"].nunique()
    lonely = sorted(weeks_of[weeks_of < 2].index)
    for record in fitted.values():
        assert record["excluded_classes"] == lonely
        assert record["n_excluded"] == int(treated["label"].isin(lonely).sum())
        assert record["n_eval"] == len(treated) - record["n_excluded"]
    assert primary(fitted["label-oracle"]) == 1.0
    assert primary(fitted["erm"]) > 2 / 10


@needs_data
def test_retrieval_without_training(tmp_path: Path) -> None:
    bench = tiny.Bench(tmp_path)
    where = real(bench, "bbbc021_ljosa2013", "profile")
    fitted = by_method(bench.run("identity,zscore,shuffle,label-oracle", where))
    assert fitted["identity"]["primary"] == "nscb"
    assert primary(fitted["label-oracle"]) == 1.0
    assert primary(fitted["shuffle"]) < 0.25
    assert primary(fitted["zscore"]) > primary(fitted["identity"]) + 0.2
    assert fitted["zscore"]["track"] == "transductive"
    notes = " ".join(fitted["zscore"]["notes"])
    assert "92 of 103 treatments" in notes
    assert np.isclose(
        np.average(
            fitted["zscore"]["clusters"]["values"]["nscb"],
            weights=fitted["zscore"]["clusters"]["n"],
        ),
        primary(fitted["zscore"]),
    )
