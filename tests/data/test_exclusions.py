"""Rows that a ``dataset.toml`` excludes, by id and by rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from bench.api import BenchError
from tests.helpers import tiny
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from pathlib import Path

RULES = '\n[exclude_if]\ncount = "< 3"\nf0 = ">= 2.5"\n'
SPLIT = '\n[splits.plates]\nhold_out = "plate"\nshares = ["week"]\n'
LISTED = 'exclude = "excluded.csv"\n'


def opened(folder: Path, keys: str = "", **table: Any) -> tuple[Any, pd.DataFrame]:
    toml = tiny.write_table(folder, splits=SPLIT, keys=keys)
    frame = pd.read_parquet(folder / "table.parquet")
    frame["count"] = frame["count"].astype(int)
    frame.assign(**table).to_parquet(folder / "table.parquet")
    [task] = tiny.open_table(toml)
    return task.opened, frame


def write_excluded(folder: Path, **reasons: str) -> None:
    folder.mkdir(exist_ok=True)
    rows = [{"id": name.replace("_", "-"), "reason": why} for name, why in reasons.items()]
    pd.DataFrame(rows, columns=["id", "reason"]).to_csv(folder / "excluded.csv", index=False)


def test_rules_and_ids_against_a_filter(tmp_path: Path) -> None:
    write_excluded(tmp_path, p0_w00="blurred", p1_w03="blurred", p2_w01="empty")
    data, frame = opened(tmp_path, LISTED + RULES)
    few, bright = frame["count"] < 3, frame["f0"] >= 2.5
    by_id = frame["id"].isin(["p0-w00", "p1-w03", "p2-w01"])
    kept = frame[~(few | bright | by_id)]
    assert data.index["id"].tolist() == kept["id"].tolist()
    assert data.index["plate"].tolist() == kept["plate"].tolist()
    X = data.source.read(np.arange(len(kept)))
    assert np.array_equal(X, kept[[f"f{j}" for j in range(6)]].to_numpy(np.float32))
    [note] = data.notes
    for number, reason in (
        (2, "blurred"),
        (1, "empty"),
        (few.sum(), "count"),
        (bright.sum(), "f0"),
    ):
        assert f"{number} {reason}" in note
    assert f"{len(frame) - len(kept)} of {len(frame)}" in note


def test_excluded_rows_are_part_of_the_digest(tmp_path: Path) -> None:
    plain = opened(tmp_path / "a")[0]
    write_excluded(tmp_path / "b", p0_w00="blurred")
    first = opened(tmp_path / "b", LISTED)[0]
    write_excluded(tmp_path / "c", p0_w00="another reason")
    second = opened(tmp_path / "c", LISTED)[0]
    write_excluded(tmp_path / "d", p0_w01="blurred")
    third = opened(tmp_path / "d", LISTED)[0]
    assert first.digest == second.digest
    assert len({plain.digest, first.digest, third.digest}) == 3
    assert plain.notes == ()


def test_rows_without_ids_keep_their_numbers(tmp_path: Path) -> None:
    toml = tiny.write_table(tmp_path, splits=SPLIT, keys=RULES)
    toml.write_text(toml.read_text().replace('id = ["id"]\n', ""))
    frame = pd.read_parquet(tmp_path / "table.parquet")
    frame["count"] = frame["count"].astype(int)
    frame.to_parquet(tmp_path / "table.parquet")
    [task] = tiny.open_table(toml)
    kept = frame.index[(frame["count"] >= 3) & (frame["f0"] < 2.5)]
    assert task.opened.index["id"].tolist() == [str(k) for k in kept]


def test_excluded_rows_may_lack_values(tmp_path: Path) -> None:
    write_excluded(tmp_path, p0_w00="broken")
    f0 = tiny.frame()[1][:, 0].copy()
    f0[0] = np.nan
    assert len(opened(tmp_path, LISTED, f0=f0)[0].index) == 75


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ('\n[exclude_if]\ncount = "few"\n', "count"),
        ('\n[exclude_if]\ncells = "< 3"\n', "cells"),
        ('\n[exclude_if]\nlabel = "< 3"\n', "label"),
        ('\n[exclude_if]\ncount = "< 99"\n', "exclude_if"),
        ("exclude_if = 3\n", "exclude_if"),
        ('exclude = "none.csv"\n', "none.csv"),
        (LISTED, "p9-w00"),
    ],
)
def test_wrong_exclusions_are_refused(tmp_path: Path, keys: str, named: str) -> None:
    write_excluded(tmp_path, p9_w00="?")
    with raises(BenchError, named):
        opened(tmp_path, keys)
