"""Reproducibility of treatments in other batches: against copairs and a loop."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel
from sklearn.metrics import average_precision_score

from bench.api import NotApplicable
from bench.cli.main import main
from bench.scoring.profiles.reproducibility import reproducibility
from bench.studies._groups import change_cells
from tests.helpers import tiny
from tests.scoring.test_profiles import screen, table

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("columns", [("plate",), ("week",), ("plate", "position")])
def test_precision_against_a_loop(columns: tuple[str, ...]) -> None:
    opened = screen()
    X, index = table(opened), opened.index
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    rows = index[~index["control"]]
    expected: dict[str, list[float]] = {}
    for i, row in rows.iterrows():
        others = rows[np.logical_and.reduce([rows[c] != row[c] for c in columns])]
        same = (others["treatment"] == row["treatment"]).to_numpy()
        if same.any() and not same.all():
            score = average_precision_score(same, unit[others.index] @ unit[i])
            expected.setdefault(str(row["treatment"]), []).append(score)
    result = reproducibility(opened, X, columns)
    assert result.names.tolist() == sorted(expected)
    assert result.n.tolist() == [len(expected[name]) for name in result.names]
    means = [np.mean(expected[name]) for name in result.names]
    assert result.precision == pytest.approx(means, abs=1e-6)


def test_equals_copairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copairs = pytest.importorskip("copairs.map", reason="copairs is not installed")
    monkeypatch.setenv("HOME", str(tmp_path))
    opened, size = screen(), 4000
    X, index = table(opened), opened.index
    treated = ~index["control"].to_numpy(bool)
    rows = index.loc[treated, ["treatment", "plate"]].reset_index(drop=True)
    how = (["treatment"], ["plate"], [], ["treatment", "plate"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        each = copairs.average_precision(
            rows, X[treated].astype(np.float64), *how, progress_bar=False
        )
        theirs = copairs.mean_average_precision(
            each, ["treatment"], null_size=size, threshold=0.05, seed=0, progress_bar=False
        ).set_index("treatment")
    ours = reproducibility(opened, X, ("plate",))
    theirs = theirs.loc[ours.names]
    assert ours.precision == pytest.approx(theirs["mean_average_precision"].to_numpy(), abs=1e-6)
    assert ours.normalised == pytest.approx(
        theirs["mean_normalized_average_precision"].to_numpy(), abs=1e-6
    )
    error = 4.5 * np.sqrt(ours.p * (1 - ours.p) / size) + 0.004
    assert (np.abs(ours.p - theirs["p_value"].to_numpy()) < error).all()


def test_a_planted_effect_reproduces_and_noise_does_not() -> None:
    opened = screen(plates=6, treatments=20)
    X = table(opened)
    strong = opened.index["treatment"].isin([f"t{k}" for k in range(10)]).to_numpy()
    rng = np.random.default_rng(0)
    X[~strong] = rng.normal(size=(int((~strong).sum()), X.shape[1]))
    means = rng.normal(0, 3, (20, X.shape[1]))
    for k in range(10):
        X[(opened.index["treatment"] == f"t{k}").to_numpy()] += means[k]
    result = reproducibility(opened, X.astype(np.float32), ("plate",))
    significant = set(result.names[result.significant])
    assert significant >= {f"t{k}" for k in range(10)}
    assert len(significant) <= 12


def test_change_against_scipy() -> None:
    opened = screen(treatments=12)
    X = table(opened)
    before = reproducibility(opened, X, ("plate",))
    noise = np.random.default_rng(0).normal(size=X.shape)
    after = reproducibility(opened, (X + noise).astype(np.float32), ("plate",))
    cells = change_cells(after, before)
    limits = ttest_rel(after.normalised, before.normalised).confidence_interval()
    assert (cells["change_low"], cells["change_high"]) == pytest.approx(tuple(limits))
    assert cells["gained"] == (after.significant & ~before.significant).sum()


def test_a_single_batch_is_not_applicable() -> None:
    opened = screen(plates=1)
    with pytest.raises(NotApplicable):
        reproducibility(opened, table(opened), ("plate",))


def test_the_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "results"))
    toml = tiny.write_table(tmp_path, controls=4)
    with pytest.raises(SystemExit) as stop:
        main(["study", "reproducibility", "-s", str(toml), "-m", "center", "--json"])
    assert not stop.value.code
    out = json.loads(capsys.readouterr().out)
    assert [(row["across"], row["method"]) for row in out["rows"]][:3] == [
        ("plate", "identity"),
        ("plate", "center"),
        ("week", "identity"),
    ]
    [folder] = (tmp_path / "results/studies/reproducibility").iterdir()
    figure = pd.read_csv(folder / "reproducibility.csv", comment="#")
    number = figure[figure["across"] == "plate"].groupby("method")["reproducible"].sum()
    assert [row["n_reproducible"] for row in out["rows"][:2]] == number[
        ["identity", "center"]
    ].tolist()
