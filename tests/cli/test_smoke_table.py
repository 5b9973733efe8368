"""Two commands over every kind of hold-out, and the table they are expected to give.

Methods are as few as show the three ways in which a pair can end: a network, batch statistics, and
a correction that needs negative controls, which some data sets have not.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.cli.main import main
from tests.helpers.errors import mentions

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("few_penalties")

TABLE = """
split            edition    erm  ben  tvn
rxrx1            fixture    ok   ok   ok
camelyon17       fixture    ok   ok   not-applicable
coos7/test1      simulated  ok   ok   not-applicable
ottawa           simulated  ok   ok   not-applicable
bbbc021          fixture    ok   ok   ok
jump/source      fixture    ok   ok   ok
jump/microscope  fixture    ok   ok   ok
sim/warm-lamp    simulated  ok   ok   not-applicable
"""
"""Where each pair ends. One that ends otherwise changes what a board shows: a dash for a number,
or a number for a dash."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "settings"), [("fixture", ()), ("simulated", ("--set", "data.scale=0.05"))]
)
def test_every_kind_of_hold_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, settings: tuple[str, ...]
) -> None:
    head, *lines = (line.split() for line in TABLE.strip().splitlines())
    rows = [line for line in lines if line[1] == kind]
    methods = head[2:]
    words = ["run", "--method", ",".join(methods), "--split", ",".join(row[0] for row in rows)]
    words += [
        "--recipe",
        "smoke",
        "--set",
        "recipe.steps=3",
        *settings,
        "--seed",
        "0",
        "--no-controls",
    ]
    words += ["--results", str(tmp_path), "--json"]
    with pytest.raises(SystemExit) as stopped:
        main(words)
    printed = capsys.readouterr()
    assert stopped.value.code == 0, printed.err
    runs = {(r["split"], r["method"]): r for r in json.loads(printed.out)["runs"]}
    expected = {
        (split, method): (edition, status)
        for split, edition, *statuses in rows
        for method, status in zip(methods, statuses, strict=True)
    }
    assert {pair: (r["edition"], r["status"]) for pair, r in runs.items()} == expected
    for (split, method), run in runs.items():
        if run["status"] == "ok":
            assert run["metrics"], (split, method)
            assert all(np.isfinite(value["all"]) for value in run["metrics"].values())
            continue
        mentions(run["reason"], method)
        line = f"{method} on {split}, seed 0: not-applicable: {run['reason']}"
        assert line in printed.err, "the reason is printed"
