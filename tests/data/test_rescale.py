"""Images brought to one pixel size."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from bench.api import BenchError
from bench.core.registry import Registry
from bench.core.resampling import resampled
from bench.data.rescale import pixel_sizes, rescaled
from bench.runs.identity import run_id
from bench.runs.job import Options
from bench.runs.plan import plan
from tests.helpers import tiny
from tests.helpers.errors import raises

SIZES = {"p0": "0.4", "p1": "0.4", "p2": "0.3", "p3": "0.2"}


def two_scales(sizes: dict[str, str] = SIZES) -> Any:
    data = tiny.opened(images=True)
    data.index["um"] = data.index["plate"].map(sizes)
    return dataclasses.replace(data, columns={**data.columns, "pixel": "um"})


def test_images_take_the_median_pixel_size_of_training() -> None:
    data = two_scales()
    task = tiny.task(data)
    result = rescaled(task).opened
    rows = np.random.default_rng(0).permutation(len(data.index))[:40]
    images = data.source.read(rows)
    expected = np.stack(
        [
            resampled(image[None], 0.4 / float(size))[0]
            for image, size in zip(images, data.index["um"].iloc[rows], strict=True)
        ]
    )
    read = result.source.read(rows)
    assert np.array_equal(read, expected)
    assert read.dtype == images.dtype
    untouched = (data.index["um"].iloc[rows] == "0.4").to_numpy()
    assert np.array_equal(read[untouched], images[untouched])
    assert not np.array_equal(read, images)
    assert set(pixel_sizes(result)) == {0.4}
    # The source is read only: its own images are not changed in place.
    assert np.array_equal(data.source.read(rows), images)


def test_a_given_pixel_size_is_used_and_identifies_the_data() -> None:
    task = tiny.task(two_scales())
    first, second, other = (rescaled(task, um).opened for um in (0.25, 0.25, 0.3))
    assert set(pixel_sizes(first)) == {0.25}
    assert first.digest == second.digest
    assert len({task.opened.digest, first.digest, other.digest}) == 3
    assert rescaled(task).digest == task.digest
    larger = tiny.task(two_scales({**SIZES, "p3": "0.1"}))
    assert rescaled(larger, 0.25).opened.digest != first.digest


@pytest.mark.parametrize("sizes", [{**SIZES, "p3": ""}, {**SIZES, "p3": "unknown"}])
def test_an_unknown_pixel_size_is_an_error(sizes: dict[str, str]) -> None:
    data = two_scales(sizes)
    missing = int((data.index["plate"] == "p3").sum())
    with raises(BenchError, "tiny", f"{missing} of {len(data.index)}"):
        rescaled(tiny.task(data))
    with raises(BenchError, "tiny"):
        rescaled(tiny.task(tiny.opened(images=True)))
    with raises(BenchError, "rescale"):
        rescaled(tiny.task())


def test_ids_change_only_with_rescale() -> None:
    task = tiny.task(two_scales())

    def ids(method: str, **overrides: Any) -> tuple[str, str]:
        options = Options("smoke", overrides)
        [job] = plan([method], [task], [0], options, Registry())
        return run_id(job.spec()), job.spec()["folds"][0]["stages"][0]["fit_id"]

    for method in ("erm", "fixed-logistic"):
        plain = ids(method)
        assert ids(method, rescale="false", scale_range="1") == plain
        assert ids(method, rescale="true") != plain
        assert ids(method, rescale="true")[1] != plain[1]
        assert ids(method, rescale="true", pixel_size="0.3") != ids(method, rescale="true")
    assert ids("erm", scale_range="1.5")[1] != ids("erm")[1]
    options = Options("smoke", {"rescale": "true"})
    [job] = plan(["erm"], [task], [0], options, Registry())
    assert job.spec()["rescale"] is True
    assert "rescale" not in plan(["erm"], [task], [0], Options("smoke"), Registry())[0].spec()
