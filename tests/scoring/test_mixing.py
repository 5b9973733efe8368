"""Mixing against biology with intervals over batches: against deletion by hand and closed forms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from bench.cli.main import main
from bench.metrics import compute
from bench.scoring.profiles.jackknife import GROUPS, batch_groups, jackknife, limits_of
from bench.scoring.profiles.mixing import WITH_INTERVALS, mixing
from tests.helpers import tiny
from tests.scoring.test_profiles import screen, table

if TYPE_CHECKING:
    from pathlib import Path


def test_the_jackknife_of_a_mean_is_its_t_interval() -> None:
    rng = np.random.default_rng(0)
    values, batch = rng.normal(size=60), np.repeat([f"b{k:02d}" for k in range(12)], 5)
    means = values.reshape(12, 5).mean(axis=1)
    half = t.ppf(0.975, 11) * means.std(ddof=1) / np.sqrt(12)
    low, high = jackknife(values.mean(), batch, lambda kept: float(values[kept].mean()))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half))


def test_few_batches_and_undefined_estimates_have_no_interval() -> None:
    batch = np.repeat(list("abcdefg"), 3)
    assert jackknife(0.5, batch, lambda kept: 0.5) == (None, None)
    assert limits_of(0.5, np.array([0.5, np.nan])) == (None, None)
    assert jackknife(float("nan"), np.repeat(list("abcdefgh"), 2), lambda kept: 0.5) == (None, None)


def test_many_batches_are_left_out_in_groups() -> None:
    batch = np.array([f"b{k:03d}" for k in range(105)])
    groups = batch_groups(np.repeat(batch, 2))
    assert len(np.unique(groups)) == GROUPS
    assert set(np.bincount(groups[::2])) == {5, 6}
    assert (np.diff(groups) >= 0).all()
    assert batch_groups(np.array(["x", "y", "x"])).tolist() == [0, 1, 0]


def test_values_and_limits_against_deletion_by_hand() -> None:
    opened = screen(plates=9, treatments=8)
    X, index = table(opened), opened.index
    treated = ~index["control"].to_numpy(bool)
    arrays = {
        "X": X[treated],
        "label": index["label"].to_numpy(str)[treated],
        "batch": index["plate"].to_numpy(str)[treated],
    }
    result = mixing(opened, X)
    for name in WITH_INTERVALS:
        own = result[name]
        value = compute(name, **arrays).value
        if np.isnan(value):
            assert np.isnan(own.value)
            continue
        left = []
        for plate in np.unique(arrays["batch"]):
            kept = arrays["batch"] != plate
            left.append(compute(name, **{key: a[kept] for key, a in arrays.items()}).value)
        assert own.value == pytest.approx(value)
        assert (own.low, own.high) == pytest.approx(limits_of(value, np.array(left)), abs=1e-9)
    controls = compute(
        "map_controls",
        **arrays,
        treatment=index["treatment"].to_numpy(str)[treated],
        controls=X[~treated],
        control_batch=index["plate"].to_numpy(str)[~treated],
    )
    assert result["map_controls"].value == pytest.approx(controls.value)


def test_the_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "results"))
    toml = tiny.write_table(tmp_path, batches=8, per_class=6)
    with pytest.raises(SystemExit) as stop:
        main(["study", "mixing", "-s", str(toml), "-m", "center", "--json"])
    assert not stop.value.code
    before, after = json.loads(capsys.readouterr().out)["rows"]
    for name in ("robustness_index", "cilisi", "kbet", "bras"):
        assert before[name] < after[name], name
        assert after[f"{name}_low"] < after[name] < after[f"{name}_high"], name
    assert after["pcr_comparison"] == pytest.approx(
        (after["pcr"] - before["pcr"]) / (1 - before["pcr"])
    )
    [folder] = (tmp_path / "results/studies/mixing").iterdir()
    figure = pd.read_csv(folder / "mixing.csv", comment="#")
    drawn = figure[(figure["metric"] == "kbet") & (figure["method"] == "center")]
    assert drawn["value"].item() == pytest.approx(after["kbet"])
