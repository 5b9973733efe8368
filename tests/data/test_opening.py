"""Splits of data set plugins are found, listed and run like packaged ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

import bench
from bench.cli.main import main
from bench.core.errors import BenchError
from bench.core.registry import Registry
from bench.data.opening import open_splits
from tests.helpers import tiny
from tests.helpers.errors import mentions, raises

if TYPE_CHECKING:
    from pathlib import Path

PLUGIN = """
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.api import Opened

META = {
    "kind": "dataset",
    "name": "my-set",
    "class": "MySet",
    "version": 1,
    "summary": "Two weeks of made-up profiles.",
    "reference": "none",
    "licence": "none",
    "editions": ["fixture"],
    "levels": ["week"],
    "splits": [SPLITS],
}


@dataclass(frozen=True)
class Settings:
    pass


class Rows:
    shape = (4,)
    dtype = np.dtype(np.float32)

    def __init__(self, X):
        self.X = X

    def read(self, rows):
        return self.X[rows]


class MySet:
    Settings = Settings

    def __init__(self, settings):
        pass

    def editions(self):
        return ["fixture"]

    def open(self, edition):
        rng = np.random.default_rng(0)
        label = np.array(["a", "b"] * 20)
        X = rng.normal(size=(40, 4)).astype(np.float32)
        X[:, 0] += 3 * (label == "a")
        index = pd.DataFrame(
            {
                "id": [f"row{i}" for i in range(40)],
                "label": label,
                "control": False,
                "week": np.repeat(["w1", "w2"], 20),
            }
        )
        return Opened("my-set", index, Rows(X), ("week",), "week", edition, "0" * 64)
"""
SPLIT = '{"name": "my-set/weeks", "shift": "Another week.", "hold_out": "week"}'


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("BENCH_PLUGINS", raising=False)
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "results"))
    path = tmp_path / "my_set.py"
    path.write_text(PLUGIN.replace("SPLITS", SPLIT), encoding="utf-8")
    return path


def test_a_split_of_a_plugin_is_listed_shown_and_run(
    plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("list", "splits", "--plugin", str(plugin), "--json") == 0
    listed = json.loads(capsys.readouterr().out)["splits"]
    assert [s["shift"] for s in listed if s["name"] == "my-set/weeks"] == ["Another week."]
    assert call("show", "split", "my-set/weeks", "--plugin", str(plugin)) == 0
    assert "Another week." in capsys.readouterr().out
    arguments = ("--method", "identity", "--split", "my-set/weeks", "--plugin", str(plugin))
    assert call("run", *arguments, "--json") == 0
    [record] = json.loads(capsys.readouterr().out)["runs"]
    assert record["status"] == "ok"
    assert record["edition"] == "fixture"
    assert record["n_eval"] == 40
    assert record["metrics"]["accuracy"]["all"] > 0.8


@pytest.mark.parametrize(
    "split, what",
    [
        ('{"name": "my-set/weeks", "shift": "s", "hold": "week"}', "hold_out"),
        ('{"name": "weeks", "shift": "s", "hold_out": "week"}', "my-set/"),
        (f"{SPLIT}, {SPLIT}", "rename it"),
    ],
)
def test_a_wrong_split_of_a_plugin_is_one_line(
    plugin: Path, split: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin.write_text(PLUGIN.replace("SPLITS", split), encoding="utf-8")
    code = call("run", "--method", "identity", "--split", "my-set/weeks", "--plugin", str(plugin))
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith("error:")
    assert what in lines[0]


def test_simulated_files_that_were_changed_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    from bench.data.opening import drop_changed

    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "simulated"
    for name in ("kept", "changed", "incomplete"):
        (root / name).mkdir(parents=True)
        (root / name / "a.hdf5").write_bytes(b"pixels")
        sums = {"a.hdf5": {"bytes": 6, "sha256": hashlib.sha256(b"pixels").hexdigest()}}
        (root / name / "parameters.json").write_text(json.dumps({"files": sums}))
    (root / "incomplete" / "a.hdf5").unlink()
    said: list[str] = []
    drop_changed(root, said.append)
    assert not said
    (root / "changed" / "a.hdf5").write_bytes(b"PIXELS")
    drop_changed(root, said.append)
    assert sorted(path.name for path in root.iterdir()) == ["incomplete", "kept"]
    assert len(said) == 1
    assert "changed" in said[0]


def test_the_licence_is_said_once_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny.write_table(tmp_path, keys='licence = "CC BY 4.0"\n')
    said: list[str] = []
    tasks = open_splits([str(path)] * 2, Registry(), "auto", {}, said.append)
    assert [task.opened.licence for task in tasks] == ["CC BY 4.0"] * 2
    assert said == ["tiny-table: licence CC BY 4.0"]
    [record] = bench.run("center", str(path), results=tmp_path / "results", controls=False)
    assert record["licence"] == "CC BY 4.0"
    assert "CC BY 4.0" in capsys.readouterr().err
    plain = tiny.write_table(tmp_path / "plain", controls=3)
    [record] = bench.run("center", str(plain), results=tmp_path / "results", controls=False)
    assert "licence" not in record


def test_simulated_data_have_no_licence_of_the_real_data() -> None:
    said: list[str] = []
    [task] = open_splits(["rxrx1"], Registry(), "fixture", {}, said.append)
    assert task.opened.licence == ""
    assert len(said) == 1


@pytest.mark.parametrize("place", ["__init__", "editions", "open"])
def test_a_data_set_cannot_change_the_benchmark(plugin: Path, place: str) -> None:
    import bench.metrics

    before = bench.metrics.compute
    body = "        import bench.metrics\n        bench.metrics.compute = print\n"
    change_method(plugin, place, body)
    with raises(BenchError, "my-set", "compute"):
        open_splits(["my-set/weeks"], Registry([plugin]), "auto", {}, lambda line: None)
    assert bench.metrics.compute is before


def test_settings_that_a_data_set_changes_are_restored(plugin: Path) -> None:
    before = np.geterr()
    change_method(plugin, "open", '        np.seterr(all="raise")\n')
    said: list[str] = []
    open_splits(["my-set/weeks"], Registry([plugin]), "auto", {}, said.append)
    assert np.geterr() == before
    mentions(said, "my-set", "numpy.seterr")


def change_method(plugin: Path, name: str, body: str) -> None:
    """Add lines to a method of the plugin's class."""
    lines = plugin.read_text(encoding="utf-8").splitlines(keepends=True)
    [at] = [
        k
        for k, line in enumerate(lines)
        if line.startswith(f"    def {name}(self, ") or line == f"    def {name}(self):\n"
        if k > lines.index("class MySet:\n")
    ]
    plugin.write_text("".join([*lines[: at + 1], body, *lines[at + 1 :]]), encoding="utf-8")
