"""Studies with runs on workers: the same findings as in one process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bench.cli.main import main
from bench.runs.sweeps import engine
from tests.helpers import tiny

if TYPE_CHECKING:
    from pathlib import Path

    from bench.runs.sweeps.graph import Graph

POINTS = {"batch-size": "2,8", "learning-curve": "2,4"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_table(tmp_path_factory.mktemp("table"), per_class=8, controls=8)


def study(name: str, table: Path, results: Path, *more: str) -> list[str]:
    argv = ["study", name, "--split", str(table), "--recipe", "smoke", "-m", "erm,ben"]
    argv += ["--set", "recipe.steps=6", "--set", "recipe.width=8", "--seeds", "1", "--json"]
    argv += ["--points", POINTS[name]] if name in POINTS else []
    return [*argv, "--results", str(results), *more]


def finding(capsys: pytest.CaptureFixture[str], argv: list[str]) -> dict[str, Any]:
    with pytest.raises(SystemExit, match="0"):
        main(argv)
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    del document["files"]
    return document


@pytest.mark.slow
@pytest.mark.parametrize("name", [*POINTS, "mechanism"])
def test_workers_make_all_runs_of_a_study(
    name: str,
    table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker is this process, where the command itself must not make a run."""
    from bench.runs.runner import Runner
    from bench.runs.sweeps import clusters

    tasks: list[str] = []

    def connected(graph: Graph, where: Any, watcher: Any, connection: Any) -> Any:
        tasks.extend(graph.tasks)
        with monkeypatch.context() as patch:
            patch.setattr(Runner, "_executed", executed, raising=False)
            return engine._serial(graph, watcher)

    class Connect:
        def __init__(self, *_: object) -> None: ...
        def __enter__(self) -> str:
            return "connection"

        def __exit__(self, *_: object) -> None: ...

    expected = finding(capsys, study(name, table, tmp_path / "serial"))
    executed = Runner._executed
    monkeypatch.setattr(clusters, "connect", Connect)
    monkeypatch.setattr(engine, "_connected", connected)
    monkeypatch.delattr(Runner, "_executed")
    assert finding(capsys, study(name, table, tmp_path / "r", "--jobs", "2")) == expected
    n_runs = len(list((tmp_path / "serial" / "runs").glob("*/*")))
    assert len(tasks) == len(set(tasks)) == n_runs > 0
    assert len(list((tmp_path / "r" / "runs").glob("*/*"))) == n_runs
