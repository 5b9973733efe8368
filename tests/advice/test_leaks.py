"""``check-data`` finds changed copies of rows, features that are the class, and other units."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from bench.advice import checkup
from bench.advice.checkup import _near
from bench.advice.checkup._values import explained, factors_of
from bench.core.registry import Registry
from bench.data.near import image_descriptors, near_pairs
from bench.data.opening import open_all
from tests.helpers import tiny
from tests.helpers.errors import mentions
from tests.helpers.real import real_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

N = 10
"""Rows that are copied."""


def jpeg(image: NDArray[Any], quality: int) -> NDArray[Any]:
    planes = []
    for plane in image:
        sink = io.BytesIO()
        Image.fromarray(plane).save(sink, "JPEG", quality=quality)
        planes.append(np.asarray(Image.open(sink)))
    return np.stack(planes)


def resized(image: NDArray[Any], size: int) -> NDArray[Any]:
    bilinear = Image.Resampling.BILINEAR
    small = [Image.fromarray(plane).resize((size, size), bilinear) for plane in image]
    return np.stack([np.asarray(plane.resize(image.shape[1:], bilinear)) for plane in small])


def rounded(row: NDArray[Any]) -> NDArray[Any]:
    return np.array([float(f"{value:.3g}") for value in row])


ROWS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "scaled": lambda row: row * 1.0001,
    "rounded": rounded,
    "noise": lambda row: row + np.random.default_rng(1).normal(0, 1e-3, row.shape),
}
IMAGES: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "one grey level": lambda x: np.clip(x.astype(int) + 1, 0, 255).astype(np.uint8),
    "jpeg": lambda x: jpeg(x, 90),
    "contrast": lambda x: (0.9 * x).astype(np.uint8),
    "mirrored": lambda x: x[:, :, ::-1],
    "turned": lambda x: np.rot90(x, 1, (1, 2)),
    "shifted": lambda x: np.roll(x, 1, 2),
    "resized": lambda x: resized(x, 36),
    "turned and mirrored": lambda x: np.rot90(x, 3, (1, 2))[:, ::-1],
}


def with_copies(change: Callable[[NDArray[Any]], NDArray[Any]], *, images: bool) -> Any:
    """Return a data set with changed copies of rows of the first plate in the last."""
    if images:
        index, _ = tiny.frame(batches=4, per_class=8)
        rng = np.random.default_rng(2)
        coarse = rng.normal(size=(len(index), 2, 6, 6)).repeat(8, 2).repeat(8, 3)
        X = np.clip(128 + 30 * coarse + rng.normal(0, 3, coarse.shape), 0, 255).astype(np.uint8)
    else:
        index, X = tiny.frame(batches=4, per_class=8)
    first, last = (np.flatnonzero(index["plate"] == plate)[:N] for plate in ("p0", "p3"))
    X[last] = np.stack([change(X[row]) for row in first])
    data = tiny.opened(index=index, X=X, digest=hashlib.sha256(X.tobytes()).hexdigest())
    if images:
        object.__setattr__(data, "source", tiny.Images(X))
    return data


def near(data: Any) -> tuple[int, int]:
    """Return how many rows are near duplicates, and how many test rows of a training row."""
    checks = list(_near.near_duplicates(data, [tiny.split(hold_out="plate")]))
    facts = {key: value for check in checks for key, value in check.facts.items()}
    return facts["near_duplicates"], facts.get("near_duplicates_on_both_sides", 0)


@pytest.mark.parametrize("name", ROWS)
def test_changed_rows_across_a_split_are_reported(name: str) -> None:
    # Each copy is a test row of a fold, and so is its original.
    assert near(with_copies(ROWS[name], images=False)) == (2 * N, 2 * N)


@pytest.mark.parametrize("name", IMAGES)
def test_changed_images_across_a_split_are_reported(name: str) -> None:
    rows = near(with_copies(IMAGES[name], images=True))
    fewest = 1.6 * N if name == "shifted" else 2 * N  # the margins of shifted images are new
    assert fewest <= rows[0] == rows[1] <= 2 * N


@pytest.mark.parametrize(
    ("name", "images"),
    [("equal", False), ("scaled", False), ("jpeg", True), ("shifted", True), ("resized", True)],
)
def test_a_run_notes_copies(name: str, images: bool, tmp_path: Path) -> None:
    change = {"equal": lambda row: row, **ROWS, **IMAGES}[name]
    data = with_copies(change, images=images)
    bench_ = tiny.Bench(tmp_path)
    [record, other] = bench_.run("identity,zscore", tiny.task(data))
    for notes in (record["notes"], other["notes"]):
        assert sum("check-data" in note for note in notes) == 1
        mentions(notes, "copies", "exact" if name == "equal" else "near")
    assert sum("check-data" in line for line in bench_.said) == 1


def test_a_run_without_copies_notes_nothing(tmp_path: Path) -> None:
    [record] = tiny.Bench(tmp_path).run("identity", tiny.task())
    assert not [note for note in record["notes"] if "check-data" in note]


@pytest.mark.parametrize("images", [False, True])
def test_equal_rows_are_left_to_the_check_of_duplicates(images: bool) -> None:
    data = with_copies(lambda row: row, images=images)
    assert near(data) == (0, 0)
    checks = {check.topic for check in checkup.examine(data, [tiny.split(hold_out="plate")])}
    assert "duplicates" in checks


@pytest.mark.parametrize("d", [1, 2, 5, 30])
@pytest.mark.parametrize("n", [60, 600])
def test_random_rows_of_any_dimension_have_no_near_duplicates(n: int, d: int) -> None:
    X = np.random.default_rng(d).normal(size=(n, d)).astype(np.float32)
    assert len(near_pairs(X, np.arange(n).astype(str))) == 0


def test_the_description_is_equal_for_the_eight_symmetries() -> None:
    x = np.random.default_rng(0).integers(0, 255, (1, 2, 16, 16), dtype=np.uint8)
    turned = [np.rot90(x, k, (2, 3)) for k in range(4)]
    turned += [t[..., ::-1] for t in turned]
    expected = image_descriptors(x)
    for image in turned:
        np.testing.assert_allclose(image_descriptors(image), expected, atol=1e-6)
    other = np.random.default_rng(1).integers(0, 255, x.shape, dtype=np.uint8)
    assert np.abs(image_descriptors(other) - expected).max() > 0.05


@pytest.mark.parametrize("name", ["bbbc021_ljosa2013", "jump_moa_dye_batches", "mitosis_scanners"])
def test_real_data_have_none(name: str) -> None:
    file = real_folder(name) / "dataset.toml"
    data, splits, _ = open_all(str(file), Registry(), "auto")
    checks = [*_near.near_duplicates(data, splits)]
    assert [check.state for check in checks] == ["ok"]


def test_a_feature_that_is_the_class_is_reported() -> None:
    index, X = tiny.frame()
    code = np.unique(index["label"], return_inverse=True)[1].astype(np.float32)

    def state(column: NDArray[Any]) -> str:
        values = np.column_stack([X, column]).astype(np.float32)
        data = tiny.opened(index=index, X=values, digest=hashlib.sha256(values).hexdigest())
        checks = {check.topic: check for check in checkup.examine(data, [])}
        return checks["features and class"].state

    rng = np.random.default_rng(0)
    assert state(code) == "warn"
    assert state(100 - 3 * code + rng.normal(0, 0.1, len(code))) == "warn"
    assert state(rng.permutation(code)) == "ok"


def test_explained_is_omega_squared_of_analysis_of_variance() -> None:
    from scipy.stats import f_oneway

    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b", "c"], 20)
    X = rng.normal(size=(60, 4)) + np.arange(3).repeat(20)[:, None]
    F = np.array([f_oneway(*(X[y == k, j] for k in "abc")).statistic for j in range(4)])
    expected = 2 * (F - 1) / (2 * (F - 1) + 60)  # omega squared from F
    np.testing.assert_allclose(explained(X, y), expected)
    assert explained(np.ones((60, 1)), y)[0] == 0


def test_a_plate_in_other_units_is_reported() -> None:
    index, X = tiny.frame()
    X[index["plate"] == "p1"] *= 1000
    data = tiny.opened(index=index, X=X, digest=hashlib.sha256(X).hexdigest())
    checks = {check.topic: check for check in checkup.examine(data, [])}
    assert checks["units"].state == "warn"
    assert "p1" in checks["units"].text
    factors = factors_of(X, index["plate"].to_numpy(str))
    assert 500 < factors["p1"] < 2000
    assert all(0.2 < factor < 5 for name, factor in factors.items() if name != "p1")
