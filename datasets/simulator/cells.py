"""Cells: outlines, nuclei and where a tagged protein is, as densities on a grid.

Everything is drawn in micrometres and sampled at the camera's pixels, for many cells at once.
Sizes of structures follow cell biology textbooks (Alberts et al., Molecular Biology of the Cell):
mitochondria and ER tubules 0.1-1 um thick, peroxisomes 0.1-0.5 um and some hundred a cell, early
endosomes 0.2-0.8 um and some dozens, a Golgi ribbon of several micrometres beside the nucleus;
mouse nuclei show bright chromocentres. Shapes and mixing fractions are assumptions. A tagged
protein is never wholly in its organelle: a class-specific share lies in the cytosol or the ER and
grows with the expression level, so classes overlap at the dim and at the over-expressed end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

F32 = NDArray[np.float32]

CELL_RADIUS = 10.5
"""Mean radius of a spread cell, um."""
NUCLEUS_RADIUS = 5.0
"""Mean radius of a nucleus, um."""
PROTEIN = 2.0e5
"""Mean electrons a cell sends to the camera in the protein channel, at reference settings."""
DNA = 1.2e5
"""Mean electrons a nucleus with one genome sends in the nucleus channel, at reference settings."""
STRAY = (0.16, 0.12, 0.22, 0.20, 0.35, 0.5, 0.18)
"""Share of the protein outside its organelle, for each class, in a cell of mean expression."""


@dataclass(frozen=True, eq=False)
class Culture:
    """Conditions of the culture for ``n`` crops: each field is ``(n,)``.

    Attributes
    ----------
    pixel
        Pixel size, um.
    size, elongation, confluence, expression, organelles
        Values of the knobs of that name.
    stray
        Factor on the odds that protein lies outside its organelle.
    flat
        Fraction of height lost, for cells in wells at the rim.
    """

    pixel: F32
    size: F32
    elongation: F32
    confluence: F32
    expression: F32
    organelles: F32
    stray: F32
    flat: F32

    def take(self, rows: NDArray[np.int64]) -> Culture:
        """Return the conditions of some crops."""
        return Culture(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def draw_crops(
    rng: np.random.Generator, label: int, culture: Culture, side: int
) -> tuple[F32, F32]:
    """Draw the densities of protein and DNA in crops around cells of one class.

    Parameters
    ----------
    rng
        Generator; the only source of randomness.
    label
        Class number.
    culture
        Conditions of the ``n`` crops.
    side
        Width of the canvas in pixels.

    Returns
    -------
    tuple
        Protein and DNA, each ``(n, side, side)`` in electrons a pixel at reference settings.
    """
    n = len(culture.pixel)
    # Crops are centred on a nucleus that was found automatically: a pixel or two off.
    centre = rng.normal(0, 0.4, (n, 2)).astype(np.float32)
    protein, dna, inside = _draw_cells(rng, label, culture, centre, side)

    beside = np.flatnonzero(rng.random(n) < culture.confluence)
    if len(beside):
        some = culture.take(beside)
        angle = rng.uniform(0, 2 * np.pi, len(beside))
        # Neighbours touch: the distance of centres is about two radii.
        reach = rng.uniform(1.5, 2.1, len(beside)) * CELL_RADIUS * some.size
        away = np.stack([reach * np.cos(angle), reach * np.sin(angle)], 1).astype(np.float32)
        more, nuclei, _ = _draw_cells(rng, label, some, centre[beside] + away, side)
        free = 1 - inside[beside]
        protein[beside] += more * free
        dna[beside] += nuclei * free
    return protein, dna


def _draw_cells(
    rng: np.random.Generator, label: int, culture: Culture, centre: F32, side: int
) -> tuple[F32, F32, F32]:
    n = len(culture.pixel)
    axis = (np.arange(side, dtype=np.float32) - (side - 1) / 2)[None, :]
    x = (axis * culture.pixel[:, None])[:, None, :]
    y = (axis * culture.pixel[:, None])[:, :, None]

    genomes = _genomes(rng, n)
    swell = np.cbrt(genomes / 1.4)
    size = culture.size * rng.lognormal(0, 0.10, n) * np.sqrt(swell)
    radius = CELL_RADIUS * size
    stretch = culture.elongation * rng.lognormal(0, 0.12, n)
    angle = rng.uniform(0, np.pi, n)
    # The nucleus need not lie in the middle of its cell.
    shift = rng.normal(0, 1.2, (n, 2))
    cell = _outline(rng, x, y, centre + shift, radius, stretch, angle, (0.10, 0.07))

    core = NUCLEUS_RADIUS * culture.size * swell * rng.lognormal(0, 0.07, n)
    core_stretch = np.sqrt(stretch) * rng.lognormal(0, 0.06, n)
    tilt = angle + rng.normal(0, 0.25, n)
    nucleus = _outline(rng, x, y, centre, core, core_stretch, tilt, (0.03, 0.02))

    pixel = culture.pixel[:, None, None]
    r_cell, r_core = _column(radius), _column(core)
    inside = np.clip((1 - cell) * r_cell / 0.6 + 0.5, 0, 1)
    within = np.clip((1 - nucleus) * r_core / 0.4 + 0.5, 0, 1)
    inside = np.maximum(inside, within)
    depth = (nucleus - 1) * r_core  # distance from the nucleus, um; negative within it
    # Spread cells are thin at the rim and high around the nucleus.
    dome = np.sqrt(np.clip(1 - cell * cell, 0, 1)) * np.exp(-np.maximum(depth, 0) / 7.0)
    flat = _column(culture.flat)
    height = inside * (0.25 + (1 - flat) * dome)
    plasm = height * (1 - 0.92 * within)

    # Only a part of a neighbour lies on the canvas, and with it that part of its light.
    seen = _area(height, pixel) / _whole_height(radius, core, culture.flat)
    seen_core = np.minimum(_area(within, pixel) / (np.pi * core**2), 1)

    geometry = _Geometry(
        x - centre[:, 0, None, None],
        y - centre[:, 1, None, None],
        depth,
        within,
        plasm,
        height,
        pixel,
        _column(core),
        np.minimum(seen, 1),
        culture.organelles.astype(np.float32),
    )
    pattern = _PATTERNS[label](rng, geometry)
    here = seen_core if label in _AT_NUCLEUS else seen

    expression = rng.lognormal(0, 0.55, n)
    base = STRAY[label] / (1 - STRAY[label])
    odds = base * culture.stray * rng.lognormal(0, 0.8, n) * expression**0.4
    stray = odds / (1 + odds)
    haze = plasm * (0.6 + 0.4 * np.exp(-np.maximum(depth, 0) / 4.0)) + 0.15 * within
    protein = _column((1 - stray) * here) * _unit(pattern, pixel)
    protein += _column(stray * seen) * _unit(haze, pixel)
    amount = PROTEIN * culture.expression * expression
    protein *= _column(amount) * pixel**2

    chromatin = within * (0.75 + 0.25 * _noise(rng, n, side, 0.8 / culture.pixel))
    chromatin = np.maximum(chromatin, 0)
    centres = _spots(rng, geometry, 14, 0.5, within, 0.38)
    dna = 0.85 * _unit(chromatin, pixel) + 0.15 * _unit(centres, pixel)
    dna *= _column(DNA * genomes * seen_core) * pixel**2
    return protein, dna, inside


@dataclass(frozen=True, eq=False)
class _Geometry:
    """Maps of ``n`` cells that the patterns are made of; lengths in um."""

    x: F32
    y: F32
    depth: F32  # distance from the nucleus, negative within it
    within: F32  # 1 in the nucleus
    plasm: F32  # thickness of cytoplasm
    height: F32  # thickness of the cell
    pixel: F32  # (n, 1, 1)
    core: F32  # (n, 1, 1) radius of the nucleus
    seen: NDArray[np.float64]  # (n,) share of the cell on the canvas
    scale: F32  # (n,) size of structures

    @property
    def shape(self) -> tuple[int, int]:
        return self.depth.shape[0], self.depth.shape[1]

    def noise(self, rng: np.random.Generator, length: float) -> F32:
        return _noise(rng, *self.shape, length * self.scale / self.pixel[:, 0, 0])

    def near(self, length: float) -> F32:
        """Return what falls off with the distance from the nucleus."""
        return np.asarray(np.exp(-np.maximum(self.depth, 0) / np.float32(length)))

    def rim(self, width: float) -> F32:
        return np.asarray(np.exp(-0.5 * (self.depth / np.float32(width)) ** 2))


def _er(rng: np.random.Generator, g: _Geometry) -> F32:
    mesh = np.exp(-((g.noise(rng, 0.55) / 0.35) ** 2))
    sheet = 0.35 + 0.65 * np.exp(-((g.noise(rng, 1.6) / 0.8) ** 2))
    net = g.plasm * (0.4 + mesh) * sheet * (0.3 + g.near(4.0))
    return np.asarray(net + 0.35 * g.rim(0.3))


def _mitochondria(rng: np.random.Generator, g: _Geometry) -> F32:
    thread = np.exp(-((g.noise(rng, 0.75) / 0.30) ** 2))
    gate = 1 / (1 + np.exp(-3.5 * (g.noise(rng, 1.5) + 0.6 * g.near(4.0) + 0.1)))
    return np.asarray(g.plasm * thread * gate * (0.25 + g.near(6.0)))


def _golgi(rng: np.random.Generator, g: _Geometry) -> F32:
    n = g.shape[0]
    angle = rng.uniform(0, 2 * np.pi, n)
    cos, sin = _column(np.cos(angle)), _column(np.sin(angle))
    # In some cells the ribbon is in pieces, spread around the nucleus.
    spread = np.where(rng.random(n) < 0.15, 2.2, 1.0) * g.scale
    along = _column(rng.uniform(1.3, 4.0, n) * spread)
    across = _column(rng.uniform(0.7, 1.8, n) * spread)
    out = g.core + _column(rng.uniform(0.3, 1.6, n))
    radial = g.x * cos + g.y * sin - out
    tangential = g.y * cos - g.x * sin
    # The ribbon bends around the nucleus.
    radial = radial + tangential**2 / (2 * g.core + 2)
    place = np.exp(-0.5 * (radial / across) ** 2 - 0.5 * (tangential / along) ** 2)
    ribbon = 0.15 + np.maximum(g.noise(rng, 0.55), 0) ** 1.3
    return np.asarray(place * ribbon * (0.15 + g.plasm) * (1 - 0.7 * g.within))


def _peroxisomes(rng: np.random.Generator, g: _Geometry) -> F32:
    return _spots(rng, g, 110, 0.45, g.plasm * (0.5 + 0.5 * g.near(8.0)), 0.14)


def _endosomes(rng: np.random.Generator, g: _Geometry) -> F32:
    where = g.plasm * (0.2 + g.near(3.5))
    small = _spots(rng, g, 55, 0.6, where, 0.20)
    large = _spots(rng, g, 14, 0.7, where, 0.36)
    return _unit(small, g.pixel) + 0.6 * _unit(large, g.pixel)


def _cytosol(rng: np.random.Generator, g: _Geometry) -> F32:
    grain = np.maximum(1 + 0.13 * g.noise(rng, 0.9) + 0.10 * g.noise(rng, 2.5), 0)
    nuclear = _column(rng.uniform(0.25, 0.9, g.shape[0]))
    holes = 1 - 0.5 * np.clip(g.noise(rng, 0.6) - 1.8, 0, 1)
    return np.asarray(grain * (g.plasm * holes + nuclear * g.within * g.height))


def _envelope(rng: np.random.Generator, g: _Geometry) -> F32:
    patch = np.maximum(1 + 0.30 * g.noise(rng, 0.7), 0)
    width = _column(rng.uniform(0.22, 0.40, g.shape[0]))
    rim = np.exp(-0.5 * (g.depth / width) ** 2)
    # Light from the envelope above and below the focal plane fills the nucleus, and membrane
    # proteins of the envelope are made in the ER, which is continuous with it.
    fill = _column(rng.uniform(0.10, 0.30, g.shape[0]))
    left = _column(rng.uniform(0.05, 0.35, g.shape[0]))
    return np.asarray(patch * (rim + fill * g.within) + left * _er(rng, g))


_AT_NUCLEUS = (2, 6)
"""Classes that lie at the nucleus, so that they are on the canvas if it is."""
_PATTERNS = (_er, _mitochondria, _golgi, _peroxisomes, _endosomes, _cytosol, _envelope)


def _genomes(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Draw the DNA content of cycling cells: half in G1, the others in S, G2 or M."""
    phase = rng.random(n)
    return np.where(phase < 0.5, 1.0, np.where(phase < 0.75, 1 + (phase - 0.5) * 4, 2.0))


