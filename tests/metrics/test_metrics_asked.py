"""Metrics that are requested with a run: one graph, separate folds, and the rows of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench import metrics
from bench.core.errors import BenchError
from bench.core.registry import Registry
from bench.data.task import with_metrics
from tests.helpers import tiny
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from pathlib import Path

ASKED = ("ilisi", "clisi", "graph_connectivity", "silhouette_batch", "pcr")


def test_metrics_of_profiles_can_be_asked_for_with_any_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = tiny.Bench(tmp_path)
    fields = {"name": "tiny/week", "test": {"week": ("w3",)}, "shares": ()}
    plain = tiny.task(tiny.opened(batches=8), **fields)
    [before] = bench.run("zscore", plain)
    calls: list[int] = []
    original = metrics.neighbours

    def counted(X: object, *args: object) -> object:
        calls.append(1)
        return original(X, *args)  # type: ignore[arg-type]

    monkeypatch.setattr("bench.scoring.scorer.neighbours", counted)
    [after] = bench.run("zscore", with_metrics(plain, ASKED, Registry()))
    assert calls == [1]
    assert after["run_id"] != before["run_id"]
    assert after["predictions_sha256"] == before["predictions_sha256"]
    for name in ASKED:
        assert 0 <= after["metrics"][name]["all"] <= 1
        assert (
            "label" in after["metrics_rest_on"][name]["all"]
            or "batch" in (after["metrics_rest_on"][name]["all"])
        )
    same = {k: v for k, v in after["metrics"].items() if k not in ASKED}
    assert same == before["metrics"]


def test_every_metric_of_predictions_says_what_it_rests_on(tmp_path: Path) -> None:
    [record] = tiny.Bench(tmp_path).run("erm", tiny.task(tiny.opened(batches=4)))
    said = record["metrics_rest_on"]
    own = [n for n in record["metrics"] if not n.startswith(("head.", "probe.", "knn1."))]
    assert set(said) == set(own)
    assert "batch" in said["worst_batch_accuracy"]["all"]
    assert all(text["all"] for text in said.values())


def test_folds_are_models_of_their_own_and_are_averaged(tmp_path: Path) -> None:
    task = tiny.task(tiny.opened(batches=6), name="tiny/weeks", hold_out="week", shares=())
    [record] = tiny.Bench(tmp_path).run("zscore", with_metrics(task, ("clisi",), Registry()))
    values = record["metrics"]["clisi"]
    folds = [values[f"fold=w{k}"] for k in range(3)]
    assert values["all"] == pytest.approx(np.mean(folds))
    assert "3 of 3 folds" in record["metrics_rest_on"]["clisi"]["all"]


def test_an_unknown_metric_is_answered_before_anything_is_trained() -> None:
    with raises(BenchError, "ilisii", "ilisi"):
        with_metrics(tiny.task(), ("ilisii",), Registry())


def test_labels_that_reach_a_method_show_as_a_score_that_cannot_be(tmp_path: Path) -> None:
    """A method that is fed labels: the view withholds them, whatever the method asks for."""
    body = """
    class M(Profile):
        def fit(self, train, adapt, ctx):
            self.seen = None

        def apply(self, samples):
            if len(samples.y) and (samples.y >= 0).any():
                raise RuntimeError("labels were handed to apply")
            return Output(np.column_stack([samples.y, samples.y]).astype(np.float32))
    """
    file = tiny.write_method(tmp_path / "p", "peeker", body)
    [record] = tiny.Bench(tmp_path / "r", file).run("peeker", tiny.task())
    assert record["status"] == "ok"
    assert record["metrics"]["balanced_accuracy"]["all"] == pytest.approx(1 / 3, abs=0.2)
