"""``bench.leaderboard``, boards computed once, and rows of different code."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import bench
from bench.api import BenchError
from bench.boards import select
from bench.boards.frame import COLUMNS
from bench.boards.pairs import compare
from bench.boards.select import BoardSet, boards
from bench.records.store import Store
from tests.helpers.factories import as_records, make_record

if TYPE_CHECKING:
    from pathlib import Path


def runs(method: str, values: list[float], **more: Any) -> list[dict[str, Any]]:
    return [make_record(method, seed, value, **more) for seed, value in enumerate(values)]


def code(digest: str, **folders: str) -> dict[str, Any]:
    files = {f"bench/{name}/x.py": value for name, value in folders.items()}
    return {"digest": digest, "files": files}


def test_the_frame_has_one_row_per_method_and_board(tmp_path: Path) -> None:
    records = [*runs("erm", [0.5, 0.6, 0.7]), *runs("ben", [0.6, 0.7, 0.8])]
    records += runs("erm", [0.3, 0.3, 0.3], split="coos7/test1")
    store = Store(tmp_path)
    for record in records:
        store.commit(record, pd.DataFrame({"metric": ["accuracy"], "value": [0.5]}))
    frame = bench.leaderboard(results=tmp_path)
    assert tuple(frame.columns) == COLUMNS
    assert list(zip(frame["split"], frame["method"], strict=True)) == [
        ("coos7/test1", "erm"),
        ("coos7/test4", "erm"),
        ("coos7/test4", "ben"),
    ]
    part = bench.leaderboard("coos7/test4", results=tmp_path).set_index("method")
    assert part["mean"].to_dict() == pytest.approx({"erm": 0.6, "ben": 0.7})
    assert part.loc["ben", "diff_to_erm"] == pytest.approx(0.1)
    assert pd.isna(part.loc["erm", "diff_to_erm"])
    assert part["n_seeds"].dtype == "Int64"
    assert part.loc["erm", "rank"] == 1
    assert list(bench.leaderboard(results=tmp_path, methods=["ben"])["method"]) == ["ben"]
    with pytest.raises(BenchError):
        bench.leaderboard("coos7/test9", results=tmp_path)


def test_an_empty_folder_has_an_empty_frame(tmp_path: Path) -> None:
    frame = bench.leaderboard(results=tmp_path)
    assert (len(frame), tuple(frame.columns)) == (0, COLUMNS)


def test_importing_bench_imports_neither_pandas_nor_numpy() -> None:
    code = "import sys, bench; assert not {'pandas', 'numpy', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_set_computes_each_board_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    build = select.build_board

    def counted(*arguments: Any) -> Any:
        built.append(arguments[1])
        return build(*arguments)

    monkeypatch.setattr(select, "build_board", counted)
    records = as_records(
        [*runs("erm", [0.5] * 3), *runs("erm", [0.4] * 3, split="coos7/test1", recipe="paper")]
    )
    board = BoardSet(records)
    first = board.select()
    assert len(built) == 2
    assert [a is b for a, b in zip(board.select(), first, strict=True)] == [True, True]
    [part] = board.only(records[:3]).select()
    assert part is first[1]
    assert len(built) == 2
    board.select(readout="probe")
    assert len(built) == 4


def test_a_row_of_seeds_of_two_codes_is_marked_and_not_ranked() -> None:
    entries = runs("erm", [0.5, 0.6, 0.7])
    for entry, digest in zip(entries, ("a", "b", "b"), strict=True):
        entry["code"] = code(digest, training=digest)
    [board] = boards(as_records(entries))
    assert board.rows[0].rank is None
    assert "different code" in board.rows[0].reason
    entries[0]["code"] = entries[1]["code"]
    [board] = boards(as_records(entries))
    assert board.rows[0].rank == 1
    for entry in entries:  # records of older versions have no digest: all count as one
        del entry["code"]
    [board] = boards(as_records(entries))
    assert board.rows[0].rank == 1
    entries[0]["code"] = code("a", training="a")
    [board] = boards(as_records(entries))
    assert board.rows[0].rank is None


def test_a_pair_across_codes_is_noted() -> None:
    rng = np.random.default_rng(0)
    tables = {method: rng.random((3, 9)).tolist() for method in ("erm", "ben", "adabn")}

    def board_of(**codes: dict[str, Any]) -> Any:
        entries = [
            make_record(method, seed, float(np.mean(row)), clusters=row, code=codes[method])
            for method, table in tables.items()
            for seed, row in enumerate(table)
        ]
        [board] = boards(as_records(entries))
        return board

    same = board_of(**{m: code(m, training="1", scoring="1") for m in tables})
    assert not [note for note in same.notes if "other code" in note]
    assert not [note for note in compare(same).notes if "other code" in note]
    mixed = board_of(
        erm=code("a", training="1"), ben=code("b", training="2"), adabn=code("c", scoring="2")
    )
    [note] = [note for note in mixed.notes if "other code" in note]
    assert "ben" in note
    assert "adabn" not in note
    assert [note for note in compare(mixed).notes if "other code" in note]


def test_the_frame_over_all_splits_averages_the_differences(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for split, gain in (("one/a", 0.1), ("two/a", 0.3)):
        for method, shift in (("erm", 0.0), ("ben", gain)):
            values = [0.4 + shift, 0.5 + shift, 0.6 + shift]
            for record in runs(method, values, split=split, edition="real"):
                store.commit(record, pd.DataFrame({"metric": ["accuracy"], "value": [0.5]}))
    frame = bench.leaderboard(overall=True, results=tmp_path).set_index("method")
    assert frame["mean_difference"].to_dict() == pytest.approx({"erm": 0.0, "ben": 0.2})
    assert frame["mean_rank"].to_dict() == {"ben": 1.0, "erm": 2.0}
    assert frame["p_better"].isna().all()