def _outline(
    rng: np.random.Generator,
    x: F32,
    y: F32,
    centre: NDArray[np.floating],
    radius: NDArray[np.floating],
    stretch: NDArray[np.floating],
    angle: NDArray[np.floating],
    waves: tuple[float, float],
) -> F32:
    """Return the distance from a centre in units of the outline's radius: 1 on the outline.

    The outline is an ellipse whose radius varies with the third and fourth harmonic of the angle.
    """
    cos, sin = _column(np.cos(angle)), _column(np.sin(angle))
    dx, dy = x - _column(centre[:, 0]), y - _column(centre[:, 1])
    long, short = _column(1 / np.sqrt(stretch)), _column(np.sqrt(stretch))
    u = (dx * cos + dy * sin) * long
    v = (dy * cos - dx * sin) * short
    r = np.sqrt(u * u + v * v) + np.float32(1e-4)
    u /= r
    v /= r
    c2, s2 = u * u - v * v, 2 * u * v
    third = rng.normal(0, waves[0], (2, len(radius)))
    fourth = rng.normal(0, waves[1], (2, len(radius)))
    wave = _column(third[0]) * (u * c2 - v * s2) + _column(third[1]) * (v * c2 + u * s2)
    wave += _column(fourth[0]) * (c2 * c2 - s2 * s2) + _column(fourth[1]) * (2 * c2 * s2)
    r /= _column(radius) * np.maximum(1 + wave, 0.4)
    return r


