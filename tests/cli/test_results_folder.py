"""``list``, ``show failed``, ``run --retry-failed`` and ``results``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bench.cli.main import main
from bench.cli.output import print_list
from bench.records.store import Store
from tests.helpers import tiny

if TYPE_CHECKING:
    from pathlib import Path

FAILS = """
import os

class M(Profile):
    def fit(self, train, adapt, ctx):
        if os.path.exists(os.environ["TINY_FLAG"]):
            raise ValueError("planted")

    def apply(self, samples):
        return Output(samples.X)
"""


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: object) -> tuple[int, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([*map(str, arguments), "--results", str(tmp_path / "r")])
        return int(stop.value.code or 0), capsys.readouterr().out

    return run


@pytest.fixture
def filled(tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fill a results folder with two runs, of which one failed; return the plugin."""
    flag = tmp_path / "flag"
    flag.touch()
    monkeypatch.setenv("TINY_FLAG", str(flag))
    plugin = tiny.write_method(tmp_path, "fails", FAILS)
    split = f"{tiny.write_table(tmp_path / 'data')}:plates"
    words = ("run", "-m", "fails,erm", "-s", split, "--seed", 4, "--recipe", "smoke")
    code, _ = call(*words, "--set", "recipe.steps=3", "--plugin", plugin, "--isolate", "none")
    assert code == 1
    return plugin


@pytest.mark.parametrize("what", ["methods", "splits", "metrics", "claims"])
def test_a_list_has_a_line_per_row_and_fits(
    call: Any, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rows = json.loads(call("list", what, "--json")[1])[what]
    lines = call("list", what)[1].splitlines()
    assert len(lines) == len(rows) + 1
    assert max(map(len, lines)) <= 80
    wide = call("list", what, "--wide")[1]
    assert "\N{HORIZONTAL ELLIPSIS}" not in wide
    assert len(wide.splitlines()) == len(lines)


def test_long_cells_are_shortened(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    print_list(["a", "b"], [["x" * 4, "y" * 50], ["x", "y"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["a     b", "xxxx  " + "y" * 23 + "\N{HORIZONTAL ELLIPSIS}", "x     y"]


def test_failed_runs_are_shown_and_repeated(call: Any, filled: Path, tmp_path: Path) -> None:
    [failure] = json.loads(call("show", "failed", "--json")[1])["failed"]
    assert failure["about"]["method"] == "fails"
    assert failure["about"]["settings"] == {"recipe.steps": "3"}
    assert "planted" in call("show", "failed")[1]
    assert "Traceback" in call("show", "failed", failure["run_id"][:8])[1]
    code, _ = call("run", "--retry-failed", "--plugin", filled, "--isolate", "none")
    assert code == 1
    (tmp_path / "flag").unlink()
    code, out = call("run", "--retry-failed", "--plugin", filled, "--json", "--isolate", "none")
    assert code == 0
    [run] = json.loads(out)["runs"]
    assert (run["run_id"], run["status"], run["seed"]) == (failure["run_id"], "ok", 4)
    assert Store(tmp_path / "r").failures() == []
    listed = json.loads(call("list", "runs", "--json")[1])["runs"]
    assert {row["method"]: row["status"] for row in listed} == {"identity+fails": "ok", "erm": "ok"}
    assert len(call("list", "runs")[1].splitlines()) == 3
    assert json.loads(call("run", "--retry-failed", "--json")[1]) == {"runs": []}
    assert call("run", "--retry-failed", "-m", "erm")[0] == 2
    assert call("run", "-m", "erm")[0] == 2


def test_prune_deletes_only_what_can_be_recreated(call: Any, filled: Path, tmp_path: Path) -> None:
    del filled
    store = Store(tmp_path / "r")
    store.write_artifact("fit", "ab" * 12, {}, {"fit_s": 2.5})
    parts = {part["part"]: part for part in json.loads(call("results", "du", "--json")[1])["parts"]}
    assert {"runs", "unused", "weights", "failed"} <= set(parts)
    # The planted artifact, and profiles of the failed run.
    assert (parts["unused"]["entries"], parts["unused"]["seconds"]) == (2, 2.5)
    sizes = [f.stat().st_size for f in (store.root / "failed").rglob("*") if f.is_file()]
    assert parts["failed"]["bytes"] == sum(sizes)
    files = sorted(path for path in store.root.rglob("*") if path.is_file())
    code, _ = call("results", "prune")
    assert code == 0
    assert sorted(path for path in store.root.rglob("*") if path.is_file()) == files
    assert call("results", "prune", "--yes")[0] == 0
    left = {part["part"] for part in json.loads(call("results", "du", "--json")[1])["parts"]}
    assert {"unused", "failed"}.isdisjoint(left)
    assert {"runs", "weights"} <= left
    assert call("results", "prune", "weights", "embeddings", "--yes")[0] == 0
    assert len(store.load_all()) == 1
    assert not list((store.root / "artifacts").iterdir())
    assert call("results", "prune", "runs")[0] == 2
    assert call("results", "shrink")[0] == 2
