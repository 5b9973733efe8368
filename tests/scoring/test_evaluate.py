"""What the record says of the scores, against the same computed by hand from its predictions."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from bench.api import BenchError, Output, RunFailed
from bench.core.canonical import canonical_json
from bench.scoring.labels import truth
from bench.scoring.result import check_output
from bench.scoring.scorer import Scores
from tests.helpers import tiny
from tests.helpers.errors import mentions, raises

if TYPE_CHECKING:
    from pathlib import Path

    from bench.data.task import Task
    from bench.scoring.result import Scored


def informative(side, classes, rng, *, signal: float = 1.0) -> np.ndarray:
    """Return profiles that tell the class, with errors."""
    y = truth(side, classes)
    X = rng.normal(0, 1, (len(side), len(classes)))
    X[np.flatnonzero(y >= 0), y[y >= 0]] += signal
    return X.astype(np.float32)


def scored(
    where: Task, *, head: bool = True, readout: str = "head", seed: int = 0, **options: Any
) -> tuple[Scored, Scores]:
    """Score made-up outputs of all folds."""
    rng = np.random.default_rng(seed)
    scores = Scores(where.split, where.opened, where.classes)
    for fold in where.folds:
        train, test = (tiny.partition(where.opened, fold, role) for role in ("train", "test"))
        outs = []
        for part in (train, test):
            X = informative(part, where.classes, rng, **options)
            outs.append(Output(X, informative(part, where.classes, rng) if head else None))
        scores.add(fold, train, outs[0], test, outs[1], 0)
    return scores.finish(readout), scores


def values(result: Scored) -> dict[tuple[str, str], float]:
    return {(m, s): v for m, s, v, _ in result.table.itertuples(index=False)}


@pytest.fixture(scope="module")
def held_out() -> Task:
    return tiny.task(tiny.opened(per_class=7), hold_out="plate")


def test_the_nearest_training_profile_is_a_third_read_out(held_out: Task) -> None:
    rng, hits, truths = np.random.default_rng(0), [], []
    for fold in held_out.folds:
        train, test = (tiny.partition(held_out.opened, fold, role) for role in ("train", "test"))
        X, Z = (informative(part, held_out.classes, rng) for part in (train, test))
        y, t = truth(train, held_out.classes), truth(test, held_out.classes)
        for z, k in zip(Z[t >= 0].astype(float), t[t >= 0], strict=True):
            best = max(
                (float(x @ z / np.linalg.norm(x) / np.linalg.norm(z)), int(c))
                for x, c in zip(X[y >= 0].astype(float), y[y >= 0], strict=True)
            )
            hits.append(best[1])
            truths.append(int(k))
    result, _ = scored(held_out, head=False, readout="probe")
    value = values(result)
    assert value["knn1.accuracy", "all"] == pytest.approx(accuracy_score(truths, hits))
    balanced = balanced_accuracy_score(truths, hits)
    assert value["knn1.balanced_accuracy", "all"] == pytest.approx(balanced)
    assert {m for m, _ in value if m.startswith("knn1.")} == {
        "knn1.accuracy",
        "knn1.balanced_accuracy",
    }
    assert "knn1.accuracy" in result.clusters["values"]


def test_metrics_of_each_subset_are_those_of_its_predictions(held_out: Task) -> None:
    result, _ = scored(held_out)
    frame, results_found = result.predictions, values(result)
    plate = held_out.opened.index.set_index("id")["plate"]
    frame = frame.assign(plate=plate[frame["id"]].to_numpy())
    assert len(frame) == result.n_eval == 4 * 3 * 7  # controls are never scored
    subsets = {"pooled": frame}
    subsets |= {f"fold={name}": part for name, part in frame.groupby("fold")}
    subsets |= {f"batch={name}": part for name, part in frame.groupby("plate")}
    for subset, part in subsets.items():
        y, p = part["y_true"], part["y_pred"]
        assert results_found["accuracy", subset] == pytest.approx(accuracy_score(y, p))
        assert results_found["balanced_accuracy", subset] == pytest.approx(
            balanced_accuracy_score(y, p)
        )
    for k, name in enumerate(held_out.classes):
        part = frame[frame["y_true"] == k]
        assert results_found["accuracy", f"class={name}"] == (part["y_pred"] == k).mean()
    n = {s: n for m, s, _, n in result.table.itertuples(index=False) if m == "accuracy"}
    assert n["all"] == 84
    assert n["fold=p0"] == n["batch=p0"] == 21
    assert n["class=golgi"] == 28


def shifted(columns: tuple[str, ...] = ("plate",)) -> Task:
    """Return leave-one-plate-out with unequal classes, different ones per plate."""
    index, X = tiny.frame(per_class=7)
    plate, label = index["plate"], index["label"]
    rare = ((plate == "p0") & (label == "golgi")) | ((plate == "p1") & (label == "actin"))
    left = ~rare | (index.groupby(["plate", "label"]).cumcount() < 2)
    data = tiny.opened(index=index[left].reset_index(drop=True), X=X[left.to_numpy()])
    return tiny.task(dataclasses.replace(data, levels=columns), hold_out="plate")


def test_the_score_is_the_mean_over_held_out_batches() -> None:
    """With label shift it differs from the pooled value; both are recomputed from predictions."""
    result, _ = scored(shifted())
    of = values(result)
    frame = result.predictions
    for metric, score in (
        ("accuracy", accuracy_score),
        ("balanced_accuracy", balanced_accuracy_score),
    ):
        folds = {
            f"fold={name}": score(g["y_true"], g["y_pred"]) for name, g in frame.groupby("fold")
        }
        for subset, value in folds.items():
            assert of[metric, subset] == pytest.approx(value)
        assert of[metric, "all"] == pytest.approx(np.mean(list(folds.values())))
        assert of[metric, "pooled"] == pytest.approx(score(frame["y_true"], frame["y_pred"]))
        assert of[metric, "all"] != pytest.approx(of[metric, "pooled"], abs=1e-4)
    errors = [of["calibration_error", f"fold=p{k}"] for k in range(4)]
    assert of["calibration_error", "all"] == pytest.approx(np.mean(errors))


def test_the_worst_batch_is_the_worst_held_out_unit(held_out: Task) -> None:
    """It can be recomputed from the stored predictions."""
    index, X = tiny.frame(per_class=7)
    weeks = tiny.task(tiny.opened(index=index, X=X), hold_out="week")
    for task, column in ((weeks, "fold"), (held_out, "fold"), (tiny.task(), "batch")):
        result, _ = scored(task)
        groups = result.predictions.groupby(column)
        worst = min(accuracy_score(g["y_true"], g["y_pred"]) for _, g in groups)
        assert values(result)["worst_batch_accuracy", "all"] == pytest.approx(worst)
    assert scored(weeks)[0].predictions["fold"].nunique() == 2


def test_head_and_probe_stand_side_by_side(held_out: Task) -> None:
    by_head, _ = scored(held_out)
    by_probe, _ = scored(held_out, readout="probe")
    a, b = values(by_head), values(by_probe)
    for name in ("accuracy", "balanced_accuracy"):
        assert a[name, "all"] == a[f"head.{name}", "all"]
        assert b[name, "all"] == b[f"probe.{name}", "all"]
        assert a[f"probe.{name}", "all"] == b[f"probe.{name}", "all"]
    assert a["accuracy", "all"] != b["accuracy", "all"]
    frame = by_head.predictions
    assert (frame["probe_pred"] == frame["y_true"]).mean() == a["probe.accuracy", "pooled"]
    assert (by_probe.predictions["y_pred"] == frame["probe_pred"]).all()
    stacked = np.stack(frame["scores"].to_list())
    np.testing.assert_allclose(stacked.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(stacked.argmax(axis=1), frame["y_pred"])


def test_a_network_without_a_head_is_read_out_by_the_probe(held_out: Task) -> None:
    result, _ = scored(held_out, head=False, readout="head")
    assert result.readout == "probe"
    value = values(result)
    assert value["accuracy", "all"] == value["probe.accuracy", "all"]
    assert not any(name.startswith("head.") for name, _ in value)


def test_clusters_add_up(held_out: Task) -> None:
    result, _ = scored(held_out)
    clusters, results_found = result.clusters, values(result)
    # weeks hold two plates each and vary: the highest level that does
    assert clusters["level"] == "week"
    assert clusters["names"] == ["w0", "w1"]
    weights = np.array(clusters["n"]) / sum(clusters["n"])
    for prefix in ("", "head.", "probe."):
        mean = float(weights @ clusters["values"][f"{prefix}accuracy"])
        assert mean == pytest.approx(results_found[f"{prefix}accuracy", "all"])
    assert clusters["values"]["accuracy"] == clusters["values"]["head.accuracy"]


@pytest.mark.parametrize("levels", [("plate",), ("plate", "week")])
def test_parts_average_to_the_score(levels: tuple[str, ...]) -> None:
    """Clusters may be the held-out batches or contain several of them."""
    result, _ = scored(shifted(levels))
    frame, clusters, of = result.predictions, result.clusters, values(result)
    assert (
        clusters["names"] == {"plate": ["p0", "p1", "p2", "p3"], "week": ["w0", "w1"]}[levels[-1]]
    )
    for metric in ("accuracy", "balanced_accuracy"):
        weights = np.array(clusters["weights"][metric])
        assert weights.sum() == pytest.approx(1)
        assert float(weights @ clusters["parts"][metric]) == pytest.approx(of[metric, "all"])
    if levels == ("plate",):
        assert clusters["parts"] == {
            name: pytest.approx(column) for name, column in clusters["values"].items()
        }
    for name, value in zip(clusters["names"], clusters["values"]["balanced_accuracy"], strict=True):
        own = frame[frame["batch"] == name]
        assert value == pytest.approx(balanced_accuracy_score(own["y_true"], own["y_pred"]))


def test_a_cluster_of_one_class_is_no_recall_of_the_others() -> None:
    from bench.scoring.clusters import clustered

    y = np.array([0, 0, 0, 1, 2, 2])
    predicted = np.array([0, 0, 1, 1, 2, 0])
    cluster = np.array(["a", "a", "a", "b", "b", "b"])
    columns = clustered(y, predicted, cluster, ["a", "b"], np.full(6, "all"))
    # plate a has class 0 only, which is a third of the balanced accuracy
    assert columns["weights"]["balanced_accuracy"] == pytest.approx([1 / 3, 2 / 3])
    assert columns["parts"]["balanced_accuracy"] == pytest.approx([2 / 3, (1 + 0.5) / 2])


def test_one_cluster_has_the_value_itself() -> None:
    where = tiny.task(tiny.opened(per_class=7))
    result, _ = scored(where)
    assert result.clusters["names"] == ["p3"]
    assert result.clusters["level"] == "plate"
    value = values(result)["balanced_accuracy", "all"]
    assert result.clusters["values"]["balanced_accuracy"] == [value]
    assert not any(s.startswith("fold=") for _, s in values(result))


def test_classes_without_training_rows_are_left_out_and_counted() -> None:
    index, X = tiny.frame(per_class=6)
    rare = (index["label"] == "golgi") & (index["plate"] == "p1")
    index.loc[rare, "label"] = "rare"
    where = tiny.task(tiny.opened(index=index, X=X), hold_out="plate")
    result, scores = scored(where)
    assert "rare" not in where.classes
    assert scores.n_excluded == 6
    assert scores.excluded_classes == {"rare"}
    assert result.n_eval == 4 * 18 - 6
    assert not set(index["id"][rare]) & set(result.predictions["id"])
    assert result.predictions["y_true"].min() == 0


def test_score_units_average_probabilities() -> None:
    index, X = tiny.frame(per_class=8)
    # four sites of a well: rows of one plate and class
    index["site_of"] = index["plate"] + index["label"] + (index.index // 4 % 2).astype(str)
    index.loc[index["control"], "site_of"] = ""
    data = tiny.opened(index=index, X=X)
    rows = tiny.task(data, hold_out="plate")
    units = tiny.task(data, hold_out="plate", score_unit="site_of")
    by_row, by_unit = scored(rows)[0].predictions, scored(units)[0]
    frame = by_unit.predictions
    assert by_unit.n_eval == len(frame) == index["site_of"].nunique() - 1
    of = index.set_index("id")["site_of"]
    for unit, part in by_row.groupby(of[by_row["id"]].to_numpy()):
        [row] = frame[frame["id"] == unit].to_dict("records")
        mean = np.mean(np.stack(part["scores"].to_list()), axis=0)
        np.testing.assert_allclose(row["scores"], mean, rtol=1e-5)
        assert row["y_true"] == part["y_true"].iloc[0]
        assert row["y_pred"] == mean.argmax()
    accuracy = (frame["y_true"] == frame["y_pred"]).mean()
    assert values(by_unit)["accuracy", "pooled"] == accuracy


def test_score_units_that_lie_in_several_batches_are_counted() -> None:
    index, X = tiny.frame(batches=6)
    index["compound"] = index["label"] + "-" + (index.index % 2).astype(str)
    data = tiny.opened(index=index, X=X)
    where = tiny.task(data, test={"week": ("w1", "w2")}, score_unit="compound")
    result, _ = scored(where)
    assert result.n_eval == 6
    [said] = result.used
    mentions(said, "6")


def test_metrics_that_a_split_names_are_computed(held_out: Task) -> None:
    few = values(scored(held_out)[0])
    assert ("top5_accuracy", "all") not in few
    named = dataclasses.replace(
        held_out, split=tiny.split(hold_out="plate", metric="top5_accuracy", metrics=("pcr",))
    )
    result, _ = scored(named)
    value = values(result)
    assert value["top5_accuracy", "all"] == 1.0
    # profiles of different folds come from different models: one value a fold, or a sentence why
    said = " ".join(result.used)
    for k in range(4):
        assert ("pcr", f"fold=p{k}") in value or f"pcr of fold p{k}" in said


def test_mixing_is_scored_where_one_model_saw_several_batches() -> None:
    several = tiny.task(
        tiny.opened(batches=6), train={"plate": ("p0", "p1")}, test={"week": ("w1", "w2")}
    )
    assert 0 <= values(scored(several)[0])["batch_1nn", "all"] <= 1
    item = tiny.task()
    assert ("batch_1nn", "all") not in values(scored(item)[0])


def test_the_order_of_rows_does_not_matter(held_out: Task) -> None:
    from bench.records.tables import predictions_digest

    result, _ = scored(held_out)
    frame = result.predictions
    assert frame[["fold", "id"]].equals(
        frame[["fold", "id"]].sort_values(["fold", "id"], ignore_index=True)
    )
    moved = frame.sample(frac=1, random_state=1)
    assert predictions_digest(moved) == predictions_digest(frame)


def test_values_that_are_no_numbers_are_not_recorded(held_out: Task) -> None:
    result, _ = scored(held_out)
    with_nan = pd.concat(
        [
            result.table,
            pd.DataFrame({"metric": ["odd"], "subset": ["all"], "value": [np.nan], "n": [0]}),
        ]
    )
    results_found = dataclasses.replace(result, table=with_nan).metrics()
    assert "odd" not in results_found
    assert results_found["accuracy"]["all"] == values(result)["accuracy", "all"]
    canonical_json(results_found)
    canonical_json(result.clusters)


def test_probes_are_shared_between_tests_of_one_training(held_out: Task) -> None:
    known: dict[str, Any] = {}
    rng = np.random.default_rng(0)
    fold = held_out.folds[0]
    train, test = (tiny.partition(held_out.opened, fold, role) for role in ("train", "test"))
    out_train, out_test = (
        Output(informative(side, held_out.classes, rng)) for side in (train, test)
    )
    for _ in range(2):
        scores = Scores(held_out.split, held_out.opened, held_out.classes)
        scores.add(fold, train, out_train, test, out_test, 0, key="k", probes=known)
        [address] = known
        known[address] = dataclasses.replace(known[address], C=99.0)
    assert scores.probe_c == [99.0]


@pytest.mark.parametrize(
    "output, words",
    [
        (Output(np.zeros((3, 2), np.float32)), ("3", "2", "4")),
        (Output(np.zeros((4, 2))), ("float64",)),
        (Output(np.full((4, 2), np.nan, np.float32)), ("4",)),
        (Output(np.zeros((4, 2), np.float32), np.zeros((4, 2), np.float32)), ("4", "3")),
        (
            Output(np.zeros((4, 2), np.float32), np.full((4, 3), np.inf, np.float32)),
            (),
        ),
    ],
)
def test_outputs_that_break_the_contract(output: Output, words: str) -> None:
    with raises(RunFailed, *words):
        check_output("m", output, 4, 3)


RETRIEVAL = '\n[splits.all]\nprotocol = "unsupervised"\ntest = "all"\nmetrics = ["nscb", "nsc"]\n'


def test_retrieval_against_a_loop(tmp_path: Path) -> None:
    keys = 'treatment = ["label", "position"]\ncompound = "position"\nnscb_batch = "week"\n'
    path = tiny.write_table(tmp_path, RETRIEVAL, keys)
    [where] = tiny.open_table(path)
    [record] = tiny.Bench(tmp_path / "r").run("identity", where)
    index = where.opened.index
    keep = ~index["control"].to_numpy()
    X = where.opened.source.read(np.flatnonzero(keep)).astype(float)
    rows = index[keep].reset_index(drop=True)
    # one profile per treatment, or one per batch that has it if another batch is requested
    names = rows["treatment"] + "/" + rows["week"]
    groups = [(n, X[names == n].mean(axis=0), rows[names == n].iloc[0]) for n in sorted(set(names))]
    hits = []
    for _, x, own in groups:
        best, match = -2.0, None
        for _, z, other in groups:
            if other["position"] == own["position"] or other["week"] == own["week"]:
                continue
            cosine = x @ z / np.linalg.norm(x) / np.linalg.norm(z)
            if cosine > best:
                best, match = cosine, other["label"] == own["label"]
        hits.append(match)
    assert record["primary"] == "nscb"
    assert record["metrics"]["nscb"]["all"] == pytest.approx(np.mean(hits))
    clusters = record["clusters"]
    mean = np.average(clusters["values"]["nscb"], weights=clusters["n"])
    assert mean == pytest.approx(record["metrics"]["nscb"]["all"])


@pytest.mark.parametrize(
    "splits, keys, words",
    [
        (RETRIEVAL, "", ("nscb_batch",)),
        (RETRIEVAL.replace('"nscb", "nsc"', '"accuracy"'), "", ("accuracy",)),
        (
            '\n[splits.p]\nhold_out = "plate"\nshares = ["week"]\nmetric = "nsc"\n',
            "",
            ("metric",),
        ),
        (
            '\n[splits.p]\nhold_out = "plate"\nshares = ["week"]\nmetric = "acuracy"\n',
            "",
            ("metric", "acuracy", "accuracy"),
        ),
        (
            '\n[splits.p]\nhold_out = "plate"\nshares = ["week"]\nmetrics = ["ilsi"]\n',
            "",
            ("metric", "ilsi"),
        ),
    ],
)
def test_metrics_that_cannot_score_a_split_are_refused_before_training(
    tmp_path: Path, splits: str, keys: str, words: str
) -> None:
    [where] = tiny.open_table(tiny.write_table(tmp_path, splits, keys))
    with raises(BenchError, *words):
        tiny.Bench(tmp_path / "r").jobs("identity", where)
