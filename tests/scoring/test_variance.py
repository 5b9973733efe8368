"""Explained variance: against statsmodels, planted effects and invariances."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bench.cli.main import main
from bench.scoring.profiles.variance import Explained, Share, basis, explained, one_hot, places
from tests.helpers import tiny

if TYPE_CHECKING:
    from pathlib import Path

    from bench.api import Opened


def plates(
    n_plates: int = 10, rows: int = 4, columns: int = 6, seed: int = 0, **effects: float
) -> tuple[Opened, np.ndarray]:
    """Return wells with effects of plate, column, count and treatment, and unit noise."""
    rng = np.random.default_rng(seed)
    wells = [
        (p, r, c, rng.integers(6))
        for p in range(n_plates)
        for r in range(rows)
        for c in range(columns)
    ]
    index = pd.DataFrame(wells, columns=["plate", "row", "column", "treatment"])
    count = rng.integers(20, 400, len(index))
    d = 8
    X = rng.normal(size=(len(index), d))
    for name, size in effects.items():
        if name == "count":
            z = np.log1p(count)
            X += size * np.outer((z - z.mean()) / z.std(), rng.choice([-1, 1], d))
        else:
            own = index[name].to_numpy()
            X += size * rng.normal(size=(own.max() + 1, d))[own]
    index = pd.DataFrame(
        {
            "id": [f"r{i}" for i in range(len(index))],
            "label": "t" + index["treatment"].astype(str),
            "control": False,
            "plate": "p" + index["plate"].astype(str).str.zfill(2),
            "week": "w0",
            "position": [f"{'ABCDEFGH'[r]}{c + 1:02d}" for r, c in index[["row", "column"]].values],
            "count": count.astype(str),
        }
    )
    opened = tiny.opened(index=index, X=X.astype(np.float32))
    object.__setattr__(opened, "columns", {"position": "position", "cell_count": "count"})
    return opened, X.astype(np.float32)


def shares(opened: Opened, X: np.ndarray, *, scaled: bool = True) -> dict[str, Share]:
    return {share.factor: share for share in Explained(opened).shares(X, scaled=scaled)}


def test_equals_statsmodels_feature_by_feature() -> None:
    formula = pytest.importorskip("statsmodels.formula.api")
    opened, X = plates(plate=1.0, column=0.5, count=0.5, treatment=1.0)
    index = opened.index.assign(
        row=opened.index["position"].str[0],
        column=opened.index["position"].str[1:],
        log=np.log1p(opened.index["count"].astype(float)),
    )
    parts = {
        "plate": "C(plate)",
        "position": "C(row) + C(column)",
        "cell count": "log + I(log**2)",
        "treatment": "C(label)",
    }
    result = shares(opened, X)

    def adjusted(text: str) -> float:
        values = []
        for j in range(X.shape[1]):
            frame = index.assign(y=X[:, j].astype(float))
            values.append(formula.ols(f"y ~ {text}", frame).fit().rsquared_adj)
        return float(np.mean(values))  # scaled features have equal weight

    full = adjusted(" + ".join(parts.values()))
    for name, text in parts.items():
        assert result[name].alone == pytest.approx(adjusted(text), abs=1e-5)
        others = " + ".join(other for key, other in parts.items() if key != name)
        assert result[name].unique == pytest.approx(full - adjusted(others), abs=1e-5)


def test_factors_without_effect_explain_nothing() -> None:
    values: dict[str, list[float]] = {}
    covered = []
    for seed in range(20):
        for name, share in shares(*plates(seed=seed)).items():
            values.setdefault(name, []).append(share.alone)
            if name == "treatment" and share.low is not None and share.high is not None:
                covered.append(share.low <= 0 <= share.high)
    for name, own in values.items():
        assert abs(np.mean(own)) < 3 * np.std(own) / np.sqrt(len(own)) + 1e-4, name
    assert np.mean(covered) > 0.75


def test_a_larger_effect_explains_more_and_other_factors_less() -> None:
    weak, strong = (shares(*plates(plate=size, treatment=1.0)) for size in (0.5, 2.0))
    assert weak["plate"].alone < strong["plate"].alone
    assert weak["treatment"].alone > strong["treatment"].alone
    assert abs(strong["position"].unique) < 0.02
    low, high = strong["treatment"].low, strong["treatment"].high
    assert low is not None
    assert high is not None
    assert low < strong["treatment"].alone < high


def test_confounded_factors_have_nothing_unique() -> None:
    opened, X = plates(plate=1.0)
    opened.index["label"] = opened.index["plate"]
    result = shares(opened, X)
    assert result["treatment"].alone == pytest.approx(result["plate"].alone)
    assert result["treatment"].unique == pytest.approx(0, abs=1e-9)


def test_rotation_order_and_scale_do_not_matter() -> None:
    opened, X = plates(plate=1.0, treatment=1.0)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(X.shape[1], X.shape[1])))[0]
    before, after = shares(opened, X, scaled=False), shares(opened, 5 * X @ turn, scaled=False)
    for name, share in before.items():
        assert after[name].alone == pytest.approx(share.alone, abs=1e-5)
    scale = np.geomspace(1, 1000, X.shape[1])
    for name, share in shares(opened, X * scale).items():
        assert share.alone == pytest.approx(shares(opened, X)[name].alone, abs=1e-5)


def test_few_batches_have_no_interval_and_missing_columns_are_left_out() -> None:
    opened, X = plates(n_plates=5)
    object.__setattr__(opened, "columns", {})
    model = Explained(opened)
    assert {share.factor: share.low for share in model.shares(X, scaled=True)} == {
        "plate": None,
        "treatment": None,
    }
    assert set(model.left_out) == {"position", "cell count"}


def test_counts_that_are_missing_or_no_numbers_are_named() -> None:
    opened, X = plates(count=1.0)
    complete = shares(opened, X)["cell count"].alone
    opened, X = plates(count=1.0)  # columns are cached per data set
    opened.index.loc[3, "count"] = ""
    model = Explained(opened)
    assert [name for name in model.left_out if "1 row" in name]
    some = {share.factor: share.alone for share in model.shares(X, scaled=True)}
    assert some["cell count"] == pytest.approx(complete, abs=0.05)
    opened, X = plates()
    opened.index["count"] = "many"
    model = Explained(opened)
    assert set(model.left_out) == {"cell count"}
    assert "cell count" not in {factor.name for factor in model.factors}


def test_edges() -> None:
    assert places(np.array(["A01", "B02", "left"])).shape == (3, 3)
    assert places(np.array(["A01", "B02", "B01"])).shape == (3, 4)
    assert np.isnan(explained(np.zeros((5, 2)), basis(one_hot(np.array(list("aabbb"))))))
    assert np.isnan(explained(np.ones((3, 2)), basis(one_hot(np.array(list("abc"))))))


def test_the_study_and_the_control_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "results"))
    toml = tiny.write_table(tmp_path, keys='cell_count = "count"\n')
    with pytest.raises(SystemExit) as stop:
        main(["study", "variance", "-s", str(toml), "-m", "center", "--json"])
    assert not stop.value.code
    rows = json.loads(capsys.readouterr().out)["rows"]
    by = {(row["factor"], row["method"]): row["alone"] for row in rows}
    assert {factor for factor, _ in by} == {"plate", "week", "position", "cell count", "treatment"}
    assert by["plate", "center"] < by["plate", "identity"]
