"""``bench.check`` and ``bench.recommend``, and ``Corrector`` with AnnData."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import bench
from bench.cli.main import main
from bench.core.errors import BenchError
from tests.helpers import tiny
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("few_penalties")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a ``dataset.toml`` of six plates in three weeks."""
    return tiny.write_table(tmp_path_factory.mktemp("table"), batches=6)


@pytest.fixture(scope="module")
def frame(table: Path) -> pd.DataFrame:
    return pd.read_parquet(table.with_name("table.parquet"))


def adata(frame: pd.DataFrame, where: str = "X") -> Any:
    import anndata

    names = [name for name in frame if name[0] == "f" and name[1:].isdigit()]
    X = frame[names].to_numpy(np.float32)
    obs = frame.drop(columns=names).set_axis([f"c{i}" for i in range(len(frame))])
    data = anndata.AnnData(X if where == "X" else np.zeros((len(X), 1), np.float32), obs=obs)
    if where == "obsm":
        data.obsm["X_raw"] = X
    return data


KEYS: dict[str, Any] = {"label": "label", "batch": ["plate", "week"], "control": "control"}


def texts(frame: pd.DataFrame, topics: tuple[str, ...]) -> dict[str, str]:
    return {t: x for t, x in zip(frame["topic"], frame["text"], strict=True) if t in topics}


def test_data_in_memory_are_checked_like_the_file(
    table: Path, frame: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["check-data", str(table), "--json"])
    findings = pd.DataFrame(json.loads(capsys.readouterr().out)["findings"])
    topics = ("rows", "level plate", "batch effect", "class", "controls")
    expected = texts(findings, topics)
    assert len(expected) == len(topics)
    for data in (frame, adata(frame), adata(frame, "obsm")):
        more = {"obsm": "X_raw"} if "X_raw" in getattr(data, "obsm", {}) else {}
        if data is frame:
            more = {"features": "^f[0-9]"}
        result = bench.check(data, hold_out="plate", **KEYS, **more)
        assert texts(result.to_frame(), topics) == expected
    assert texts(bench.check(table).to_frame(), topics) == expected
    assert "zscore" in result.suitable
    assert "<table>" in result._repr_html_()
    assert "batch effect" in repr(result)


def test_controls_are_values_and_features_are_recognised(frame: pd.DataFrame) -> None:
    result = bench.check(frame, "label", "plate", control={"label": ["dmso"]})
    assert "6 features" in texts(result.to_frame(), ("rows",))["rows"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": "lable"}, ("lable", "label")),
        ({"batch": None}, ("batch",)),
        ({"control": {"label": ["dms"]}}, ("dms", "dmso")),
        ({"layer": "no"}, ("layer",)),
        ({"keys": {"compund": "x"}}, ("compund", "compound")),
    ],
)
def test_errors_are_exceptions(frame: pd.DataFrame, change: dict[str, Any], words: Any) -> None:
    with raises(BenchError, *words):
        bench.check(adata(frame), **{**KEYS, **change})
    with raises(BenchError, "list"):
        bench.check([[1.0]], **KEYS)


def test_a_file_describes_itself(table: Path) -> None:
    with raises(BenchError, "label"):
        bench.check(table, label="label")
    with raises(BenchError, "nowhere.toml"):
        bench.check("nowhere.toml")


@pytest.mark.slow
def test_a_recommendation_equals_that_of_the_command(
    table: Path, frame: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    methods = "identity,zscore"
    results = str(tmp_path / "results")
    options = ["--recipe", "smoke", "--seeds", "1", "--method", methods, "--results", results]
    with pytest.raises(SystemExit):
        main(["recommend", str(table), *options, "--json"])
    [expected] = json.loads(capsys.readouterr().out)["advice"]
    result = bench.recommend(
        adata(frame),
        hold_out="plate",
        methods=methods,
        seeds=1,
        recipe="smoke",
        results=tmp_path / "other",
        **KEYS,
    )
    [split] = result.splits
    assert result.use == split.use == expected["use"]
    gains = result.to_frame().set_index("method")["gain"]
    assert gains["zscore"] == pytest.approx(expected["rows"][0]["gain"], abs=1e-9)
    assert "gain" in result._repr_html_()
    result.save(tmp_path / "advice.html")
    assert (tmp_path / "advice.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize("where", ["X", "obsm"])
def test_corrector_reads_and_writes_anndata(frame: pd.DataFrame, where: str) -> None:
    data = adata(frame, where)
    X = data.obsm["X_raw"] if where == "obsm" else data.X
    rep = {"use_rep": "X_raw"} if where == "obsm" else {}
    arrays = {"batch": frame["plate"].to_numpy(), "controls": frame["control"].to_numpy(bool)}
    expected = bench.Corrector("tvn").fit_transform(X, **arrays)
    corrector = bench.Corrector("tvn")
    result = corrector.fit_transform(
        data, batch="plate", controls="control", key_added="X_tvn", **rep
    )
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(data.obsm["X_tvn"], expected)
    new = corrector.transform(data, batch="plate", controls="control", key_added="X_new", **rep)
    np.testing.assert_array_equal(data.obsm["X_new"], new)
    for wrong in ({"batch": "plat"}, {"batch": "plate", "controls": "label"}, {"use_rep": "X"}):
        with pytest.raises((ValueError, BenchError)):
            bench.Corrector("tvn").fit(data, **wrong)
    for wrong in ({"batch": "plate"}, {"key_added": "X"}, {"use_rep": "X"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            bench.Corrector("tvn").fit_transform(X, **{**arrays, **wrong})


def test_runs_are_a_table_in_a_notebook(table: Path, tmp_path: Path) -> None:
    runs = bench.run("identity", f"{table}:plates", results=tmp_path, seeds=1, controls=False)
    frame = runs.to_frame()
    assert frame["value"].tolist() == [runs[0].value()]
    assert frame["metric"].tolist() == ["balanced_accuracy"]
    assert "identity" in runs._repr_html_()
