"""Knobs: physical quantities that differ between units, with their spread and its source.

Each knob names its source. Where a source gives a range, the standard deviation is that of a
uniform draw from it (on the knob's scale): for numerical apertures of 0.75 to 1.4 it is
``log(1.4 / 0.75) / sqrt(12) = 0.18``. "Assumption" marks a spread without a known published range.
All values were fixed before any network was trained on the images.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bench.core.errors import BenchError, did_you_mean

LEVELS = ("laboratory", "microscope", "day", "plate", "well")


@dataclass(frozen=True)
class Knob:
    """One source of technical variation.

    Attributes
    ----------
    name
        Name to use in ``off``.
    what
        Description of the effect.
    scale
        ``log`` (multiplies), ``linear`` (adds) or ``logit`` (a fraction).
    reference
        Value without technical variation.
    unit
        Unit of the reference value.
    sd
        Standard deviation at each level, on the knob's scale.
    low, high
        Physical bounds of the value.
    source
        Source of the standard deviations.
    """

    name: str
    what: str
    scale: str
    reference: float
    unit: str
    sd: dict[str, float] = field(default_factory=dict)
    low: float = -np.inf
    high: float = np.inf
    source: str = "assumption"


_HCS = (
    "instruments of one site differ by 20-35 % in nuclear intensity (cytelyio.com, "
    "standardisation of fluorescence); spread over levels is an assumption"
)
_CAMERA = "data sheets of sCMOS, CCD and EMCCD cameras (Hamamatsu ORCA, Andor Zyla and iXon)"
_OBJECTIVES = "objectives of high-content imagers: 20x/0.75 dry to 63x/1.15 water and 60x/1.4 oil"

# fmt: off
_CULTURE = (
    Knob(
        "cell-size",
        "cell and nucleus radius: passage number, serum, substrate",
        "log", 1.0,
        "of 10.5 um cells with 5 um nuclei",
        {"laboratory": 0.08, "plate": 0.03, "well": 0.02},
        0.6, 1.6,
    ),
    Knob(
        "morphology",
        "elongation of the cell outline",
        "log", 1.15,
        "ratio of axes",
        {"laboratory": 0.08, "plate": 0.03},
        1.0, 2.0,
    ),
    Knob(
        "confluence",
        "chance that a neighbouring cell reaches into the crop",
        "logit", 0.35,
        "probability",
        {"laboratory": 0.6, "plate": 0.3, "well": 0.3},
        0.02, 0.98,
    ),
    Knob(
        "expression",
        "mean expression level of the tagged protein",
        "log", 1.0,
        "of the reference line",
        {"laboratory": 0.20, "plate": 0.08, "well": 0.06},
        0.1, 10.0,
        "cell-to-cell noise of human proteins is log-normal with CV 0.1-0.6 (Sigal et al. 2006, "
        "Nature 444:643); the spread of means between cultures is an assumption",
    ),
    Knob(
        "localisation",
        "fraction of the protein that is not in its organelle: fixation, permeabilisation, "
        "over-expression",
        "logit", 0.5,
        "shift of the class's own fraction, 0.5 is none",
        {"laboratory": 0.35, "plate": 0.12, "well": 0.08},
        0.02, 0.98,
    ),
    Knob(
        "organelles",
        "size of organelle structures",
        "log", 1.0,
        "of the reference size",
        {"laboratory": 0.08, "plate": 0.03},
        0.6, 1.7,
    ),
)
_STAINING = (
    Knob(
        "stain-protein",
        "brightness of the protein label: antibody lot, maturation, fading",
        "log", 1.0,
        "of the reference protocol",
        {"laboratory": 0.30, "day": 0.08, "plate": 0.12, "well": 0.05},
        0.1, 10.0,
        _HCS,
    ),
    Knob(
        "stain-nucleus",
        "efficacy of the DNA dye",
        "log", 1.0,
        "of the reference protocol",
        {"laboratory": 0.30, "day": 0.08, "plate": 0.12, "well": 0.05},
        0.1, 10.0,
        _HCS,
    ),
    Knob(
        "background-protein",
        "medium, plastic and autofluorescence in the protein channel",
        "log", 35.0,
        "electrons per pixel",
        {"laboratory": 0.40, "plate": 0.15, "well": 0.10},
        2.0, 2000.0,
    ),
    Knob(
        "background-nucleus",
        "medium, plastic and unbound dye in the nucleus channel",
        "log", 25.0,
        "electrons per pixel",
        {"laboratory": 0.40, "plate": 0.15, "well": 0.10},
        2.0, 2000.0,
    ),
)
_OPTICS = (
    Knob(
        "aperture",
        "numerical aperture: width of the point spread and light collected",
        "log", 0.9,
        "NA",
        {"microscope": 0.18},
        0.4, 1.4,
        _OBJECTIVES,
    ),
    Knob(
        "pixel-size",
        "size of a pixel in the sample: magnification and binning",
        "log", 0.32,
        "um",
        {"microscope": 0.18},
        0.2, 0.5,
        "6.5 um pixels at 40x, binned twice, are 0.325 um, at 20x the same; 0.2-0.5 um over "
        "common combinations has 0.26: narrower, as a replicate takes a similar magnification",
    ),
    Knob(
        "out-of-focus",
        "share of light from other planes: spinning disk or wide field",
        "logit", 0.2,
        "fraction",
        {"microscope": 1.0},
        0.02, 0.7,
        "0.05-0.6: confocal disks reject most, wide field none of it (Pawley, Handbook of "
        "Biological Confocal Microscopy)",
    ),
    Knob(
        "focus",
        "distance of the focal plane from the middle of the cells: autofocus, bent plates",
        "linear", 0.0,
        "um",
        {"laboratory": 0.30, "plate": 0.35, "well": 0.25},
        -2.5, 2.5,
        "depth of field at NA 0.9 is 0.7-1 um; autofocus repeats to a fraction of it and its "
        "offset is set by hand; the spread is an assumption",
    ),
    Knob(
        "illumination",
        "loss of light from the middle to the corner of the field",
        "log", 0.17,
        "fraction",
        {"microscope": 0.32, "day": 0.05},
        0.01, 0.6,
        "10-30 % across a field is routine (Singh et al. 2014, J. Microsc. 256:231)",
    ),
    Knob(
        "illumination-x",
        "misalignment of the light along the field's columns",
        "linear", 0.0,
        "half fields",
        {"microscope": 0.25, "day": 0.05},
        -1.0, 1.0,
    ),
    Knob(
        "illumination-y",
        "misalignment of the light along the field's rows",
        "linear", 0.0,
        "half fields",
        {"microscope": 0.25, "day": 0.05},
        -1.0, 1.0,
    ),
    Knob(
        "registration-x",
        "shift of the nucleus channel against the protein channel, along columns",
        "linear", 0.0,
        "um",
        {"microscope": 0.15, "day": 0.03},
        -1.0, 1.0,
    ),
    Knob(
        "registration-y",
        "shift of the nucleus channel against the protein channel, along rows",
        "linear", 0.0,
        "um",
        {"microscope": 0.15, "day": 0.03},
        -1.0, 1.0,
    ),
    Knob(
        "bleed-protein",
        "bleed-through of the DNA dye into the protein channel",
        "log", 0.02,
        "fraction",
        {"laboratory": 0.2, "microscope": 0.46},
        0.0, 0.3,
        "1-5 % for filter sets of well separated dyes (assumption)",
    ),
    Knob(
        "bleed-nucleus",
        "bleed-through of the protein label into the nucleus channel",
        "log", 0.02,
        "fraction",
        {"laboratory": 0.2, "microscope": 0.46},
        0.0, 0.3,
        "1-5 % for filter sets of well separated dyes (assumption)",
    ),
)
_CAMERA_KNOBS = (
    Knob(
        "exposure-protein",
        "exposure time and light power in the protein channel, as the operator set them",
        "log", 1.0,
        "of the reference exposure",
        {"laboratory": 0.20, "microscope": 0.25, "day": 0.05},
        0.1, 10.0,
    ),
    Knob(
        "exposure-nucleus",
        "exposure time and light power in the nucleus channel, as the operator set them",
        "log", 1.0,
        "of the reference exposure",
        {"laboratory": 0.20, "microscope": 0.25, "day": 0.05},
        0.1, 10.0,
    ),
    Knob(
        "gain",
        "electrons per count",
        "log", 0.5,
        "electrons per count",
        {"microscope": 0.66},
        0.05, 8.0,
        f"0.2-2 for 12 to 16 bit converters: {_CAMERA}",
    ),
    Knob(
        "offset",
        "counts without light",
        "log", 100.0,
        "counts",
        {"microscope": 0.46, "day": 0.01},
        0.0, 2000.0,
        f"100-500: {_CAMERA}",
    ),
    Knob(
        "read-noise",
        "noise of the read-out",
        "log", 2.0,
        "electrons",
        {"microscope": 0.6},
        0.3, 20.0,
        f"1-2 for sCMOS, 5-8 for interline CCD: {_CAMERA}",
    ),
    Knob(
        "full-well",
        "electrons at which a pixel saturates",
        "log", 30000.0,
        "electrons",
        {"microscope": 0.43},
        2000.0, 200000.0,
        f"18 000 (interline CCD) to 80 000 (EMCCD): {_CAMERA}",
    ),
)
_PLATE_MAP = (
    Knob(
        "lamp",
        "loss of light when the lamp is cold; it warms up with a time constant of 20 minutes",
        "linear", 0.0,
        "fraction (absolute value is taken)",
        {"microscope": 0.06, "day": 0.10},
        -0.6, 0.6,
        "arc lamps need 20-30 minutes to settle (Zeiss Campus, mercury arc lamps); the size is an "
        "assumption",
    ),
    Knob(
        "edge",
        "outer wells: fewer and flatter cells",
        "linear", 0.0,
        "fraction (absolute value is taken)",
        {"laboratory": 0.28, "plate": 0.10},
        -0.6, 0.6,
        "16-35 % less activity in outer wells of 96-well plates (Mansoury et al. 2021, BBA "
        "Advances 1:100035)",
    ),
    Knob(
        "composition",
        "unequal numbers of cells of each class on a plate (one draw for each class and plate)",
        "log", 1.0,
        "of equal shares",
        {"plate": 0.5},
        0.05, 20.0,
    ),
    Knob(
        "layout",
        "each laboratory keeps one plate map, so that a class meets the same wells on every "
        "plate; switched off, wells are assigned anew for each plate",
        "linear", 0.0,
        "switch",
        {"laboratory": 1.0},
    ),
)
# fmt: on
KNOBS: tuple[Knob, ...] = (*_CULTURE, *_STAINING, *_OPTICS, *_CAMERA_KNOBS, *_PLATE_MAP)
"""All knobs, in the order of the imaging process."""

NAMES = tuple(knob.name for knob in KNOBS)
BY_NAME = {knob.name: knob for knob in KNOBS}

GROUPS = {
    group: tuple(knob.name for knob in knobs)
    for group, knobs in (
        ("culture", _CULTURE),
        ("staining", _STAINING),
        ("optics", _OPTICS),
        ("camera", _CAMERA_KNOBS),
        ("plate-map", _PLATE_MAP),
    )
}
"""Names for groups of knobs; each knob is in exactly one group."""


def effects(text: str) -> frozenset[str]:
    """Return the names in a comma-separated list of knobs and groups.

    Raises
    ------
    BenchError
        For an unknown name.
    """
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    allowed = [*GROUPS, *NAMES]
    for name in sorted(names - set(allowed)):
        raise BenchError(did_you_mean(name, allowed, "effect of the simulator"))
    return names


def expand(names: frozenset[str]) -> frozenset[str]:
    """Return names of knobs, with group names replaced by the knobs of the group."""
    return frozenset(knob for name in names for knob in GROUPS.get(name, (name,)))
