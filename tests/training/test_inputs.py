"""Random magnification of training images."""

from __future__ import annotations

import math

import numpy as np
import torch

from bench.core.resampling import resampled
from bench.training.inputs import magnified


def test_each_image_is_resampled_by_its_own_factor() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 2, 12, 10)).astype(np.float32))
    result = magnified(x, 1.8, torch.Generator().manual_seed(3))
    draws = torch.rand(5, generator=torch.Generator().manual_seed(3)).double().numpy()
    for image, expected, draw in zip(result, x, draws, strict=True):
        step = 1.8 ** (2 * draw - 1)
        np.testing.assert_allclose(image, resampled(expected[None].numpy(), step)[0], atol=1e-5)


def test_factors_are_log_uniform_and_one_is_no_change() -> None:
    # On a linear ramp, the value next to the centre is proportional to the new pixel size.
    x = (torch.arange(8.0) - 3.5).expand(2000, 1, 8, 8)
    result = magnified(x, 1.3, torch.Generator().manual_seed(0))
    exponents = ((result[:, 0, 4, 4] / 0.5).log() / math.log(1.3)).sort().values
    expected = torch.linspace(-1, 1, 2000)
    reduced = exponents > 0  # interpolation is exact when magnifying only
    assert (exponents - expected)[~reduced].abs().max() < 0.05
    assert (exponents - expected)[reduced].abs().max() < 0.3
    same = magnified(x, 1.0, torch.Generator().manual_seed(0))
    assert torch.equal(same, x)
