"""Fixed, untrained features of images, used by the control row ``identity``.

No weights are learned and no statistics over images are used, so the features contain all batch
effects of the pixels. Per channel: quantiles, mean, standard deviation and skewness of the
intensity, the radial power spectrum, and the mean gradient. In addition, the correlation of each
pair of channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bench.core.types import Array, Floats

QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
RINGS = 12


def fixed_features(images: Array) -> Floats:
    """Return ``(n, C * 23 + C * (C - 1) / 2)`` float32 features of ``(n, C, H, W)`` images."""
    n, channels, height, width = images.shape
    x = images.astype(np.float64)
    flat = x.reshape(n, channels, -1)
    mean = flat.mean(axis=2)
    sd = flat.std(axis=2)
    safe = np.where(sd > 0, sd, 1.0)
    z = (flat - mean[..., None]) / safe[..., None]
    skew = (z**3).mean(axis=2)
    quantiles = np.moveaxis(np.quantile(flat, QUANTILES, axis=2), 0, 2)

    power = np.abs(np.fft.rfft2(z.reshape(x.shape))) ** 2
    fy = np.fft.fftfreq(height)[:, None]
    fx = np.fft.rfftfreq(width)[None, :]
    ring = np.minimum((np.hypot(fy, fx) / 0.5 * RINGS).astype(int), RINGS - 1).ravel()
    counts = np.bincount(ring, minlength=RINGS)
    spectrum = np.stack(
        [power.reshape(n, channels, -1)[..., ring == r].sum(axis=2) for r in range(RINGS)], axis=2
    ) / np.maximum(counts, 1)
    gradient = np.abs(np.diff(x, axis=3)).mean(axis=(2, 3)) / np.where(mean > 0, mean, 1.0)

    pairs = [(a, b) for a in range(channels) for b in range(a + 1, channels)]
    correlation = [(z[:, a] * z[:, b]).mean(axis=1) for a, b in pairs]
    parts = [quantiles, np.stack([mean, sd, skew, gradient], axis=2), np.log1p(spectrum)]
    blocks = np.concatenate(parts, axis=2).reshape(n, -1)
    features: Floats = np.column_stack([blocks, *correlation]).astype(np.float32)
    return features
