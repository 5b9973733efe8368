"""Published and measured numbers: the registry, the rule, and records that are ignored."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from bench.boards.claims import MAX_REACH, Claim, Judged, judge, published
from bench.boards.render.claims import claims_markdown
from bench.boards.stats.proportions import published_limits
from bench.core.errors import BenchError
from bench.core.registry import Registry
from tests.helpers.errors import mentions, raises
from tests.helpers.factories import as_records, make_record

if TYPE_CHECKING:
    from pathlib import Path

BEN = "ben-2022-table1/ben/test-top1"
ERM = "wilds-2021/erm/test-top1"
N_TEST = 34_432


def claim(name: str) -> Claim:
    return next(item for item in published() if item.name == name)


def runs(values: list[float], method: str = "erm", **changes: Any) -> list[dict[str, Any]]:
    """Return records that match a claim on RxRx1-WILDS unless ``changes`` say otherwise."""
    fixed: dict[str, Any] = {
        "split": "rxrx1/test",
        "edition": "real",
        "recipe": "paper",
        "readout": "head",
        "metric": "accuracy",
        "level": "plate",
        "n_eval": N_TEST,
    }
    return [
        make_record(method, seed, value, **{**fixed, **changes})
        for seed, value in enumerate(values)
    ]


def judged(name: str, records: list[dict[str, Any]]) -> Judged:
    return judge([claim(name)], as_records(records))[0]


def test_every_number_has_a_source_a_grade_and_either_a_match_or_a_reason() -> None:
    claims = published()
    assert len(claims) == 148
    assert len({item.name for item in claims}) == 148
    for item in claims:
        assert 0 <= item.value <= 1, item.name
        assert item.source, item.name
        assert item.grade in ("P", "S"), item.name
        assert bool(item.method_id) != bool(item.unmatched), item.name
        assert item.sd is None or 0 <= item.sd < 0.1, item.name


def test_what_a_claim_names_exists() -> None:
    registry = Registry()
    for item in published():
        if item.comparable:
            for stage in item.method_id.split("+"):
                registry.entry("method", stage)
            assert registry.entry("metric", item.metric)
            assert item.readout in ("head", "probe", "embedding")
            assert item.recipe in ("paper", "any")
            assert item.command.startswith("python -m bench run --method")
            for stage, values in item.params.items():
                params = registry.entry("method", stage).load().Params
                assert set(values) <= {field.name for field in dataclasses.fields(params)}


@pytest.mark.parametrize(
    ("name", "value", "sd"),
    [
        ("wilds-2021/erm/val-top1", 0.194, 0.002),
        ("wilds-2021/coral/id-top1", 0.340, 0.003),
        ("wilds-2021/erm/mixed-to-test-top1", 0.398, 0.002),
        ("els/dann-els/test-worst", 0.042, 0.001),
        ("ben-2022-table4/by-plate-75/test-top1", 0.369, None),
        ("ben-2022-table6/minclr-ben-controls-whitening/bbbc021-nscb", 0.88, None),
        ("ben-notebook/simclr-whiten-tvn/bbbc021-nsc", 0.75728, None),
        ("cs-arm-bn-2026/resnet-erm/new-batches-accuracy", 0.862, 0.06),
        ("kaggle-2019/ensemble-of-both/private-accuracy", 0.99784, None),
    ],
)
def test_numbers_are_proportions_as_published(name: str, value: float, sd: float | None) -> None:
    assert (claim(name).value, claim(name).sd) == (value, sd)


def test_the_digits_that_were_printed_decide_the_rounding() -> None:
    assert claim(BEN).rounding == pytest.approx(0.0005)
    assert claim("ben-2022-table6/minclr-no-ben-tvn/bbbc021-nscb").rounding == pytest.approx(0.005)


def test_the_headline_says_that_it_is_one_run_and_no_standard_submission() -> None:
    item = claim(BEN)
    assert item.value == 0.402
    assert item.sd is None
    mentions(item.note, "standard", "WILDS", "submission")
    reading = judged(BEN, []).reading
    assert "one run" in reading.lower()
    assert "no standard WILDS submission".lower() in reading.lower()


def test_two_means_with_spreads_are_compared_by_welch() -> None:
    values = [0.300, 0.304, 0.293]
    produced = judged(ERM, runs(values))
    theirs = [0.295, 0.299, 0.303]  # mean and SD as published
    assert (np.mean(theirs), np.std(theirs, ddof=1)) == pytest.approx((0.299, 0.004))
    result = stats.ttest_ind(values, theirs, equal_var=False).confidence_interval(0.95)
    assert produced.interval is not None
    assert produced.interval == pytest.approx(
        (result.low - 0.0005, result.high + 0.0005), abs=1e-12
    )
    assert produced.status == "reproduced"
    assert produced.mean == pytest.approx(0.299)
    assert produced.sd == pytest.approx(np.std(values, ddof=1))
    assert produced.difference == pytest.approx(0.0, abs=1e-12)
    assert produced.n_seeds == 3


def test_one_published_run_is_one_more_training() -> None:
    values = [0.395, 0.401, 0.398]
    result = judged(BEN, runs(values, "ben"))
    half = stats.t.ppf(0.975, 2) * np.std(values, ddof=1) * math.sqrt(4 / 3)
    count = stats.binomtest(round(0.402 * N_TEST), N_TEST).proportion_ci(0.95, "exact")
    # All counts that are printed as 0.402 are possible.
    low, high = 0.402 - count.low + 0.0005, count.high - 0.402 + 0.0005
    expected = (-0.004 - math.hypot(half, high), -0.004 + math.hypot(half, low))
    assert result.interval == pytest.approx(expected, abs=2e-5)
    assert result.status == "reproduced"


def test_a_mean_elsewhere_is_not_reproduced() -> None:
    result = judged(BEN, runs([0.350, 0.352, 0.351], "ben"))
    assert result.status == "not reproduced"


def test_a_spread_that_agrees_with_anything_reproduces_nothing() -> None:
    result = judged(BEN, runs([0.30, 0.40, 0.50], "ben"))
    assert result.interval is not None
    assert result.interval[0] < 0 < result.interval[1]
    assert result.interval[1] - result.interval[0] > 2 * MAX_REACH
    assert result.status == "not reproduced"


def test_a_deterministic_method_with_one_seed_is_judged() -> None:
    value = claim(ERM).value
    [run] = runs([value])
    assert judged(ERM, [run]).status == "not run"
    both = judged(ERM, [{**run, "deterministic": True}])
    assert (both.status, both.sd, both.mean) == ("reproduced", 0.0, pytest.approx(value))


def test_two_seeds_are_not_judged() -> None:
    result = judged(BEN, runs([0.40, 0.41], "ben"))
    assert result.status == "not run"
    assert result.interval is None
    assert result.mean == pytest.approx(0.405)


def test_equal_values_leave_the_count_and_its_rounding() -> None:
    name = "ben-2022-table5/caicedo-2018-classical-features/bbbc021-nscb"
    fixed: dict[str, Any] = {
        "split": "bbbc021-ljosa2013/profile",
        "metric": "nscb",
        "readout": "probe",
        "n_eval": 92,
        "recipe": "default",
        "params": {"sphering": {"shrinkage": "none"}},
    }
    records = runs([0.85, 0.85, 0.85], "identity+sphering", **fixed)
    for record in records:
        record["metrics"] = {"nscb": {"all": 0.85}}
    result = judged(name, records)
    # 78 of 92 is the only count that is printed as 0.85.
    exact = stats.binomtest(78, 92).proportion_ci(0.95, "exact")
    assert result.interval == pytest.approx((0.85 - exact.high, 0.85 - exact.low))
    assert result.status == "reproduced"
    # The default estimate of the covariance is not the published one.
    default = runs([0.85] * 3, "identity+sphering", **{**fixed, "params": None})
    for record in default:
        record["metrics"] = {"nscb": {"all": 0.85}}
    assert judged(name, default).status == "not run"


def test_a_count_of_treatments_has_the_spread_of_its_binomial_interval() -> None:
    """0.913 of 103 treatments against 0.90, printed with two digits."""
    name = "ben-2022-table5/caicedo-2018-classical-features/bbbc021-nsc"
    fixed: dict[str, Any] = {
        "split": "bbbc021-profiles/profile",
        "metric": "nsc",
        "readout": "probe",
        "n_eval": 92,
        "recipe": "default",
        "params": {"sphering": {"shrinkage": "none"}},
    }

    def status(value: float) -> str:
        records = runs([value] * 3, "identity+sphering", **fixed)
        for record in records:
            record["metrics"] = {"nsc": {"all": value}}
        return judged(name, records).status

    assert claim(name).count == 103
    assert status(94 / 103) == "reproduced"
    assert status(0.75) == "not reproduced"


@pytest.mark.parametrize(("k", "n", "rounding"), [(0, 10, 0.0), (10, 10, 0.0), (37, 92, 0.0)])
def test_without_rounding_the_limits_are_those_of_clopper_and_pearson(
    k: int, n: int, rounding: float
) -> None:
    expected = stats.binomtest(k, n).proportion_ci(0.95, "exact")
    limits = published_limits(k / n, rounding, n)
    assert limits == pytest.approx((expected.low, expected.high))


def test_rounding_widens_to_all_counts_that_are_printed_alike() -> None:
    n, value, rounding = 250, 0.9, 0.005
    counts = [k for k in range(n + 1) if abs(k / n - value) <= rounding + 1e-12]
    exact = [stats.binomtest(k, n).proportion_ci(0.95, "exact") for k in counts]
    expected = (min(e.low for e in exact), max(e.high for e in exact))
    assert published_limits(value, rounding, n) == pytest.approx(expected)
    with raises(BenchError, "0"):
        published_limits(0.5, 0.005, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"edition": "simulated"},
        {"edition": "fixture"},
        {"recipe": "default"},
        {"recipe": "smoke"},
        {"selection": "tuned"},
        {"recipe_overrides": {"steps": 9}},
        {"dataset_settings": {"draw": 1}},
        {"params": {"ben": {"rows": "controls"}}},
        {"level": "experiment"},
        {"split": "rxrx1/val"},
        {"n_eval": 8_608},
        {"readout": "probe"},
        {"undeclared_adaptation": "rows of one call decide each other's profiles"},
        {"status": "failed"},
    ],
    ids=lambda changes: "-".join(f"{k}" for k in changes),
)
def test_another_protocol_is_no_attempt(changes: dict[str, Any]) -> None:
    assert judged(BEN, runs([0.40, 0.40, 0.41], "ben")).n_seeds == 3
    result = judged(BEN, runs([0.40, 0.40, 0.41], "ben", **changes))
    assert result.status == "not run"
    assert result.n_seeds == 0
    assert "python -m bench run --method ben --split rxrx1/test --edition real" in result.reading


def test_another_method_and_an_unmatched_claim_are_never_compared() -> None:
    records = runs([0.3, 0.3, 0.31], "erm")
    assert judged(BEN, records).n_seeds == 0
    result = judged(
        "ben-2022-table2/supervised-single-cell-classifier-with-ben/cells-top1", records
    )
    assert result.status == "not run"
    assert "never compared" in result.reading.lower()


def test_settings_are_not_averaged_and_a_later_run_of_a_seed_counts() -> None:
    base = runs([0.40, 0.40, 0.40], "ben")
    other = runs([0.20, 0.20], "ben", data_digest="f" * 32)
    again = runs([0.43], "ben", recipe_digest="e" * 24)
    again[0]["run_id"] = "9" * 24
    again[0]["provenance"] = {**again[0]["provenance"], "created": "2030-01-01"}
    result = judged(BEN, [*other, *base, *again])
    assert result.n_seeds == 3
    assert result.mean == pytest.approx((0.43 + 0.40 + 0.40) / 3)


def test_the_table_has_a_status_for_each_number_and_the_same_bytes() -> None:
    records = as_records(runs([0.395, 0.401, 0.398], "ben"))
    text = claims_markdown(records, [BEN, ERM])
    lines = text.splitlines()
    mentions(lines[2], "0.402")
    mentions(lines[2], "WILDS")
    mentions(lines[-1], "36", "112")
    assert text == claims_markdown(records[::-1], [BEN, ERM])
    whole = claims_markdown([])
    assert whole.count("| not run |") == sum(item.comparable for item in published())
    with raises(BenchError):
        claims_markdown([], ["ben-2022-table1/ben/test-top2"])


def test_list_claims_prints_name_paper_value_and_status(tmp_path: Path) -> None:
    from bench.cli.commands.listing import command

    done = CliRunner().invoke(command, ["claims", "--results", str(tmp_path), "--json"])
    rows = json.loads(done.output)["claims"]
    assert len(rows) == 36
    headline = next(row for row in rows if row["name"] == BEN)
    assert (headline["paper"], headline["status"]) == (0.402, "not run")
    table = CliRunner().invoke(command, ["claims", "--results", str(tmp_path)])
    assert "0.402" in table.output
    others = CliRunner().invoke(command, ["reading-list", "--json"])
    reading = json.loads(others.output)["reading-list"]
    assert len(reading) == 112
    assert all(row["reason"] for row in reading)
    with raises(BenchError, "--reference"):
        CliRunner().invoke(command, ["splits", "--reference"], catch_exceptions=False)
