"""Older records: pooled scores become means over held-out batches where the record has them."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from bench.records.averages import averaged
from bench.records.reading import parse_line
from bench.records.record import Record, as_record
from bench.records.tables import metric_keys
from bench.scoring.clusters import clustered
from tests.helpers import tiny

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    bench = tiny.Bench(tmp_path_factory.mktemp("results"))
    [run] = bench.run("identity", tiny.task(hold_out="plate"))
    stored = bench.store.find(run["run_id"])
    assert stored is not None
    return stored


def pooled_record(record: Record, *, folds: bool = True, renamed: bool = False) -> dict:
    """Return the record as earlier versions wrote it, from its predictions."""
    data = copy.deepcopy(dict(record))
    del data["digests"]
    frame = record.predictions()
    y, guess = frame["y_true"].to_numpy(), frame["y_pred"].to_numpy()
    for values in data["metrics"].values():
        values["all"] = values.pop("pooled", values["all"])
        if not folds:
            for key in [key for key in values if key.startswith("fold=")]:
                del values[key]
    cluster = frame["fold"].to_numpy(str)
    names = sorted(set(cluster))
    columns = clustered(y, guess, cluster, names, np.full(len(y), "all"))
    data["clusters"] = {
        "level": "plate",
        "names": [f"plate {name}" for name in names] if renamed else names,
        "n": [int((cluster == name).sum()) for name in names],
        **columns,
    }
    return data


@pytest.mark.parametrize("renamed", [False, True])
def test_a_pooled_record_gets_means_over_held_out_batches(record: Record, renamed: bool) -> None:
    old = pooled_record(record, renamed=renamed)
    before = copy.deepcopy(old)
    run = as_record(old)
    assert old == before
    frame = record.predictions()
    groups = [g for _, g in frame.groupby("fold")]
    assert run.aggregation == "mean"
    for metric, score in (
        ("accuracy", accuracy_score),
        ("balanced_accuracy", balanced_accuracy_score),
    ):
        means = [score(g["y_true"], g["y_pred"]) for g in groups]
        assert run.value(metric) == pytest.approx(np.mean(means))
        assert run.value(metric) == pytest.approx(record.value(metric))
        pooled = score(frame["y_true"], frame["y_pred"])
        assert run.value(metric, pooled=True) == pytest.approx(pooled)
        scores = run.scores(metric)
        mean = sum(scores.weights[name] * part for name, part in scores.parts.items())
        assert mean == pytest.approx(np.mean(means))
    worst = min(accuracy_score(g["y_true"], g["y_pred"]) for g in groups)
    assert run.value("worst_batch_accuracy") == pytest.approx(worst)


def test_a_record_without_values_per_fold_stays_pooled_and_is_marked(record: Record) -> None:
    run = as_record(pooled_record(record, folds=False))
    assert run.aggregation == "pooled"
    assert run.value() == run.value(pooled=True) == pytest.approx(record.value(pooled=True))


def test_contributions_of_other_clusters_are_removed(record: Record) -> None:
    old = pooled_record(record)
    for kind in ("values", "parts", "weights"):
        old["clusters"][kind] = {name: [0.5, 0.5] for name in old["clusters"][kind]}
    old["clusters"] |= {"names": ["w0", "w1"], "n": [30, 30]}
    scores = as_record(old).scores()
    assert scores.values == {"w0": 0.5, "w1": 0.5}
    assert not scores.parts
    assert not scores.weights


def test_present_records_and_single_folds_are_unchanged(record: Record, tmp_path) -> None:
    assert record.aggregation == "mean"
    data = dict(record)
    assert averaged(data) is data
    bench = tiny.Bench(tmp_path)
    [run] = bench.run("identity", tiny.task())
    assert averaged(run) is run
    stored = bench.store.find(run["run_id"])
    assert stored.aggregation == ""
    assert stored.value(pooled=True) == stored.value()


def test_a_packed_pooled_record_has_the_counts_of_its_values(
    record: Record, tmp_path: Path
) -> None:
    old = pooled_record(record)
    keys = metric_keys(old["metrics"])
    n = list(range(len(keys)))
    line = json.dumps({"n": n, "run": old}).encode()
    data, counts = parse_line(line, tmp_path / "split.jsonl")
    by_key = dict(zip(metric_keys(data["metrics"]), counts, strict=True))
    assert {key: by_key[key] for key in keys} == dict(zip(keys, n, strict=True))
    metric = record.primary
    assert by_key[metric, "pooled"] == by_key[metric, "all"]
