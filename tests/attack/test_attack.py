"""The short form of the attacks; the long forms are commands, see docs/reliability.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.attack import kills, records

if TYPE_CHECKING:
    from pathlib import Path


def test_no_corruption_changes_a_board_unnoticed(tmp_path: Path) -> None:
    records.make_results(tmp_path)
    outcomes = records.attack(tmp_path, 40)
    harmless = {
        "left out and named",
        "boards are equal",
        "new digests: found by verify",
        "new digests: not in the predictions",
    }
    assert set(outcomes) <= harmless
    assert outcomes["left out and named"] > 20


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_killed_run_leaves_a_complete_record_or_none(tmp_path: Path) -> None:
    outcomes = kills.attack(tmp_path, 4)
    assert all(name.endswith("the next run is identical") for name in outcomes), outcomes
    assert sum(outcomes.values()) >= 4
