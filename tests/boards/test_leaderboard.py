"""Boards from records of a few lines: numbers by hand, rules one by one, six formats."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import math
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats

from bench.boards.claims import claims_of
from bench.boards.pairing import pair
from bench.boards.render.cells import COLUMNS, budget_in_words
from bench.boards.render.dispatch import FORMATS, render
from bench.boards.render.to_json import to_json
from bench.boards.select import boards, plain_boards
from bench.boards.stats.coverage import printed_coverage
from bench.boards.stats.intervals import interval
from bench.boards.values import label_of
from bench.core.errors import BenchError
from tests.helpers.errors import mentions, raises
from tests.helpers.factories import as_records, make_record, plausible

if TYPE_CHECKING:
    from pathlib import Path

    from bench.boards.board import Board, Row
    from bench.boards.stats.scores import Scores

Entries = Sequence[Mapping[str, Any]]


def one_board(entries: Entries, **choice: Any) -> Board:
    (board,) = boards(as_records(entries), **choice)
    return board


def row(board: Board, method: str) -> Row:
    (result,) = [row for row in board.rows if row.method == method]
    return result


def scores(board: Board, method: str) -> Scores:
    result = row(board, method).scores
    assert result is not None
    return result


def runs(method: str, values: Sequence[float], **more: Any) -> list[dict[str, Any]]:
    return [make_record(method, seed, value, **more) for seed, value in enumerate(values)]


def test_mean_sd_and_difference_by_hand() -> None:
    erm, ben = [0.50, 0.52, 0.57], [0.60, 0.61, 0.68]
    board = one_board([*runs("erm", erm), *runs("ben", ben)])
    result = row(board, "ben")
    assert result.mean == pytest.approx(np.mean(ben), abs=1e-15)
    assert result.sd == pytest.approx(np.std(ben, ddof=1), abs=1e-15)
    assert result.values == tuple(ben)
    assert result.n_seeds == 3
    assert result.diff_to_erm == pytest.approx(np.mean(np.subtract(ben, erm)), abs=1e-15)
    assert row(board, "erm").diff_to_erm is None
    assert result.cost == {
        "fit_s": pytest.approx(21.0),
        "apply_s": 1.5,
        "peak_bytes": 2**30,
        "steps": 300,
        "images_seen": 19200,
    }


def test_one_seed_has_no_sd_and_no_interval() -> None:
    board = one_board(runs("erm", [0.5], clusters=np.linspace(0.3, 0.7, 12).tolist()))
    result = row(board, "erm")
    assert result.sd is None
    assert result.ci_low is None
    assert "one seed" in render([board], "md")


def matrix(method: str, table: np.ndarray[Any, Any], **more: Any) -> list[dict[str, Any]]:
    return [
        make_record(method, seed, float(values.mean()), clusters=values.tolist(), **more)
        for seed, values in enumerate(table)
    ]


def test_intervals_are_those_of_the_statistics_module() -> None:
    rng = np.random.default_rng(1)
    erm = 0.5 + rng.normal(0, 0.05, 10) + rng.normal(0, 0.02, (3, 10))
    ben = erm + 0.05 + rng.normal(0, 0.02, (3, 10))
    board = one_board([*matrix("erm", erm), *matrix("ben", ben)])
    result = row(board, "ben")
    wanted = interval(ben)
    assert (result.ci_low, result.ci_high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert result.n_clusters == 10
    gap = interval(ben - erm)
    assert (result.diff_low, result.diff_high) == pytest.approx((gap.low, gap.high), abs=1e-12)
    assert result.diff_p == pytest.approx(gap.p, abs=1e-12)
    assert result.verdict == "improves"


def test_clusters_count_by_their_size_and_the_centre_is_the_pooled_score() -> None:
    rng = np.random.default_rng(2)
    table, sizes = 0.5 + rng.normal(0, 0.1, (3, 9)), [10, 20, 30, 40, 50, 60, 70, 80, 90]
    entries = []
    for seed, values in enumerate(table):
        run_list = make_record(
            "erm", seed, float(np.average(values, weights=sizes)), clusters=values
        )
        run_list["clusters"]["n"] = sizes
        run_list["clusters"]["values"] = {"balanced_accuracy": values.tolist()}
        entries.append(run_list)
    run_list = row(one_board(entries), "erm")
    wanted = interval(table, sizes)
    assert run_list.mean == pytest.approx(wanted.mean, abs=1e-12)
    assert (run_list.ci_low, run_list.ci_high) == pytest.approx(
        (wanted.low, wanted.high), abs=1e-12
    )


def test_parts_make_the_interval_and_values_the_points() -> None:
    rng = np.random.default_rng(3)
    table, parts = 0.5 + rng.normal(0, 0.1, (3, 9)), 0.5 + rng.normal(0, 0.3, (3, 9))
    weights = rng.uniform(0.5, 2, 9)
    entries = matrix("erm", table)
    for entry, values in zip(entries, parts, strict=True):
        entry["clusters"]["parts"] = {"balanced_accuracy": values.tolist()}
        entry["clusters"]["weights"] = {"balanced_accuracy": weights.tolist()}
    result = row(one_board(entries), "erm")
    wanted = interval(parts, weights)
    assert result.ci_low is not None
    assert result.ci_high is not None
    assert result.ci_high - result.ci_low == pytest.approx(wanted.high - wanted.low, abs=1e-12)
    assert (result.ci_high + result.ci_low) / 2 == pytest.approx(result.mean, abs=1e-12)
    assert list(result.points.values()) == pytest.approx(table.mean(axis=0).tolist(), abs=1e-12)


def test_the_difference_is_over_matched_seeds_and_clusters() -> None:
    rng = np.random.default_rng(4)
    erm, ben = rng.random((4, 9)), rng.random((3, 9))
    entries = [*matrix("erm", erm), *matrix("ben", ben)]
    del entries[0]  # ERM has seeds 1, 2, 3 and BEN 0, 1, 2
    result = row(one_board(entries), "ben")
    assert result.diff_seeds == 2
    assert result.diff_to_erm == pytest.approx((ben[1:] - erm[1:3]).mean(), abs=1e-12)
    gap = interval(ben[1:] - erm[1:3])
    assert (result.diff_low, result.diff_high) == pytest.approx((gap.low, gap.high), abs=1e-12)
    assert result.verdict == "", "two seeds in common allow no verdict"


@pytest.mark.parametrize(
    ("shift", "noise", "word"),
    [
        (0.1, 0.01, "improves"),
        (-0.1, 0.01, "worsens"),
        (0.0, 0.05, "no detectable difference"),
    ],
)
def test_the_verdict(shift: float, noise: float, word: str) -> None:
    rng = np.random.default_rng(5)
    erm = rng.random((3, 10))
    ben = erm + shift + noise * np.tile([1.0, -1.0], 5) * rng.random((3, 10))
    assert row(one_board([*matrix("erm", erm), *matrix("ben", ben)]), "ben").verdict == word


def test_for_a_metric_where_lower_is_better_ranks_and_verdicts_turn() -> None:
    rng = np.random.default_rng(6)
    erm = 0.6 + rng.normal(0, 0.01, (3, 10))
    ben = 0.3 + rng.normal(0, 0.01, (3, 10))
    entries = [*matrix("erm", erm, metric="batch_1nn"), *matrix("ben", ben, metric="batch_1nn")]
    for entry in entries:
        entry["track"] = "inductive"
    board = one_board(entries)
    assert not board.higher_is_better
    assert [result.method for result in board.rows] == ["ben", "erm"]
    assert [result.rank for result in board.rows] == [1, 2]
    assert row(board, "ben").verdict == "improves"


def test_few_clusters_are_points_and_words() -> None:
    board = one_board(matrix("erm", np.array([[0.1, 0.2, 0.3, 0.4]] * 3)))
    result = row(board, "erm")
    assert result.ci_low is None
    assert result.clusters_in_words == "n = 4 plates"
    assert result.points == pytest.approx({f"plate {k:02d}": 0.1 * (k + 1) for k in range(4)})
    for form in ("table", "md", "html", "latex"):
        assert ("4 plates" if form == "table" else "n = 4 plates") in render([board], form)


@pytest.mark.parametrize(
    "changes",
    [
        {"split": "coos7/test1"},
        {"edition": "real"},
        {"recipe": "paper"},
        {"recipe_overrides": {"steps": 10}, "recipe_digest": "f" * 24},
        {"dataset_settings": {"draw": 3}},
        {"data_digest": "a" * 32},
        {"split_digest": "a" * 32},
        {"standardise": "plate"},
        {"selection": "tuned"},
        {"metric_versions": {"balanced_accuracy": 2}},
    ],
)
def test_what_differs_is_another_board(changes: dict[str, Any]) -> None:
    entries = [*runs("erm", [0.5, 0.5, 0.5]), *runs("erm", [0.9, 0.9, 0.9], **changes)]
    shown = boards(as_records(entries))
    assert sorted(board.rows[0].mean or 0 for board in shown) == pytest.approx([0.5, 0.9])
    assert len({board.title for board in shown}) == 2


def test_the_title_says_what_was_measured() -> None:
    board = one_board(
        runs("erm", [0.5] * 3, dataset_settings={"draw": 3}, recipe_overrides={"steps": 10})
    )
    assert board.title == (
        "coos7/test4 · simulated data (draw=3) · recipe default with steps=10 · "
        "last step, no selection · balanced_accuracy by probe · no release"
    )


def test_fixtures_make_no_board() -> None:
    assert boards(as_records(runs("erm", [0.5] * 3, edition="fixture"))) == []


def test_parameters_make_rows() -> None:
    params = {"ben": {"rows": "controls", "level": "meta_week"}}
    board = one_board([*runs("ben", [0.5] * 3), *runs("ben", [0.6] * 3, params=params)])
    assert [result.method for result in board.rows] == ["ben(level=meta_week,rows=controls)", "ben"]


def test_labels() -> None:
    assert label_of("erm", {}) == "erm"
    assert label_of("erm+tvn", {"tvn": {"rank": 50, "eps": 1e-06}}) == "erm+tvn(eps=1e-06,rank=50)"
    assert label_of("ben", {"ben": {"replace": True}}) == "ben(replace=true)"


def test_versions_of_a_method_are_rows() -> None:
    later = runs("ben", [0.6] * 3)
    for entry in later:
        entry["spec"]["folds"][0]["stages"][0]["version"] = 2
        entry["run_id"] = "f" + entry["run_id"][1:]
    board = one_board([*runs("ben", [0.5] * 3), *later])
    assert [result.method for result in board.rows] == ["ben v2", "ben v1"]


def test_of_one_seed_the_latest_run_counts_and_a_note_says_so() -> None:
    old = make_record("erm", 0, 0.1, provenance={"created": "2026-01-01T00:00:00+00:00"})
    new = make_record(
        "erm", 0, 0.9, provenance={"created": "2026-01-02T00:00:00+00:00"}, run_id="0" * 24
    )
    board = one_board([old, new])
    assert row(board, "erm").values == (0.9,)
    assert board.notes


def test_the_coverage_of_its_intervals_stands_under_a_board() -> None:
    values = [0.5, 0.6, 0.7]
    spread = np.linspace(0.4, 0.8, 14).tolist()
    board = one_board([make_record("erm", k, v, clusters=spread) for k, v in enumerate(values)])
    assert row(board, "erm").ci_low is not None
    assert printed_coverage(14, 3).sentence in board.notes
    # No interval, no sentence about it.
    few = [make_record("erm", k, v, clusters=spread[:4]) for k, v in enumerate(values)]
    assert not any("coverage" in note for note in one_board(few).notes)


def test_mixed_hardware_is_said() -> None:
    entries = [*runs("erm", [0.5] * 3), *runs("ben", [0.5] * 3)]
    entries[1]["provenance"] = {"device": "cuda", "packages": {"torch": "2.15.0"}}
    notes = " ".join(one_board(entries).notes)
    mentions(notes, "cpu (ben, erm)", "cuda (erm)")
    mentions(notes, "torch", "2.14.0 (ben, erm)", "2.15.0 (erm)")


def test_what_was_done_to_the_data_before_is_said() -> None:
    def said(*steps: str) -> list[str]:
        board = one_board(
            [{**run, "upstream": list(steps)} for run in runs("erm", [0.5, 0.6, 0.7])]
        )
        return [note for note in board.notes if any(step in note for step in steps)]

    assert said() == []
    [note] = said("crops around nuclei")
    assert "crops around nuclei." in note
    assert "track" not in note
    [note] = said("normalised to DMSO per plate", "features selected over all plates")
    mentions(note, "normalised to DMSO per plate", "features selected over all plates", "track")


def test_like_is_compared_with_like() -> None:
    networks = runs("erm", [0.8] * 3, readout="head")
    assert one_board(networks).readout == "probe"
    mixed = one_board([*networks, *runs("zscore", [0.5] * 3)])
    assert mixed.readout == "probe"
    assert row(mixed, "erm").mean == pytest.approx(0.79)
    head = one_board([*networks, *runs("zscore", [0.5] * 3)], readout="head")
    assert row(head, "erm").mean == pytest.approx(0.8)
    assert row(head, "zscore").reason == "has no balanced_accuracy by head"
    assert one_board(networks, metric="probe.balanced_accuracy").readout == "probe"


def test_a_metric_of_the_profiles_has_no_readout() -> None:
    entries = [*runs("erm", [0.8] * 3, readout="head"), *runs("zscore", [0.5] * 3)]
    for entry in entries:
        entry["metrics"]["batch_1nn"] = {"all": 0.25}
    board = one_board(entries, metric="batch_1nn")
    assert board.readout == "embedding"
    assert [result.mean for result in board.rows] == [0.25, 0.25]


def test_ranks_are_within_tracks_and_ties_share_one() -> None:
    board = one_board(
        [
            *runs("erm", [0.5] * 3),
            *runs("erm-plate", [0.6] * 3),
            *runs("ben", [0.7] * 3),
            *runs("adabn", [0.7] * 3),
            *runs("zscore", [0.6] * 3),
        ]
    )
    assert [(result.method, result.rank) for result in board.rows] == [
        ("erm-plate", 1),
        ("erm", 2),
        ("adabn", 1),
        ("ben", 1),
        ("zscore", 3),
    ]


def test_reference_rows_are_lines_without_a_rank() -> None:
    board = one_board([*runs("label-oracle", [1.0] * 3), *runs("erm", [0.5] * 3)])
    assert board.rows[-1].method == "label-oracle"
    assert board.rows[-1].rank is None
    assert row(board, "erm").rank == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"undeclared_adaptation": "two chunkings differ"}, "undeclared adaptation"),
        ({"ranked": False, "unranked_because": ["mixed recipes"]}, "mixed recipes"),
        ({"ranked": False}, "marked unranked in run.json"),
        ({"recipe": "smoke"}, "smoke recipe"),
    ],
)
def test_unranked_rows_say_why(changes: dict[str, Any], reason: str) -> None:
    result = row(one_board(runs("erm", [0.5] * 3, **changes)), "erm")
    assert result.rank is None
    assert result.reason == reason


def test_fewer_than_three_seeds_are_not_ranked() -> None:
    board = one_board([*runs("erm", [0.5] * 3), *runs("erm-plate", [0.9] * 2)])
    assert row(board, "erm-plate").rank is None
    assert row(board, "erm-plate").reason == "fewer than 3 seeds"
    assert row(board, "erm").rank == 1


def test_not_applicable_is_a_dash_with_a_reason() -> None:
    why = "tvn needs negative controls, and coos7 has none"
    board = one_board(
        [*runs("erm", [0.5] * 3), make_record("tvn", status="not-applicable", reason=why)]
    )
    result = row(board, "tvn")
    assert (result.mean, result.rank, result.status, result.reason) == (
        None,
        None,
        "not-applicable",
        why,
    )
    assert f"| tvn |{' – |' * 10} not applicable: {why} |" in render([board], "md")


def test_failures_are_notes_not_rows() -> None:
    failures = [
        {"about": {"method": "ben", "split": "coos7/test4", "seed": 1}, "error": "ValueError: x"},
        {"about": {"method": "ben", "split": "other", "seed": 1}, "error": "ValueError: x"},
    ]
    board = one_board(runs("erm", [0.5] * 3), failures=failures)
    assert [result.method for result in board.rows] == ["erm"]
    [note] = [note for note in board.notes if "ValueError" in note]
    mentions(note, "ben", "seed 1")


def test_adding_a_method_moves_nobody_else() -> None:
    entries = plausible(n_clusters=10)
    before = boards(as_records(entries))
    added = [
        make_record("zscore", s, 0.99, split="coos7/test4", readout="head", clusters=[0.99] * 10)
        for s in range(3)
    ]
    after = boards(as_records([*entries, *added]))
    for old, new in zip(before, after, strict=True):
        for result in old.rows:
            again = row(new, result.method)
            assert (again.mean, again.sd, again.ci_low, again.diff_low) == (
                result.mean,
                result.sd,
                result.ci_low,
                result.diff_low,
            )


def test_the_order_of_records_does_not_matter() -> None:
    entries = [*plausible(n_clusters=9), make_record("tvn", status="not-applicable", reason="x")]
    backwards = boards(as_records(entries[::-1]))
    for form in FORMATS:
        assert render(boards(as_records(entries)), form) == render(backwards, form)


def test_the_digest_is_of_the_runs() -> None:
    entries = runs("erm", [0.5] * 3)
    item = one_board(entries).runs_digest
    assert item == one_board(entries[::-1]).runs_digest
    assert item != one_board(entries[:2]).runs_digest
    entries[0]["predictions_sha256"] = "1" * 64
    assert item != one_board(entries).runs_digest


def test_choices() -> None:
    entries = [*plausible(), *runs("erm", [0.5] * 3, split="stains/stains", edition="real")]
    assert len(boards(as_records(entries))) == 5
    assert one_board(entries, split="stains/stains").edition == "real"
    assert one_board(entries, edition="real").split == "stains/stains"
    typed = [{**entry, "split": "ottawa"} for entry in runs("erm", [0.5] * 3)]
    assert one_board(typed, split="ottawa").split == "coos7/test4"
    board = one_board(plausible(splits=("a/b",)), methods=["ben"])
    assert [result.method for result in board.rows] == ["ben"]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"split": "coos7/tset4"}, ("coos7/test4",)),
        ({"metric": "balanced_acuracy"}, ("balanced_accuracy",)),
        ({"edition": "rael"}, ("edition", "rael")),
        ({"recipe": "defalt"}, ()),
        ({"readout": "haed"}, ()),
    ],
)
def test_unknown_choices_suggest(choice: dict[str, str], words: str) -> None:
    with raises(BenchError, *words):
        boards(as_records(plausible()), **choice)


def test_no_records_make_no_board() -> None:
    assert boards([]) == []
    for form in FORMATS:
        assert render([], form)
    assert json.loads(render([], "json")) == {"boards": []}


NASTY = r"<script>alert(1)</script>|*_`\#%&$~^{}"


def nasty_boards() -> list[Board]:
    entries = [*runs("erm", [0.5] * 3), *runs(NASTY, [0.4, 0.5, 0.6])]
    for entry in entries:
        entry["shift"] = "5 % of <b>plates</b> & more"
    return boards(as_records(entries))


def test_json_has_the_documented_keys() -> None:
    result = json.loads(render(nasty_boards(), "json"))
    assert result == json.loads(json.dumps(to_json(nasty_boards())))
    (board,) = result["boards"]
    board_keys = "split edition recipe metric readout selection runs_digest rows".split()
    assert list(board)[:8] == board_keys
    row_keys = (
        "method track mean sd n_seeds n_clusters ci_low ci_high diff_to_erm rank cost".split()
    )
    assert all(list(entry)[:11] == row_keys for entry in board["rows"])
    assert {entry["method"] for entry in board["rows"]} == {"erm", NASTY}


def test_csv_keeps_names_and_digits() -> None:
    rows = list(csv.DictReader(io.StringIO(render(nasty_boards(), "csv"))))
    assert {entry["method"] for entry in rows} == {"erm", NASTY}
    (entry,) = [entry for entry in rows if entry["method"] == NASTY]
    assert float(entry["sd"]) == pytest.approx(0.1, abs=1e-15)
    assert entry["ci_low"] == ""


class _Text(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.cells.append(data)


def test_html_shows_names_as_text_and_asks_nobody() -> None:
    text = render(nasty_boards(), "html")
    parsed = _Text()
    parsed.feed(text)
    assert NASTY in parsed.cells
    assert not {"script", "b", "link", "img", "iframe"} & set(parsed.tags)
    assert "http" not in text


def test_markdown_escapes_what_is_markup() -> None:
    text = render(nasty_boards(), "md")
    assert "<script>" not in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    bars = {line.replace("\\|", "").count("|") for line in lines}
    assert bars == {len(lines[0].split("|")) - 1}
    markdown = pytest.importorskip("markdown_it")
    shown = markdown.MarkdownIt().enable("table").render(text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;|*_`\\#%&amp;$~^{}" in shown


def test_latex_escapes_each_special_once() -> None:
    text = render(nasty_boards(), "latex")
    wanted = (
        r"\textless{}script\textgreater{}alert(1)\textless{}/script\textgreater{}\textbar{}*\_`"
        r"\textbackslash{}\#\%\&\$\textasciitilde{}\textasciicircum{}\{\}"
    )
    assert wanted in text
    assert r"\toprule" in text
    body = [line for line in text.splitlines() if line.endswith(r" \\") and "multicol" not in line]
    assert all(line.replace(r"\&", "").count("&") == len(COLUMNS) - 7 for line in body)
    # What all rows share is said once: clusters, tuning, read-out and memory.
    shared = "published (real data): none; tuning: none; read-out: probe; GiB: 1.0."
    mentions(text, "seeds: 3", "clusters: none", shared)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path: Path) -> None:
    document = (
        r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{textcomp}"
        r"\usepackage{booktabs,graphicx}\begin{document}"
        + render(nasty_boards(), "latex")
        + r"\end{document}"
    )
    (tmp_path / "board.tex").write_text(document, encoding="utf-8")
    subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "board.tex"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_the_table_fits_the_terminal(width: int) -> None:
    board = boards(as_records([*plausible(n_clusters=12), *runs(NASTY, [0.4, 0.5, 0.6])]))
    text = render(board, "table", width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert "\x1b[" in render(board, "table", width=width, colour=True)


def test_an_unknown_format_suggests() -> None:
    with raises(BenchError, "htlm", "html"):
        render([], "htlm")


def test_p_is_that_of_t() -> None:
    rng = np.random.default_rng(7)
    erm, ben = rng.random((3, 12)), rng.random((3, 12))
    result = row(one_board([*matrix("erm", erm), *matrix("ben", ben)]), "ben")
    gap = interval(ben - erm)
    assert gap.df is not None
    assert gap.se is not None
    assert result.diff_p == pytest.approx(2 * stats.t.sf(abs(gap.mean) / gap.se, gap.df), rel=1e-9)
    assert not math.isnan(result.diff_p or math.nan)


def test_each_row_has_the_command_that_makes_it() -> None:
    params = {"ben": {"rows": "controls", "replace": True}}
    board = one_board(
        [
            *runs("erm", [0.5] * 3, dataset_settings={"draw": 3}),
            make_record("ben", 4, 0.6, params=params, dataset_settings={"draw": 3}),
            make_record("ben", 7, 0.6, params=params, dataset_settings={"draw": 3}),
        ]
    )
    shared = "--split coos7/test4 --edition simulated --set data.draw=3"
    assert row(board, "erm").command == f"python -m bench run --method erm {shared} --seeds 3"
    ben = (
        f"python -m bench run --method ben {shared} --set ben.replace=true --set ben.rows=controls"
    )
    assert row(board, "ben(replace=true,rows=controls)").command == (
        f"{ben} --seed 4\n{ben} --seed 7"
    )
    assert json.loads(render([board], "json"))["boards"][0]["rows"][0]["command"].endswith("3")


def test_a_tuned_row_says_what_was_typed_and_its_budget() -> None:
    typed = "python -m bench tune --method erm --split coos7/test4 --trials 20"
    entries = runs(
        "erm",
        [0.5] * 3,
        selection="tuned",
        provenance={"command": typed},
        tuning={"trials": 20},
    )
    board = one_board(entries)
    assert row(board, "erm").command == typed
    assert row(board, "erm").typed == (typed,)
    for form in ("md", "html", "csv"):
        assert "20 trials" in render([board], form)


def test_budgets_in_words() -> None:
    assert [budget_in_words(value) for value in (None, 20, {"trials": 5}, {"n_trials": 6})] == [
        "–",
        "20 trials",
        "5 trials",
        "6 trials",
    ]


def test_any_two_rows_can_be_compared() -> None:
    rng = np.random.default_rng(8)
    first, second = rng.random((3, 9)), rng.random((3, 9))
    board = one_board([*matrix("ben", first), *matrix("adabn", second)])
    result = pair(scores(board, "ben"), scores(board, "adabn"))
    gap = interval(first - second)
    assert result is not None
    assert (result.low, result.high, result.p) == pytest.approx(
        (gap.low, gap.high, gap.p), abs=1e-12
    )
    apart = one_board([make_record("ben", 0, 0.5), make_record("adabn", 1, 0.5)])
    assert pair(scores(apart, "ben"), scores(apart, "adabn")) is None


@pytest.mark.parametrize(
    ("edition", "status"), [("real", "not reproduced"), ("simulated", "not run")]
)
def test_published_numbers_stand_beside_ours_with_their_status(edition: str, status: str) -> None:
    entries = runs(
        "erm",
        [0.5, 0.51, 0.52],
        split="rxrx1/val",
        metric="accuracy",
        readout="head",
        edition=edition,
        recipe="paper",
    )
    (claim,) = [c for c in claims_of("rxrx1/val") if c.method_id == "erm"]
    for entry in entries:
        entry["n_eval"] = claim.n_eval
    board = one_board(entries, readout="head")
    (result,) = row(board, "erm").published
    assert (result.claim, result.status) == (claim, status)
    assert f"{claim.value:g} {status}" in render([board], "md")
    assert f"{claim.value:g} {status}" in render([board], "table", width=160)
    (entry,) = json.loads(render([board], "json"))["boards"][0]["rows"]
    assert entry["published"][0]["status"] == status
    # Another method has no number of its own, and a board without any has no such column.
    assert row(one_board(runs("ben", [0.5] * 3)), "ben").published == ()
    assert "published" not in render([one_board(runs("ben", [0.5] * 3))], "table", width=160)


def with_head(name: str, value: float, *, classifier: bool = False, **changes: Any) -> Any:
    """Return a record by head with a probe that scores 0.2 less."""
    record = make_record(name, 0, value, readout="head", clusters=[value] * 3, **changes)
    record["metrics"]["probe.balanced_accuracy"] = {"all": value - 0.2}
    for kind in ("values",):
        columns = record["clusters"][kind]
        columns["probe.balanced_accuracy"] = [value - 0.2] * 3
    if classifier:
        record["classifier"] = True
    return record


@pytest.mark.parametrize("requested", [None, "probe"])
def test_a_classifier_keeps_its_own_head_on_a_board_by_probe(requested: str | None) -> None:
    records = [
        with_head("erm", 0.7),
        with_head("fixed-forest", 0.8),  # an older record, without the key
        with_head("mine", 0.6, classifier=True),
        make_record("identity", 0, 0.4, readout="probe", clusters=[0.4] * 3, track="reference"),
    ]
    [board] = boards(records, readout=requested)
    assert board.readout == "probe"
    rows = {row.method: (row.mean, row.readout) for row in board.rows}
    assert rows["erm"] == (pytest.approx(0.5), "probe")
    assert rows["fixed-forest"] == (pytest.approx(0.8), "head")
    assert rows["mine"] == (pytest.approx(0.6), "head")
    assert rows["identity"] == (pytest.approx(0.4), "probe")


def test_the_readout_of_a_row_does_not_depend_on_the_other_rows() -> None:
    profile = make_record("identity", 0, 0.4, readout="probe", clusters=[0.4] * 3)
    for records in ([with_head("erm", 0.7)], [with_head("erm", 0.7), profile]):
        [board] = boards(records)
        [row] = [row for row in board.rows if row.method == "erm"]
        assert (row.mean, row.readout) == (pytest.approx(0.5), "probe")
    [board] = boards([with_head("erm", 0.7)], readout="head")
    assert board.rows[0].mean == 0.7


def test_rows_with_pooled_scores_are_named() -> None:
    record = make_record("erm", 0, 0.5)
    fold = record["spec"]["folds"][0]
    record["spec"]["folds"] = [{**fold, "fold": name} for name in ("p0", "p1")]
    mean = make_record("ben", 0, 0.5, subsets={"pooled": 0.4, "fold=p0": 0.6, "fold=p1": 0.4})
    mean["spec"]["folds"] = record["spec"]["folds"]
    [board] = boards([record, mean])
    [note] = [text for text in board.notes if "erm" in text and "ben" not in text]
    mentions(note, "erm", "rerun")


def test_the_plain_board_is_that_of_the_default_recipe_and_data() -> None:
    entries = [
        *runs("erm", [0.5] * 3),
        *runs("erm", [0.6] * 3, recipe="paper"),
        *runs("erm", [0.7] * 3, dataset_settings={"draw": 101}),
        *runs("erm", [0.8] * 3, recipe_overrides={"steps": 10}),
        *runs("erm", [0.9] * 3, selection="tuned"),
        *runs("erm", [0.4] * 3, split="coos7/test3", recipe="smoke"),
    ]
    every = boards(as_records(entries))
    plain = plain_boards(every)
    assert len(every) == 6
    assert [(board.split, board.rows[0].mean) for board in plain] == [
        ("coos7/test3", pytest.approx(0.4)),
        ("coos7/test4", pytest.approx(0.5)),
    ]


def test_limits_are_within_the_range_of_the_metric() -> None:
    rng = np.random.default_rng(3)
    near_one = 0.97 + rng.normal(0, 0.05, (3, 9))
    free = interval(near_one)
    assert free.low is not None
    assert (free.high or 0) > 1
    high = row(one_board(matrix("erm", near_one)), "erm")
    assert (high.ci_low, high.ci_high) == (pytest.approx(free.low), 1.0)
    low = row(one_board(matrix("erm", 1 - near_one)), "erm")
    assert (low.ci_low, low.ci_high) == (0.0, pytest.approx(1 - free.low))


def test_calibration_is_that_of_the_head() -> None:
    network, profile = with_head("erm", 0.7), make_record("identity", 0, 0.4, track="reference")
    network["metrics"]["head.calibration_error"] = {"all": 0.1}
    for record in (network, profile):
        record["metrics"]["probe.calibration_error"] = {"all": 0.5}
    [board] = boards([network, profile], metric="calibration_error")
    assert board.readout == "head"
    assert row(board, "erm").mean == pytest.approx(0.1)
    assert row(board, "identity").mean is None
    [board] = boards([network, profile], metric="calibration_error", readout="probe")
    assert row(board, "identity").mean == pytest.approx(0.5)
