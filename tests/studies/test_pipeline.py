"""Orders of the steps of a pipeline."""

from __future__ import annotations

import json
from itertools import permutations
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bench.boards.stats.scores import Scores
from bench.cli.main import main
from bench.studies.pipeline import chosen_elsewhere, orders
from tests.helpers import tiny

if TYPE_CHECKING:
    from pathlib import Path


def test_sensible_orders() -> None:
    steps = ("center", "robust", "components", "sphering", "combat")
    result = orders(steps)
    assert result[0] == steps
    wanted = {
        order
        for order in permutations(steps)
        if order.index("sphering") > max(order.index("robust"), order.index("components"))
    }
    assert set(result) == wanted
    assert len(result) == 40
    assert len(orders(("center", "tvn"))) == 2
    assert orders(("tvn", "zscore")) == [("zscore", "tvn")]


def test_the_choice_is_scored_where_it_was_not_made() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((5, 2, 9))
    results = [SimpleNamespace(scores=Scores(own)) for own in values]
    scores = []
    for k in range(9):
        others = [own[:, [j for j in range(9) if j != k]].mean() for own in values]
        scores.append(values[int(np.argmax(others))][:, k].mean())
    assert chosen_elsewhere(results) == pytest.approx(np.mean(scores))  # type: ignore[arg-type]
    assert np.mean(scores) <= values.mean(axis=(1, 2)).max()
    few = [SimpleNamespace(scores=Scores(own[:, :2])) for own in values]
    assert chosen_elsewhere(few) is None  # type: ignore[arg-type]


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["study", "pipeline", *words])
    out = capsys.readouterr()
    return int(stop.value.code or 0), out.out, out.err


@pytest.mark.parametrize("controls", [4, 0])
def test_the_study(
    controls: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "results"))
    toml = str(tiny.write_table(tmp_path, controls=controls))
    words = ["-s", toml, "-m", "center,components,sphering", "--seeds", "1", "--json"]
    code, out, err = run(words, capsys)
    assert code == 0, err
    result = json.loads(out)
    whitening = "sphering" if controls else "sphering-all"
    assert {row["order"] for row in result["rows"]} == {
        f"center+components+{whitening}",
        f"components+center+{whitening}",
        f"components+{whitening}+center",
    }
    means = [row["mean"] for row in result["rows"]]
    assert means == sorted(means, reverse=True)
    [folder] = (tmp_path / "results/studies/pipeline").iterdir()
    figure = pd.read_csv(folder / "pipeline.csv", comment="#")
    assert figure["mean"].tolist() == pytest.approx(means, abs=1e-5)


@pytest.mark.parametrize(
    "steps", ["center", "identity", "tvn,zscore,robust,components,center,combat"]
)
def test_steps_without_orders_or_with_too_many(
    steps: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = str(tiny.write_table(tmp_path, controls=4))
    words = ["-s", toml, "-m", steps, "--results", str(tmp_path / "results")]
    code, _, err = run(words, capsys)
    assert (code, err.count("\n")) == (2, 1)
