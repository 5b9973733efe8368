"""Releases of the benchmark: what belongs to one, and that two are never ranked together."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bench.boards import release
from bench.boards.overall import overall
from bench.boards.render.to_json import to_json
from bench.boards.select import boards, plain_boards
from bench.core.version import NUMERICS
from bench.runs.sweeps.suite import packaged, read_suite
from tests.helpers.factories import as_records, make_record

if TYPE_CHECKING:
    from collections.abc import Mapping


def described(**changes: Any) -> Mapping[str, Any]:
    """Return the release of the records of ``make_record``."""
    split = {"name": "coos7/test4", "edition": "simulated", "rows": "0" * 32, "data": "d" * 32}
    return {
        "title": "t",
        "doi": "10.1/x",
        "suite": "default",
        "numerics": 1,
        "metrics": {"balanced_accuracy": 1},
        "recipes": {"default": ["e" * 24]},
        "split": [split, {**split, "name": "coos7/test3"}, {**split, "settings": {"draw": 100}}],
        **changes,
    }


@pytest.fixture
def packaged_release(monkeypatch: pytest.MonkeyPatch) -> release.Release:
    own = release.parse("2030.1", described())
    monkeypatch.setattr(release, "releases", lambda: (own,))
    return own


@pytest.mark.parametrize(
    ("changes", "inside"),
    [
        ({}, True),
        ({"dataset_settings": {"draw": 100}}, True),
        ({"dataset_settings": {"draw": 1}}, False),
        ({"split": "coos7/test3"}, True),
        ({"split": "screen/plates"}, False),
        ({"edition": "real"}, False),
        ({"split_digest": "1" * 32}, False),
        ({"data_digest": "1" * 32}, False),
        ({"recipe": "smoke"}, False),
        ({"recipe_digest": "1" * 24}, False),
        ({"recipe_overrides": {"steps": 10}}, False),
        ({"metric_versions": {"balanced_accuracy": 2}}, False),
        ({"grouping": {"plates": 2}}, False),
    ],
)
def test_a_run_belongs_to_a_release_if_all_agree(
    packaged_release: release.Release, changes: dict[str, Any], inside: bool
) -> None:
    entries = [make_record("erm", seed, **changes) for seed in range(3)]
    [record, *_] = as_records(entries)
    assert (packaged_release.why_not(record, record.primary) == "") == inside
    result = boards(as_records(entries), studies=True)
    assert [board.release for board in result] == (["2030.1"] if inside else [""])
    [shown] = to_json(result)["boards"]
    assert shown["release"] == result[0].release
    assert ("2030.1" in result[0].title) == inside
    assert any("2030.1" in note for note in result[0].notes)


def test_other_numerics_are_another_board(packaged_release: release.Release) -> None:
    entries = [make_record("erm", seed) for seed in range(3)]
    later = []
    for seed in range(3):
        entry = make_record("ben", seed)
        entry["spec"]["numerics"] = 2
        entry["run_id"] = f"{seed:024x}"
        later.append(entry)
    shown = boards(as_records([*entries, *later]))
    methods = {board.release: [row.method for row in board.rows] for board in shown}
    assert methods == {"2030.1": ["erm"], "": ["ben"]}
    assert [board.release for board in plain_boards(shown)] == ["2030.1"]


def test_releases_are_never_compared_over_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    def entries(split: str, data: str, value: float) -> list[dict[str, Any]]:
        return [
            make_record(method, seed, v, split=split, data_digest=data, clusters=[v] * 9)
            for method, v in (("erm", 0.5), ("ben", value))
            for seed in range(3)
        ]

    def with_data(digest: str, *splits: str) -> Mapping[str, Any]:
        [first, *_] = described()["split"]
        return described(split=[{**first, "name": s, "data": digest} for s in splits])

    known = (
        release.parse("2031.1", with_data("b" * 32, "coos7/test4")),
        release.parse("2030.1", with_data("a" * 32, "coos7/test4", "sim/both")),
    )
    monkeypatch.setattr(release, "releases", lambda: known)
    board = boards(
        as_records(
            [
                *entries("coos7/test4", "a" * 32, 0.6),
                *entries("coos7/test4", "b" * 32, 0.8),
                *entries("sim/both", "a" * 32, 0.7),
                *entries("screen/plates", "c" * 32, 0.9),
            ]
        )
    )
    results = {result.release: result for result in overall(board)}
    assert {name: sorted(r.datasets) for name, r in results.items()} == {
        "2031.1": ["coos7", "screen"],
        "2030.1": ["coos7", "sim"],
    }
    ben = {name: r.rows[0].mean_difference for name, r in results.items()}
    assert ben == pytest.approx({"2031.1": 0.35, "2030.1": 0.15})


def test_the_packaged_release_is_of_this_code_and_has_the_splits_of_its_suite() -> None:
    newest = release.releases()[0]
    assert newest.suite in packaged()
    assert newest.numerics == NUMERICS
    assert set(newest.recipes) == {"default"}
    wanted = {
        (split, block.edition, json.dumps(settings.get("data.draw")))
        for block in read_suite(newest.suite).blocks
        for split in block.splits
        for settings in block.settings
    }
    listed = {
        (split, edition, json.dumps(json.loads(settings).get("draw")))
        for split, edition, settings in newest.splits
    }
    assert {name for name, *_ in listed} == {name for name, *_ in wanted}
    # Draw 100 is the default, which is not a changed setting.
    assert {(n, d) for n, _, d in listed} == {
        (n, "null" if d == "100" else d) for n, _, d in wanted
    }
