"""Fixed, untrained features of images, used by the control row ``identity``.

No weights are learned and no statistics over images are used, so the features contain all batch
effects of the pixels. Per channel:

- quantiles, mean, standard deviation and skewness of the intensity, and the mean gradient;
- the radial power spectrum of the standardised channel;
- mean and standard deviation within concentric rings, of the channel and of the standardised one;
- contrast at five scales of the standardised channel: standard deviation, gradient, Laplacian and
  extremes of means over squares of 1 to 16 pixels.

In addition, the correlation of each pair of channels. Rings and scales were added because they
raised the balanced accuracy of a logistic regression on held-out batches *among the training
batches* of three sets of real images (three scanners, six periods, three laboratories): from .43,
.59 and .66 to .64, .72 and .80. Means over 16 x 16 squares of pixels (.55, .53, .62) and histograms
of gradient orientations (.42, .58, .85) alone did worse on average; adding the histograms to the
features raised the average by .01 for 2.5 times as many features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bench.core.types import Array, Floats


QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
SPECTRUM = 12
"""Rings of the power spectrum."""
RINGS = 8
"""Rings of the image; the corners beyond the last are not used."""
SCALES = (1, 2, 4, 8, 16)
"""Sides of squares over which pixels are averaged."""

Doubles = NDArray[np.float64]


def fixed_features(images: Array) -> Floats:
    """Return ``(n, C * 85 + C * (C - 1) / 2)`` float32 features of ``(n, C, H, W)`` images."""
    n, channels = images.shape[:2]
    x = images.astype(np.float64)
    flat = x.reshape(n, channels, -1)
    mean = flat.mean(axis=2)
    sd = flat.std(axis=2)
    z = (x - mean[..., None, None]) / np.where(sd > 0, sd, 1.0)[..., None, None]
    skew = (z**3).mean(axis=(2, 3))
    quantiles = np.moveaxis(np.quantile(flat, QUANTILES, axis=2), 0, 2)
    gradient = np.abs(np.diff(x, axis=3)).mean(axis=(2, 3)) / np.where(mean > 0, mean, 1.0)
    blocks = [
        quantiles,
        np.stack([mean, sd, skew, gradient], axis=2),
        np.log1p(_spectrum(z)),
        _rings(x),
        _rings(z),
        *[_contrast(_block_means(z, side)) for side in SCALES],
    ]
    pairs = [(a, b) for a in range(channels) for b in range(a + 1, channels)]
    correlation = [(z[:, a] * z[:, b]).mean(axis=(1, 2)) for a, b in pairs]
    per_channel = np.concatenate(blocks, axis=2).reshape(n, -1)
    features: Floats = np.column_stack([per_channel, *correlation]).astype(np.float32)
    return features


def _spectrum(z: Doubles) -> Doubles:
    """Return the mean power in rings of frequency, ``(n, C, 12)``."""
    n, channels, height, width = z.shape
    power = np.abs(np.fft.rfft2(z)) ** 2
    # The mean was subtracted: only rounding is left of the power at frequency 0.
    power[..., 0, 0] = 0.0
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    ring = np.minimum((frequency / 0.5 * SPECTRUM).astype(int), SPECTRUM - 1).ravel()
    counts = np.bincount(ring, minlength=SPECTRUM)
    flat = power.reshape(n, channels, -1)
    sums = np.stack([flat[..., ring == r].sum(axis=2) for r in range(SPECTRUM)], axis=2)
    spectrum: Doubles = sums / np.maximum(counts, 1)
    return spectrum


def _rings(x: Doubles) -> Doubles:
    """Return mean and SD of the pixels of each ring around the centre, ``(n, C, 16)``."""
    height, width = x.shape[2:]
    rows = (np.arange(height) - (height - 1) / 2) / (height / 2)
    columns = (np.arange(width) - (width - 1) / 2) / (width / 2)
    ring = (np.hypot(rows[:, None], columns[None, :]) * RINGS).astype(int)
    values = []
    for r in range(RINGS):
        # A ring that contains no pixel of a small image has the values 0.
        pixels = x[:, :, ring == r] if (ring == r).any() else np.zeros((*x.shape[:2], 1))
        values += [pixels.mean(axis=2), pixels.std(axis=2)]
    return np.stack(values, axis=2)


def _block_means(z: Doubles, side: int) -> Doubles:
    """Return means over blocks of about ``side`` x ``side`` pixels, ``(n, C, H', W')``."""
    if side == 1:
        return z
    edges = [np.linspace(0, size, max(size // side, 1) + 1).astype(int) for size in z.shape[2:]]
    sums = np.add.reduceat(z, edges[0][:-1], axis=2)
    sums = np.add.reduceat(sums, edges[1][:-1], axis=3)
    means: Doubles = sums / (np.diff(edges[0])[:, None] * np.diff(edges[1]))
    return means


def _contrast(y: Doubles) -> Doubles:
    """Return SD, gradient, two moments of the Laplacian, maximum and minimum, ``(n, C, 6)``."""
    n, channels, height, width = y.shape
    if min(height, width) < 3:  # too few blocks for a Laplacian
        return np.zeros((n, channels, 6))
    gradient = sum(np.abs(np.diff(y, axis=axis)).mean(axis=(2, 3)) for axis in (2, 3))
    inner = y[:, :, 1:-1, 1:-1]
    around = y[:, :, 2:, 1:-1] + y[:, :, :-2, 1:-1] + y[:, :, 1:-1, 2:] + y[:, :, 1:-1, :-2]
    laplacian = 4 * inner - around
    third = np.cbrt((np.abs(laplacian) ** 3).mean(axis=(2, 3)))
    extremes = [y.max(axis=(2, 3)), y.min(axis=(2, 3))]
    values = [y.std(axis=(2, 3)), gradient, laplacian.std(axis=(2, 3)), third, *extremes]
    return np.stack(values, axis=2)
