"""Figures of files next to the records: predictions, embeddings, studies, example images."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.metrics import confusion_matrix

from bench import metrics
from bench.cli.commands.figures import command as figures_command
from bench.core.canonical import digest
from bench.core.errors import BenchError
from bench.output.examples import load_sheets, make_sheet, save_sheet
from bench.output.figures import draw
from bench.output.figures.confusion import confusion
from bench.output.figures.reliability import BINS, reliability
from bench.records.store import Store
from tests.helpers import tiny
from tests.helpers.errors import mentions, raises
from tests.helpers.factories import make_record

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = ["golgi", "actin <b>", "$nucleus$"]


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def predictions(seed: int, n: int = 60) -> pd.DataFrame:
    """Return predictions that are right about twice in three."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    scores = rng.dirichlet(np.ones(3), n) + np.eye(3)[y] * 0.6
    scores = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    return pd.DataFrame(
        {
            "id": [f"r{k:03d}" for k in range(n)],
            "batch": np.where(np.arange(n) % 2, "p1", "p2"),
            "fold": "all",
            "y_true": y,
            "y_pred": scores.argmax(axis=1),
            "scores": list(scores),
        }
    )


def put(
    store: Store,
    method: str,
    seed: int = 0,
    *,
    embedded: bool = False,
    stages: tuple[str, ...] = (),
    **changes: Any,
) -> dict[str, Any]:
    """Commit a run with predictions, and with embeddings of all stages if asked for."""
    chain = stages or (method,)
    table = predictions(seed)
    folds = [
        {
            "fold": "all",
            "stages": [
                {
                    "method": name,
                    "version": 1,
                    "params": {},
                    "fit_id": digest([method, k, "fit", seed]),
                    "apply_id": digest([chain[: k + 1], "apply", seed, changes.get("split")]),
                }
                for k, name in enumerate(chain)
            ],
        }
    ]
    record = make_record(method, seed, 0.6, classes=CLASSES, folds=folds, **changes)
    record["run_id"] = digest(record["spec"])
    scored = pd.DataFrame({"metric": ["accuracy"], "subset": ["all"], "value": [0.6], "n": [60]})
    store.commit(record, scored, table, None)
    if embedded:
        for k, stage in enumerate(folds[0]["stages"]):
            rng = np.random.default_rng([seed, k])
            X = np.eye(3)[table["y_true"]] * 3 + rng.normal(size=(60, 3))
            X[:, :1] += (1 - k) * 4.0 * (table["batch"] == "p1").to_numpy()[:, None]
            order = rng.permutation(60)
            arrays = {
                "embeddings": X[order].astype(np.float32),
                "ids": np.char.encode(table["id"].to_numpy(str)[order], "utf-8"),
                "batch": np.char.encode(table["batch"].to_numpy(str)[order], "utf-8"),
            }
            store.write_artifact("apply", stage["apply_id"], arrays, {"level": "plate"})
    return record


def test_confusion_counts_as_scikit_learn_does(tmp_path: Path) -> None:
    tables = [predictions(0), predictions(1)]
    tables[0].loc[0, "y_true"] = -1  # a row without a class is not counted
    both = pd.concat(tables)
    both = both[both["y_true"] >= 0]
    wanted = confusion_matrix(both["y_true"], both["y_pred"])
    np.testing.assert_array_equal(confusion(tables, 3), wanted)
    store = Store(tmp_path / "results")
    for seed in (0, 1):
        put(store, "erm", seed)
    draw(store.load_all(), ["confusion"], tmp_path, results=store.root)
    result = rows(tmp_path / "confusion_coos7-test4.csv")
    assert sum(int(row["n"]) for row in result) == 120
    for kind in CLASSES:
        shares = [float(row["share"]) for row in result if row["true"] == kind]
        assert sum(shares) == pytest.approx(1)
    assert {row["edition"] for row in result} == {"simulated"}


