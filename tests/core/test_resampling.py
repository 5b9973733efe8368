"""Resampling against Pillow, torch and SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from bench.core.resampling import resampled, resampling_weights


def by_pillow(image: Any, step: float) -> Any:
    """Resample one image with Pillow, after padding it by reflection."""
    size = image.shape[0]
    pad = 2 * size
    padded = np.pad(image.astype(np.float32), pad, mode="symmetric")
    low = pad + size / 2 * (1 - step)
    box = (low, low, low + size * step, low + size * step)
    result = Image.fromarray(padded).resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(result)


@pytest.mark.parametrize("step", [0.4, 0.77, 1.0, 1.3, 2.0, 3.1])
@pytest.mark.parametrize("size", [9, 16])
def test_equals_pillow_on_an_image_padded_by_reflection(step: float, size: int) -> None:
    images = np.random.default_rng(size).uniform(0, 1000, (3, 2, size, size)).astype(np.float32)
    result = resampled(images, step)
    expected = np.array([[by_pillow(channel, step) for channel in image] for image in images])
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-2)


def test_a_centre_of_whole_pixels_equals_torch() -> None:
    images = np.random.default_rng(0).uniform(0, 1, (2, 3, 24, 24)).astype(np.float32)
    result = resampled(images, 0.5)
    # The kernel at the edge of torch's crop has no neighbours, so compare the inner pixels.
    crop = torch.from_numpy(images[:, :, 6:18, 6:18])
    expected = torch.nn.functional.interpolate(crop, 24, mode="bilinear", antialias=True)
    np.testing.assert_allclose(result[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=1e-5)


def test_magnification_is_linear_interpolation_as_in_scipy() -> None:
    image = np.random.default_rng(1).uniform(0, 1, (16, 16)).astype(np.float32)
    step = 0.63
    places = 7.5 + (np.arange(16) - 7.5) * step
    grid = np.meshgrid(places, places, indexing="ij")
    expected = ndimage.map_coordinates(image.astype(np.float64), grid, order=1, mode="reflect")
    np.testing.assert_allclose(resampled(image[None, None], step)[0, 0], expected, atol=1e-6)


def test_constants_stay_and_the_identity_is_exact() -> None:
    weights = resampling_weights(12, np.array([0.3, 1.0, 2.7, 9.0]))
    np.testing.assert_allclose(weights.sum(axis=2), 1, atol=1e-6)
    assert (weights >= 0).all()
    assert np.array_equal(weights[1], np.eye(12, dtype=np.float32))


def test_integers_are_rounded_and_keep_their_dtype() -> None:
    images = np.random.default_rng(2).integers(0, 65536, (2, 1, 8, 10)).astype(np.uint16)
    result = resampled(images, 1.4)
    assert result.dtype == np.uint16
    exact = resampled(images.astype(np.float32), 1.4)
    assert np.abs(result - exact.astype(np.float64)).max() <= 0.5
    assert resampled(images, 1.0) is images
