"""Simulate one plate, from culture to counts: the knobs applied in the order of an experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.seeds import generator

from . import camera, cells, optics
from .conditions import VERSION, Conditions
from .knobs import NAMES
from .layout import CLASSES, Cells, Plate, shares_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.core.types import Array

CROP = 64
"""Width of a stored image, pixels."""
MARGIN = 8
"""Margin around the crop in pixels, so that light from outside is blurred into it."""
BLOCK = 32
"""Images simulated at once; small enough for the CPU cache. Affects the random draws."""
WARM_UP = 20.0
"""Time constant of the lamp, minutes (Zeiss Campus: stable after 20-30 minutes)."""
REFERENCE_APERTURE = 0.9

_SPECIAL = frozenset({"composition", "layout", "edge"})


def render(
    plate: Plate, label: int, contents: Cells, conditions: Conditions
) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
    """Simulate the images of one class on one plate.

    Parameters
    ----------
    plate
        The plate.
    label
        Class number. Each class of a plate has its own generator, so the pixels do not depend on
        the distribution of the work.
    contents
        Cells imaged on the plate.
    conditions
        The knobs.

    Returns
    -------
    tuple
        ``(k,)`` indices into ``contents`` and ``(k, 2, 64, 64)`` counts.
    """
    rows = np.flatnonzero(contents.classes == label)
    counts = np.empty((len(rows), 2, CROP, CROP), np.uint16)
    rng = generator("simulator", VERSION, conditions.draw, "pixels", plate.number, CLASSES[label])
    for start in range(0, len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        counts[block] = _render_block(rng, plate, label, contents, rows[block], conditions)
    return rows, counts


def _render_block(
    rng: np.random.Generator,
    plate: Plate,
    label: int,
    contents: Cells,
    rows: NDArray[np.int64],
    conditions: Conditions,
) -> NDArray[np.uint16]:
    well, n = contents.wells[rows], len(rows)
    names = list(contents.names)

    def knob(name: str) -> NDArray[np.float32]:
        return conditions.value(name, plate.units, names)[well].astype(np.float32)

    rim = np.abs(conditions.value("edge", plate.units, names)) * contents.edge
    pixel = knob("pixel-size")
    shift = knob("localisation")
    culture = cells.Culture(
        pixel=pixel,
        size=knob("cell-size"),
        elongation=knob("morphology"),
        confluence=knob("confluence"),
        expression=knob("expression"),
        organelles=knob("organelles"),
        stray=shift / (1 - shift),
        flat=rim[well].astype(np.float32),
    )
    protein, dna = cells.draw_crops(rng, label, culture, CROP + 2 * MARGIN)

    # Cell heights differ and the field is slightly curved, so focus varies within a well.
    defocus = knob("focus") + rng.normal(0, 0.3, n)
    path = optics.Optics(
        pixel=pixel,
        aperture=knob("aperture"),
        stray=knob("out-of-focus"),
        defocus=defocus.astype(np.float32),
        shift_x=knob("registration-x"),
        shift_y=knob("registration-y"),
    )
    inner = slice(MARGIN, MARGIN + CROP)
    green = optics.form_image(protein, 0, path)[:, inner, inner]
    red = optics.form_image(dna, 1, path)[:, inner, inner]

    collected = np.square(path.aperture / REFERENCE_APERTURE)
    area = np.square(pixel / 0.32)
    green *= _column(collected * knob("stain-protein"))
    red *= _column(collected * knob("stain-nucleus"))
    image = np.empty((n, 2, CROP, CROP), np.float32)
    # The unfocused background fills the field and also depends on aperture and pixel size.
    image[:, 0] = green + knob("bleed-protein")[:, None, None] * red
    image[:, 1] = red + knob("bleed-nucleus")[:, None, None] * green
    for channel, name in enumerate(("protein", "nucleus")):
        image[:, channel] += _column(collected * area * knob(f"background-{name}"))

    place = rng.uniform(-0.94, 0.94, (n, 2))
    off = np.stack([knob("illumination-x"), knob("illumination-y")], 1)
    loss = knob("illumination")
    cold = np.abs(knob("lamp")) * np.exp(-contents.minutes[rows] / WARM_UP)
    for channel, name in enumerate(("protein", "nucleus")):
        lit = optics.illuminate(image[:, channel], loss, place, off)
        image[:, channel] = lit * _column((1 - cold) * knob(f"exposure-{name}"))
    return camera.expose(
        rng, image, knob("gain"), knob("offset"), knob("read-noise"), knob("full-well")
    )


def describe(plate: Plate, contents: Cells, conditions: Conditions) -> dict[str, object]:
    """Return the plate's values of all knobs, for ``parameters.json``.

    Knobs that vary between wells are reported as their mean over the wells.
    """
    names = list(contents.names)
    values = {
        name: round(float(conditions.value(name, plate.units, names).mean()), 6)
        for name in NAMES
        if name not in _SPECIAL - {"edge"}
    }
    shares = shares_of(plate, conditions)
    return {
        "plate": plate.number,
        "parts": list(plate.parts),
        "laboratory": plate.laboratory,
        "microscope": plate.microscope,
        "date": plate.date,
        "slot": plate.slot,
        "cells": plate.cells,
        "shares": {
            kind: round(float(share), 6) for kind, share in zip(CLASSES, shares, strict=True)
        },
        "knobs": values,
    }


def _column(values: Array) -> NDArray[np.float32]:
    return values.astype(np.float32)[:, None, None]
