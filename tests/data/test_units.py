"""Number of tested and of new values per batch level."""

from __future__ import annotations

import pytest

from bench.data.units import count_units
from tests.helpers import tiny


@pytest.mark.parametrize("hold_out", [False, True])
def test_units_equal_a_naive_count(hold_out: bool) -> None:
    task = tiny.task(hold_out="plate", test=None) if hold_out else tiny.task()
    units = count_units(task.split, task.opened, task.folds)
    for height, level in enumerate(task.opened.levels):
        tested, new = set(), set()
        for fold in task.folds:
            column = [str(value) for value in task.opened.index[level]]
            train = {column[i] for i in [*fold.train, *fold.validation]}
            for i, scored in zip(fold.test, fold.scored, strict=True):
                if scored and column[i]:
                    tested.add(column[i])
                    new |= {column[i]} - train
        assert units[level] == {"test": len(tested), "new": len(new), "height": height}
    if hold_out:
        assert units["plate"]["new"] == len(task.folds)
