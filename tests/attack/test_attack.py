"""The short form of the attacks; the long forms are commands, see docs/reliability.md."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.attack import adaptation, concurrency, inputs, kills, mutants, records, soak

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.attack


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


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_killed_command_leaves_complete_records_or_none(tmp_path: Path) -> None:
    outcomes = kills.attack(tmp_path, 4, ("run",))
    assert all(name.endswith("identical afterwards") for name in outcomes), outcomes
    assert sum(outcomes.values()) == 4


def test_no_input_ends_in_a_traceback_or_hangs(tmp_path: Path) -> None:
    outcomes = inputs.attack(tmp_path, 2, list(inputs.CHANGES))
    assert not [name for name in outcomes if name.partition(": ")[2] not in inputs.HARMLESS]
    assert sum(outcomes.values()) >= len(inputs.CHANGES)


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_processes_on_one_folder_and_one_empty_cache_agree(tmp_path: Path) -> None:
    alone, _ = concurrency.together(tmp_path, 1, 0.0)
    records, problems = concurrency.together(tmp_path, 3)
    assert records == alone
    assert not problems


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="requires the files of Linux")  # noqa: PTH112
def test_memory_files_processes_and_disk_stay(tmp_path: Path) -> None:
    uses = soak.rounds(tmp_path, 0.0, 5, "zscore,mine")
    assert len({(use.files, use.processes) for use in uses}) == 1, uses
    assert max(use.disk for use in uses) < 1.1 * uses[0].disk
    assert uses[-1].memory - uses[0].memory < 20_000_000, uses


@pytest.mark.parametrize("kind", adaptation.KINDS)
def test_the_smallest_adaptation_that_is_noticed(kind: str) -> None:
    """The figures are those of docs/reliability.md."""
    fraction, change = adaptation.smallest(kind, 40)
    assert 1e-5 < fraction < 1e-3
    assert change < (1e-2 if kind == "treated" else 1e-4)


def test_every_operator_and_constant_is_changed_once() -> None:
    source = "def f(a: int = 1) -> int:\n    if not a < 2:\n        raise ValueError(1 + 1)\n"
    changes = [(lines[0], old, new) for lines, old, new, _ in mutants.mutants(source)]
    assert changes == [
        (1, "1", "2"),
        (2, "not a < 2", "a < 2"),
        (2, "a < 2", "a <= 2"),
        (2, "2", "3"),
    ]
    sources = {text for *_, text in mutants.mutants(source)}
    assert len(sources) == len(changes)
    assert source.strip() not in sources
