"""Rankings in restricted galleries, activity and consistency: against copairs and naive loops."""

from __future__ import annotations

import json
import warnings
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score

from bench.api import NotApplicable
from bench.cli.main import main
from bench.metrics import compute
from bench.scoring.profiles.activity import activity, consistency, grouped
from bench.scoring.profiles.ranking import Gallery, expected_precision, p_value, ranked
from bench.scoring.profiles.restricted import restrictions, scores
from tests.helpers import tiny
from tests.helpers.real import real_folder

if TYPE_CHECKING:
    from pathlib import Path

    from bench.api import Opened

N = 60


def screen(seed: int = 0, plates: int = 3, treatments: int = 6, controls: int = 5) -> Opened:
    """Return a data set of two compounds per label, one or two wells per plate."""
    rng = np.random.default_rng(seed)
    rows, X = [], []
    means = rng.normal(size=(treatments, 5))
    for plate in range(plates):
        names = [*range(treatments), 0, 1, *[-1] * controls]
        for well, k in enumerate(names):
            treated = k >= 0
            rows.append(
                {
                    "id": f"p{plate}-{well}",
                    "label": f"target{k // 2}" if treated else "",
                    "control": not treated,
                    "plate": f"p{plate}",
                    "week": f"w{plate // 2}",
                    "position": f"A{(well + plate * (k % 2)) % len(names)}",
                    "treatment": f"t{k}" if treated else "",
                }
            )
            X.append((0.6 * k / treatments + 0.7) * means[k] * treated + rng.normal(size=5))
    data = tiny.opened(index=pd.DataFrame(rows), X=np.array(X, np.float32))
    columns = {"position": "position", "treatment": "treatment", "compound": "treatment"}
    object.__setattr__(data, "columns", {**columns, "nscb_batch": "week"})
    return data


def table(opened: Opened) -> np.ndarray:
    return opened.source.read(np.arange(len(opened.index)))


def codes(values: Any) -> np.ndarray:
    return np.unique(np.asarray(values, str), return_inverse=True)[1]


def test_ranks_against_a_loop_and_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(N, 4))
    group, plate, column = rng.integers(5, size=N), rng.integers(3, size=N), rng.integers(6, size=N)
    negative = rng.random(N) < 0.7
    result = ranked(
        X, Gallery(group, group < 4, negative, differ=(column,), share=(plate,)), (1, 3)
    )
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    place = dict(zip(result.rows.tolist(), range(len(result.rows)), strict=True))
    for i in range(N):
        allowed = (column != column[i]) & (np.arange(N) != i)
        positive = allowed & (group == group[i])
        others = allowed & (group != group[i]) & negative & (plate == plate[i])
        if group[i] == 4 or not positive.any() or not others.any():
            assert i not in place
            continue
        rows = np.flatnonzero(positive | others)
        similarity = unit[rows] @ unit[i]
        k = place[i]
        assert result.precision[k] == pytest.approx(
            average_precision_score(positive[rows], similarity)
        )
        best = positive[rows][np.argsort(-similarity)]
        assert result.recall[k].tolist() == [float(best[:1].any()), float(best[:3].any())]
        assert (result.positives[k], result.total[k]) == (positive.sum(), len(rows))
    assert result.skipped + len(result.rows) == (group < 4).sum()


def test_ties_are_ranked_at_random() -> None:
    group = np.array([0, 0, 1, 1, 1])
    gallery = Gallery(group, np.array([True, *[False] * 4]), np.ones(5, bool))
    result = ranked(np.ones((5, 2)), gallery, (1, 2, 4))
    assert result.recall[0] == pytest.approx([1 / 4, 1 / 2, 1])


def rankings(positives: int, total: int) -> np.ndarray:
    """Return the average precision of every ranking."""
    return np.array(
        [
            np.mean([(k + 1) / rank for k, rank in enumerate(ranks)])
            for ranks in combinations(range(1, total + 1), positives)
        ]
    )


