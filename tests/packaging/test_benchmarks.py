"""The parts of the benchmarks that compute something, without measuring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.benchmarks import _page
from tests.benchmarks.cluster import critical_path, spread
from tests.benchmarks.growth import slope

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = {"a": 3.0, "b": 2.0, "c": 4.0, "d": 1.0, "e": 2.0}
PARENTS = {"a": (), "b": (), "c": ("a",), "d": ("a", "b"), "e": ("d",)}
PRIORITY = dict.fromkeys(SECONDS, 0)


@pytest.mark.parametrize("workers, expected", [(1, 12.0), (2, 7.0), (9, 7.0)])
def test_tasks_are_spread_over_workers(workers: int, expected: float) -> None:
    assert spread(SECONDS, PARENTS, PRIORITY, workers) == expected


def test_a_late_long_task_is_started_first_by_priority() -> None:
    seconds = {**{f"s{k}": 1.0 for k in range(4)}, "long": 4.0}
    parents: dict[str, tuple[str, ...]] = dict.fromkeys(seconds, ())
    equal = dict.fromkeys(seconds, 0)
    assert spread(seconds, parents, equal, 2) == 6.0
    assert spread(seconds, parents, {**equal, "long": 1}, 2) == 4.0


def test_the_critical_path_is_the_longest_chain() -> None:
    assert critical_path(SECONDS, PARENTS) == (7.0, ["a", "c"])


@pytest.mark.parametrize("exponent", [0.5, 1.0, 3.0])
def test_the_exponent_of_a_power_law(exponent: float) -> None:
    x = [1000, 3000, 10_000, 30_000]
    assert slope(x, [2 * n**exponent for n in x]) == pytest.approx(exponent, abs=0.01)
    assert slope(x[:2], [1.0, 2.0]) is None


@pytest.mark.parametrize(
    "ratio, goal, higher, missed",
    [(0.9, 0.95, True, True), (1.0, 0.95, True, False), (3, 2.5, False, True), (2, None, 0, False)],
)
def test_goals(ratio: float, goal: float | None, higher: bool, missed: bool) -> None:
    row = {"ratio": ratio, "goal": goal, "higher_is_better": higher}
    assert ("missed" in _page.met(row)) == missed


def test_the_page_shows_the_committed_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page that is committed is the one of the JSON files."""
    folder = _page.FOLDER
    copied = tmp_path / "docs" / "benchmarks"
    copied.mkdir(parents=True)
    for file in folder.glob("*.json"):
        (copied / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(_page, "FOLDER", copied)
    _page.main()
    page = (tmp_path / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert page == (folder.parent / "benchmarks.md").read_text(encoding="utf-8")
    for picture in ("ratios", "growth", "cluster"):
        assert np.frombuffer((copied / f"{picture}.png").read_bytes(), np.uint8).size > 1000
