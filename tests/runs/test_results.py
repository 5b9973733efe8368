"""``bench.leaderboard`` and ``bench.load_records`` take names as the command line does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

import bench
from bench.core.errors import BenchError
from bench.records.store import Store
from tests.helpers import tiny
from tests.helpers.errors import raises
from tests.helpers.factories import make_record

if TYPE_CHECKING:
    from pathlib import Path

METRICS = pd.DataFrame({"metric": ["accuracy"], "value": [0.5]})


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return a folder of runs with the canonical name of the split only."""
    store = Store(tmp_path / "results")
    for split in ("coos7/test1", "coos7/test4"):
        for method in ("erm", "ben", "ben+tvn"):
            store.commit(make_record(method, 0, split=split), METRICS)
    return store.root


def test_an_alias_is_the_split(results: Path) -> None:
    board = bench.leaderboard("ottawa", results=results)
    pd.testing.assert_frame_equal(board, bench.leaderboard("coos7/test4", results=results))
    assert set(board["split"]) == {"coos7/test4"}
    records = bench.load_records(results, split="ottawa")
    assert [r.split_id for r in records] == ["coos7/test4"] * 3
    assert {r.run_id for r in records} < {r.run_id for r in bench.load_records(results)}


def test_methods_are_a_text_or_a_list(results: Path) -> None:
    for methods in ("erm, ben+tvn", ["erm", "ben+tvn"], ["erm,ben+tvn"]):
        board = bench.leaderboard("ottawa", results=results, methods=methods)
        records = bench.load_records(results, split="ottawa", methods=methods)
        assert set(board["method_id"]) == {"erm", "ben+tvn"}
        assert {record.method_id for record in records} == {"erm", "ben+tvn"}


def test_a_split_of_a_file_and_of_a_plugin(tmp_path: Path) -> None:
    path = tiny.write_table(tmp_path / "data")
    runs = bench.run("zscore", f"{path}:plates", recipe="smoke", results=tmp_path / "r")
    for name in (f"{path}:plates", runs[0].split_id):
        assert [r.run_id for r in bench.load_records(tmp_path / "r", split=name)] == [
            runs[0].run_id
        ]
        assert len(bench.leaderboard(name, results=tmp_path / "r")) == 1


@pytest.mark.parametrize("wrong", [{"split": "ottowa"}, {"methods": "bem"}, {"methods": ""}])
def test_names_without_runs_raise(results: Path, wrong: dict[str, str]) -> None:
    with raises(BenchError):
        bench.load_records(results, **wrong)  # type: ignore[arg-type]


def test_an_empty_folder_has_no_records(tmp_path: Path) -> None:
    assert bench.load_records(tmp_path) == []
    assert bench.load_records(tmp_path, split="ottawa") == []