def test_reliability_is_a_naive_loop_and_its_error_that_of_the_metric() -> None:
    table = predictions(3)
    result = reliability([table])
    scores = np.stack(table["scores"].to_list()).astype(float)
    error = 0.0
    for k in range(BINS):
        low, high = k / BINS, (k + 1) / BINS
        inside = [i for i, row in enumerate(scores) if low < row.max() <= high]
        assert result["share"][k] == pytest.approx(len(inside) / len(table))
        if inside:
            right = np.mean([scores[i].argmax() == table["y_true"][i] for i in inside])
            confidence = np.mean([scores[i].max() for i in inside])
            assert result["right"][k] == pytest.approx(right)
            assert result["confidence"][k] == pytest.approx(confidence)
            error += len(inside) / len(table) * abs(right - confidence)
    wanted = metrics.compute("calibration_error", y_true=table["y_true"], scores=scores)
    assert error == pytest.approx(wanted.value)


def test_predictions_give_equal_bytes_and_fixtures_none(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    put(store, "ben")
    put(store, "erm", edition="fixture")
    for name in ("one", "two"):
        records = store.load_all()
        draw(records[:: 1 if name == "one" else -1], ["reliability"], tmp_path / name)
    files = sorted((tmp_path / "one").iterdir())
    assert [file.suffix for file in files] == [".csv", ".pdf", ".png"]
    for file in files:
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    assert {row["method"] for row in rows(files[0])} == {"ben"}


def test_folds_of_one_split_are_averaged_since_their_models_differ(tmp_path: Path) -> None:
    entry = make_record("erm", 0, 0.5, clusters=[0.4, 0.6])
    entry["spec"]["metric_versions"]["ilisi"] = 1
    entry["metrics"]["ilisi"] = {"fold=a": 0.2, "fold=b": 0.4}
    draw([entry], ["tradeoff"], tmp_path)
    (result,) = rows(tmp_path / "tradeoff_coos7-test4.csv")
    assert result["mixing"] == "ilisi"
    assert float(result["x"]) == pytest.approx(0.3)
    assert float(result["y"]) == 0.5


@pytest.mark.slow
def test_layouts_before_and_after_are_of_the_same_rows(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    put(store, "erm", embedded=True)
    put(store, "ben", embedded=True)
    put(store, "erm+harmony", embedded=True, stages=("erm", "harmony"))
    for name in ("one", "two"):
        draw(store.load_all(), ["umap"], tmp_path / name, results=store.root)
    item = tmp_path / "one"
    stems = ["umap_coos7-test4_ben", "umap_coos7-test4_erm-harmony"]
    assert sorted(file.stem for file in item.glob("*.csv")) == stems
    for file in item.iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name
    truth = predictions(0).set_index("id")
    for stem, after in zip(stems, ("ben", "erm+harmony"), strict=True):
        table = rows(item / f"{stem}.csv")
        assert {row["method"] for row in table} == {"erm", after}
        assert len(table) == 120
        for row in table:
            assert row["class"] == CLASSES[truth.loc[row["id"], "y_true"]]
            assert row["batch"] == truth.loc[row["id"], "batch"]
    # One rule for all: the layout of ERM does not depend on the other panels.
    erm = [[r for r in rows(item / f"{stem}.csv") if r["method"] == "erm"] for stem in stems]
    assert [(r["id"], r["x"], r["y"]) for r in erm[0]] == [
        (r["id"], r["x"], r["y"]) for r in erm[1]
    ]


@pytest.mark.slow
def test_the_papers_figures_are_made_of_real_runs_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    for method in ("simclr", "simclr-ben"):
        put(store, method, embedded=True, split="rxrx1/test", edition="simulated")
    draw(store.load_all(), ["paper/fig-1"], tmp_path / "none", results=store.root)
    (note,) = rows(tmp_path / "none" / "paper" / "fig-1.csv")
    mentions(note["note"], "rxrx1/test")
    real = put(store, "simclr", embedded=True, split="rxrx1/test", edition="real")
    key = real["spec"]["folds"][0]["stages"][0]["apply_id"]
    kept = store.read_artifact("apply", key)
    assert kept is not None
    arrays = dict(kept.arrays)
    plates = np.array(["HUVEC-20|1", "HUVEC-23|4", "HUVEC-2|1", "RPE-09|1"])[np.arange(60) % 4]
    arrays["batch"] = np.char.encode(plates, "utf-8")
    store.write_artifact("apply", key, arrays, {"level": "plate"}, replace=True)
    draw(store.load_all(), ["paper/fig-1"], tmp_path / "one", results=store.root)
    table = rows(tmp_path / "one" / "paper" / "fig-1.csv")
    shown = [row for row in table if row["panel"] == "without BEN"]
    assert {row["batch"] for row in shown} == {"HUVEC-20", "HUVEC-23"}
    assert len(shown) == 30
    assert [row["note"] for row in table if row["panel"] == "with BEN"] == ["no such run"]


def test_a_table_of_the_paper_takes_matching_records_of_the_real_edition(tmp_path: Path) -> None:
    from bench.boards.claims import published

    claim = next(c for c in published() if c.name == "ben-2022-table1/ben/test-top1")
    entries = []
    for edition, value in (("real", 0.38), ("simulated", 0.9)):
        for seed in range(3):
            entry = make_record(
                "ben",
                seed,
                value + seed / 1000,
                split=claim.split_ids[0],
                edition=edition,
                recipe="paper",
                metric="accuracy",
                readout="head",
                clusters=[0.4] * 9,
                n_eval=claim.n_eval,
            )
            entries.append(entry)
    draw(entries, ["paper/table-1"], tmp_path)
    table = {row["claim"]: row for row in rows(tmp_path / "paper" / "table-1.csv")}
    ours = table[claim.name]
    assert float(ours["measured"]) == pytest.approx(0.381)
    assert float(ours["published"]) == 0.402
    assert ours["status"] in ("reproduced", "not reproduced")
    others = [row for name, row in table.items() if name != claim.name and "ben/" not in name]
    assert others
    assert all(row["measured"] == "" for row in others)
    draw(entries[3:], ["paper/table-1"], tmp_path / "simulated")
    table = {r["claim"]: r for r in rows(tmp_path / "simulated" / "paper" / "table-1.csv")}
    assert table[claim.name]["status"] == "not run"


def test_a_study_is_shown_as_it_was_drawn(tmp_path: Path) -> None:
    results = tmp_path / "results"
    for split, edition in (("ottawa", "simulated"), ("rxrx1", "fixture")):
        folder = results / "studies" / "batch-size" / split
        folder.mkdir(parents=True)
        (folder / "study.json").write_text(json.dumps({"edition": edition}))
        for end in ("pdf", "png", "csv"):
            (folder / f"batch-size.{end}").write_bytes(f"{split} {end}".encode())
    files = draw([], ["batch-size"], tmp_path / "out", results=results)
    assert [file.name for file in files] == [
        f"batch-size_ottawa.{e}" for e in ("pdf", "png", "csv")
    ]
    assert files[1].read_bytes() == b"ottawa png"
    (results / "studies" / "batch-size" / "ottawa" / "batch-size.png").unlink()
    with raises(BenchError, "ottawa"):
        draw([], ["batch-size"], tmp_path / "out", results=results)


def test_example_images_are_kept_and_drawn_without_the_data(tmp_path: Path) -> None:
    from dataclasses import replace

    opened = replace(tiny.opened(images=True), edition="simulated")
    sheet = make_sheet(opened)
    save_sheet(sheet, tmp_path / "examples")
    (again,) = load_sheets(tmp_path / "examples")
    np.testing.assert_array_equal(again.images, sheet.images)
    assert (again.classes, again.places, again.spans) == (
        sheet.classes,
        sheet.places,
        sheet.spans,
    )
    files = draw([], ["examples"], tmp_path / "out", results=tmp_path)
    table = rows(files[2])
    by_id = opened.index.set_index("id")
    for row in table:
        assert by_id.loc[row["id"], "label"] == row["class"]
        assert f"week {by_id.loc[row['id'], 'week']}" in row["place"]
    save_sheet(replace(sheet, edition="fixture"), tmp_path / "fixture" / "examples")
    draw([], ["examples"], tmp_path / "none", results=tmp_path / "fixture")
    assert "note" in rows(tmp_path / "none" / "examples.csv")[0]
    (tmp_path / "examples" / "broken.npz").write_bytes(b"no")
    with raises(BenchError, "broken.npz"):
        load_sheets(tmp_path / "examples")


def test_a_split_is_opened_for_examples_alone(tmp_path: Path) -> None:
    call = ["cost", "--split", "ottawa", "--results", str(tmp_path)]
    done = CliRunner().invoke(figures_command, call)
    mentions(str(done.exception), "--split")
