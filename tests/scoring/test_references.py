"""Reference rows: chance, ceiling, leaks; and the fixed features of images against loops."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.core.fixed_features import (
    QUANTILES,
    RINGS,
    SCALES,
    SPECTRUM,
    fixed_features,
)
from bench.core.method import Context
from bench.core.moments import Components
from bench.core.registry import Registry
from bench.scoring import controls
from bench.scoring.controls import control_view
from bench.scoring.labels import truth
from tests.helpers import tiny
from tests.helpers.optional import available

if TYPE_CHECKING:
    from pathlib import Path


def outputs(name: str, data=None, seed: int = 0, **fields):
    result = tiny.task(data, **fields)
    fold = result.folds[0]
    train, test = (tiny.partition(result.opened, fold, role) for role in ("train", "test"))
    row = Registry().entry("method", name).load()
    control = row(row.Params())
    views = [control_view(side, fold.classes) for side in (train, test)]
    control.fit(views[0], None, Context(seed=seed, recipe={}))
    both = [control.from_state(control.params, control.state()).apply(view) for view in views]
    return train, test, both[0].X, both[1].X, fold


def scores(tmp_path: Path, names: str, where) -> dict[str, dict[str, float]]:
    bench = tiny.Bench(tmp_path)
    records = bench.run(names, where)
    return {r["method"]: {k: v["all"] for k, v in r["metrics"].items()} for r in records}


def test_what_nothing_chance_and_the_truth_would_score(tmp_path: Path) -> None:
    data = tiny.opened(batches=4, per_class=100)
    where = tiny.task(data, hold_out="plate")
    result = scores(tmp_path, "identity,shuffle,batch-mean,label-oracle,batch-only", where)
    assert result["label-oracle"]["accuracy"] == 1.0
    assert result["label-oracle"]["balanced_accuracy"] == 1.0
    # 1200 rows of three classes: within three standard errors of a third
    assert abs(result["shuffle"]["balanced_accuracy"] - 1 / 3) < 3 * np.sqrt(2 / 9 / 1200)
    assert result["identity"]["balanced_accuracy"] > 0.6
    # One prediction for each unseen batch: chance level, whatever it is.
    assert result["batch-mean"]["balanced_accuracy"] == pytest.approx(1 / 3)
    assert result["batch-only"]["balanced_accuracy"] == pytest.approx(1 / 3)


def test_a_layout_that_gives_the_label_away(tmp_path: Path) -> None:
    where = tiny.task(tiny.opened(per_class=6), hold_out="plate")
    assert scores(tmp_path, "position-only", where)["position-only"]["accuracy"] == 1.0


def test_a_layout_drawn_anew_for_each_plate_gives_nothing(tmp_path: Path) -> None:
    index, X = tiny.frame(batches=4, per_class=80, controls=0)
    rng = np.random.default_rng(3)
    for plate in index["plate"].unique():
        mask = (index["plate"] == plate).to_numpy()
        index.loc[mask, "position"] = rng.permutation(index.loc[mask, "position"].to_numpy())
    where = tiny.task(tiny.opened(index=index, X=X), hold_out="plate")
    result = scores(tmp_path, "position-only", where)["position-only"]["accuracy"]
    assert abs(result - 1 / 3) < 3 * np.sqrt(2 / 9 / len(index)) + 0.02


def test_a_batch_that_tells_the_class(tmp_path: Path) -> None:
    index, X = tiny.frame(batches=4, per_class=8, controls=0)
    index["label"] = np.where(index["plate"].isin(["p0", "p1"]), "actin", "golgi")
    half = np.arange(len(index)) % 2 == 0
    index["part"] = np.where(half, "one", "two")
    where = tiny.task(
        tiny.opened(index=index, X=X),
        test={"part": ("one",)},
        shares=("plate", "week", "well"),
    )
    assert scores(tmp_path, "batch-only", where)["batch-only"]["accuracy"] == 1.0


def test_cell_counts_that_give_the_class_away(tmp_path: Path) -> None:
    import dataclasses

    index, X = tiny.frame(batches=4, per_class=60, controls=4)
    rng = np.random.default_rng(0)
    low = index["label"].map({"actin": 0, "golgi": 200, "nucleus": 400, "": 0}).to_numpy()
    index["count"] = (low + rng.integers(100, size=len(index))).astype(str)
    for counts, expected in ((index["count"], 1.0), (rng.permutation(index["count"]), 1 / 3)):
        data = tiny.opened(index=index.assign(count=counts), X=X)
        data = dataclasses.replace(data, columns={**data.columns, "cell_count": "count"})
        where = tiny.task(data, hold_out="plate")
        result = scores(tmp_path / str(expected), "cell-count-only", where)["cell-count-only"]
        for metric in ("balanced_accuracy", "knn1.balanced_accuracy"):
            assert abs(result[metric] - expected) < 0.1, metric


def test_cell_counts_are_one_hot_in_quantiles_of_training_rows() -> None:
    import dataclasses

    index, X = tiny.frame(per_class=30)
    index["count"] = np.arange(len(index)).astype(str)
    index.loc[5, "count"] = ""
    data = dataclasses.replace(tiny.opened(index=index, X=X), columns={"cell_count": "count"})
    train, test, X_train, X_test, _ = outputs("cell-count-only", data)
    assert X_train.sum(axis=0) == pytest.approx(len(train) / 10, abs=1)
    np.testing.assert_array_equal(X_train.sum(axis=1), train.rows != 5)
    assert set(X_test.argmax(axis=1)) == {9}  # the last plate has the largest numbers
    assert len(X_test) == len(test)


def test_without_numbers_of_cells_the_row_is_not_computed(tmp_path: Path) -> None:
    import dataclasses

    for columns in ({}, {"cell_count": "label"}):
        data = dataclasses.replace(tiny.opened(), columns=columns)
        [record] = tiny.Bench(tmp_path).run("cell-count-only", tiny.task(data))
        assert record["status"] == "not-applicable"
        assert "cell_count" in record["reason"]


def test_identity_is_the_table() -> None:
    train, test, X_train, X_test, _ = outputs("identity")
    source = train.opened.source
    np.testing.assert_array_equal(X_train, source.read(train.rows))
    np.testing.assert_array_equal(X_test, source.read(test.rows))


def test_shuffled_features_belong_to_other_rows() -> None:
    train, _, X_train, X_test, _ = outputs("shuffle")
    own = train.opened.source.read(train.rows)
    assert not np.array_equal(own, X_train)
    np.testing.assert_array_equal(np.sort(own, axis=0), np.sort(X_train, axis=0))
    again = outputs("shuffle")
    np.testing.assert_array_equal(again[3], X_test)
    assert not np.array_equal(outputs("shuffle", seed=1)[3], X_test)


def test_batch_means_are_constant_in_a_batch() -> None:
    train, _, X, _, _ = outputs("batch-mean")
    own = train.opened.source.read(train.rows).astype(np.float64)
    for plate in np.unique(train.batch):
        mask = train.batch == plate
        assert len(np.unique(X[mask], axis=0)) == 1
        np.testing.assert_allclose(X[mask][0], own[mask].mean(axis=0), rtol=1e-6)


@pytest.mark.parametrize("name, method", [("pca", "harmony"), ("pca-100", "scanorama")])
def test_components_are_those_that_the_corrections_start_from(name: str, method: str) -> None:
    """The same projection as in the method, with its default number of components."""
    index, _ = tiny.frame(per_class=30)
    rng = np.random.default_rng(0)
    X = rng.normal(5, 1, (len(index), 120)) @ np.diag(10.0 ** rng.uniform(-6, 6, 120))
    X[:, 3] = 7.0  # constant
    train, test, of_train, of_test, _ = outputs(name, tiny.opened(index=index, X=X.astype("f4")))
    n = Registry().entry("method", method).load().Params().n_components
    own, new = (side.opened.source.read(side.rows) for side in (train, test))
    components = Components.of(own, n, method)
    assert of_train.shape == (len(train), n)
    for result, rows in ((of_train, own), (of_test, new)):
        wanted = components.scores(rows).astype(np.float64)
        signs = np.sign((wanted * result).sum(axis=0))
        np.testing.assert_allclose(result * signs, wanted, atol=2e-3)


def test_components_number_at_most_the_rank(tmp_path: Path) -> None:
    _, _, X_train, _, _ = outputs("pca")
    assert X_train.shape[1] == 6
    where = tiny.task(tiny.opened(per_class=6), hold_out="plate")
    scored = scores(tmp_path, "identity,pca", where)
    # Six components of six features are a rotation of the scaled table.
    assert scored["pca"]["accuracy"] == pytest.approx(scored["identity"]["accuracy"], abs=0.1)


def test_the_oracle_knows_the_class_and_nothing_else() -> None:
    _, test, _, X, fold = outputs("label-oracle")
    y = truth(test, fold.classes)
    known = y >= 0
    assert X.shape == (len(test), 3)
    np.testing.assert_array_equal(X[known].argmax(axis=1), y[known])
    assert np.abs(X[known] - np.eye(3)[y[known]]).max() < 0.06
    assert np.abs(X[~known]).max() < 0.06


def test_codes_of_unseen_batches_are_empty() -> None:
    train, test, X_train, X_test, _ = outputs("batch-only")
    plates, weeks = np.unique(train.batch), ["w0", "w1"]
    assert X_train.shape[1] == len(plates) + len(weeks)
    np.testing.assert_array_equal(X_train.sum(axis=1), 2)
    # the test plate is new, its week is not
    assert set(test.batch) == {"p3"}
    np.testing.assert_array_equal(X_test.sum(axis=0), [0, 0, 0, 0, len(test)])


def test_without_positions_there_is_no_layout(tmp_path: Path) -> None:
    import dataclasses

    data = dataclasses.replace(tiny.opened(), columns={"well": "well"})
    [record] = tiny.Bench(tmp_path).run("position-only", tiny.task(data))
    assert record["status"] == "not-applicable"
    assert "position" in record["reason"]


def spectrum_by_loops(z) -> list[float]:
    height, width = z.shape
    sums, counts = np.zeros(SPECTRUM), np.zeros(SPECTRUM)
    spectrum = np.fft.fft2(z)
    for i in range(height):
        for j in range(width // 2 + 1):
            fi = (i if i <= (height - 1) // 2 else i - height) / height
            ring = min(int(np.hypot(fi, j / width) / 0.5 * SPECTRUM), SPECTRUM - 1)
            sums[ring] += abs(spectrum[i, j]) ** 2 if i or j else 0.0
            counts[ring] += 1
    return [float(np.log1p(s / max(n, 1))) for s, n in zip(sums, counts, strict=True)]


def rings_by_loops(x) -> list[float]:
    height, width = x.shape
    pixels: list[list[float]] = [[] for _ in range(RINGS)]
    for i, j in itertools.product(range(height), range(width)):
        radius = np.hypot((i - (height - 1) / 2) / height * 2, (j - (width - 1) / 2) / width * 2)
        if radius < 1:
            pixels[int(radius * RINGS)].append(x[i, j])
    return [f(values) if values else 0.0 for values in pixels for f in (np.mean, np.std)]


def contrast_by_loops(z, side) -> list[float]:
    rows, columns = (max(size // side, 1) for size in z.shape)
    if min(rows, columns) < 3:
        return [0.0] * 6
    sides = zip(z.shape, (rows, columns), strict=True)
    edge = [[int(size * k / m) for k in range(m + 1)] for size, m in sides]
    y = np.array(
        [
            [z[a:b, c:d].mean() for c, d in itertools.pairwise(edge[1])]
            for a, b in itertools.pairwise(edge[0])
        ]
    )
    inner = itertools.product(range(1, rows - 1), range(1, columns - 1))
    bend = [4 * y[i, j] - y[i + 1, j] - y[i - 1, j] - y[i, j + 1] - y[i, j - 1] for i, j in inner]
    down = [abs(y[i + 1, j] - y[i, j]) for i in range(rows - 1) for j in range(columns)]
    right = [abs(y[i, j + 1] - y[i, j]) for i in range(rows) for j in range(columns - 1)]
    third = np.mean([abs(v) ** 3 for v in bend]) ** (1 / 3)
    gradient = np.mean(down) + np.mean(right)
    return [y.std(), gradient, np.std(bend), third, y.max(), y.min()]


def features_by_loops(image) -> list[float]:
    """Return the features of one image, pixel by pixel."""
    channels, height, width = image.shape
    features, standard = [], []
    for c in range(channels):
        x = image[c].astype(float)
        values = sorted(x.ravel().tolist())
        for q in QUANTILES:
            at = q * (len(values) - 1)
            low = int(np.floor(at))
            high = min(low + 1, len(values) - 1)
            features.append(values[low] + (at - low) * (values[high] - values[low]))
        mean = sum(values) / len(values)
        sd = np.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
        z = (x - mean) / (sd if sd > 0 else 1.0)
        standard.append(z)
        steps = [abs(x[i, j + 1] - x[i, j]) for i in range(height) for j in range(width - 1)]
        gradient = sum(steps) / len(steps) / (mean if mean > 0 else 1.0)
        features += [mean, sd, float((z**3).mean()), gradient]
        features += spectrum_by_loops(z) + rings_by_loops(x) + rings_by_loops(z)
        for side in SCALES:
            features += contrast_by_loops(z, side)
    for a, b in itertools.combinations(range(channels), 2):
        features.append(float((standard[a] * standard[b]).mean()))
    return features


@pytest.mark.parametrize("shape", [(2, 12, 12), (3, 9, 14), (1, 50, 20), (1, 4, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_fixed_features_against_a_loop(shape, dtype) -> None:
    images = np.random.default_rng(0).integers(0, 200, (3, *shape)).astype(dtype)
    images[2] = 7  # a constant image has no spread to divide by
    features = fixed_features(images)
    channels = shape[0]
    assert features.dtype == np.float32
    assert features.shape == (3, channels * 85 + channels * (channels - 1) // 2)
    expected = [features_by_loops(image) for image in images]
    np.testing.assert_allclose(features, expected, rtol=2e-5, atol=1e-5)


def test_fixed_features_of_a_data_set_of_images() -> None:
    _, test, _, X, _ = outputs("identity", tiny.opened(images=True))
    wanted = [fixed_features(test.opened.source.read(row[None]))[0] for row in test.rows]
    np.testing.assert_allclose(X, wanted, rtol=1e-6)


@pytest.fixture(scope="module")
def of_the_oracle(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Every metric of label-oracle, with weeks of two plates as test sets."""
    import dataclasses

    from bench.metrics import METRICS

    index, X = tiny.frame(batches=4, per_class=40)
    index["compound"] = index["label"] + (index.index % 4).astype(str)
    data = tiny.opened(index=index, X=X)
    columns = {**data.columns, "treatment": "compound", "compound": "compound"}
    data = dataclasses.replace(data, columns=columns)
    where = tiny.task(data, hold_out="week", metrics=tuple(METRICS))
    return scores(tmp_path_factory.mktemp("oracle"), "label-oracle", where)["label-oracle"]


