"""Tables of a few plates, scored end to end: unequal classes, nested classes, other units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import bench
from tests.helpers.optional import available, needs_scib

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TOML = """
name = "small"
kind = "profiles"
table = "table.csv"
features = "^Cells_"
id = ["plate", "well"]
label = "moa"
batches = ["plate"]
{extra}
[splits.plates]
hold_out = "plate"
"""


def table(layout: Mapping[str, str], d: int, signal: float, shift: float) -> pd.DataFrame:
    """Return one row per class name in the layout of each plate, a letter per well."""
    rng = np.random.default_rng(0)
    center = {k: rng.normal(0, signal, d) for k in sorted(set("".join(layout.values())))}
    rows = []
    for plate, classes in layout.items():
        moved = rng.normal(0, shift, d)
        for well, k in enumerate(classes):
            x = center[k] + moved + rng.normal(0, 1, d)
            features = {f"Cells_f{j}": v for j, v in enumerate(x)}
            rows.append({"plate": plate, "well": f"A{well:02d}", "moa": k, **features})
    return pd.DataFrame(rows)


def run(folder: Path, frame: pd.DataFrame, methods: str, extra: str = "", **kwargs) -> dict:
    folder.mkdir(exist_ok=True)
    frame.to_csv(folder / "table.csv", index=False)
    (folder / "small.toml").write_text(TOML.format(extra=extra), encoding="utf-8")
    records = bench.run(methods, str(folder / "small.toml"), results=folder / "results", **kwargs)
    return {record.method: record for record in records}


def by_scikit_learn(frame: pd.DataFrame) -> float:
    """Return the mean balanced accuracy over held-out plates of a weighted regression."""
    X = frame.filter(like="Cells_").to_numpy()
    y, plate = frame["moa"].to_numpy(), frame["plate"].to_numpy()
    scores = []
    for name in np.unique(plate):
        test = plate == name
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
        predicted = model.fit(X[~test], y[~test]).predict(X[test])
        correct = pd.Series(predicted == y[test])
        scores.append(correct.groupby(y[test]).mean().mean())
    return float(np.mean(scores))


LAYOUTS = {
    "two laboratories, unequal classes": dict.fromkeys(
        ["labA", "labB"], "A" * 48 + "B" * 24 + "C" * 16 + "D" * 8
    ),
    "two classes nested in four plates": {f"P{i}": "AB"[i % 2] * 24 for i in range(4)},
    "three classes nested in six plates": {f"P{i}": "ABC"[i % 3] * 24 for i in range(6)},
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_truth_is_read_without_error_and_features_as_by_any_regression(
    layout: dict[str, str], tmp_path: Path
) -> None:
    frame = table(layout, d=30, signal=0.6, shift=0.5)
    records = run(tmp_path, frame, "label-oracle,identity")
    assert records["label-oracle"].value() == 1.0
    assert records["identity"].value() == pytest.approx(by_scikit_learn(frame), abs=0.1)


@pytest.mark.usefixtures("few_penalties")
def test_units_do_not_change_the_scores(tmp_path: Path) -> None:
    frame = table({f"P{i}": "ABCD" * 6 for i in range(4)}, d=10, signal=1.0, shift=0.5)
    other = frame.copy()
    names = [f"Cells_f{j}" for j in range(6)]
    other[names] *= 1e-14  # as the Hu moments of CellProfiler
    metrics = "silhouette_label"
    first = run(tmp_path / "first", frame, "identity", metrics=metrics)["identity"]
    second = run(tmp_path / "second", other, "identity", metrics=metrics)["identity"]
    assert second.value() == pytest.approx(first.value(), abs=1e-6)
    assert first.value() > 0.5


BATCH_METRICS = available(["ilisi", "silhouette_batch", "map", "kbet", "cilisi", "arevalo_overall"])


@pytest.mark.usefixtures("few_penalties")
def test_metrics_of_batches_are_undefined_on_test_sets_of_one_batch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.cli.main import main

    frame = table({f"P{i}": "ABCD" * 6 for i in range(4)}, d=6, signal=2.0, shift=1.0)
    record = run(tmp_path, frame, "identity", metrics=",".join((*BATCH_METRICS, "clisi")))
    undefined = record["identity"].data["undefined"]
    assert set(undefined) == set(BATCH_METRICS)
    for name in BATCH_METRICS:
        assert record["identity"].value(name, "embedding") is None
    assert record["identity"].value("clisi", "embedding") is not None
    results = str(tmp_path / "results")
    words = ["--method", "identity", "--split", str(tmp_path / "small.toml"), "--results", results]
    for argv in (
        ["run", *words, "--metrics", "ilisi,accuracy"],
        ["leaderboard", "--split", "small/plates", "--metric", "ilisi", "--results", results],
    ):
        with pytest.raises(SystemExit) as stopped:
            main(argv)
        printed = capsys.readouterr()
        if argv[0] == "run":
            assert stopped.value.code == 0
            assert "ilisi is undefined" in printed.out
            accuracy = record["identity"].value("accuracy")
            assert f"{accuracy:.3f}" in printed.out
        else:
            assert stopped.value.code == 2
            assert "ilisi" in printed.err


@needs_scib
def test_an_overall_score_needs_a_component_that_compares_batches() -> None:
    from bench.metrics import compute

    rng = np.random.default_rng(0)
    label = np.repeat(["a", "b"], 20)
    X = rng.normal(size=(40, 4)) + 3 * (label == "a")[:, None]
    both = compute("arevalo_overall", X=X, label=label, batch=np.tile(["p", "q"], 20))
    single = compute("arevalo_overall", X=X, label=label, batch=np.full(40, "p"))
    assert np.isfinite(both.value)
    assert np.isnan(single.value)
    assert single.n == 0


RETRIEVAL = """
treatment = ["compound"]
compound = "compound"
nscb_batch = "plate"
[splits.profile]
protocol = "unsupervised"
test = "all"
score_unit = "treatment"
metrics = ["{metrics}"]
"""


@pytest.mark.parametrize(
    "metrics, compounds, status",
    [
        ("nsc", "one", "not-applicable"),  # no class has another compound
        ("nsc", "two", "ok"),
        ('nsc", "nscb', "plate", "ok"),  # nscb needs a class on two plates
    ],
)
def test_retrieval_without_a_valid_pair(
    tmp_path: Path, metrics: str, compounds: str, status: str
) -> None:
    layout = {"P0": "AABB" * 4, "P1": "AABB" * 4}
    if compounds == "plate":
        layout = {"P0": "A" * 16, "P1": "B" * 16}
    frame = table(layout, d=6, signal=2.0, shift=0.1)
    number = "" if compounds == "one" else (frame.index % 2).astype(str)
    frame["compound"] = frame["moa"] + number
    frame.to_csv(tmp_path / "table.csv", index=False)
    text = TOML.format(extra="").partition("[splits")[0] + RETRIEVAL.format(metrics=metrics)
    (tmp_path / "small.toml").write_text(text, encoding="utf-8")
    [record] = bench.run(
        "identity", str(tmp_path / "small.toml:profile"), results=tmp_path / "results"
    )
    assert record.status == status
    assert (record.value() is None) == (status != "ok")
    assert bool(record.reason) == (status != "ok")
    if compounds == "plate":
        assert set(record.data["undefined"]) == {"nscb"}
