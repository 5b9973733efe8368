"""What ``verify`` recomputes from predictions, and its three answers."""

from __future__ import annotations

import copy
import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from bench.cli.group import group
from bench.records.folder import read_folder
from bench.runs.verify import TOLERANCE, changed_since, check, compare
from tests.helpers import tiny
from tests.helpers.factories import edit_signed, make_record

if TYPE_CHECKING:
    from pathlib import Path

    from bench.records.record import Record


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a head and a probe, with one fold and with several."""
    bench = tiny.Bench(tmp_path_factory.mktemp("results"))
    bench.run("erm", tiny.task())
    bench.run("zscore", tiny.task(hold_out="plate"))
    return bench.store.root


@pytest.fixture
def copied(results: Path, tmp_path: Path) -> Path:
    return shutil.copytree(results, tmp_path / "results")


def folders(root: Path) -> list[Path]:
    return sorted(file.parent for file in root.rglob("run.json"))


def read(folder: Path) -> Record:
    record = read_folder(folder)
    assert record is not None
    return record


def test_all_metrics_of_predictions_are_recomputed(results: Path) -> None:
    for folder in folders(results):
        record = read(folder)
        result = check(record)
        assert (result.answer, result.differences, result.remarks) == ("identical", [], [])
        # Votes of neighbours and profiles are not stored.
        kinds = {name.partition(".")[0] for name in result.not_compared if "." in name}
        assert kinds <= {"knn1", "probe"}
        assert record.primary not in result.not_compared
        assert f"{record.readout}.calibration_error" not in result.not_compared
        assert result.changed == []


def _metric(data: dict[str, Any]) -> None:
    for name in ("balanced_accuracy", f"{data['readout']}.balanced_accuracy"):
        data["metrics"][name]["all"] += 0.01


def _class(data: dict[str, Any]) -> None:
    key = next(k for k in data["metrics"]["accuracy"] if k.startswith("class="))
    data["metrics"]["accuracy"][key] /= 2


def _cluster(data: dict[str, Any]) -> None:
    column = data["clusters"]["values"]["accuracy"]
    column[0] = column[0] / 2


def _copy(data: dict[str, Any]) -> None:
    data["metrics"]["accuracy"]["all"] = 0.25


def _digest(data: dict[str, Any]) -> None:
    data["predictions_sha256"] = "0" * 64


def _n(data: dict[str, Any]) -> None:
    data["n_eval"] += 1


@pytest.mark.parametrize("change", [_metric, _class, _cluster, _copy, _digest, _n])
def test_an_edited_record_with_new_digests_is_different(copied: Path, change: Any) -> None:
    for folder in folders(copied):
        edit_signed(folder / "run.json", change)
        assert check(read(folder)).answer == "different"


def test_replaced_predictions_are_different(copied: Path) -> None:
    folder = folders(copied)[0]
    table = pd.read_parquet(folder / "predictions.parquet")
    table["y_pred"] = table["y_true"]
    table.to_parquet(folder / "predictions.parquet")
    run = CliRunner().invoke(group, ["verify", str(folder), "--json"], standalone_mode=False)
    assert run.return_value == 1
    [entry] = json.loads(run.stdout)["records"]
    assert entry["answer"] == "different"
    assert "predictions.parquet" in entry["differences"][0]


def test_the_command_names_what_differs(copied: Path) -> None:
    def verify(*arguments: object) -> tuple[int, list[dict[str, Any]]]:
        call = ["verify", *map(str, arguments), "--json", "--results", str(copied)]
        run = CliRunner().invoke(group, call, standalone_mode=False, catch_exceptions=False)
        return run.return_value, json.loads(run.stdout)["records"]

    code, entries = verify()
    assert (code, [e["answer"] for e in entries]) == (0, ["identical"] * 2)
    first, second = folders(copied)
    assert verify(first.name[:12])[1][0]["run_id"] == first.name
    assert verify(first / "run.json", "--exact")[0] == 0
    artifact = read(first).folds[0]["stages"][-1]["apply_id"]
    X = copied / "artifacts" / artifact / "embeddings.npy"
    np.save(X, np.load(X)[::-1])
    (second / "run.json").write_text("{")
    code, entries = verify(copied)
    assert code == 1
    for entry, place in zip(entries, (X.parent, second), strict=True):
        assert entry["answer"] == "different"
        assert str(place) in str(entry["differences"])
    assert verify(second.name[:12])[0] == 1


def test_embeddings_that_were_changed_are_computed_again(copied: Path) -> None:
    bench = tiny.Bench(copied)
    before = {record.run_id: record["predictions_sha256"] for record in bench.store.load_all()}
    for file in copied.rglob("embeddings.npy"):
        np.save(file, np.load(file)[::-1])
    for file in copied.rglob("weights.safetensors"):
        file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    for run_id in before:
        bench.store.remove(run_id)
    records = bench.run("erm", tiny.task()) + bench.run("zscore", tiny.task(hold_out="plate"))
    assert {record.run_id: record["predictions_sha256"] for record in records} == before
    assert any("weights.safetensors" in line for line in bench.said)


def repeated(value: float, **changes: Any) -> dict[str, Any]:
    return make_record(value=value, clusters=[value], **changes)


def test_a_repetition_is_identical_equal_or_different() -> None:
    then: Any = repeated(0.5)

    def answer(now: Any) -> str:
        return compare(then, now).answer

    assert answer(copy.deepcopy(then)) == "identical"
    assert answer(repeated(0.5, predictions_sha256="1" * 64)) == "equal"
    assert answer(repeated(0.5 + 0.9 * TOLERANCE)) == "equal"
    assert answer(repeated(0.5 + 1.1 * TOLERANCE)) == "different"
    assert answer(repeated(0.5, track="transductive")) == "different"
    assert answer(repeated(0.5, ranked=False)) == "different"
    more = copy.deepcopy(then)
    more["metrics"]["accuracy"] = {"all": 0.5}
    assert answer(more) == "different"
    # One of 100 units of a cluster says little about the processor.
    part = copy.deepcopy(then)
    part["clusters"]["values"]["balanced_accuracy"] = [0.51]
    assert answer(part) == "equal"


def test_versions_and_code_that_changed_are_named() -> None:
    then: Any = make_record(code={"digest": "c", "files": {"bench/scoring/probe.py": "1"}})
    now = copy.deepcopy(then)
    now["provenance"]["labshift"] = "0.2.0"
    now["provenance"]["packages"] = {"torch": "9.9"}
    now["code"]["files"] = {"bench/scoring/probe.py": "2"}
    changed = changed_since(then, now["provenance"], now["code"]["files"])
    assert [name.split()[0] for name in changed] == ["labshift", "torch", "bench/scoring/probe.py"]
