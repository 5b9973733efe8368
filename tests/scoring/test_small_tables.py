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
