"""Experiments of the simulated shifts: their plates and the conditions of each plate.

All use the simulator's frozen distributions. The two laboratories and two microscopes are those of
simulated COOS-7 with the same draw. A shift is a condition that applies to the test plates and not
to the training plates. Its size is multiplied by ``strength``; with 0, both sides have the same
conditions. The technical variation of days, plates and wells is the same at any strength.

``shifts``
    one training set and six tests. The test plates have the same numbers and days in every
    test, so they share the draws of day, plate and well. Two tests differ only by their shift.
``lamp``
    plates are imaged column by column, and the laboratory gives each class its own column, so some
    classes are imaged while the lamp is cold. The test plates are imaged twice: in that order, and
    with their wells in random order. Both versions show identical cells (the same electrons) and
    differ only in the light.
``confounded``
    in training, each class is on the plates of one day only; test plates contain all classes. Its
    files and parts have their first name, ``nested``, which is part of the ids of rows.
``many-training``, ``many-test``
    training and test experiments of many laboratories. An experiment is one laboratory with its own
    microscope and plate map on one day, as in RxRx1, where experiments differ in this way in
    training and in test. Laboratories and microscopes are independent draws of the simulator's
    frozen distributions (``knobs.py``), the same for both parts, so the shift between training and
    test is within the span of the training experiments. There are 12 training experiments of two
    plates and 100 images per plate, and eight test experiments of one plate and 100 images. With
    another number of training experiments or of plates per experiment the first ones are used, and
    the 2,400 training images are distributed equally over the plates. Fixed before a network was
    trained on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.core.seeds import generator

from .simulator.conditions import VERSION, Conditions
from .simulator.layout import CLASSES, Plate

if TYPE_CHECKING:
    from collections.abc import Callable

SPRING = (20180305, 20180307, 20180312, 20180314, 20180319, 20180321, 20180326, 20180328)
AUTUMN = (20180910, 20180912, 20180917, 20180919, 20180924, 20180926, 20181001, 20181003)
"""Days of training and test plates. Intervals require at least eight."""

LEARNT, TESTED = 200, 100
"""Images per training plate and per test plate."""
MANY_LEARNT = 2400
"""Training images of all experiments of many laboratories."""

LAMP = 0.3
"""Fraction of the light missing with a cold lamp in ``lamp``, at strength 1.

Arc lamps take 20-30 minutes to stabilise (Zeiss Campus, mercury arc lamps). The fraction is an
assumption, at the upper end of the simulator's lamp variation.
"""
TILT = 1.5
"""Standard deviation of the logarithm of a class's share on a plate of ``label-shift``.

At strength 1. Three times the plate variation that all experiments have (assumption).
"""
MARKERS = {
    "stain-protein": 0.52,
    "stain-nucleus": 0.52,
    "background-protein": 0.40,
    "background-nucleus": 0.40,
    "bleed-protein": 0.66,
    "bleed-nucleus": 0.66,
    "localisation": 0.5,
}
"""Standard deviations of the changes due to another set of stains, on the scale of each knob.

