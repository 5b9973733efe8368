"""The typed record: schema, migration, values and scores."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from bench.core.canonical import canonical_json
from bench.core.errors import BenchError
from bench.records.checking import check, json_schema, migrated
from bench.records.record import Record, as_record
from bench.records.schema import RunRecord
from bench.records.store import Store
from tests.helpers import tiny
from tests.helpers.factories import make_record

OLD = Path(__file__).parent / "old_records"
"""Published records that lack the keys ``cautions``, ``lower_is_better`` and others."""
NEWER = ("cautions", "lower_is_better", "metrics_rest_on", "code")


def raw_of(record: Record) -> dict[str, Any]:
    assert record.path is not None
    data: dict[str, Any] = json.loads((record.path / "run.json").read_text(encoding="utf-8"))
    return data


def test_older_records_are_completed_when_read(capsys: pytest.CaptureFixture[str]) -> None:
    records = Store(OLD).load_reference()
    assert len(records) == len(list(OLD.rglob("run.json"))) == 4
    assert capsys.readouterr().err == ""
    lacking = {key for record in records for key in NEWER if key not in raw_of(record)}
    assert lacking == set(NEWER), "the folder has a record without each of the newer keys"
    for record in records:
        raw = raw_of(record)
        unchanged = {key for key in raw if key not in ("metrics", "clusters")}
        assert {key: record[key] for key in unchanged} == {key: raw[key] for key in unchanged}
        for metric, values in raw["metrics"].items():
            stored = record.data["metrics"][metric]
            if len(record.folds) == 1:
                assert stored == values
            elif "pooled" in stored:
                assert {**stored, "all": stored["pooled"]} == {**values, "pooled": values["all"]}
        assert record.cautions == raw.get("cautions", [])
        assert record.summary["lower_is_better"] == raw.get("lower_is_better", [])
        assert record.value(pooled=True) == raw["metrics"][raw["primary"]]["all"]
        assert record.metrics_table() is not None


def test_migration_does_not_modify_its_input() -> None:
    data = make_record()
    for key in ("cautions", "upstream", "sources", "method_id"):
        del data[key]
    del data["clusters"]["parts"]
    before = copy.deepcopy(data)
    complete = check(migrated(data))
    assert data == before
    assert complete["cautions"] == []
    assert complete["method_id"] == data["spec"]["method_id"]
    assert complete["clusters"]["parts"] == {}


@pytest.fixture(scope="module")
def produced(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A record that was really produced: a network trained for a few steps."""
    bench = tiny.Bench(tmp_path_factory.mktemp("record"))
    [data] = bench.run("erm", tiny.task())
    record = bench.store.find(data["run_id"])
    assert record is not None
    return record


def keys(value: object, depth: int = 2) -> object:
    """Return the keys of nested mappings, without those that are names."""
    names = {"metrics", "metrics_rest_on", "params", "sources", "packages", "files", "recipe"}
    names |= {"values", "parts", "weights", "metric_versions", "recipe_overrides", "units"}
    if not isinstance(value, dict) or not depth:
        return None
    return {key: None if key in names else keys(item, depth - 1) for key, item in value.items()}


def test_records_of_tests_look_like_real_ones(produced: Record) -> None:
    data: Any = copy.deepcopy(produced.data)
    for key in ("commit", "modified"):  # only in a git checkout
        data["provenance"].pop(key, None)
    del data["digests"]  # added by the store
    del data["spec"]["numerics"]  # absent in records of version 1, as in the factory
    assert keys(make_record()) == keys(data)
    [stage] = make_record()["spec"]["folds"][0]["stages"]
    assert stage.keys() == produced.folds[0]["stages"][0].keys()


def test_a_real_record_follows_the_schema(produced: Record) -> None:
    assert check(raw_of(produced)) == produced.data
    assert set(produced.data) <= set(RunRecord.__annotations__)
    for name, value in produced.summary.items():
        assert produced.run_id if name == "run_id" else getattr(produced, name, value) == value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("primary",), 5),
        (("spec", "seed"), "0"),
        (("spec", "seed"), True),
        (("spec", "folds"), {}),
        (("status",), "done"),
        (("metrics", "balanced_accuracy", "all"), None),
        (("clusters", "n"), [1.5]),
        (("cost",), None),
    ],
)
def test_a_value_of_another_type_is_named(path: tuple[str, ...], value: object) -> None:
    data = make_record()
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(BenchError) as caught:
        as_record(data)
    assert ".".join(path) in str(caught.value)


