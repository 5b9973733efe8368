"""Checks of a data set: numbers against scipy, scikit-learn and loops, and planted faults."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency
from sklearn.metrics import balanced_accuracy_score

from bench.advice import checkup
from bench.advice.checkup._chance import judge
from bench.advice.checkup._prediction import _lookup
from bench.advice.support import supported
from bench.cli.main import main
from bench.core.control_names import is_control_row
from bench.core.registry import Registry
from tests.helpers import tiny
from tests.helpers.errors import mentions

if TYPE_CHECKING:
    from pathlib import Path


def lines(opened: Any, **split: Any) -> dict[str, Any]:
    """Return findings by topic; of several on one topic the worst."""
    result: dict[str, Any] = {}
    order = {"ok": 0, "look": 1, "warn": 2}
    for line in checkup.examine(opened, [tiny.split(**split)]):
        if line.topic not in result or order[line.state] > order[result[line.topic].state]:
            result[line.topic] = line
    return result


def changed(columns: dict[str, Any], **shape: Any) -> Any:
    """Return the tiny data set with some columns of its index replaced."""
    index, X = tiny.frame(**shape)
    for name, values in columns.items():
        index[name] = values(index) if callable(values) else values
    return tiny.opened(index=index, X=X, digest=of(X))


def of(X: Any) -> str:
    """Return a digest that is another one for other values."""
    return hashlib.sha256(X.tobytes()).hexdigest()


def test_cramers_v_is_bergsmas_formula_on_scipys_chi_square() -> None:
    rng = np.random.default_rng(3)
    a = rng.integers(0, 4, 200).astype(str)
    b = np.where(rng.random(200) < 0.4, a, rng.integers(0, 6, 200).astype(str))
    table = pd.crosstab(a, b).to_numpy()
    r, c = table.shape
    phi2 = chi2_contingency(table, correction=False).statistic / 200
    phi2 = max(0, phi2 - (r - 1) * (c - 1) / 199)
    r2, c2 = r - (r - 1) ** 2 / 199, c - (c - 1) ** 2 / 199
    assert checkup.cramers_v(a, b) == pytest.approx(np.sqrt(phi2 / (min(r2, c2) - 1)))
    assert checkup.cramers_v(a, a) == pytest.approx(1, abs=0.01)
    assert checkup.cramers_v(a, np.full(200, "x")) == 0
    # many small batches do not look associated with anything
    names = np.repeat(np.arange(50), 4).astype(str)
    assert checkup.cramers_v(rng.permutation(a), names) < 0.25


def test_composition_is_zero_for_a_random_deal_and_one_for_batches_that_share_nothing() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], 60)
    batch = np.tile(["p", "q", "r"], 60)
    assert checkup.composition_distance(labels, batch) == 0
    assert checkup.composition_distance(labels, labels) == pytest.approx(1)
    half = np.where(rng.random(180) < 0.5, labels, batch)
    assert 0.2 < checkup.composition_distance(labels, half) < 0.8


def test_lookup_is_the_likeliest_class_of_a_value_by_a_loop() -> None:
    rng = np.random.default_rng(5)
    y = rng.choice(["x", "y", "z"], 90, p=[0.6, 0.3, 0.1])
    column = np.where(rng.random(90) < 0.7, np.char.add(y, "1"), rng.choice(["u", "v"], 90))
    fold = rng.integers(0, 3, 90)
    classes = sorted(set(y))
    hits: dict[str, list[bool]] = {name: [] for name in classes}
    for i in range(90):
        share = []
        for name in classes:
            rows = (fold != fold[i]) & (y == name)
            share.append((column[rows] == column[i]).sum() / max(rows.sum(), 1))
        hits[y[i]].append(classes[int(np.argmax(share))] == y[i])
    expected = np.mean([np.mean(h) for h in hits.values()])
    assert _lookup(column, y, fold).score == pytest.approx(expected)


def test_label_shift_by_hand() -> None:
    opened = changed(
        {"label": lambda i: np.where(i["plate"] == "p3", "actin", i["label"])}, controls=0
    )
    line = lines(opened)["split tiny/last"]
    # trained on a third of each, tested on actin alone
    assert line.facts["label_shift_max"] == pytest.approx(2 / 3)
    assert line.state == "look"


def test_the_margin_is_the_adjusted_balanced_accuracy_of_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    y = rng.choice(3, 200, p=[0.6, 0.3, 0.1])
    predicted = np.where(rng.random(200) < 0.5, y, rng.choice(3, 200))
    result = judge(y, predicted)
    assert result.score == pytest.approx(balanced_accuracy_score(y, predicted))
    assert result.margin == pytest.approx(balanced_accuracy_score(y, predicted, adjusted=True))


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_the_bound_of_chance_is_the_quantile_of_a_permutation_test(n_classes: int) -> None:
    # Ojala and Garriga 2010, JMLR 11:1833: the null distribution permutes the labels.
    rng = np.random.default_rng(n_classes)
    y = np.arange(40 * n_classes) % n_classes
    predicted = rng.integers(0, n_classes, len(y))
    null = [judge(rng.permutation(y), predicted).score for _ in range(2000)]
    assert judge(y, predicted).bound == pytest.approx(np.quantile(null, 0.99), abs=0.02)


@pytest.mark.parametrize("classes", [("treated", "mock"), ("treated", "mock", "dead")])
def test_a_leak_is_reported_with_any_number_of_classes(classes: tuple[str, ...]) -> None:
    """A column equal to the label, a fixed layout, and a file sorted by class."""
    n = 48
    rng = np.random.default_rng(5)
    label = np.tile(np.sort(np.resize(classes, n)), 4)
    index = pd.DataFrame(
        {
            "id": [f"r{i}" for i in range(4 * n)],
            "plate": np.repeat(["p0", "p1", "p2", "p3"], n),
            "label": label,
            "control": False,
            "position": np.tile([f"A{i:02d}" for i in range(n)], 4),
            "operator": [f"of {name}" for name in label],
        }
    )
    X = rng.normal(size=(4 * n, 8)).astype(np.float32)
    result = lines(two_level(index, X), hold_out="plate")
    assert result["column position"].state == "warn"
    assert result["column operator"].state == "warn"
    assert result["row order"].state == "warn"
    assert result["column plate"].state == "ok"
    assert result["class"].state == "warn"  # features of noise are at chance


@pytest.mark.parametrize("n_batches", [2, 3])
def test_a_strong_batch_effect_is_never_called_little(n_batches: int) -> None:
    rng = np.random.default_rng(3)
    n = 48
    batch = np.repeat([f"lab{k}" for k in range(n_batches)], n)
    label = np.tile(np.resize(["a", "b", "c", "d"], n), n_batches)
    centres = dict(zip("abcd", rng.normal(0, 2, (4, 8)), strict=True))
    shifts = {name: rng.normal(0, 20, 8) for name in np.unique(batch)}
    X = np.array([centres[y] + shifts[b] for y, b in zip(label, batch, strict=True)])
    X = (X + rng.normal(size=X.shape)).astype(np.float32)
    index = pd.DataFrame(
        {
            "id": [f"r{i}" for i in range(len(X))],
            "plate": batch,
            "label": label,
            "control": False,
            "position": "A01",
        }
    )
    result = lines(two_level(index, X), hold_out="plate")
    assert result["batch effect"].state == "look"
    assert result["batch effect"].facts["batch_from_features"] == pytest.approx(1)
    assert ("gap" in result["class"].facts) == (result["class"].state == "look")


def test_batches_without_an_effect_pass() -> None:
    rng = np.random.default_rng(8)
    index, _ = tiny.frame()
    X = rng.normal(size=(len(index), 12)).astype(np.float32)
    result = lines(tiny.opened(index=index, X=X, digest=of(X)))
    assert result["batch effect"].state == "ok"


def two_level(index: Any, X: Any) -> Any:
    """Return a data set with one batch level, the plate."""
    index = index.assign(week="w1")
    return tiny.opened(index=index, X=X, digest=of(X))


def test_a_clean_table_is_well() -> None:
    result = lines(tiny.opened())
    assert result["class and plate"].state == "ok"
    assert result["class and plate"].facts["nested"] == 0
    assert result["duplicates"].state == "ok"
    assert result["column week"].state == "ok"
    assert result["batch effect"].state == "look"  # each plate has a shift of its own
    assert result["level plate"].facts == {"values": 4, "min": 19, "max": 19}
    assert result["controls"].facts["per_batch_min"] == 4


def test_classes_of_one_batch_alone_are_told() -> None:
    opened = changed({"label": lambda i: np.where(i["control"], "", "of " + i["plate"])})
    result = lines(opened, hold_out="plate")["class and plate"]
    assert (result.state, result.facts["nested"], result.facts["classes"]) == ("warn", 4, 4)
    assert result.facts["composition"] == pytest.approx(1)


def test_a_position_that_tells_the_class_is_told() -> None:
    result = lines(tiny.opened())["column position"]  # the layout is the same on every plate
    assert result.state == "warn"
    assert result.facts["new_batch"] == pytest.approx(1)
    rng = np.random.default_rng(0)
    mixed = lines(changed({"position": lambda i: rng.permutation(i["position"])}))
    assert mixed["column position"].state == "ok"


def test_the_order_of_the_file_is_told() -> None:
    assert lines(tiny.opened())["row order"].state == "warn"
    order = np.random.default_rng(0).permutation(len(tiny.frame()[0]))
    assert lines(tiny.opened(order=order))["row order"].state == "ok"


def test_duplicates_are_told_and_where_they_lie() -> None:
    index, X = tiny.frame()
    X = X.copy()
    X[-1] = X[0]  # on the last plate, which is the test side, and on the first
    result = lines(tiny.opened(index=index, X=X, digest=of(X)))
    assert result["duplicates"].facts["duplicates"] == 1
    assert "p0-w00 and p3-w18" in result["duplicates"].text
    assert result["split tiny/last"].facts == {"content_on_both_sides": 1}


def test_a_plate_on_both_sides_is_told() -> None:
    result = lines(tiny.opened(), test={"position": ("A00", "A05", "A10")})
    assert (
        "leak: 4 of 4 test values of plate also occur in training" in result["split tiny/last"].text
    )


def test_missing_controls_are_told() -> None:
    assert lines(changed({"control": False}, controls=0))["controls"].state == "look"
    item = changed({"control": lambda i: i["control"] & (i["plate"] != "p1")})
    result = lines(item, hold_out="plate")["controls"]
    assert (result.state, result.facts["batches_without"]) == ("warn", 1)


def test_normalisation_that_was_not_declared_is_told() -> None:
    index, X = tiny.frame(batches=4, per_class=12, controls=12)
    result = lines(tiny.opened(index=index, X=X))["upstream"]
    assert result.state == "ok"
    X = X.copy()
    for plate in index["plate"].unique():
        rows = (index["plate"] == plate).to_numpy()
        X[rows] -= X[rows & index["control"].to_numpy(bool)].mean(axis=0)
    result = lines(tiny.opened(index=index, X=X))["upstream"]
    assert (result.state, result.facts["centred"]) == ("warn", 1.0)


def test_images_are_looked_at_through_fixed_features() -> None:
    result = lines(tiny.opened(images=True, per_class=12))
    assert result["batch effect"].facts["batch_from_features"] > 0.5


def test_methods_are_supported_or_not_with_a_reason() -> None:
    task = tiny.task()
    checks = checkup.examine(task.opened, [task.split])
    verdicts = {item.name: item for item in supported([task], Registry(), checks)}
    assert verdicts["erm"].verdict == "yes"
    assert verdicts["ibn"].verdict == "no"
    mentions(verdicts["ibn"].reason, "images")
    assert set(verdicts) == {
        e.name for e in Registry().entries("method") if not is_control_row(e.meta["level"])
    }
    nested = changed({"label": lambda i: np.where(i["control"], "", "of " + i["plate"])})
    split = tiny.split(hold_out="week")
    checks = checkup.examine(nested, [split])
    verdicts = {item.name: item for item in supported([task], Registry(), checks)}
    assert verdicts["ben"].verdict == "with care"
    mentions(verdicts["ben"].reason, "plate")
    assert verdicts["ben-controls"].verdict == "yes"


def test_the_command_says_it_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny.write_table(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["check-data", str(path), "--json"])
    assert stop.value.code == 0
    result = json.loads(capsys.readouterr().out)
    assert result["dataset"] == "tiny-table"
    assert {"rows", "controls", "split tiny-table/plates"} <= {
        o["topic"] for o in result["findings"]
    }
    with pytest.raises(SystemExit):
        main(["check-data", str(path)])
    text = capsys.readouterr().out
    passed = sum(finding["state"] == "ok" for finding in result["findings"])
    assert str(passed) in text.rstrip().splitlines()[-1]


def test_a_split_that_cannot_be_made_is_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = '\n[splits.bad]\ntest = { plate = ["p9"] }\n\n[splits.good]\nhold_out = "week"\n'
    path = tiny.write_table(tmp_path, splits=bad)
    with pytest.raises(SystemExit) as stop:
        main(["check-data", str(path)])
    assert stop.value.code == 0
    assert "unknown value of plate 'p9'" in " ".join(capsys.readouterr().out.split())


def test_plates_numbered_within_experiments_are_named_and_barcodes_are_not() -> None:
    experiments = [name for name in "abcdef" for _ in range(4)]
    assert checkup.is_numbered_within(["1", "2", "3", "4"] * 6, experiments)
    barcodes = [f"{name}{k}" for name in "abcdef" for k in range(4)]
    assert not checkup.is_numbered_within(barcodes, experiments)
    # Plates imaged by two microscopes.
    assert not checkup.is_numbered_within(barcodes * 2, ["x"] * 24 + ["y"] * 24)
    # A few plates that were repeated elsewhere.
    assert not checkup.is_numbered_within(["1", "2", "1", "3", "4"], ["a", "a", "b", "c", "d"])


def test_constant_features_predict_at_chance() -> None:
    index, X = tiny.frame()
    constant = np.ones_like(X)
    by_topic = lines(tiny.opened(index=index, X=constant, digest=of(constant)))
    assert by_topic["class"].state == "warn"
