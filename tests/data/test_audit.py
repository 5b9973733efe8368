"""No training row is in the test set: all packaged splits, all editions available here."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
import pytest

from bench.api import Opened, Split, make_params
from bench.core.errors import BenchError
from bench.core.registry import Registry
from bench.data.audit import audit
from bench.data.catalog import known_splits
from bench.data.duplicates import row_digests
from bench.data.folds import folds
from bench.data.task import open_task
from tests.helpers import tiny
from tests.helpers.errors import mentions, raises

REAL = os.environ.get("BENCH_DATA", "")
"""Where this machine has real files; tests otherwise see none."""
TABLES = os.environ.get("BENCH_TEST_DATA", "")
"""Where it has the small real tables."""
SMALL = {"scale": 0.05}
"""A simulator's settings, so that an edition takes seconds to write; the layout is the same."""
_REGISTRY = Registry()
_SPLITS = known_splits(_REGISTRY)
_CASES = [
    (name, edition)
    for name, split in _SPLITS.items()
    for edition in _REGISTRY.entry("dataset", split.dataset).meta.get("editions", [])
]
_OPENED: dict[tuple[str, str], Opened] = {}


def opened_for(name: str, edition: str) -> Opened:
    if (name, edition) not in _OPENED:
        cls = _REGISTRY.entry("dataset", name).load()
        known = {f.name for f in dataclasses.fields(cls.Settings)}
        small = {k: v for k, v in SMALL.items() if k in known and edition == "simulated"}
        dataset = cls(make_params("data", cls.Settings, small))
        if edition not in dataset.editions():
            pytest.skip(f"the {edition} edition of {name} is not here; $BENCH_DATA says where")
        _OPENED[name, edition] = dataset.open(edition)
    return _OPENED[name, edition]


@pytest.mark.parametrize(("name", "edition"), _CASES)
def test_nothing_is_on_both_sides(name: str, edition: str, monkeypatch: pytest.MonkeyPatch) -> None:
    split = _SPLITS[name]
    for place in (TABLES, REAL) if edition == "real" else ():
        cls = _REGISTRY.entry("dataset", split.dataset).load()
        if place:
            monkeypatch.setenv("BENCH_DATA", place)
        if place and "real" in cls(make_params("data", cls.Settings, {})).editions():
            break
    opened = opened_for(split.dataset, edition)
    result = folds(split, opened)
    assert audit(split, opened, result, row_digests(opened)) == []


def test_the_audit_looks_at_all_of_them() -> None:
    names = {name for name, _ in _CASES}
    assert names == set(_SPLITS)
    assert {"rxrx1/test", "camelyon17/test", "coos7/test4"} <= names


def pictures(copies: dict[int, int], **changes: Any) -> Opened:
    """Return images of four plates; row ``a`` of ``copies`` is a copy of row ``b``."""
    index, _ = tiny.frame()
    pixels = np.random.default_rng(0).integers(0, 255, (len(index), 2, 4, 4), dtype=np.uint8)
    for a, b in copies.items():
        pixels[a] = pixels[b]
    opened = Opened(
        name="tiny",
        index=index,
        source=tiny.Images(pixels),
        levels=("plate",),
        level="plate",
        edition="real",
        digest=f"tiny-{sorted(copies.items())}",
    )
    return dataclasses.replace(opened, **changes)


def by_plate(**changes: Any) -> Split:
    values = {
        "name": "tiny/plate",
        "dataset": "tiny",
        "shift": "another plate",
        "hold_out": "plate",
    }
    return Split(**{**values, **changes})


def test_a_copy_on_the_other_side_is_found_by_content() -> None:
    opened = pictures({0: 50, 1: 2})
    split = by_plate()
    result = folds(split, opened)
    plates = opened.index["plate"]
    assert plates[0] != plates[50]
    assert plates[1] == plates[2]
    [sentence] = audit(split, opened, result, row_digests(opened))
    ids = opened.index["id"]
    mentions(sentence, "2")
    mentions(sentence, ids[0], ids[50])
    assert audit(by_plate(shares=("content",)), opened, result, row_digests(opened)) == []
    assert audit(split, pictures({}), result, row_digests(pictures({}))) == []


def test_digests_are_those_of_the_values() -> None:
    opened = pictures({3: 7})
    digests = row_digests(opened)
    pixels = opened.source.read(np.arange(len(opened.index)))
    for a in range(len(digests)):
        same = [b for b in range(len(digests)) if np.array_equal(pixels[a], pixels[b])]
        assert np.flatnonzero(digests == digests[a]).tolist() == same


def test_rows_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = pictures({5: 6})
    first = row_digests(opened)

    def never(rows: Any) -> Any:
        raise AssertionError("read again")

    monkeypatch.setattr(opened.source, "read", never)
    assert row_digests(opened).tolist() == first.tolist()


def test_a_data_set_that_keeps_its_content_is_audited_before_each_run() -> None:
    opened = pictures({0: 50})
    digests = row_digests(opened)
    known = dataclasses.replace(opened, content=lambda: digests)
    with raises(BenchError, "tiny/plate", "p0-w00", "p2-w12"):
        open_task("tiny/plate", by_plate(), known)
    published = open_task("tiny/plate", by_plate(), known, published=True)
    assert "p0-w00" in published.warnings[0]
    declared = open_task("tiny/plate", by_plate(shares=("content",)), known)
    assert declared.warnings == ()
    assert open_task("tiny/plate", by_plate(), opened).warnings == ()