def _noise(rng: np.random.Generator, n: int, side: int, length: NDArray[np.floating]) -> F32:
    """Return Gaussian random fields ``(n, side, side)`` of unit variance.

    The spectrum is Gaussian: the field is white noise smoothed with a standard deviation of
    ``length`` pixels, ``(n,)``.
    """
    half = side // 2 + 1
    white = rng.standard_normal((n, side, half, 2), dtype=np.float32).view(np.complex64)[..., 0]
    squared = _frequencies(side)
    low = np.exp(-2 * np.pi**2 * squared * np.square(length).astype(np.float32)[:, None, None])
    # Columns between the first and the last stand for two frequencies each. Of the others the
    # inverse transform takes one of two parts of equal power, which is made up for.
    alone = [0, half - 1] if side % 2 == 0 else [0]
    white[:, :, alone] *= np.float32(np.sqrt(2))
    count = np.full(half, 2.0, np.float32)
    count[alone] = 1
    power = np.sum(np.square(low) * count, axis=(1, 2), dtype=np.float64)
    low *= (side * side / np.sqrt(2 * power)).astype(np.float32)[:, None, None]
    field: F32 = fft.irfft2(white * low, s=(side, side), overwrite_x=True)
    return field


def _frequencies(side: int) -> F32:
    """Return the squared spatial frequencies of a real FFT, ``(1, side, side // 2 + 1)``."""
    rows = np.fft.fftfreq(side)[:, None] ** 2
    columns = np.fft.rfftfreq(side)[None, :] ** 2
    return (rows + columns).astype(np.float32)[None]


