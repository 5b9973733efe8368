"""Resampling of images to another pixel size, as a product with two matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bench.core.types import Array, Floats


def resampling_weights(size: int, steps: Array) -> Floats:
    """Return matrices that resample an axis about its centre.

    The kernel is a triangle: linear interpolation when magnifying. When reducing, it is widened to
    the new pixel size, so that fine structures do not alias; this is ``BILINEAR`` of
    ``PIL.Image.resize`` and ``antialias=True`` of ``torch.nn.functional.interpolate``. Positions
    outside the axis are filled by reflection about the outer edge of the last pixel (``symmetric``
    of :func:`numpy.pad`).

    Parameters
    ----------
    size
        Number of pixels of the axis, before and after.
    steps
        ``(k,)``: new pixel size divided by the old one. 1 gives the identity.

    Returns
    -------
    numpy.ndarray
        ``(k, size, size)`` float32; each row sums to 1.
    """
    steps = np.asarray(steps, dtype=np.float64)
    radius = np.maximum(steps, 1.0)[:, None]
    output = np.arange(size) - (size - 1) / 2
    centre = (size - 1) / 2 + output[None] * steps[:, None]
    first = np.ceil(centre - radius)
    weights = np.zeros((len(steps), size, size))
    k, i = np.ogrid[: len(steps), :size]
    for tap in range(int(np.ceil(2 * radius.max(initial=1.0))) + 1):
        source = first + tap
        weight = np.maximum(1 - np.abs(source - centre) / radius, 0)
        folded = source.astype(np.int64) % (2 * size)
        folded = np.where(folded < size, folded, 2 * size - 1 - folded)
        weights[k, i, folded] += weight
    weights /= weights.sum(axis=2, keepdims=True)
    return weights.astype(np.float32)


def resampled(images: Array, step: float) -> Array:
    """Return images at another pixel size, with the same centre and the same number of pixels.

    Parameters
    ----------
    images
        ``(n, C, H, W)``.
    step
        New pixel size divided by the old one. Below 1 the centre is magnified; above 1 the image
        becomes smaller and the margin is filled by reflection.

    Returns
    -------
    numpy.ndarray
        The dtype of ``images``; integers are rounded and clipped. Counts are averaged, not summed.
    """
    if step == 1:
        return images
    height, width = (resampling_weights(size, np.array([step]))[0] for size in images.shape[2:])
    values = height @ images.astype(np.float32) @ width.T
    if images.dtype.kind != "f":
        limits = np.iinfo(images.dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    result: Array = values.astype(images.dtype)
    return result
