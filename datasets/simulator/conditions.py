"""Knobs: the differences between laboratories, microscopes, days, plates and wells.

A knob is a physical quantity with a reference value and a standard deviation for each level of the
experiment. Each unit of a level (one laboratory, one plate) has one standard normal draw per knob.
The value in a well is the reference plus the sum over levels of ``strength * sd * draw``, on the
knob's own scale, clipped to physical bounds. ``strength = 0`` therefore gives the reference
condition everywhere and ``strength = 1`` the stated distributions. Switching one knob off does not
change the others.

Variation between *cells* of one well (their size, expression level, shape) is biological and not a
knob: it is the same at every strength.

The knobs and their sources are defined in ``knobs.py``.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.core.seeds import generator

from .knobs import BY_NAME

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 1
"""Version of the simulator; increased whenever the same parameters give different pixels."""


@dataclass(frozen=True)
class Units:
    """Units that a plate belongs to: its laboratory, microscope, day and plate name.

    ``moves`` are pairs of a knob and an additional deviation of this plate on the knob's scale. It
    does not depend on the strength. It is ignored if the knob is off.
    """

    laboratory: str
    microscope: str
    day: str
    plate: str
    moves: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Conditions:
    """Values of all knobs for one draw and a global strength, with some knobs switched off.

    ``factors`` are pairs of a level or knob and a factor on its deviations, in addition to the
    strength: with ``(("laboratory", 0.0),)`` all laboratories are identical.
    """

    draw: int
    strength: float = 1.0
    off: frozenset[str] = frozenset()
    factors: tuple[tuple[str, float], ...] = ()

    def is_on(self, name: str) -> bool:
        """Return whether a knob has any effect."""
        return self.strength > 0 and name not in self.off

    def value(self, name: str, units: Units, wells: list[str]) -> NDArray[np.float64]:
        """Return a knob's value in wells of one plate, ``(len(wells),)``, in the knob's unit.

        Parameters
        ----------
        name
            Name of the knob.
        units
            Laboratory, microscope, day and plate.
        wells
            Well names; for ``composition``, class names are the smallest unit instead.
        """
        knob = BY_NAME[name]
        move = np.zeros(len(wells))
        if self.is_on(name):
            factors = dict(self.factors)
            for level, spread in knob.sd.items():
                sd = spread * factors.get(level, 1.0) * factors.get(name, 1.0)
                if level == "well":
                    move += sd * np.array([self._draw(name, units, well) for well in wells])
                else:
                    unit = getattr(units, level)
                    move += sd * self._normal(name, level, unit)
            move *= self.strength
            move += dict(units.moves).get(name, 0.0)
        if knob.scale == "log":
            value = knob.reference * np.exp(move)
        elif knob.scale == "logit":
            odds = knob.reference / (1 - knob.reference) * np.exp(move)
            value = odds / (1 + odds)
        else:
            value = knob.reference + move
        return np.clip(value, knob.low, knob.high)

    def shares(self, units: Units, classes: tuple[str, ...]) -> NDArray[np.float64]:
        """Return the shares of the classes on a plate, ``(len(classes),)``, which sum to 1."""
        knob = BY_NAME["composition"]
        move = np.zeros(len(classes))
        if self.is_on(knob.name):
            draws = [self._normal(knob.name, "plate", f"{units.plate}/{name}") for name in classes]
            factors = dict(self.factors)
            factor = factors.get("plate", 1.0) * factors.get(knob.name, 1.0)
            move = self.strength * factor * knob.sd["plate"] * np.array(draws)
        weights = np.clip(np.exp(move), knob.low, knob.high)
        return np.asarray(weights / weights.sum())

    def _draw(self, name: str, units: Units, well: str) -> float:
        return self._normal(name, "well", f"{units.plate}/{well}")

    def _normal(self, name: str, level: str, unit: str) -> float:
        return _normal(self.draw, name, level, unit)


@functools.lru_cache(maxsize=1 << 15)
def _normal(draw: int, name: str, level: str, unit: str) -> float:
    # One generator per knob and unit: adding or removing a knob changes no other draw.
    rng = generator("simulator", VERSION, draw, "knob", name, level, unit)
    return float(rng.standard_normal())
