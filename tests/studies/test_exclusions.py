"""Sensitivity of ranks to excluded rows, and the setting that keeps them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pandas as pd
import pytest

import bench
from bench.api import BenchError
from bench.cli.main import main
from bench.core.registry import Registry
from bench.data.opening import open_splits
from bench.studies.exclusions import ranks, tau
from tests.helpers import tiny
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from pathlib import Path

    from bench.api import Opened

RULES = '\n[exclude_if]\ncount = "< 1"\nf0 = ">= 2.5"\n'
PLATES = '\n[splits.plates]\nhold_out = "plate"\nshares = ["week"]\n'


def opened(toml: Path, **settings: str) -> Opened:
    [task] = open_splits([str(toml)], Registry(), "auto", settings, lambda line: None)
    return task.opened


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(words)
    out = capsys.readouterr()
    return int(stop.value.code or 0), out.out, out.err


def test_reasons_are_kept_one_at_a_time(tmp_path: Path) -> None:
    toml = tiny.write_table(tmp_path, splits=RULES + PLATES)
    rows = pd.read_parquet(tmp_path / "table.parquet")
    few, bright = rows["count"].astype(int) < 1, rows["f0"] >= 2.5
    assert few.any()
    assert bright.any()
    expected = {
        "": rows[~few & ~bright],
        "all": rows,
        "count < 1": rows[~bright],
        "f0 >= 2.5": rows[~few],
    }
    digests = set()
    for keep, kept in expected.items():
        data = opened(toml, **({"keep": keep} if keep else {}))
        assert data.index["id"].tolist() == kept["id"].tolist()
        assert data.settings == ({"keep": keep} if keep else {})
        digests.add(data.digest)
    assert len(digests) == 4


def test_wrong_settings(tmp_path: Path) -> None:
    toml = tiny.write_table(tmp_path / "a", splits=RULES + PLATES)
    with raises(BenchError, "keep", "count < 1"):
        opened(toml, keep="count < 2")
    with raises(BenchError, "keep"):
        opened(tiny.write_table(tmp_path / "b"), keep="all")
    with raises(BenchError, "draw"):
        opened(toml, draw="3")


def test_ranks_and_correlation() -> None:
    means = {"a": 0.9, "b": 0.5, "c": 0.5, "d": 0.1}
    own = {name: SimpleNamespace(mean=mean) for name, mean in means.items()}
    turned = {name: SimpleNamespace(mean=-mean) for name, mean in means.items()}
    assert ranks(own) == {"a": 1, "b": 2, "c": 2, "d": 4}  # type: ignore[arg-type]
    assert tau(own, own) == pytest.approx(1)  # type: ignore[arg-type]
    assert tau(own, turned) == pytest.approx(-1)  # type: ignore[arg-type]
    assert tau(own, {"a": own["a"], "b": own["b"]}) is None  # type: ignore[arg-type,dict-item]


def test_the_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "results"))
    toml = str(tiny.write_table(tmp_path / "a", splits=RULES + PLATES))
    words = ["study", "exclusions", "-s", toml, "-m", "center", "--seeds", "1"]
    code, out, err = run([*words, "--json"], capsys)
    assert code == 0, err
    rows = json.loads(out)["rows"]
    names = ["as described", "all kept", "kept: count < 1", "kept: f0 >= 2.5"]
    assert [(row["rows"], row["method"]) for row in rows] == [
        (name, method) for name in names for method in ("identity", "center")
    ]
    assert rows[0]["n_rows"] < rows[4]["n_rows"] < rows[2]["n_rows"]
    # The means are those of runs with the same setting.
    settings = ["data.keep=all"]
    [record] = bench.run("identity", toml, seeds=1, settings=settings, controls=False)
    assert rows[2]["mean"] == pytest.approx(record.data["metrics"]["balanced_accuracy"]["all"])
    plain = str(tiny.write_table(tmp_path / "b"))
    code, out, _ = run(["study", "exclusions", "-s", plain, "-m", "center"], capsys)
    assert code == 0
    assert "exclude" in out
