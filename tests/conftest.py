"""Fixtures and settings of all tests: isolation from the user's files, and parallel runs."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path
from typing import Any

# Test processes run next to each other, so each computes on one thread. This is also set when tests
# run in one process, so that numbers do not depend on how the tests were started. It must happen
# before numpy and torch are imported.
for _name in ("BENCH_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# A shell ignores Ctrl-C in what it starts in the background. Processes of tests would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Collections of a heap with all libraries and tests took a tenth of the time.
gc.set_threshold(20_000, 20, 20)

# Files of tests need not survive a power failure. Processes that tests start, and those that the
# attack kills, write through to the disk as usual.
os.fsync = lambda fd: None

import pandas as pd  # noqa: E402 - after the number of threads
import pytest  # noqa: E402 - after the number of threads

ROOT = Path(__file__).resolve().parent.parent
MOST_WORKERS = 8
APART = "not docs and not attack and not services"
"""What ``python -m pytest`` runs; `.ci/run` has commands of their own for the others."""


def pytest_configure(config: pytest.Config) -> None:
    """Leave out pages, attacks and services if neither files nor markers are named."""
    # Workers get file names from the process that starts them, so they cannot tell.
    everything = config.args_source is not pytest.Config.ArgsSource.ARGS
    source = getattr(config, "workerinput", {"apart": everything and not config.option.markexpr})
    if source["apart"]:
        config.option.markexpr = APART


def pytest_configure_node(node: Any) -> None:
    """Pass to a worker whether it leaves them out."""
    node.workerinput["apart"] = node.config.option.markexpr == APART


def pytest_report_header(config: pytest.Config) -> str:
    """Say how the tests that are left out are run."""
    if config.option.markexpr == APART:
        return "not run: tests marked docs, attack, services (python -m pytest -m docs)"
    return ""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of workers of ``-n auto``: none where all tests are in one file.

    A worker needs seconds to start, and the fixtures of a module are built again in each worker.
    """
    if len({argument.partition("::")[0] for argument in config.args}) == 1:
        path = Path(config.args[0].partition("::")[0])
        if path.suffix == ".py":
            return 0
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return min(cores, MOST_WORKERS) if cores > 1 else 0


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache folder for all workers: the simulator writes each draw once.

    Writers of the cache lock what they write, so workers need no lock of their own.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / "shared-cache"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def few_penalties(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the probe of this process select from three penalties instead of eleven.

    For tests that run many small experiments and compare no score with a known value.
    """
    monkeypatch.setattr("bench.scoring.probe.GRID", (1e-4, 1e-2, 1.0))


@pytest.fixture(autouse=True)
def _isolated(
    tmp_path_factory: pytest.TempPathFactory, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pycytominer, which some tests compare with, sets this for the entire process. pandas 3 always
    # copies on write.
    if pd.__version__.startswith("2."):
        pd.options.mode.copy_on_write = False
    # Set first, so that a value which a test leaves is removed after it.
    monkeypatch.setenv("BENCH_PLUGINS", "")
    monkeypatch.delenv("BENCH_PLUGINS")
    monkeypatch.setenv("BENCH_CACHE", str(shared_cache))
    # Tests replace code in memory, which a remembered command would not notice.
    monkeypatch.setattr("bench.runs.hits.RECENT", 1e12)
    nowhere = tmp_path_factory.getbasetemp() / "nothing"
    monkeypatch.setenv("BENCH_DATA", str(nowhere / "data"))
    monkeypatch.setenv("BENCH_RESULTS", str(nowhere / "results"))
