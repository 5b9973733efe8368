"""Execute the ``sh`` blocks of the documents on small data.

These blocks have names that a reader replaces: a suite, a run, a scheduler, a bucket. Workers of
``--jobs``, ``--scheduler`` and ``--cluster`` are this process here; ``tests/runs/test_sweeps.py``
starts real ones. ``NOT_RUN`` lists the commands that need something that a test does not have.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest

from bench.cli.main import main
from bench.records.store import Store
from bench.runs.sweeps import engine
from tests.helpers import tiny
from tests.packaging.test_blocks import PAGES, lines

if TYPE_CHECKING:
    from pathlib import Path

    from bench.runs.sweeps.graph import Graph
    from bench.runs.sweeps.work import Result

NOT_RUN = {
    "pip install 'labshift[cluster]'": "needs a package index",
    "pip install 'labshift[cluster,s3]'": "needs a package index",
    "python -m pip download --dest wheels 'setuptools>=77' .": "needs a package index",
    "python -m pip install --no-index --find-links wheels -e .": "needs the folder of packages",
    "dask scheduler": "does not end; started by tests/helpers/dask_cluster.py",
    "dask worker tcp://HOST:8786 --nthreads 1 --nworkers 16": "does not end, as the scheduler",
    "python -m bench run --method ben --split rxrx1 --recipe paper --devices 4": (
        "needs RxRx1 and four devices; tests/training/test_parallel.py trains in two processes"
    ),
}
"""Commands that are not executed, with the reason."""
TYPED = {shlex.join(shlex.split(command)): reason for command, reason in NOT_RUN.items()}
WITH_BLOCKS = [page for page in PAGES if list(lines(page, "sh"))]
SMALL = {"--seeds": "1", "--trials": "2", "--device": "cpu", "--cluster": "slurm"}
"""Values of options for a small run."""
MORE = {
    "run": ["--no-controls"],
    "tune": ["--dry-run"],
    "recommend": ["--recipe", "smoke", "--seeds", "1", "--method", "zscore"],
    "study": ["--method", "zscore", "--seeds", "1", "--points", "8"],
}
"""Further options of a command for a small run."""
SPLIT = '\n[splits.weeks]\nhold_out = "week"\n'
"""Two folds."""
SUITE = '[[block]]\nmethods = ["identity"]\nsplits = ["{split}"]\nseeds = 1\n'
SUITE += "controls = false\ncompanions = false\n"
PROFILE = 'jobs = 1\nqueue = "gpu"\nwalltime = "00:10:00"\nmemory = "2GB"\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder, with the files that the pages name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "results"))
    table = tiny.write_table(tmp_path / "screen", SPLIT, controls=4)
    for name in ("my_suite.toml", "suite.toml"):
        (tmp_path / name).write_text(SUITE.format(split=f"{table}:weeks"), encoding="utf-8")
    (tmp_path / "slurm.toml").write_text(PROFILE, encoding="utf-8")

    def on_dask(graph: Graph, _where: object, watcher: Any) -> dict[str, Result]:
        return engine._serial(graph, watcher)

    monkeypatch.setattr(engine, "_on_dask", on_dask)
    return tmp_path


def small(words: list[str], folder: Path) -> list[str]:
    """Return a command of a page with the small data in place of the names of the page."""
    split = f"{folder / 'screen' / 'dataset.toml'}:weeks"
    names = {"ottawa": split, "s3://my-bucket/screen/dataset.toml:weeks": split}
    names |= {"my_screen.toml": split.removesuffix(":weeks"), "ben": "tvn", "erm,ben": "tvn"}
    places = {"s3://my-bucket": f"file://{folder}/bucket", "/shared": str(folder)}
    result = [names.get(word, word) for word in words]
    for before, after in zip(words, range(1, len(words)), strict=False):
        result[after] = SMALL.get(before, result[after])
    for old, new in places.items():
        result = [word.replace(old, new) for word in result]
    if result[0] == "sweep":
        result[1] = "my_suite.toml"
    if result[0] == "export":
        result[1] = Store(folder / "results").load_all()[0].run_id[:6]
    return [*result, *MORE.get(result[0], [])]


@pytest.mark.docs
@pytest.mark.parametrize("page", WITH_BLOCKS, ids=lambda page: page.name)
def test_every_sh_block_runs(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page.name == "tasks.md":  # the page lists runs and exports one of them
        split = f"{folder / 'screen' / 'dataset.toml'}:weeks"
        main_exits(["run", "-m", "identity", "-s", split, "--no-controls"])
    for words in lines(page, "sh"):
        if shlex.join(words) in TYPED:
            continue
        if words[0] == "export":
            for word in words[1:]:
                name, _, value = word.partition("=")
                value = value.replace("s3://my-bucket", f"file://{folder}/bucket")
                monkeypatch.setenv(name, value.replace("/shared", str(folder)))
            monkeypatch.setenv("BENCH_THREADS", "1")
            continue
        assert words[:3] == ["python", "-m", "bench"], "run it, or add it to NOT_RUN"
        main_exits(small(words[3:], folder))


def main_exits(words: list[str]) -> None:
    """Run a command that must succeed."""
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 0, words


def test_commands_that_are_not_run_are_on_a_page() -> None:
    written = {shlex.join(words) for page in WITH_BLOCKS for words in lines(page, "sh")}
    assert set(TYPED) <= written