def test_the_oracle_is_the_ceiling_of_the_metrics_that_declare_it(
    of_the_oracle: dict[str, float],
) -> None:
    from bench.boards.values import best_possible
    from bench.metrics import METRICS

    computed = set(available(list(METRICS)))
    assert computed <= set(of_the_oracle)
    for name in sorted(computed):
        meta = METRICS[name]
        best = best_value(name)
        reached = abs(of_the_oracle[name] - best) < 0.0005
        if meta["oracle_is_best"]:
            assert reached, name
            assert best_possible(name) == best
        else:
            assert best_possible(name) is None


def test_the_oracle_is_not_the_ceiling_of_calibration_and_mixing(
    of_the_oracle: dict[str, float],
) -> None:
    for name in available(["calibration_error", "ilisi", "map", "arevalo_overall", "batch_1nn"]):
        assert abs(of_the_oracle[name] - best_value(name)) > 0.0005, name


def best_value(name: str) -> float:
    from bench.metrics import METRICS

    return float(METRICS[name]["range"][1 if METRICS[name]["higher_is_better"] else 0])


def test_images_are_read_once_for_all_control_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny.opened(images=True)
    where = tiny.task(data)
    read: list[int] = []

    def counted(images):
        read.append(len(images))
        return fixed_features(images)

    monkeypatch.setattr(controls, "fixed_features", counted)
    [fold] = where.folds
    train, test = (tiny.partition(data, fold, role) for role in ("train", "test"))
    for _ in range(2):
        for partition in (train, test):
            X = control_view(partition, fold.classes).X
            expected = fixed_features(data.source.read(partition.rows))
            np.testing.assert_array_equal(X, expected)
    assert sum(read) == len(train) + len(test)
    assert control_view(test, fold.classes, profiles=False).X is None
