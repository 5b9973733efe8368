"""Advice: numbers by hand, the grades, the sentences, the page, and real tables."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.advice import advice, checkup, recommend
from bench.advice.checkup import Check
from bench.advice.page import page
from bench.advice.support import MethodSupport
from bench.boards.stats.intervals import interval
from bench.boards.stats.tests import holm
from bench.cli.main import main
from bench.core.errors import BenchError
from bench.data.task import open_task
from bench.records.store import Store
from tests.helpers import tiny
from tests.helpers.errors import mentions, raises
from tests.helpers.factories import make_record

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.usefixtures("few_penalties")

DATA = os.environ.get("BENCH_TEST_DATA", "")
TELLING = {"ben": "test-batch", "zscore": "test-controls", "erm": "inductive"}


def runs(
    method: str,
    gains: Sequence[float],
    seeds: int = 3,
    noise: float = 0.004,
    spread: float = 0.0,
    **classes: float,
) -> list[dict[str, Any]]:
    """Return records whose batches score 0.5, 0.51, ... plus a gain each, and SD of seeds."""
    result = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, *method.encode()])
        values = 0.5 + 0.01 * np.arange(len(gains)) + gains + noise * rng.normal(size=len(gains))
        values += spread * (seed - 1)
        cells = [float(v) for v in values]
        record = make_record(
            method,
            seed,
            float(values.mean()),
            clusters={"balanced_accuracy": cells, "probe.balanced_accuracy": cells},
            track=TELLING.get(method, "inductive"),
        )
        record["method_id"] = method
        record["metrics"]["probe.accuracy"] = {f"class={c}": v for c, v in classes.items()}
        result.append(record)
    return result


def said(advice: advice.Advice, heading: str) -> str:
    return " ".join(advice.sections[heading])


def test_gain_interval_and_adjusted_p_are_those_of_the_statistics() -> None:
    erm, ben, zscore = runs("erm", [0] * 10), runs("ben", [0.05] * 10), runs("zscore", [0.01] * 10)
    advice = recommend.advise([*erm, *ben, *zscore], [], [])
    rows = {row.method: row for row in advice.rows}

    def table(records: list[dict[str, Any]]) -> np.ndarray:
        return np.array([r["clusters"]["values"]["probe.balanced_accuracy"] for r in records])

    for name, records in (("ben", ben), ("zscore", zscore)):
        expected = interval(table(records) - table(erm))
        assert rows[name].gain == pytest.approx(expected.mean)
        assert (rows[name].low, rows[name].high) == pytest.approx((expected.low, expected.high))
    ps = [interval(table(r) - table(erm)).p for r in (ben, zscore)]
    assert [rows["ben"].p, rows["zscore"].p] == pytest.approx(holm(ps))
    assert rows["ben"].better_in == 10
    assert rows["ben"].grade == "clear"


def test_the_choice_is_tested_on_the_batch_it_has_not_seen() -> None:
    gains = {
        "ben": np.array([0.30, -0.05, -0.05, -0.05]),
        "zscore": np.array([0.02, 0.03, 0.01, 0.02]),
    }
    records = runs("erm", [0] * 4, noise=0.0)
    for name, gain in gains.items():
        records += runs(name, gain, noise=0.0)
    expected = []
    for k in range(4):
        best, choice = 0.0, np.zeros(4)
        for gain in gains.values():
            others = np.mean([gain[i] for i in range(4) if i != k])
            if others > best:
                best, choice = others, gain
        expected.append(choice[k])
    advice = recommend.advise(records, [], [])
    assert advice.chosen_gain == pytest.approx(np.mean(expected))
    # ben looks best by its mean over all, and is not what would have helped
    assert advice.rows[0].method == "ben"
    assert advice.chosen_gain < 0


def test_few_batches_are_pointed_at_and_never_clear() -> None:
    advice = recommend.advise([*runs("erm", [0] * 4), *runs("ben", [0.05] * 4)], [], [])
    [row] = advice.rows
    assert (row.grade, row.low, row.p) == ("likely", None, None)
    assert advice.use == "ben"
    mentions(said(advice, "Evidence"), "4 of 4")


def test_nothing_shown_is_do_not_correct() -> None:
    spread = [0.1, -0.1, 0.08, -0.09, 0.1, -0.1, 0.02, -0.01, 0.05, -0.04]
    advice = recommend.advise([*runs("erm", [0] * 10), *runs("ben", spread)], [], [])
    assert advice.use == ""


def test_harm_is_told_with_its_interval() -> None:
    advice = recommend.advise([*runs("erm", [0] * 10), *runs("ben", [-0.1] * 10)], [], [])
    assert advice.rows[0].grade == "harm"
    mentions(said(advice, "When not to correct"), "ben", "-0.1")
    four = recommend.advise([*runs("erm", [0] * 4), *runs("ben", [-0.1] * 4)], [], [])
    assert four.rows[0].grade == "harm"


def test_of_two_as_good_the_one_that_is_told_less_is_used() -> None:
    zscore = runs("zscore", [0.095] * 10, spread=0.01)
    ben = runs("ben", [0.1] * 10, spread=0.01)
    advice = recommend.advise([*runs("erm", [0] * 10), *zscore, *ben], [], [])
    assert advice.use == "zscore"
    mentions(said(advice, "What to use"), "zscore", "controls")


def test_a_correction_of_profiles_is_compared_with_the_profiles() -> None:
    plain = runs("identity", [0.1] * 10)
    fixed = runs("zscore", [0.05] * 10)
    for record in fixed:
        record["method_id"] = record["spec"]["method_id"] = "identity+zscore"
    advice = recommend.advise([*runs("erm", [0] * 10), *plain, *fixed], [], [])
    [row] = advice.rows
    assert (row.method, row.without) == ("zscore", "identity")
    assert row.gain == pytest.approx(-0.05, abs=0.01)
    assert advice.use == ""  # better than erm, and worse than doing nothing


def test_classes_that_lose_are_named() -> None:
    erm = runs("erm", [0] * 10, actin=0.9, golgi=0.5, er=0.5)
    ben = runs("ben", [0.05] * 10, actin=0.7, golgi=0.9, er=0.48)
    advice = recommend.advise([*erm, *ben], [], [])
    assert [name for name, _ in advice.rows[0].losers] == ["actin"]
    text = said(advice, "Cost in biology")
    mentions(text, "1", "3", "5", "actin", "-20")


def test_what_was_found_in_the_data_is_passed_on() -> None:
    lines = [
        Check("class and plate", "warn", "nested"),
        Check("upstream", "look", "declared: normalised to DMSO per plate"),
        Check("batch effect", "ok", "features tell the plate with 0.26 (chance 0.25)"),
        Check("column position", "warn", "", {"random": 0.9, "new_batch": 0.97, "chance": 0.1}),
    ]
    supports = [MethodSupport("tvn", "no", "needs negative controls, and x has none")]
    advice = recommend.advise([*runs("erm", [0] * 9), *runs("ben", [0] * 9)], lines, supports)
    warned = said(advice, "When not to correct")
    mentions(warned, "plate", "adabn", "normalised to DMSO per plate", "0.26")
    mentions(said(advice, "Limits"), "tvn", "0.97")


def test_no_sentence_doubts_a_batch_effect_that_a_recommended_method_corrects() -> None:
    lines = [Check("batch effect", "ok", "features predict the plate with 0.26")]
    advice = recommend.advise([*runs("erm", [0] * 9), *runs("ben", [0.1] * 9)], lines, [])
    assert advice.use == "ben"
    assert "0.26" not in said(advice, "When not to correct")


def test_a_trial_says_that_it_is_one() -> None:
    advice = recommend.advise(
        [*runs("erm", [0] * 9, seeds=2), *runs("ben", [0] * 9, seeds=2)], [], []
    )
    mentions(said(advice, "Limits"), "3 seeds")


def test_nothing_to_compare_with_is_refused() -> None:
    with raises(BenchError, "erm"):
        recommend.advise(runs("ben", [0] * 9), [], [])
    other = make_record("erm", split="x/y", clusters=[0.5, 0.6])
    other["method_id"] = "erm"
    with raises(BenchError):
        recommend.advise([*runs("erm", [0] * 9), other], [], [])


def test_the_page_escapes_names_and_draws_gains_on_one_scale() -> None:
    records = [*runs("erm", [0] * 9), *runs("<script>x", [0.1] * 9), *runs("ben", [-0.05] * 9)]
    advice = recommend.advise(records, [Check("rows", "ok", "a & b")], [])
    text = page([advice], [Check("rows", "ok", "a & b")], "python -m bench recommend x.toml")
    assert "<script" not in text
    assert "&lt;script&gt;x" in text
    assert "a &amp; b" in text
    assert "http" not in text
    from bench.advice.page import place

    assert place(advice, 0.0) == 100
    largest = max(abs(v) for r in advice.rows for v in (r.low, r.high) if v is not None)
    assert place(advice, largest) == pytest.approx(198, abs=0.1)
    assert place(advice, -largest) == pytest.approx(2, abs=0.1)


@pytest.mark.slow
def test_the_command_from_a_file_to_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny.write_table(tmp_path / "data", per_class=12, controls=6)
    words = ["recommend", str(path), "--recipe", "smoke", "--seeds", "2"]
    words += ["--method", "identity,zscore,ben", "--results", str(tmp_path / "r")]
    out = tmp_path / "advice.html"
    with pytest.raises(SystemExit) as stop:
        main([*words, "--json", "--output", str(out)])
    assert stop.value.code == 0
    [advice] = json.loads(capsys.readouterr().out)["advice"]
    rows = {row["method"]: row for row in advice["rows"]}
    assert set(rows) == {"ben", "zscore"}
    # each plate is shifted and nothing else: its controls are all that it takes
    assert (rows["zscore"]["without"], rows["zscore"]["grade"]) == ("identity", "likely")
    assert rows["zscore"]["better_in"] == rows["zscore"]["n_batches"]
    page = out.read_text()
    assert f"<h1>Use {advice['use']}</h1>" in page
    typed = f"recommend {path} --seeds 2 --method identity,zscore,ben --recipe smoke"
    assert typed in page
    # The command on each row of a board can be run, and finds the file again.
    splits = {record["split"] for record in Store(tmp_path / "r").load_all()}
    assert all(text.startswith(f"{path}:") for text in splits)


@pytest.mark.parametrize(
    "table, split, words",
    [
        ("bbbc021_ljosa2013", "weeks", "meta_plate"),
        ("jump_moa_dye_batches", "stains", "location"),
    ],
)
def test_real_tables_are_warned_of(table: str, split: str, words: str) -> None:
    file = Path(DATA) / table / "dataset.toml"
    if not DATA or not file.is_file():
        pytest.skip("the real tables are not here: set BENCH_TEST_DATA to their folder")
    from bench.data.own.table import load

    data = load(file)
    task = open_task(split, data.split(split), data.open())
    lines = checkup.examine(task.opened, [task.split])
    records = [*runs("erm", [0] * 10), *runs("ben", [0] * 10)]
    assert words in said(recommend.advise(records, lines, []), "When not to correct")