def test_a_missing_key_is_named() -> None:
    data = make_record()
    del data["spec"]["seed"]
    with pytest.raises(BenchError) as caught:
        as_record(data)
    assert "'spec.seed'" in str(caught.value)


def test_unknown_keys_are_kept() -> None:
    record = as_record({**make_record(), "of a later version": 1})
    assert record["of a later version"] == 1


def test_the_schema_is_json_schema_with_one_line_per_key() -> None:
    schema: Any = json_schema()
    canonical_json(schema)

    def visit(entry: dict[str, Any]) -> int:
        count = 0
        for key, kind in entry.get("properties", {}).items():
            assert kind["description"], key
            assert "\n" not in kind["description"]
            count += 1 + visit(kind)
        return count + visit(entry["items"]) if "items" in entry else count

    assert visit(schema) > 80
    assert set(schema["required"]) <= set(schema["properties"]) == set(RunRecord.__annotations__)


def test_value_knows_prefixes() -> None:
    metrics = {
        "balanced_accuracy": {"all": 0.5, "fold=a": 0.4},
        "head.balanced_accuracy": {"all": 0.5, "fold=a": 0.4},
        "probe.balanced_accuracy": {"all": 0.3},
        "batch_1nn": {"all": 0.2},
    }
    record = as_record(make_record(readout="head", metrics=metrics))
    assert record.value() == record.value("balanced_accuracy") == 0.5
    assert record.value("balanced_accuracy", "probe") == 0.3
    assert record.value("probe.balanced_accuracy") == 0.3
    assert record.value("balanced_accuracy", "knn1") is None
    assert record.value("balanced_accuracy", "embedding") is None
    assert record.value("batch_1nn", "embedding") == record.value("batch_1nn") == 0.2
    assert record.value("accuracy") is None
    assert record.metric_names == {"balanced_accuracy", "batch_1nn"}
    assert record.subsets() == metrics["balanced_accuracy"]
    assert record.subsets("accuracy") == {}


def test_scores_have_weights_and_leave_undefined_clusters_out() -> None:
    record = make_record(clusters={"probe.balanced_accuracy": [0.25, None, 0.75]})
    record["clusters"]["parts"] = {"probe.balanced_accuracy": [0.2, 0.1, 0.8]}
    record["clusters"]["weights"] = {"probe.balanced_accuracy": [0.5, 0.25, 0.25]}
    scores = as_record(record).scores()
    assert scores.level == "plate"
    assert scores.names == ("plate 00", "plate 01", "plate 02")
    assert scores.values == {"plate 00": 0.25, "plate 02": 0.75}
    assert scores.parts == {"plate 00": 0.2, "plate 01": 0.1, "plate 02": 0.8}
    assert scores.weights["plate 01"] == 0.25
    assert scores.sizes == dict.fromkeys(scores.names, 100)
    assert as_record(record).scores("balanced_accuracy", "head").values == {}


def test_attributes_come_from_the_index(tmp_path: Path) -> None:
    store = Store(tmp_path)
    import pandas as pd

    table = pd.DataFrame({"metric": ["x"], "subset": ["all"], "value": [0.5], "n": [1]})
    data = make_record("ben", seed=3, clusters=[0.2, 0.4])
    path = store.commit(data, table)
    store.load_all()
    [record] = store.load_all()
    (path / "run.json").rename(path / "moved.json")
    assert (record.method, record.seed, record.status, record.ok) == ("ben", 3, "ok", True)
    assert record.value() == 0.5
    assert record.scores().values == {"plate 00": 0.2, "plate 01": 0.4}
    with pytest.raises(BenchError):
        _ = record.spec


@pytest.mark.parametrize(
    ("steps", "seen"),
    [
        ([], False),
        (["illumination correction per plate"], False),
        (["features scaled over all plates"], True),
        (["per plate", "sphering fitted on all batches"], True),
        (["all wells of a plate"], False),
    ],
)
def test_steps_fitted_on_all_batches_saw_the_test_batches(steps: list[str], seen: bool) -> None:
    from bench.records.summary import saw_test_batches

    assert saw_test_batches(steps) is seen