@pytest.mark.parametrize(("positives", "total"), [(1, 5), (2, 7), (3, 9)])
def test_the_null_distribution_against_all_rankings(positives: int, total: int) -> None:
    every = rankings(positives, total)
    assert expected_precision(positives, total) == pytest.approx(every.mean())
    for value in np.unique(every.round(12)):
        expected = (every >= value - 1e-9).mean()
        # Several queries with equal numbers share a ranking, as in copairs.
        for n in (1, 3):
            assert p_value(value, [(positives, total)] * n) == pytest.approx(expected, abs=1e-9)


def test_queries_with_other_numbers_are_independent() -> None:
    means = np.array([(2 * a + b) / 3 for a, b in product(rankings(2, 6), rankings(1, 4))])
    for value in np.quantile(means, [0.2, 0.5, 0.9]):
        result = p_value(value, [(2, 6), (2, 6), (1, 4)])
        assert (means >= value).mean() - 1e-9 <= result <= (means >= value - 3e-4).mean() + 1e-9


def test_activity_and_consistency_equal_copairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copairs = pytest.importorskip("copairs.map", reason="the extra 'map' is not installed")
    monkeypatch.setenv("HOME", str(tmp_path))  # its cache of null distributions
    opened, size = screen(controls=40), 4000
    X, index = table(opened), opened.index
    control = index["control"].to_numpy(bool)
    every = np.unique(index["treatment"])[1:]
    means = np.stack([X[index["treatment"] == name].mean(axis=0) for name in every])
    labels = [f"target{int(name[1:]) // 2}" for name in every]
    meta = pd.DataFrame(
        {
            "what": np.where(control, "control", index["treatment"]),
            "plate": index["plate"],
            "pair": np.where(control, np.arange(len(index)), -1),
        }
    )
    of_targets = pd.DataFrame({"what": labels, "compound": every})
    cases = (
        (activity(opened, X), meta, X, (["what", "pair"], [], ["plate"], ["what", "pair"])),
        (
            consistency(opened, X, every),
            of_targets,
            means,
            (["what"], ["compound"], [], ["what"]),
        ),
    )
    for ours, rows, profiles, how in cases:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            precision = copairs.average_precision(
                rows, profiles.astype(np.float64), *how, progress_bar=False
            )
            precision = precision[precision["what"] != "control"]
            theirs = copairs.mean_average_precision(
                precision, ["what"], null_size=size, threshold=0.05, seed=0, progress_bar=False
            ).set_index("what")
        theirs = theirs.loc[ours.names]
        assert ours.precision == pytest.approx(theirs["mean_average_precision"].to_numpy())
        assert ours.normalised == pytest.approx(
            theirs["mean_normalized_average_precision"].to_numpy()
        )
        # copairs samples, and does not count rankings that are as good as the observed one.
        error = 4.5 * np.sqrt(ours.p * (1 - ours.p) / size) + 0.004
        if rows is meta:  # with few rows, rankings tie and the two definitions differ
            assert (np.abs(ours.p - theirs["p_value"].to_numpy()) < error).all()


def test_activity_of_real_compounds_equals_copairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copairs = pytest.importorskip("copairs.map", reason="the extra 'map' is not installed")
    monkeypatch.setenv("HOME", str(tmp_path))
    source = real_folder("cpjump1_compound_plates") / "cpjump1_compound_wells.parquet"
    features = [name for name in pq.read_schema(source).names if name.startswith("Nuclei_")][:60]
    meta = ["meta_plate", "meta_compound", "meta_is_control"]
    wells = pd.read_parquet(source, columns=[*meta, *features])
    wells = wells[wells["meta_plate"].isin(["BR00117010", "BR00117011", "BR00117012"])]
    wells = wells.reset_index(drop=True)
    control = wells["meta_is_control"].to_numpy(bool)
    X = wells[features].to_numpy(np.float32)
    index = pd.DataFrame(
        {
            "id": wells.index.astype(str),
            "label": np.where(control, "", wells["meta_compound"]),
            "control": control,
            "plate": wells["meta_plate"].astype(str),
            "week": "w",
        }
    )
    result = activity(tiny.opened(index=index, X=X), X)
    pair = np.where(control, np.arange(len(wells)), -1)
    pairs = pd.DataFrame({"what": index["label"], "plate": index["plate"], "pair": pair})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = copairs.average_precision(
            pairs,
            X.astype(np.float64),
            ["what", "pair"],
            [],
            ["plate"],
            ["what", "pair"],
            progress_bar=False,
        )
    treated = expected[~control & (expected["n_pos_pairs"] > 0)].groupby("what")
    columns = {"precision": "average_precision", "normalised": "normalised_average_precision"}
    for ours, theirs in columns.items():
        values = treated[theirs.replace("normalised", "normalized")].mean().loc[result.names]
        assert getattr(result, ours) == pytest.approx(values.to_numpy(), abs=1e-6)
    assert 0.3 < result.significant.mean() < 0.95