def _spots(
    rng: np.random.Generator, g: _Geometry, mean: float, spread: float, where: F32, sigma: float
) -> F32:
    """Scatter spots of unequal brightness where ``where`` is large.

    Parameters
    ----------
    rng
        Generator.
    g
        Geometry of ``n`` cells.
    mean
        Mean number of spots a cell; the number varies with a CV of about 0.35.
    spread
        Standard deviation of the logarithm of a spot's brightness.
    where
        ``(n, side, side)`` relative chance of a spot.
    sigma
        Radius of a spot (standard deviation), um.
    """
    n, side = g.shape
    counts = rng.poisson(mean * g.seen * rng.lognormal(-0.05, 0.32, n)) + 1
    owner = np.repeat(np.arange(n), counts)
    cumulative = np.cumsum(where.reshape(n, -1), axis=1, dtype=np.float64)
    total = np.maximum(cumulative[:, -1], 1e-9)
    # Inverse transform on all cells at once: each cell's curve is raised above the one before.
    cumulative /= total[:, None]
    cumulative += np.arange(n)[:, None]
    target = owner + rng.random(len(owner)) * (1 - 1e-9)
    flat = np.searchsorted(cumulative.ravel(), target).clip(0, n * side * side - 1)
    brightness = rng.lognormal(0, spread, len(owner))
    # Spots lie between pixels: each is shared among four, the last row and column wrapping.
    row, column = flat // side % side, flat % side
    down, right = rng.random((2, len(owner)))
    spots = np.zeros(n * side * side)
    for step_y, share_y in ((0, 1 - down), (1, down)):
        for step_x, share_x in ((0, 1 - right), (1, right)):
            at = (owner * side + (row + step_y) % side) * side + (column + step_x) % side
            spots += np.bincount(at, brightness * share_y * share_x, n * side * side)
    blur = np.square(sigma * g.scale / g.pixel[:, 0, 0])[:, None, None]
    spectrum = fft.rfft2(spots.astype(np.float32).reshape(n, side, side))
    spectrum *= np.exp(-2 * np.pi**2 * _frequencies(side) * blur)
    return np.asarray(np.maximum(fft.irfft2(spectrum, s=(side, side), overwrite_x=True), 0))


def _area(thickness: F32, pixel: F32) -> NDArray[np.float64]:
    """Return the integral of maps over the canvas, ``(n,)`` in um2."""
    total: NDArray[np.float64] = thickness.sum(axis=(1, 2), dtype=np.float64)
    return total * pixel[:, 0, 0] ** 2


def _whole_height(
    radius: NDArray[np.floating], core: NDArray[np.floating], flat: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the integral of the height of whole round cells, ``(n,)`` in um2."""
    r = (np.arange(48) + 0.5) / 48
    dome = np.sqrt(1 - r * r) * np.exp(-np.maximum(r * radius[:, None] - core[:, None], 0) / 7.0)
    height = 0.25 + (1 - flat[:, None]) * dome
    return np.asarray(2 * np.pi * radius**2 * (height * r).sum(axis=1) / 48)


def _unit(density: F32, pixel: F32) -> F32:
    """Scale densities so that each integrates to 1 over its canvas (in 1/um2)."""
    total = density.sum(axis=(1, 2), keepdims=True, dtype=np.float64) * pixel**2
    return np.asarray(density * (1 / np.maximum(total, 1e-6)).astype(np.float32))


def _column(values: NDArray[np.floating]) -> F32:
    return values.astype(np.float32)[:, None, None]
