"""The comparison of published runs with repetitions on another processor."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from results import processors
from tests.helpers.factories import as_records, make_record

if TYPE_CHECKING:
    from pathlib import Path


def test_only_equal_conditions_on_another_processor_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [make_record(method="ben", seed=seed, value=0.6) for seed in range(4)]
    after = copy.deepcopy(before)
    for record in before:
        record["provenance"]["cpu"] = "first"
    after[1] = make_record(method="ben", seed=1, value=0.7)
    after[1]["predictions_sha256"] = "other"
    for record in after:
        record["provenance"]["cpu"] = "second"
    after[2]["provenance"]["threads"] = 7
    after[3]["provenance"]["cpu"] = "first"

    class Records:
        def __init__(self, folder: Path) -> None:
            self.folder = folder

        def load_reference(self) -> Any:
            return as_records(before)

        def load_all(self) -> Any:
            return as_records(after)

    monkeypatch.setattr(processors, "Store", Records)
    [row] = processors.measure(tmp_path)
    assert (row["published_on"], row["repeated_on"]) == ("first", "second")
    assert (row["runs"], row["equal_predictions"], row["equal_scores"]) == (2, 1, 1)
    assert row["largest_difference"] == pytest.approx(0.1)
    assert row["published"] == pytest.approx(0.6)
    assert row["repeated"] == pytest.approx(0.65)