def test_q_values_against_a_step_up_by_hand() -> None:
    opened = screen()
    every = np.ones(len(opened.index), bool)
    result = ranked(table(opened), Gallery(codes(opened.index["treatment"]), every, every))
    groups = grouped(result, opened.index["treatment"].to_numpy(str))
    order = np.argsort(groups.p)
    scaled = groups.p[order] * len(order) / np.arange(1, len(order) + 1)
    expected = np.minimum.accumulate(scaled[::-1])[::-1]
    assert groups.q[order] == pytest.approx(np.minimum(expected, 1))


def test_two_restrictions_are_nsc_and_nscb() -> None:
    opened = screen()
    X, index = table(opened), opened.index
    treated = ~index["control"].to_numpy(bool)
    columns = {
        "label": codes(index["label"][treated]),
        "compound": index["treatment"][treated].to_numpy(str),
        "treatment": index["treatment"][treated].to_numpy(str),
        "batch": index["week"][treated].to_numpy(str),
    }
    result = {(score.match, score.restriction): score for score in scores(opened, X)}
    for restriction, metric in (("none", "nsc"), ("week", "nscb")):
        value = compute(metric, X=X[treated], **columns)
        score = result["label", restriction]
        assert score.value("recall@1") == pytest.approx(value.value, abs=1e-12)
        assert score.n == value.n


def test_restrictions_against_a_loop() -> None:
    opened = screen()
    X, index = table(opened), opened.index[~opened.index["control"]]
    unit = (X / np.linalg.norm(X, axis=1, keepdims=True))[index.index]
    result = {s.restriction: s for s in scores(opened, X) if s.match == "treatment"}
    wanted = restrictions(opened)
    assert list(wanted) == ["none", "plate", "week", "position", "plate+position", "week+position"]
    for name, score in result.items():
        hits = []
        for i in range(len(index)):
            gallery = np.arange(len(index)) != i
            for column in wanted[name]:
                gallery &= index[column].to_numpy() != index[column].iloc[i]
            same = index["treatment"].to_numpy() == index["treatment"].iloc[i]
            if (gallery & same).any():
                best = np.flatnonzero(gallery)[np.argmax(unit[gallery] @ unit[i])]
                hits.append(float(same[best]))
        assert score.n == len(hits)
        assert score.value("recall@1") == pytest.approx(np.mean(hits))
        low, high = score.interval("recall@1")
        assert low <= score.value("recall@1") <= high
        assert score.interval("recall@1", score) == (0, 0)


def test_tables_without_what_is_needed() -> None:
    opened = screen(controls=0)
    with pytest.raises(NotApplicable):
        activity(opened, table(opened))
    opened = screen()
    with pytest.raises(NotApplicable):
        consistency(opened, table(opened), np.array(["t0"]))


@pytest.mark.parametrize("study", ["activity", "restrictions"])
def test_the_studies(
    study: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "results"))
    toml = tiny.write_table(tmp_path, controls=6)
    with pytest.raises(SystemExit) as stop:
        main(["study", study, "-s", str(toml), "-m", "center,erm", "--json"])
    assert not stop.value.code
    out = json.loads(capsys.readouterr().out)
    assert {row["method"] for row in out["rows"]} == {"identity", "center"}
    assert list(out["left_out"])[:1] == ["erm"] or "erm" in out["left_out"]
    if study == "activity":
        [folder] = (tmp_path / "results/studies/activity").iterdir()
        figure = pd.read_csv(folder / "activity.csv", comment="#")
        assert len(figure) == 6
        active = figure.groupby("method")["active"].sum()
        assert [row["n_active"] for row in out["rows"]] == active[["identity", "center"]].tolist()
