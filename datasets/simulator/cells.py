"""Cells: outlines, nuclei and the distribution of a tagged protein, as densities on a grid.

Everything is drawn in micrometres and sampled at the camera pixels, for many cells at once.
Structure sizes follow cell biology textbooks (Alberts et al., Molecular Biology of the Cell):
mitochondria and ER tubules 0.1-1 um thick, some hundred peroxisomes per cell of 0.1-0.5 um, some
dozen early endosomes of 0.2-0.8 um, a Golgi ribbon of several micrometres next to the nucleus;
mouse nuclei have bright chromocentres. Shapes and mixing fractions are assumptions. Part of a
tagged protein is always outside its organelle: a class-specific fraction is in the cytosol or the
ER and increases with the expression level, so classes overlap at low and at high expression.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .textures import F32, Geometry, area, column, noise, spots, unit, whole_height

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELL_RADIUS = 10.5
"""Mean radius of a spread cell, um."""
NUCLEUS_RADIUS = 5.0
"""Mean radius of a nucleus, um."""
PROTEIN = 2.0e5
"""Mean electrons per cell in the protein channel, at reference settings."""
DNA = 1.2e5
"""Mean electrons per nucleus with one genome in the nucleus channel, at reference settings."""
STRAY = (0.16, 0.12, 0.22, 0.20, 0.35, 0.5, 0.18)
"""Fraction of the protein outside its organelle, per class, in a cell of mean expression."""


@dataclass(frozen=True, eq=False)
class Culture:
    """Culture conditions of ``n`` crops; each field is ``(n,)``.

    Attributes
    ----------
    pixel
        Pixel size, um.
    size, elongation, confluence, expression, organelles
        Values of the knobs with these names.
    stray
        Factor on the odds that protein is outside its organelle.
    flat
        Fraction of height lost, for cells in wells at the plate edge.
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
        """Return the conditions of selected crops."""
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
        Protein and DNA, each ``(n, side, side)`` in electrons per pixel at reference settings.
    """
    n = len(culture.pixel)
    # Crops are centred on an automatically detected nucleus, with an error of a pixel or two.
    centre = rng.normal(0, 0.4, (n, 2)).astype(np.float32)
    protein, dna, inside = _draw_cells(rng, label, culture, centre, side)

    beside = np.flatnonzero(rng.random(n) < culture.confluence)
    if len(beside):
        some = culture.take(beside)
        angle = rng.uniform(0, 2 * np.pi, len(beside))
        # Neighbours touch: their centres are about two radii apart.
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
    # The nucleus may be off the centre of its cell.
    shift = rng.normal(0, 1.2, (n, 2))
    cell = _outline(rng, x, y, centre + shift, radius, stretch, angle, (0.10, 0.07))

    core = NUCLEUS_RADIUS * culture.size * swell * rng.lognormal(0, 0.07, n)
    core_stretch = np.sqrt(stretch) * rng.lognormal(0, 0.06, n)
    tilt = angle + rng.normal(0, 0.25, n)
    nucleus = _outline(rng, x, y, centre, core, core_stretch, tilt, (0.03, 0.02))

    pixel = culture.pixel[:, None, None]
    r_cell, r_core = column(radius), column(core)
    inside = np.clip((1 - cell) * r_cell / 0.6 + 0.5, 0, 1)
    within = np.clip((1 - nucleus) * r_core / 0.4 + 0.5, 0, 1)
    inside = np.maximum(inside, within)
    depth = (nucleus - 1) * r_core  # distance from the nucleus, um; negative inside it
    # Spread cells are thin at the edge and high around the nucleus.
    dome = np.sqrt(np.clip(1 - cell * cell, 0, 1)) * np.exp(-np.maximum(depth, 0) / 7.0)
    flat = column(culture.flat)
    height = inside * (0.25 + (1 - flat) * dome)
    plasm = height * (1 - 0.92 * within)

    # Only part of a neighbour, and of its light, is on the canvas.
    seen = area(height, pixel) / whole_height(radius, core, culture.flat)
    seen_core = np.minimum(area(within, pixel) / (np.pi * core**2), 1)

    geometry = Geometry(
        x - centre[:, 0, None, None],
        y - centre[:, 1, None, None],
        depth,
        within,
        plasm,
        height,
        pixel,
        column(core),
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
    protein = column((1 - stray) * here) * unit(pattern, pixel)
    protein += column(stray * seen) * unit(haze, pixel)
    amount = PROTEIN * culture.expression * expression
    protein *= column(amount) * pixel**2

    chromatin = within * (0.75 + 0.25 * noise(rng, n, side, 0.8 / culture.pixel))
    chromatin = np.maximum(chromatin, 0)
    centres = spots(rng, geometry, 14, 0.5, within, 0.38)
    dna = 0.85 * unit(chromatin, pixel) + 0.15 * unit(centres, pixel)
    dna *= column(DNA * genomes * seen_core) * pixel**2
    return protein, dna, inside


def _er(rng: np.random.Generator, g: Geometry) -> F32:
    mesh = np.exp(-((g.noise(rng, 0.55) / 0.35) ** 2))
    sheet = 0.35 + 0.65 * np.exp(-((g.noise(rng, 1.6) / 0.8) ** 2))
    net = g.plasm * (0.4 + mesh) * sheet * (0.3 + g.near(4.0))
    return np.asarray(net + 0.35 * g.rim(0.3))


def _mitochondria(rng: np.random.Generator, g: Geometry) -> F32:
    thread = np.exp(-((g.noise(rng, 0.75) / 0.30) ** 2))
    gate = 1 / (1 + np.exp(-3.5 * (g.noise(rng, 1.5) + 0.6 * g.near(4.0) + 0.1)))
    return np.asarray(g.plasm * thread * gate * (0.25 + g.near(6.0)))


def _golgi(rng: np.random.Generator, g: Geometry) -> F32:
    n = g.shape[0]
    angle = rng.uniform(0, 2 * np.pi, n)
    cos, sin = column(np.cos(angle)), column(np.sin(angle))
    # In some cells the ribbon is fragmented and distributed around the nucleus.
    spread = np.where(rng.random(n) < 0.15, 2.2, 1.0) * g.scale
    along = column(rng.uniform(1.3, 4.0, n) * spread)
    across = column(rng.uniform(0.7, 1.8, n) * spread)
    out = g.core + column(rng.uniform(0.3, 1.6, n))
    radial = g.x * cos + g.y * sin - out
    tangential = g.y * cos - g.x * sin
    # The ribbon bends around the nucleus.
    radial = radial + tangential**2 / (2 * g.core + 2)
    place = np.exp(-0.5 * (radial / across) ** 2 - 0.5 * (tangential / along) ** 2)
    ribbon = 0.15 + np.maximum(g.noise(rng, 0.55), 0) ** 1.3
    return np.asarray(place * ribbon * (0.15 + g.plasm) * (1 - 0.7 * g.within))


def _peroxisomes(rng: np.random.Generator, g: Geometry) -> F32:
    return spots(rng, g, 110, 0.45, g.plasm * (0.5 + 0.5 * g.near(8.0)), 0.14)


def _endosomes(rng: np.random.Generator, g: Geometry) -> F32:
    where = g.plasm * (0.2 + g.near(3.5))
    small = spots(rng, g, 55, 0.6, where, 0.20)
    large = spots(rng, g, 14, 0.7, where, 0.36)
    return unit(small, g.pixel) + 0.6 * unit(large, g.pixel)


def _cytosol(rng: np.random.Generator, g: Geometry) -> F32:
    grain = np.maximum(1 + 0.13 * g.noise(rng, 0.9) + 0.10 * g.noise(rng, 2.5), 0)
    nuclear = column(rng.uniform(0.25, 0.9, g.shape[0]))
    holes = 1 - 0.5 * np.clip(g.noise(rng, 0.6) - 1.8, 0, 1)
    return np.asarray(grain * (g.plasm * holes + nuclear * g.within * g.height))


def _envelope(rng: np.random.Generator, g: Geometry) -> F32:
    patch = np.maximum(1 + 0.30 * g.noise(rng, 0.7), 0)
    width = column(rng.uniform(0.22, 0.40, g.shape[0]))
    rim = np.exp(-0.5 * (g.depth / width) ** 2)
    # Light from the envelope above and below the focal plane fills the nucleus. Membrane proteins
    # of the envelope are synthesised in the ER, which is continuous with it.
    fill = column(rng.uniform(0.10, 0.30, g.shape[0]))
    left = column(rng.uniform(0.05, 0.35, g.shape[0]))
    return np.asarray(patch * (rim + fill * g.within) + left * _er(rng, g))


_AT_NUCLEUS = (2, 6)
"""Classes located at the nucleus: they are on the canvas whenever the nucleus is."""
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
    """Return the distance from a centre divided by the outline's radius: 1 on the outline.

    The outline is an ellipse; the third and fourth harmonics of the angle modulate its radius.
    """
    cos, sin = column(np.cos(angle)), column(np.sin(angle))
    dx, dy = x - column(centre[:, 0]), y - column(centre[:, 1])
    long, short = column(1 / np.sqrt(stretch)), column(np.sqrt(stretch))
    u = (dx * cos + dy * sin) * long
    v = (dy * cos - dx * sin) * short
    r = np.sqrt(u * u + v * v) + np.float32(1e-4)
    u /= r
    v /= r
    c2, s2 = u * u - v * v, 2 * u * v
    third = rng.normal(0, waves[0], (2, len(radius)))
    fourth = rng.normal(0, waves[1], (2, len(radius)))
    wave = column(third[0]) * (u * c2 - v * s2) + column(third[1]) * (v * c2 + u * s2)
    wave += column(fourth[0]) * (c2 * c2 - s2 * s2) + column(fourth[1]) * (2 * c2 * s2)
    r /= column(radius) * np.maximum(1 + wave, 0.4)
    return r
