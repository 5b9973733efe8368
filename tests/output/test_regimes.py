"""Boards grouped by the conditions of their splits."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from bench.boards.select import boards
from bench.core.checkout import ROOT
from bench.core.registry import Registry
from bench.data.opening import open_splits
from bench.output.report.regimes import Conditions, conditions, regimes
from tests.helpers.factories import as_records, make_record
from tests.helpers.real import real_folder

N = 10


def runs(method: str, gain: float, split: str, **more: Any) -> list[dict[str, Any]]:
    """Return three seeds; every batch differs from the baseline by ``gain`` plus noise."""
    base = np.random.default_rng(7).uniform(0.4, 0.6, N)
    noise = np.random.default_rng([*method.encode()]).normal(0, 0.005, (3, N))
    return [
        make_record(
            method,
            seed,
            float(np.mean(base + gain + noise[seed])),
            clusters=(base + gain + noise[seed]).tolist(),
            split=split,
            edition="real",
            **more,
        )
        for seed in range(3)
    ]


SIMILAR = Conditions("own/a", "real", "plate", 10, 96.0, 0.02, 8, 0.0)


def test_verdicts_are_counted_within_a_regime() -> None:
    records = [
        *runs("erm", 0, "own/a"),
        *runs("ben", 0.2, "own/a"),
        *runs("adabn", -0.2, "own/a"),
        *runs("erm", 0, "own/b"),
        *runs("ben", -0.2, "own/b"),
    ]
    measured = {
        "own/a": SIMILAR,
        "own/b": replace(SIMILAR, split="own/b", composition=0.9, position_margin=0.6),
    }
    shared, confounded = regimes(boards(as_records(records)), measured)
    assert (shared.mixture, shared.splits, shared.layout) == ("similar", ("own/a",), ())
    assert (shared.better, shared.worse) == ({"ben": 1}, {"adabn": 1})
    assert (confounded.mixture, confounded.layout) == ("confounded", ("own/b",))
    assert (confounded.better, confounded.worse) == ({}, {"ben": 1})


def test_without_a_test_there_is_a_difference_and_no_verdict() -> None:
    records = [
        {**record, "clusters": record["clusters"]}
        for method, gain in (("erm", 0.0), ("ben", 0.2))
        for record in runs(method, gain, "own/a")
    ]
    for record in records:
        four = record["clusters"]
        for key in ("names", "n"):
            four[key] = four[key][:4]
        for group in ("values", "parts", "weights"):
            if group in four:
                four[group] = {name: v[:4] for name, v in four[group].items()}
    [regime] = regimes(boards(as_records(records)), {"own/a": SIMILAR})
    assert (regime.better, regime.worse, regime.same) == ({}, {}, {})
    assert regime.untested == {"ben": (pytest.approx(0.2, abs=0.01),)}


def test_boards_without_conditions_or_of_another_edition_are_skipped() -> None:
    board = boards(as_records([*runs("erm", 0, "own/a"), *runs("ben", 0.2, "own/a")]))
    assert regimes(board, {}) == []
    assert regimes(board, {"own/a": replace(SIMILAR, edition="simulated")}) == []


def test_published_conditions_are_in_range() -> None:
    for name, row in conditions().items():
        assert row.split == name
        assert 0 <= row.composition <= 1
        assert row.batches > 1
        assert row.position_margin <= 1


@pytest.mark.slow
def test_conditions_in_the_package_are_those_of_the_data() -> None:
    file = real_folder("jump_source3_image_stats") / "dataset.toml"
    spec = importlib.util.spec_from_file_location("results_regimes", ROOT / "results/regimes.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    [task] = open_splits([f"{file}:batches"], Registry(), "auto", {}, lambda line: None)
    name = "jump-source3-statistics/batches"
    measured = asdict(script.conditions_of(task, name, "real"))
    published = asdict(conditions()[name])
    assert {k: v for k, v in measured.items() if not isinstance(v, float)} == {
        k: v for k, v in published.items() if not isinstance(v, float)
    }
    floats = [k for k, v in measured.items() if isinstance(v, float)]
    assert floats
    assert [measured[k] for k in floats] == pytest.approx([published[k] for k in floats], abs=0.01)
