"""The comparison over all splits, and the Bayesian signed-rank test."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.boards.overall import Overall, overall
from bench.boards.render.overall import FORMATS, render
from bench.boards.select import boards
from bench.boards.stats.bayes import signed_rank_probabilities
from bench.core.errors import BenchError
from bench.core.seeds import generator
from tests.helpers.errors import raises
from tests.helpers.factories import as_records, make_record

METHODS = {"erm": 0.0, "ben": 0.03, "adabn": 0.01, "dann": -0.04}


# The probabilities that baycomp 1.0.3 gives for the same differences (50,000 samples).
@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([0.03, 0.02, -0.005, 0.04, 0.012, 0.0, 0.05, -0.02], (0.00688, 0.17712, 0.816)),
        (
            [0.004, -0.003, 0.012, 0.002, -0.001, 0.006, 0.0, -0.008, 0.03],
            (0.0, 0.94004, 0.05996),
        ),
        ([-0.03, -0.02, 0.02, -0.05, -0.011, -0.04, -0.002, -0.01], (0.8945, 0.10434, 0.00116)),
    ],
)
def test_the_signed_rank_test_agrees_with_baycomp(
    differences: list[float], expected: tuple[float, float, float]
) -> None:
    assert signed_rank_probabilities(differences) == pytest.approx(expected, abs=0.01)


def test_the_signed_rank_test_equals_a_loop_over_pairs() -> None:
    d, rope, n = [0.02, -0.03, 0.01, 0.05], 0.01, 500
    weights = generator("signed-rank", 5).dirichlet([0.5, 1, 1, 1, 1], n)
    counts = [0, 0, 0]
    values = [0.0, *d]
    for w in weights:
        share = [0.0, 0.0, 0.0]
        for i, a in enumerate(values):
            for j, b in enumerate(values):
                average = (a + b) / 2
                tie = average in (-rope, rope)
                region = 0 if average < -rope else 2 if average > rope else 1
                if tie:
                    share[1] += w[i] * w[j] / 2
                    region = 0 if average < 0 else 2
                share[region] += w[i] * w[j] / (2 if tie else 1)
        counts[int(np.argmax(share))] += 1
    assert signed_rank_probabilities(d, rope, n) == pytest.approx([c / n for c in counts])
    with raises(BenchError, "two"):
        signed_rank_probabilities([0.1])


def experiment(n_datasets: int, *, splits: int = 1, edition: str = "real") -> list[dict[str, Any]]:
    entries = []
    for k in range(n_datasets):
        for s in range(splits):
            rng = np.random.default_rng([k, s])
            base = 0.6 + 0.05 * rng.normal(size=10)
            for method, gain in METHODS.items():
                shift = gain + 0.02 * rng.normal()
                for seed in range(3):
                    values = base + shift + 0.01 * rng.normal(size=10)
                    entries.append(
                        make_record(
                            method,
                            seed,
                            float(values.mean()),
                            split=f"set{k}/split{s}",
                            edition=edition,
                            clusters=values.tolist(),
                        )
                    )
    return entries


def one(entries: list[dict[str, Any]]) -> Overall:
    [result] = overall(boards(as_records(entries)))
    return result


def test_with_eight_data_sets_there_are_the_tests_of_scipy_and_scikit_posthocs() -> None:
    posthocs = pytest.importorskip("scikit_posthocs")
    entries = experiment(9)
    result = one(entries)
    assert (result.edition, result.kind) == ("real", "network")
    table = np.array([[row.differences[name] for name in result.datasets] for row in result.rows])
    friedman = stats.friedmanchisquare(*table)
    assert (result.statistic, result.p) == pytest.approx((friedman.statistic, friedman.pvalue))
    ranks = np.array([row.mean_rank for row in result.rows])
    np.testing.assert_allclose(ranks, stats.rankdata(-table, axis=0).mean(axis=1))
    p = posthocs.posthoc_nemenyi_friedman(table.T).to_numpy()
    far = np.abs(ranks[:, None] - ranks) >= result.critical_difference
    np.testing.assert_array_equal(far, p < 0.05)
    for row in result.rows:
        if row.method != "erm":
            results_found = (row.p_worse, row.p_equivalent, row.p_better)
            assert results_found == signed_rank_probabilities(list(row.differences.values()))


def test_the_splits_of_a_data_set_are_averaged_first() -> None:
    entries = experiment(2, splits=3) + experiment(3)[-12:]
    result = one(entries)
    assert {name: len(splits) for name, splits in result.datasets.items()} == {
        "set0": 3,
        "set1": 3,
        "set2": 1,
    }
    by_split = {
        (board.split, row.method): row.difference
        for board in boards(as_records(entries))
        for row in board.rows
    }
    ben = next(row for row in result.rows if row.method == "ben")
    means = [
        np.mean([by_split[split, "ben"] for split in splits]) for splits in result.datasets.values()
    ]
    assert list(ben.differences.values()) == pytest.approx(means)
    assert ben.mean_difference == pytest.approx(np.mean(means))
    assert (ben.n_splits, ben.n_datasets) == (7, 3)


def test_below_eight_data_sets_there_is_no_test() -> None:
    result = one(experiment(7))
    assert (result.statistic, result.critical_difference) == (None, None)
    assert all(row.p_better is None for row in result.rows)
    assert all(row.mean_rank is not None for row in result.rows)


def test_methods_that_worsened_nowhere_are_listed() -> None:
    result = one(experiment(8))
    rows = {row.method: row for row in result.rows}
    assert set(result.never_worse) == {
        method for method, row in rows.items() if row.n_tested and not row.n_worsens
    }
    assert rows["dann"].n_worsens > 0
    assert "dann" not in result.never_worse


def test_real_and_simulated_profile_and_network_methods_are_separate() -> None:
    entries = experiment(2) + experiment(2, edition="simulated")
    profiles = []
    for entry in experiment(2):
        names = {"erm": "identity", "ben": "zscore"}
        if entry["method"] in names:
            name = names[entry["method"]]
            profiles.append({**entry, "spec": {**entry["spec"], "method_id": name}})
            profiles[-1].update(method=name, method_id=name, run_id=f"{len(profiles):024x}")
            profiles[-1]["track"] = "reference" if name == "identity" else "inductive"
    results = overall(boards(as_records([*entries, *profiles])))
    assert [(result.edition, result.kind) for result in results] == [
        ("real", "network"),
        ("real", "profile"),
        ("simulated", "network"),
    ]
    assert {row.method for row in results[1].rows} == {"identity", "zscore"}


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_all_formats_show_the_methods(form: str) -> None:
    results = [one(experiment(8))]
    text = render(results, form)
    assert all(method in text for method in METHODS)
    assert render([], form)
    if form == "json":
        [entry] = json.loads(text)["overall"]
        assert len(entry["rows"]) == len(METHODS)
