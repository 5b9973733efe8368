"""The baseline of each method, verdicts after Holm, and what is new on a board."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from bench.boards.baselines import baseline_of
from bench.boards.frame import frame_of
from bench.boards.pairing import pair
from bench.boards.render.dispatch import render
from bench.boards.render.to_json import to_json
from bench.boards.select import boards
from tests.helpers.factories import as_records, make_record

if TYPE_CHECKING:
    from bench.boards.board import Board, Row

SPLIT = "jump-stains/stains"


def matrix(method: str, values: Any, **changes: Any) -> list[dict[str, Any]]:
    return [
        make_record(
            method,
            seed,
            float(np.mean(scores)),
            split=SPLIT,
            edition="real",
            clusters=[float(v) for v in scores],
            **changes,
        )
        for seed, scores in enumerate(np.atleast_2d(values))
    ]


def board_of(*records: list[dict[str, Any]]) -> Board:
    (board,) = boards(as_records([record for group in records for record in group]))
    return board


def row(board: Board, method: str) -> Row:
    return next(row for row in board.rows if row.method == method)


@pytest.mark.parametrize(
    ("method", "baseline"),
    [
        ("ben", "erm"),
        ("dann", "erm"),
        ("zscore", "identity"),
        ("identity+tvn", "identity"),
        ("fixed-forest", "identity"),
        ("harmony", "pca"),
        ("identity+harmony", "pca"),
        ("identity+scanorama", "pca-100"),
        ("erm+tvn", "erm"),
        ("erm+harmony", "erm"),
        ("ben+tvn", "erm"),
        ("simclr-ben", "simclr"),
        ("simclr", "erm"),
        ("shuffle", "identity"),
        ("label-oracle", "identity"),
        ("identity", ""),
        ("pca", ""),
        ("pca-100", ""),
        ("erm", ""),
        ("not-installed", "erm"),
    ],
)
def test_the_baseline_is_no_correction_of_the_same_kind(method: str, baseline: str) -> None:
    assert baseline_of(method, {"identity", "pca", "pca-100", "erm", "simclr"}) == baseline


def test_the_next_baseline_is_used_if_one_has_no_row() -> None:
    assert baseline_of("harmony", {"identity", "erm"}) == "identity"
    assert baseline_of("zscore", {"erm"}) == "erm"
    assert baseline_of("ben", {"identity"}) == "identity"
    assert baseline_of("erm+tvn", {"identity"}) == ""


@pytest.fixture
def values() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    base = 0.5 + 0.05 * rng.normal(size=10)

    def near(shift: float, noise: float = 0.012) -> Any:
        return base + shift + noise * rng.normal(size=(3, 10))

    return {
        "identity": np.tile(base, (3, 1)),
        "erm": near(-0.05),
        "zscore": near(0.04),
        "tvn": near(0.008),
        "robust": near(-0.06),
        "ben": near(0.0),
    }


def test_profile_methods_are_compared_with_identity_and_networks_with_erm(values: Any) -> None:
    board = board_of(*(matrix(method, table) for method, table in values.items()))
    for method, baseline in (("zscore", "identity"), ("ben", "erm")):
        gap = pair(values[method], values[baseline])
        assert gap is not None
        result = row(board, method)
        assert result.baseline == baseline
        assert result.difference == pytest.approx(gap.difference)
        assert (result.difference_low, result.p) == pytest.approx((gap.low, gap.p))
    erm = pair(values["zscore"], values["erm"])
    assert erm is not None
    assert row(board, "zscore").diff_to_erm == pytest.approx(erm.difference)
    [entry] = to_json([board])["boards"]
    cells = {cell["method"]: cell for cell in entry["rows"]}
    frame = frame_of([board]).set_index("method")
    for method in ("zscore", "ben"):
        for key in ("baseline", "difference", "p_holm", "diff_to_identity", "diff_to_erm"):
            assert cells[method][key] is not None
            assert cells[method][key] == frame.loc[method, key]
    for form in ("md", "csv"):
        assert f"{row(board, 'zscore').difference:.4f}"[1:5] in render([board], form)


def test_verdicts_use_p_values_that_statsmodels_adjusts(values: Any) -> None:
    board = board_of(*(matrix(method, table) for method, table in values.items()))
    tested = [result for result in board.rows if result.p_holm is not None]
    assert {result.method for result in tested} == {"zscore", "tvn", "robust", "ben"}
    adjusted = multipletests([result.p for result in tested], method="holm")[1]
    for result, p in zip(tested, adjusted, strict=True):
        assert result.p_holm == pytest.approx(p)
        assert (result.verdict == "no detectable difference") == (p >= 0.05)
    assert row(board, "zscore").verdict == "improves"
    assert row(board, "robust").verdict == "worsens"
    assert row(board, "identity").verdict == ""


def test_a_difference_that_is_significant_alone_may_be_none_among_many(values: Any) -> None:
    alone = board_of(*(matrix(method, values[method]) for method in ("identity", "tvn")))
    rng = np.random.default_rng(1)
    noise = values["identity"] + 0.03 * rng.normal(size=(12, 3, 10))
    names = [f"method-{k}" for k in range(12)]
    many = board_of(
        *(matrix(method, values[method]) for method in ("identity", "tvn")),
        *(matrix(name, table) for name, table in zip(names, noise, strict=True)),
    )
    first, second = row(alone, "tvn"), row(many, "tvn")
    assert first.p == second.p
    assert first.p_holm == first.p
    assert second.p_holm > first.p
    assert second.detectable > first.detectable


def test_a_default_that_is_set_by_hand_is_no_second_test(values: Any) -> None:
    rows = [matrix(method, values[method]) for method in ("identity", "zscore", "tvn")]
    again = matrix("tvn", values["tvn"], params={"tvn": {"level": "plate"}})
    once, twice = board_of(*rows), board_of(*rows, again)
    assert len(twice.rows) == len(once.rows) + 1
    for method in ("zscore", "tvn"):
        assert row(twice, method).p_holm == row(once, method).p_holm
    assert row(twice, "tvn(level=plate)").p_holm == row(once, "tvn").p_holm


def test_deterministic_methods_count_as_all_seeds(values: Any) -> None:
    table = np.tile(values["zscore"][0], (2, 1))
    board = board_of(
        matrix("identity", values["identity"][:2], predictions_sha256="a"),
        matrix("zscore", table, predictions_sha256="b"),
    )
    result = row(board, "zscore")
    assert result.deterministic
    assert result.reason == ""
    assert result.rank == 1
    assert result.verdict == "improves"
    once = board_of(
        matrix("identity", values["identity"][0], deterministic=True),
        matrix("zscore", values["zscore"][0], deterministic=True),
        matrix("erm", values["erm"]),
        matrix("erm+tvn", values["tvn"]),
    )
    assert row(once, "zscore").verdict == "improves"
    assert row(once, "zscore").rank == 1
    assert row(once, "erm").difference_to("identity") == pytest.approx(
        (values["erm"] - values["identity"]).mean()
    )
    assert row(once, "erm").differences["identity"].n_seeds == 3
    twice = board_of(matrix("identity", values["identity"][:2]), matrix("zscore", table))
    assert row(twice, "zscore").reason
    assert row(twice, "zscore").verdict == ""


def test_a_board_whose_oracle_is_not_perfect_gives_no_verdicts(values: Any) -> None:
    rows = [matrix(method, values[method]) for method in ("identity", "zscore")]
    good = board_of(*rows, matrix("label-oracle", np.ones((3, 10))))
    assert good.oracle is None
    assert row(good, "zscore").verdict == "improves"
    bad = board_of(*rows, matrix("label-oracle", np.full((3, 10), 0.75)))
    assert bad.oracle == pytest.approx(0.75)
    assert row(bad, "zscore").verdict == ""
    assert row(bad, "zscore").p_holm == row(good, "zscore").p_holm
    assert any("0.750" in note for note in bad.notes)


def test_label_oracle_is_no_ceiling_of_other_metrics(values: Any) -> None:
    rows = [
        matrix(method, table, metric="calibration_error")
        for method, table in (
            ("identity", values["identity"]),
            ("label-oracle", np.full((3, 10), 0.65)),
        )
    ]
    assert board_of(*rows).oracle is None


def folds(n: int) -> list[dict[str, Any]]:
    return [{"fold": f"batch {k}", "stages": []} for k in range(n)]


UNITS: dict[str, Any] = {  # sorted by name, as in the JSON of a record
    "date": {"test": 10, "new": 10, "height": 1},
    "laboratory": {"test": 1, "new": 1, "height": 2},
    "plate": {"test": 20, "new": 20, "height": 0},
}


def test_the_title_names_what_is_new_and_how_many(values: Any) -> None:
    item = board_of(
        *(matrix(m, values[m], level="date", units=UNITS) for m in ("identity", "zscore"))
    )
    assert "new: 1 laboratory (10 dates)" in item.title
    assert item.scope == "within this laboratory"
    assert "within this laboratory" in render([item], "md")
    many = board_of(
        *(
            matrix(m, values[m], level="date", units=UNITS, held_out="date", folds=folds(10))
            for m in ("identity", "zscore")
        )
    )
    assert "new: 10 dates" in many.title
    assert many.scope == ""
    nothing = {level: {**units, "new": 0} for level, units in UNITS.items()}
    same = board_of(
        *(matrix(m, values[m], level="date", units=nothing) for m in ("identity", "zscore"))
    )
    assert "nothing new" in same.title
    assert same.scope == "within the training batches"


def test_held_out_batches_have_wider_intervals_than_a_fixed_test_set(values: Any) -> None:
    once = {m: values[m][[0, 0, 0]] for m in ("identity", "zscore")}
    fixed = board_of(*(matrix(m, once[m]) for m in once))
    held_out = board_of(*(matrix(m, once[m], folds=folds(10)) for m in once))
    widths = []
    for board in (fixed, held_out):
        result = row(board, "zscore")
        assert result.difference_low is not None
        assert result.difference_high is not None
        widths.append(result.difference_high - result.difference_low)
    assert widths[1] / widths[0] == pytest.approx((1 + 10 / 9) ** 0.5)
    assert any("10 batches" in note for note in held_out.notes)
    assert not any("leave-one-batch-out" in note for note in fixed.notes)
