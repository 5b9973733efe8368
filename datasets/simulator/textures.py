"""Textures: random fields, spots and cell maps, the building blocks of the patterns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Geometry:
    """Maps of ``n`` cells that the patterns are computed from; lengths in um."""

    x: F32
    y: F32
    depth: F32  # distance from the nucleus, negative inside it
    within: F32  # 1 inside the nucleus
    plasm: F32  # thickness of cytoplasm
    height: F32  # thickness of the cell
    pixel: F32  # (n, 1, 1)
    core: F32  # (n, 1, 1) radius of the nucleus
    seen: NDArray[np.float64]  # (n,) fraction of the cell on the canvas
    scale: F32  # (n,) size of structures

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cells, and side length of the canvas in pixels."""
        return self.depth.shape[0], self.depth.shape[1]

    def noise(self, rng: np.random.Generator, length: float) -> F32:
        """Return a random field with correlation length in um; see :func:`noise`."""
        return noise(rng, *self.shape, length * self.scale / self.pixel[:, 0, 0])

    def near(self, length: float) -> F32:
        """Return a map that decreases with the distance from the nucleus."""
        return np.asarray(np.exp(-np.maximum(self.depth, 0) / np.float32(length)))

    def rim(self, width: float) -> F32:
        """Return a Gaussian of the distance from the nucleus, with a width in um."""
        return np.asarray(np.exp(-0.5 * (self.depth / np.float32(width)) ** 2))


def noise(rng: np.random.Generator, n: int, side: int, length: NDArray[np.floating]) -> F32:
    """Return Gaussian random fields ``(n, side, side)`` of unit variance.

    The spectrum is Gaussian: the field is white noise smoothed with a standard deviation of
    ``length`` pixels, ``(n,)``.
    """
    half = side // 2 + 1
    white = rng.standard_normal((n, side, half, 2), dtype=np.float32).view(np.complex64)[..., 0]
    squared = frequencies(side)
    low = np.exp(-2 * np.pi**2 * squared * np.square(length).astype(np.float32)[:, None, None])
    # Columns between the first and the last represent two frequencies each. For the other columns,
    # the inverse transform uses one of two parts of equal power; the factor corrects for that.
    alone = [0, half - 1] if side % 2 == 0 else [0]
    white[:, :, alone] *= np.float32(np.sqrt(2))
    count = np.full(half, 2.0, np.float32)
    count[alone] = 1
    power = np.sum(np.square(low) * count, axis=(1, 2), dtype=np.float64)
    low *= (side * side / np.sqrt(2 * power)).astype(np.float32)[:, None, None]
    field: F32 = fft.irfft2(white * low, s=(side, side), overwrite_x=True)
    return field


def frequencies(side: int) -> F32:
    """Return the squared spatial frequencies of a real FFT, ``(1, side, side // 2 + 1)``."""
    rows = np.fft.fftfreq(side)[:, None] ** 2
    columns = np.fft.rfftfreq(side)[None, :] ** 2
    return (rows + columns).astype(np.float32)[None]


def spots(
    rng: np.random.Generator, g: Geometry, mean: float, spread: float, where: F32, sigma: float
) -> F32:
    """Draw spots of unequal brightness at random, with density proportional to ``where``.

    Parameters
    ----------
    rng
        Generator.
    g
        Geometry of ``n`` cells.
    mean
        Mean number of spots per cell; the number varies with a CV of about 0.35.
    spread
        Standard deviation of the log brightness of a spot.
    where
        ``(n, side, side)`` relative probability of a spot.
    sigma
        Radius of a spot (standard deviation), um.
    """
    n, side = g.shape
    counts = rng.poisson(mean * g.seen * rng.lognormal(-0.05, 0.32, n)) + 1
    owner = np.repeat(np.arange(n), counts)
    cumulative = np.cumsum(where.reshape(n, -1), axis=1, dtype=np.float64)
    total = np.maximum(cumulative[:, -1], 1e-9)
    # Inverse transform sampling for all cells at once: offset each cell's cumulative curve.
    cumulative /= total[:, None]
    cumulative += np.arange(n)[:, None]
    target = owner + rng.random(len(owner)) * (1 - 1e-9)
    flat = np.searchsorted(cumulative.ravel(), target).clip(0, n * side * side - 1)
    brightness = rng.lognormal(0, spread, len(owner))
    # Spots are between pixels: each is split among four, wrapping at the last row and column.
    row, column = flat // side % side, flat % side
    down, right = rng.random((2, len(owner)))
    spots = np.zeros(n * side * side)
    for step_y, share_y in ((0, 1 - down), (1, down)):
        for step_x, share_x in ((0, 1 - right), (1, right)):
            at = (owner * side + (row + step_y) % side) * side + (column + step_x) % side
            spots += np.bincount(at, brightness * share_y * share_x, n * side * side)
    blur = np.square(sigma * g.scale / g.pixel[:, 0, 0])[:, None, None]
    spectrum = fft.rfft2(spots.astype(np.float32).reshape(n, side, side))
    spectrum *= np.exp(-2 * np.pi**2 * frequencies(side) * blur)
    return np.asarray(np.maximum(fft.irfft2(spectrum, s=(side, side), overwrite_x=True), 0))


def area(thickness: F32, pixel: F32) -> NDArray[np.float64]:
    """Return the integral of each map over the canvas, ``(n,)`` in um2."""
    total: NDArray[np.float64] = thickness.sum(axis=(1, 2), dtype=np.float64)
    return total * pixel[:, 0, 0] ** 2


def whole_height(
    radius: NDArray[np.floating], core: NDArray[np.floating], flat: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the height integrated over a complete round cell, ``(n,)`` in um2."""
    r = (np.arange(48) + 0.5) / 48
    dome = np.sqrt(1 - r * r) * np.exp(-np.maximum(r * radius[:, None] - core[:, None], 0) / 7.0)
    height = 0.25 + (1 - flat[:, None]) * dome
    return np.asarray(2 * np.pi * radius**2 * (height * r).sum(axis=1) / 48)


def unit(density: F32, pixel: F32) -> F32:
    """Scale each density to an integral of 1 over its canvas (in 1/um2)."""
    total = density.sum(axis=(1, 2), keepdims=True, dtype=np.float64) * pixel**2
    return np.asarray(density * (1 / np.maximum(total, 1e-6)).astype(np.float32))


def column(values: NDArray[np.floating]) -> F32:
    """Return values ``(n,)`` as ``(n, 1, 1)``, to multiply cell maps."""
    return values.astype(np.float32)[:, None, None]
