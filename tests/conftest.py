"""What holds for every test: nothing of the user's own data, results or plugins takes part."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache folder for the whole session: the simulator writes each draw once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _nothing_of_the_user(
    tmp_path_factory: pytest.TempPathFactory, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pycytominer, which some tests compare with, turns this on for the whole process.
    pd.options.mode.copy_on_write = False
    monkeypatch.delenv("BENCH_PLUGINS", raising=False)
    monkeypatch.setenv("BENCH_CACHE", str(shared_cache))
    nowhere = tmp_path_factory.getbasetemp() / "nothing"
    monkeypatch.setenv("BENCH_DATA", str(nowhere / "data"))
    monkeypatch.setenv("BENCH_RESULTS", str(nowhere / "results"))
