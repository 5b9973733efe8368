"""A repeated command reads its records without opening the data, until anything changes."""

from __future__ import annotations

import builtins
import io
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from bench.cli.main import main
from bench.data import opening
from bench.runs import hits
from tests.helpers import tiny

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., tuple[int | str | None, str, str]]

SPLIT = '\n[splits.plates]\ntest = { plate = ["p3"] }\nshares = ["week"]\n'


@pytest.fixture(autouse=True)
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _isolated: None) -> list[list[str]]:
    """Remember commands in a cache of the test; return the calls that opened data."""
    monkeypatch.setattr(hits, "RECENT", -60.0)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    calls: list[list[str]] = []
    open_splits = opening.open_splits

    def watched(names: list[str], *arguments: Any, **more: Any) -> Any:
        calls.append(names)
        return open_splits(names, *arguments, **more)

    monkeypatch.setattr(opening, "open_splits", watched)
    return calls


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a table and the records of a run on it, with control rows."""
    folder = tmp_path_factory.mktemp("made")
    table = tiny.write_table(folder / "data", splits=SPLIT, per_class=3, controls=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(folder / "cache"))
        with pytest.raises(SystemExit) as ended:
            main([*words(table), "--results", str(folder / "results")])
    assert not ended.value.code
    shutil.rmtree(folder / "cache")
    return folder


def words(table: Path) -> list[str]:
    return ["run", "-m", "identity", "-s", f"{table}:plates"]


@pytest.fixture
def table(made: Path, tmp_path: Path) -> Path:
    for name in ("data", "results"):
        shutil.copytree(made / name, tmp_path / name)
    return tmp_path / "data" / "dataset.toml"


@pytest.fixture
def run(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*more: str) -> tuple[int | str | None, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*words(table), *more, "--results", str(tmp_path / "results")])
        shown = capsys.readouterr()
        return ended.value.code, shown.out, shown.err

    return call


def test_a_repeated_command_prints_the_same_without_opening_the_data(
    run: Run, opened: list[list[str]]
) -> None:
    first, n = run("--no-controls"), len(opened)
    assert run("--no-controls") == first
    assert len(opened) == n
    code, out, _ = run("--no-controls", "--json")
    assert code == 0
    assert [row["method"] for row in json.loads(out)["runs"]] == ["identity"]
    assert len(opened) == n  # only the format differs


def test_controls_belong_to_the_command(run: Run, opened: list[list[str]], tmp_path: Path) -> None:
    first, n = run(), len(opened)
    assert run() == first
    assert len(opened) == n
    for path in sorted((tmp_path / "results" / "runs").glob("*/*/run.json")):
        if '"shuffle"' in path.read_text(encoding="utf-8"):
            path.unlink()
            break
    run()
    assert len(opened) == n + 1


def _rewrite(table: Path) -> None:
    path = table.parent / "table.parquet"
    frame = pd.read_parquet(path)
    frame["f0"] += 1
    frame.to_parquet(path)


def _touch_code(table: Path) -> None:
    hits._code = lambda: "other"  # restored by the fixture of the test


def _damage(table: Path) -> None:
    for path in (table.parents[1] / "results" / "runs").glob("*/*/predictions.parquet"):
        path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_rewrite, id="table"),
        pytest.param(lambda t: t.write_text(t.read_text() + "# x\n"), id="toml"),
        pytest.param(_touch_code, id="code"),
        pytest.param(_damage, id="record"),
        pytest.param(lambda t: os.environ.update(BENCH_THREADS="2"), id="environment"),
    ],
)
def test_what_changed_is_noticed(
    change: Callable[[Path], object],
    run: Run,
    opened: list[list[str]],
    table: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hits, "_code", hits._code)
    monkeypatch.setenv("BENCH_THREADS", "1")
    run("--no-controls")
    n = len(opened)
    change(table)
    assert run("--no-controls")[0] == 0
    assert len(opened) == n + 1


def test_commands_with_extensions_or_files_are_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.records.store import Store

    store = Store(tmp_path)
    assert hits.memory({}, store, ["erm"], []) is not None
    assert hits.memory({}, store, ["net.py:wide"], []) is None
    assert hits.memory({}, store, ["erm"], ["plugin.py"]) is None
    monkeypatch.setenv("BENCH_PLUGINS", "plugin.py")
    assert hits.memory({}, store, ["erm"], []) is None


def test_files_that_changed_a_moment_ago_are_not_relied_on(
    run: Run, opened: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hits, "RECENT", 3600.0)
    run("--no-controls")
    n = len(opened)
    run("--no-controls")
    assert len(opened) == n + 1


def test_all_files_that_opening_reads_are_among_the_inputs(
    run: Run, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids depend on the files that are read before the first run; the cache is derived."""
    (table.parent / "left-out.csv").write_text("id,reason\np0-w00,debris\n", encoding="utf-8")
    text = table.read_text(encoding="utf-8")
    table.write_text(
        text.replace("\n[splits", '\nexclude = "left-out.csv"\n\n[splits', 1), encoding="utf-8"
    )
    read: set[str] = set()
    inputs: list[str] = []
    plain, of_jobs = io.open, hits._inputs

    def watched(file: Any, *arguments: Any, **more: Any) -> Any:
        if not isinstance(file, int):
            read.add(str(Path(os.fsdecode(file)).absolute()))
        return plain(file, *arguments, **more)

    def noted(jobs: Any) -> list[str] | None:
        found = of_jobs(jobs)
        inputs.extend(found or ())
        return found

    monkeypatch.setattr(hits, "_inputs", noted)
    monkeypatch.setattr(io, "open", watched)
    monkeypatch.setattr(builtins, "open", watched)
    code, _, error = run("--no-controls")
    assert code == 0, error
    data = {path for path in read if path.startswith(str(table.parent))}
    assert str(table) in data
    assert data <= set(inputs)
    assert str(table.parent / "table.parquet") in inputs
    assert str(table.parent / "left-out.csv") in inputs


def test_simulated_data_depend_on_the_files_and_on_the_absence_of_real_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "real"))
    folder = tmp_path / "cache" / "simulated" / "coos7-1"
    folder.mkdir(parents=True)
    (folder / "parameters.json").touch()
    data = SimpleNamespace(name="coos7", edition="simulated")
    split = SimpleNamespace(dataset="coos7")
    task = SimpleNamespace(opened=data, split=split, source_domain=None)
    job: Any = SimpleNamespace(task=task)
    paths = hits._of_simulation(job)
    assert paths is not None
    before = {path: hits._state(path) for path in paths}
    assert str(folder / "parameters.json") in before
    (tmp_path / "real" / "coos7").mkdir(parents=True)
    assert {path: hits._state(path) for path in paths} != before
    data.edition = "real"
    assert hits._of_simulation(job) is None
