"""Experimental layout: plates, where and when they were imaged, and the content of their wells."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.core.seeds import generator

from .conditions import VERSION, Conditions, Units

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES = (
    "ER",
    "Inner mitochondrial membrane",
    "Golgi",
    "Peroxisomes",
    "Early endosome",
    "Cytosol",
    "Nuclear envelope",
)
"""Class names in the order of the published label numbers (Lu et al. 2019, table 1)."""

PARTS = ("training", "test1", "test2", "test3", "test4")
"""The five published files."""

ROWS, COLUMNS = "ABCDEFGH", 12
WELLS_PER_CLASS = 6
ORDERS = ("serpentine", "columns", "scrambled")
"""Imaging orders: row by row and back, column by column and back, or random."""
BUSY_DAYS = (1, 5)  # days of a campaign on which two plates are imaged
MINUTES_PER_PLATE = 60.0


@dataclass(frozen=True)
class Plate:
    """One plate of the experiment.

    Attributes
    ----------
    number
        The plate's number, unique in the data set.
    parts
        Files that contain its images: ``("training", "test1", "test2")`` or one test.
    laboratory, microscope
        Their names.
    date
        Day of imaging as ``yyyymmdd``.
    slot
        Position among the plates of that day: the first is imaged with a cold lamp.
    cells
        Number of images.
    order
        One of :data:`ORDERS`; it determines when a well is imaged, not its content.
    marker
        Name of the stains used, ``""`` for the usual ones.
    moves
        Pairs of a knob and an additional deviation of this plate on the knob's scale.
    weights
        Factors on the class shares, one per class; empty means all are 1.
    map_of
        Laboratory whose plate map is used, if not its own.
    """

    number: int
    parts: tuple[str, ...]
    laboratory: str
    microscope: str
    date: int
    slot: int
    cells: int
    order: str = "serpentine"
    marker: str = ""
    moves: tuple[tuple[str, float], ...] = ()
    weights: tuple[float, ...] = ()
    map_of: str = ""

    @property
    def units(self) -> Units:
        """Units that determine the draws of the knobs."""
        date, number = str(self.date), str(self.number)
        return Units(self.laboratory, self.microscope, date, number, self.moves)

    def described(self) -> dict[str, object]:
        """Return the fields that differ from their defaults, for ``parameters.json``."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells imaged on one plate, in serpentine order of the wells.

    Attributes
    ----------
    classes
        ``(n,)`` class numbers.
    wells
        ``(n,)`` indices into :attr:`names`.
    part
        ``(n,)`` indices into the parts of the experiment, such as :data:`PARTS`.
    minutes
        ``(n,)`` time since the lamp was switched on.
    names
        ``(w,)`` names of the wells used, such as ``B03``.
    edge
        ``(w,)`` whether a well is at the plate edge.
    """

    classes: NDArray[np.int64]
    wells: NDArray[np.int64]
    part: NDArray[np.int64]
    minutes: NDArray[np.float64]
    names: tuple[str, ...]
    edge: NDArray[np.bool_]


def coos7(scale: float = 1.0) -> list[Plate]:
    """Return the plates of simulated COOS-7: three campaigns of ten plates on eight days.

    The first campaign gives training, test1 (a random fifth of the images of those wells) and test2
    (other wells of the same plates). The second, months later in the same laboratory with the same
    microscope, gives test3. The third, with another laboratory and microscope, gives test4.
    Confidence intervals over days require at least eight days.

    Parameters
    ----------
    scale
        Factor on the number of images of every plate.
    """
    spring = (20170306, 20170308, 20170313, 20170315, 20170320, 20170322, 20170327, 20170329)
    autumn = (20170911, 20170913, 20170918, 20170920, 20170925, 20170927, 20171002, 20171004)
    next_year = (20180604, 20180606, 20180611, 20180613, 20180618, 20180620, 20180625, 20180627)
    campaigns = (
        (("training", "test1", "test2"), "A", "0", spring, 640),
        (("test3",), "A", "0", autumn, 320),
        (("test4",), "B", "1", next_year, 300),
    )
    plates: list[Plate] = []
    for parts, laboratory, microscope, dates, cells in campaigns:
        for day, date in enumerate(dates):
            for slot in range(2 if day in BUSY_DAYS else 1):
                count = max(1, round(cells * scale))
                plates.append(Plate(len(plates), parts, laboratory, microscope, date, slot, count))
    return plates


def well_map(plate: Plate, conditions: Conditions) -> list[tuple[int, int, int]]:
    """Return ``(row, column, class)`` of the wells in use, in serpentine order.

    A laboratory with a fixed map gives each class its own column, as in published screens. With the
    knob ``layout`` off, wells and classes are assigned at random on each plate.
    """
    n = len(CLASSES)
    if conditions.is_on("layout"):
        kept = plate.map_of or plate.laboratory
        rng = generator("simulator", VERSION, conditions.draw, "map", kept)
        columns = rng.permutation(COLUMNS)[:n]
        first = int(rng.integers(0, len(ROWS) - WELLS_PER_CLASS + 1))
        wells = [
            (first + row, int(columns[label]), label)
            for label in range(n)
            for row in range(WELLS_PER_CLASS)
        ]
    else:
        rng = generator("simulator", VERSION, conditions.draw, "map", plate.number)
        spots = rng.permutation(len(ROWS) * COLUMNS)[: n * WELLS_PER_CLASS]
        wells = [(int(spot) // COLUMNS, int(spot) % COLUMNS, i % n) for i, spot in enumerate(spots)]
    return sorted(wells, key=lambda w: (w[0], w[1] if w[0] % 2 == 0 else -w[1]))


def minutes_of(
    plate: Plate, wells: list[tuple[int, int, int]], conditions: Conditions
) -> NDArray[np.float64]:
    """Return the imaging time of each well, ``(w,)`` minutes since the lamp was switched on."""
    place = np.arange(len(wells))
    if plate.order == "columns":
        turns = [w[0] if w[1] % 2 == 0 else -w[0] for w in wells]
        place[np.lexsort((turns, [w[1] for w in wells]))] = np.arange(len(wells))
    elif plate.order == "scrambled":
        rng = generator("simulator", VERSION, conditions.draw, "order", plate.number)
        place = rng.permutation(len(wells))
    elif plate.order != "serpentine":
        raise ValueError(f"order is one of {', '.join(ORDERS)}, not {plate.order!r}")
    minutes: NDArray[np.float64] = MINUTES_PER_PLATE * place / len(wells)
    return plate.slot * MINUTES_PER_PLATE + minutes


def shares_of(plate: Plate, conditions: Conditions) -> NDArray[np.float64]:
    """Return the shares of the classes on a plate, ``(len(CLASSES),)``, which sum to 1."""
    shares = conditions.shares(plate.units, CLASSES)
    if plate.weights:
        shares = shares * np.array(plate.weights)
        shares /= shares.sum()
    return shares


def populate(plate: Plate, conditions: Conditions, parts: tuple[str, ...] = PARTS) -> Cells:
    """Draw the cells of a plate: their number in each well and the file of each cell.

    Parameters
    ----------
    plate, conditions
        The plate and the knobs.
    parts
        All parts of the experiment.
    """
    rng = generator("simulator", VERSION, conditions.draw, "cells", plate.number)
    wells = well_map(plate, conditions)
    names = tuple(f"{ROWS[row]}{column + 1:02d}" for row, column, _ in wells)
    label = np.array([kind for _, _, kind in wells])
    edge = np.array(
        [row in (0, len(ROWS) - 1) or column in (0, COLUMNS - 1) for row, column, _ in wells]
    )
    loss = np.abs(conditions.value("edge", plate.units, list(names))) * edge
    weight = shares_of(plate, conditions)[label] * (1 - loss)
    counts = rng.multinomial(plate.cells, weight / weight.sum())
    well = np.repeat(np.arange(len(wells)), counts)
    minutes = minutes_of(plate, wells, conditions)[well]

    part = np.full(plate.cells, parts.index(plate.parts[0]))
    if "test2" in plate.parts:
        # One well of each class plus a second one of three classes is a quarter of the wells.
        held: list[int] = []
        for kind in rng.permutation(len(CLASSES)):
            take = 2 if len(held) in (0, 2, 4) else 1
            held.extend(rng.permutation(np.flatnonzero(label == kind))[:take].tolist())
        held_out = np.isin(well, held)
        fifth = rng.random(plate.cells) < 0.2
        part[~held_out & fifth] = parts.index("test1")
        part[held_out] = parts.index("test2")
    return Cells(label[well], well, part, minutes, names, edge)
