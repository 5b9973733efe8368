"""Controls that are published as classes: trained on, scored, and known to methods on request."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from bench import metrics
from bench.api import BenchError, Opened, Split
from bench.boards.select import boards
from bench.data.folds import folds
from bench.data.opening import open_splits
from bench.data.task import open_task
from bench.data.views import make_partition
from bench.scoring.labels import treatment_classes, truth
from tests.helpers import tiny
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("few_penalties")

SPLIT = Split(
    name="tiny/plate",
    dataset="tiny",
    shift="another plate",
    metric="accuracy",
    metrics=("accuracy_treatments",),
    hold_out="plate",
)


def opened_with(*, as_classes: bool) -> Opened:
    """Return profiles of three treatments and DMSO; ``nucleus`` is a positive control."""
    index, X = tiny.frame(per_class=6, controls=6)
    kind = np.where(index["label"] == "nucleus", "positive_control", "treatment")
    kind[index["control"].to_numpy(bool)] = "negative_control"
    if as_classes:
        index["label"] = np.where(index["control"], "dmso", index["label"])
    return Opened(
        name="tiny",
        index=index.assign(kind=kind),
        source=tiny.ArraySource(X),
        levels=("plate",),
        level="plate",
        edition="real",
        digest=f"control classes {as_classes}",
        columns={"kind": "kind"},
        control_classes=as_classes,
        cautions={"plate": "plates give something away"},
        notes=("three images were lost",),
    )


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    bench = tiny.Bench(tmp_path_factory.mktemp("results"))
    where = open_task("tiny", SPLIT, opened_with(as_classes=True))
    methods = "identity,batch-mean,erm,ben,identity+tvn,harmony"
    runs = {record["method"]: dict(record) for record in bench.run(methods, where, steps=40)}
    assert {record["status"] for record in runs.values()} == {"ok"}
    for record in runs.values():
        stored = bench.store.find(record["run_id"])
        assert stored is not None
        record["predictions"] = stored.predictions()
    return runs


def test_they_are_classes_in_training_and_in_the_test() -> None:
    opened = opened_with(as_classes=True)
    fold = folds(SPLIT, opened)[0]
    assert fold.classes == ("actin", "dmso", "golgi", "nucleus")
    assert fold.scored.all()
    partition = make_partition(opened, fold.train, fold.classes, "plate", "train", labels=True)
    assert (partition.y >= 0).all()
    names = opened.index["label"].to_numpy(str)[partition.rows]
    assert [fold.classes[y] for y in partition.y] == names.tolist()
    np.testing.assert_array_equal(truth(partition, fold.classes), partition.y)
    assert partition.controls.sum() == (names == "dmso").sum() > 0
    hidden = make_partition(opened, fold.test, fold.classes, "plate", "test", labels=False)
    assert (hidden.y == -1).all()


def test_elsewhere_they_stay_without_a_class() -> None:
    opened = opened_with(as_classes=False)
    fold = folds(SPLIT, opened)[0]
    assert "dmso" not in fold.classes
    partition = make_partition(opened, fold.train, fold.classes, "plate", "train", labels=True)
    assert (partition.y[partition.controls] == -1).all()
    assert (truth(partition, fold.classes)[partition.controls] == -1).all()


def test_treatments_are_identified_by_kind_never_by_name() -> None:
    opened = opened_with(as_classes=True)
    classes = ("actin", "dmso", "golgi", "nucleus")
    assert treatment_classes(opened, classes).tolist() == [True, False, True, False]
    # without the column the negative controls are all that is known
    bare = dataclasses.replace(opened, columns={})
    assert treatment_classes(bare, classes).tolist() == [True, False, True, True]


def test_without_the_mask_everything_is_scored(records: dict[str, dict[str, Any]]) -> None:
    for method in ("erm", "ben", "harmony", "identity"):
        record = records[method]
        assert record["primary"] == "accuracy"
        assert record["n_eval"] == 4 * (3 * 6 + 6)
        assert {"accuracy", "accuracy_treatments", "balanced_accuracy"} <= set(record["metrics"])
        assert "accuracy_treatments" in record["clusters"]["parts"]
        assert record["ranked"]


def test_methods_that_use_controls_are_scored_on_treatments_only(
    records: dict[str, dict[str, Any]],
) -> None:
    record = records["identity+tvn"]
    assert "controls" in record["access"]
    assert record["primary"] == "accuracy_treatments"
    names = {name.split(".")[-1] for name in record["metrics"]}
    assert names == {"accuracy_treatments"}
    assert set(record["spec"]["metric_versions"]) == {"accuracy_treatments"}
    assert record["n_eval"] == 4 * 2 * 6
    assert not record["ranked"]
    assert record["unranked_because"] == ["which rows are controls is a label here"]
    assert record["notes"]
    frame = record["predictions"]
    assert set(frame["y_true"]) == {0, 2}
    assert set(frame["y_pred"]) <= {0, 2}


@pytest.mark.parametrize("method", ["erm", "identity", "identity+tvn"])
def test_the_value_is_the_accuracy_among_treatments(
    records: dict[str, dict[str, Any]], method: str
) -> None:
    record = records[method]
    frame = record["predictions"]
    frame = frame[frame["y_true"].isin([0, 2])]
    scores = np.stack(frame["scores"].to_list())
    answer = np.array([0, 2])[scores[:, [0, 2]].argmax(axis=1)]
    value = record["metrics"]["accuracy_treatments"]["all"]
    assert value == pytest.approx(accuracy_score(frame["y_true"], answer))
    clusters = record["clusters"]
    parts = np.array(clusters["parts"]["accuracy_treatments"])
    weights = np.array(clusters["weights"]["accuracy_treatments"])
    assert weights.sum() == pytest.approx(1)
    assert (parts * weights).sum() == pytest.approx(value)
    for name, part in zip(clusters["names"], parts, strict=True):
        mine = (frame["batch"] == name).to_numpy()
        assert part == pytest.approx(accuracy_score(frame["y_true"][mine], answer[mine]))


def test_boards_keep_the_official_score_from_them(records: dict[str, dict[str, Any]]) -> None:
    shown = {board.metric: board for board in boards(list(records.values()))}
    assert set(shown) == {"accuracy", "accuracy_treatments"}
    official = {row.method: row for row in shown["accuracy"].rows}
    assert official["identity+tvn"].mean is None
    assert official["identity+tvn"].rank is None
    assert "which rows are controls is a label here" in official["identity+tvn"].reason
    assert official["erm"].mean == pytest.approx(records["erm"]["metrics"]["probe.accuracy"]["all"])
    treatments = {row.method: row for row in shown["accuracy_treatments"].rows}
    assert set(treatments) == set(official)
    tvn = treatments["identity+tvn"]
    assert tvn.mean == pytest.approx(
        records["identity+tvn"]["metrics"]["accuracy_treatments"]["all"]
    )
    assert tvn.rank is None
    assert tvn.diff_to_erm is not None


def test_what_a_plate_gives_away_stands_with_those_who_see_plates(
    records: dict[str, dict[str, Any]],
) -> None:
    said = {method for method, record in records.items() if record["cautions"]}
    assert said == {"ben", "identity+tvn", "harmony", "batch-mean"}
    for method in said:
        assert "plates give something away" in records[method]["notes"]
    for record in records.values():
        assert "three images were lost" in record["notes"]
    for board in boards(list(records.values())):
        [note] = [note for note in board.notes if "give something away" in note]
        expected = "batch-mean, ben, identity+harmony, identity+tvn"
        assert note.startswith(expected)


def test_a_cluster_is_a_batch_level() -> None:
    opened = opened_with(as_classes=True)
    with raises(BenchError, "cluster", "well"):
        folds(dataclasses.replace(SPLIT, cluster="well"), opened)


def test_the_metric_against_a_loop() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        k = int(rng.integers(2, 7))
        y = rng.integers(-1, k, 40)
        scores = rng.random((40, k))
        treated = rng.random(k) < 0.6
        right = total = 0
        for row in range(40):
            if y[row] >= 0 and treated[y[row]]:
                best = max((scores[row, c], -c) for c in range(k) if treated[c])
                total += 1
                right += -best[1] == y[row]
        value = metrics.compute("accuracy_treatments", y_true=y, scores=scores, treatments=treated)
        assert value.n == total
        if total:
            assert value.value == pytest.approx(right / total)
        else:
            assert np.isnan(value.value)


def test_knowing_the_controls_is_worth_nothing() -> None:
    rng = np.random.default_rng(2)
    y = rng.integers(0, 5, 60)
    scores = rng.random((60, 5))
    treated = np.array([True, True, True, False, False])
    masked = np.where(treated[y][:, None] == treated, scores, 0.0)
    value = [
        metrics.compute("accuracy_treatments", y_true=y, scores=s, treatments=treated).value
        for s in (scores, masked)
    ]
    assert value[0] == value[1]


def test_treatments_must_fit_the_classes() -> None:
    with raises(BenchError, "3", fix=False):
        metrics.compute(
            "accuracy_treatments",
            y_true=np.array([0]),
            scores=np.ones((1, 3)),
            treatments=np.array([True]),
        )


@pytest.mark.slow
def test_all_kinds_of_methods_run_on_the_fixtures(tmp_path: Path) -> None:
    bench = tiny.Bench(tmp_path / "results")
    names = ["rxrx1", "camelyon17", "rxrx1/wells"]
    tasks = open_splits(names, bench.registry, "auto", {}, lambda line: None)
    result = {
        (record["method"], record["split"]): record
        for where in tasks
        for record in bench.run(
            "erm" if "wells" in where.split.name else "erm,ben,tvn,harmony,deep-coral,dann",
            where,
            steps=3,
        )
    }
    for (method, split), record in result.items():
        unable = (method, split) == ("tvn", "camelyon17")
        assert record["status"] == ("not-applicable" if unable else "ok"), record["reason"]
        assert not record["ranked"]
        assert record["spec"]["edition"] == "fixture"
    tvn = result["tvn", "rxrx1"]
    assert tvn["primary"] == "accuracy_treatments"
    assert "fixture edition" in tvn["unranked_because"]
    assert result["ben", "rxrx1"]["cautions"]
    assert not result["erm", "rxrx1"]["cautions"]
    erm = result["erm", "rxrx1"]
    assert erm["clusters"]["level"] == "experiment"
    assert len(erm["clusters"]["names"]) == 14
    assert erm["n_classes"] == 15
    # a well counts once, whether both its sites are there or one
    opened = tasks[2].opened
    wells = opened.index["well"].iloc[tasks[2].folds[0].test].nunique()
    assert result["erm", "rxrx1/wells"]["n_eval"] == wells < erm["n_eval"]
    fits = {
        result["erm", s]["spec"]["folds"][0]["stages"][0]["fit_id"] for s in names if "rxrx1" in s
    }
    assert len(fits) == 1
    assert boards(list(result.values())) == []
