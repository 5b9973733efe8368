"""The span study on small simulated experiments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.cli.main import main
from bench.studies import span

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = ["study", "span", "--split", "sim/many-laboratories", "--recipe", "smoke", "--json"]
SMALL = ["--set", "data.draw=0", "--set", "data.scale=0.03", "--set", "recipe.steps=2"]


@pytest.mark.slow
def test_designs_are_compared_on_the_same_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(span, "PLATES", (1, 2))
    options = ["--seeds", "1", "--points", "2,4", "--results", str(tmp_path)]
    with pytest.raises(SystemExit) as stop:
        main([*COMMAND, *SMALL, *options, "--set", "recipe.width=4"])
    assert stop.value.code == 0
    result = json.loads(capsys.readouterr().out)
    rows = result["rows"]
    designs = [(row["varied"], row["experiments"], row["plates"]) for row in rows[::2]]
    assert designs == [
        *(("experiments", n, 2) for n in (2, 4)),
        *(("plates", 4, n) for n in (1, 2)),
    ]
    assert [row["method"] for row in rows] == ["erm", "ben"] * 4
    for erm, ben in zip(rows[::2], rows[1::2], strict=True):
        assert erm["diff"] is None
        assert ben["diff"] == pytest.approx(ben["mean"] - erm["mean"])
    # Four experiments of two plates are in both series: one training.
    both = [row for row in rows if (row["experiments"], row["plates"]) == (4, 2)]
    assert both[0]["mean"] == both[2]["mean"]
    assert len(list((tmp_path / "runs").glob("*/*/run.json"))) == 2 * 3


def test_other_splits_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*COMMAND[:3], "sim/no-shift", *COMMAND[4:], *SMALL, "--results", str(tmp_path)]
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 0
    result = json.loads(capsys.readouterr().out)
    assert result["rows"] == []
    assert "all methods" in result["left_out"]