They are those of uniform draws (on the log scale) of brightness, 0.5 to 3 times that of the usual
label (fluorescent proteins and dyes of one colour), background, 0.5 to 2 times, and bleed-through,
1-10 %. The fraction of the label outside its organelle is an assumption.
"""


@dataclass(frozen=True)
class Design:
    """What the plates of an experiment depend on.

    Attributes
    ----------
    draw, strength, scale
        See the settings of ``sim``.
    experiments, plates
        Number of training experiments of many laboratories, and of plates per experiment.
    """

    draw: int
    strength: float = 1.0
    scale: float = 1.0
    experiments: int = 12
    plates: int = 2


@dataclass(frozen=True)
class Experiment:
    """Plates that are simulated together.

    Attributes
    ----------
    parts
        Names of its files: the training part, followed by the tests.
    plates
        Returns the plates for a design.
    turned
        Levels and knobs whose fixed deviations are multiplied by ``strength``.
    """

    parts: tuple[str, ...]
    plates: Callable[[Design], list[Plate]]
    turned: tuple[str, ...] = ()

    def conditions(self, draw: int, strength: float, off: frozenset[str]) -> Conditions:
        """Return the knobs."""
        return Conditions(draw, off=off, factors=tuple((name, strength) for name in self.turned))


def _count(images: float, scale: float) -> int:
    return max(1, round(images * scale))


def _shifts(design: Design) -> list[Plate]:
    draw, strength, scale = design.draw, design.strength, design.scale
    busy = (1, 5)  # days on which the second plate is imaged with a warm lamp
    days = sorted([*SPRING, *(SPRING[day] for day in busy)])
    plates = [
        Plate(100 + i, ("training",), "A", "0", date, i - days.index(date), _count(LEARNT, scale))
        for i, date in enumerate(days)
    ]
    home = "A" if strength == 0 else ""
    for k, date in enumerate(AUTUMN):
        number, n = 200 + k, _count(TESTED, scale)
        marker = f"markers-{k}"
        tilt, moves = _tilt(draw, number, strength), _moves(draw, marker, strength)
        plates += [
            Plate(number, ("laboratory",), "B", "0", date, 0, n, map_of=home),
            Plate(number, ("microscope",), "A", "1", date, 0, n),
            Plate(number, ("both",), "B", "1", date, 0, n, map_of=home),
            Plate(number, ("no-shift",), "A", "0", date, 0, n),
            Plate(
                number,
                ("label-shift",),
                "A",
                "0",
                date,
                0,
                n,
                weights=tilt,
            ),
            Plate(
                number,
                ("new-markers",),
                "A",
                "0",
                date,
                0,
                n,
                marker=marker if strength else "",
                moves=moves,
            ),
        ]
    return plates


def _tilt(draw: int, number: int, strength: float) -> tuple[float, ...]:
    rng = generator("simulator", VERSION, draw, "label-shift", number)
    weights = np.exp(strength * TILT * rng.standard_normal(len(CLASSES)))
    return tuple(weights.tolist()) if strength else ()


def _moves(draw: int, marker: str, strength: float) -> tuple[tuple[str, float], ...]:
    if strength == 0:
        return ()
    return tuple(
        (
            knob,
            strength
            * sd
            * float(generator("simulator", VERSION, draw, "marker", marker, knob).normal()),
        )
        for knob, sd in MARKERS.items()
    )


def _lamp(design: Design) -> list[Plate]:
    cold = (("lamp", LAMP * design.strength),) if design.strength else ()
    sides = (
        ("lamp-training", SPRING, 300, LEARNT, "columns"),
        ("lamp-kept", AUTUMN, 400, TESTED, "columns"),
        ("lamp-scrambled", AUTUMN, 400, TESTED, "scrambled"),
    )
    return [
        Plate(
            first + k,
            (part,),
            "A",
            "0",
            date,
            0,
            _count(images, design.scale),
            order=order,
            moves=cold,
        )
        for part, days, first, images, order in sides
        for k, date in enumerate(days)
    ]


def _confounded(design: Design) -> list[Plate]:
    strength, scale = design.strength, design.scale
    rng = generator("simulator", VERSION, design.draw, "nested")
    days = SPRING[::2]
    day_of = rng.permutation(np.arange(len(CLASSES)) % len(days))
    elsewhere = max(0.0, 1.0 - strength)
    plates = []
    for day, date in enumerate(days):
        weights = tuple(np.where(day_of == day, 1.0, elsewhere).tolist()) if strength else ()
        plates += [
            Plate(
                500 + 2 * day + slot,
                ("nested-training",),
                "A",
                "0",
                date,
                slot,
                _count(LEARNT, scale),
                weights=weights,
            )
            for slot in range(2)
        ]
    plates += [
        Plate(600 + k, ("nested-test",), "A", "0", date, 0, _count(TESTED, scale))
        for k, date in enumerate(AUTUMN)
    ]
    return plates


def _many_training(design: Design) -> list[Plate]:
    images = _count(MANY_LEARNT / (design.experiments * design.plates), design.scale)
    return [
        plate
        for number in range(design.experiments)
        for plate in _of_laboratory(design, "many-training", number, design.plates, images)
    ]


def _many_test(design: Design) -> list[Plate]:
    images = _count(TESTED, design.scale)
    return [
        plate
        for number in range(len(AUTUMN))
        for plate in _of_laboratory(design, "many-test", 100 + number, 1, images)
    ]


def _of_laboratory(design: Design, part: str, number: int, plates: int, images: int) -> list[Plate]:
    """Return the plates of one experiment, imaged one after another on one day."""
    date = int(f"2019{number % 100 % 12 + 1:02d}{20 if part == 'many-test' else 10}")
    name = f"L{number:03d}"
    return [
        Plate(
            1000 + 20 * number + slot,
            (part,),
            name,
            str(100 + number),
            date,
            slot,
            images,
            map_of="L000" if design.strength == 0 else "",
        )
        for slot in range(plates)
    ]


EXPERIMENTS = {
    "shifts": Experiment(
        (
            "training",
            "laboratory",
            "microscope",
            "both",
            "no-shift",
            "label-shift",
            "new-markers",
        ),
        _shifts,
        ("laboratory", "microscope"),
    ),
    "lamp": Experiment(("lamp-training", "lamp-kept", "lamp-scrambled"), _lamp, ("lamp",)),
    "nested": Experiment(("nested-training", "nested-test"), _confounded),
    "many-training": Experiment(("many-training",), _many_training, ("laboratory", "microscope")),
    "many-test": Experiment(("many-test",), _many_test, ("laboratory", "microscope")),
}
"""All experiments by name; each part belongs to exactly one."""
