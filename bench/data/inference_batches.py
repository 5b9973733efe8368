"""Group the rows of a test batch into inference batches, for studies.

By default, a method with test-batch access gets each test batch in one call. A study measures the
effect of smaller or different inference batches: the rows of each test batch are partitioned into
pieces, and each piece is one call of ``apply``. Every row is in exactly one piece, so it is
predicted and scored once under any grouping. Scores of two groupings therefore use the same rows,
and the score of a method without test-batch access does not change. Nothing is resampled.

The functions are pure: they take the labels as an argument. Only ``bench.scoring.labels`` reads
labels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import BenchError, NotApplicable
from bench.core.seeds import generator
from bench.core.words import count

if TYPE_CHECKING:
    from bench.core.types import Facts, JsonObject


Ints = NDArray[np.int64]
Strings = NDArray[np.str_]
Bools = NDArray[np.bool_]

KINDS: dict[str, dict[str, tuple[type, float, float]]] = {
    "rows": {"rows": (int, 1, 1e9)},
    "parts": {"parts": (int, 2, 1e6)},
    "dirichlet": {"alpha": (float, 1e-6, 1e6), "rows": (int, 2, 1e9)},
    "single-class": {},
    "same-sizes": {},
    "few-classes": {"classes": (int, 1, 1e6), "rows": (int, 1, 1e9)},
    "few-classes-sizes": {"classes": (int, 1, 1e6), "rows": (int, 1, 1e9)},
    "quarter-plate": {},
    "controls": {"controls": (int, 1, 1e9)},
}
"""Kind -> its values, each with its type and inclusive range."""


@dataclass(frozen=True)
class InferenceBatches:
    """One way to group the rows of each test batch.

    Attributes
    ----------
    kind
        ``rows``: random pieces of nearly equal size, as few as possible, of at most ``rows`` rows.
        ``parts``: ``parts`` random pieces of nearly equal size.
        ``dirichlet``: pieces of ``rows`` rows whose class composition is drawn from a Dirichlet
        distribution around the composition of the test batch (see :func:`pieces`).
        ``single-class``: one piece for each class.
        ``same-sizes``: random rows, in pieces of the sizes that ``single-class`` gives. Isolates
        the effect of the smaller size.
        ``few-classes``: classes are assigned at random to groups of ``classes`` classes, and the
        rows of a group to random pieces of at most ``rows`` rows.
        ``few-classes-sizes``: random rows, in pieces of the sizes that ``few-classes`` gives.
        ``quarter-plate``: the four quarters of the plate layout.
        ``controls``: the complete test batch, with at most ``controls`` of its negative controls;
        the others are left out.
    rows, parts, alpha, controls, classes
        Values of the kinds that use them, otherwise 0.
    """

    kind: str
    rows: int = 0
    parts: int = 0
    alpha: float = 0.0
    controls: int = 0
    classes: int = 0

    @classmethod
    def read(cls, table: Facts) -> InferenceBatches:
        """Check a mapping such as ``{"kind": "rows", "rows": 8}``.

        Raises
        ------
        BenchError
            For an unknown kind, a missing or unexpected value, or a value out of range.
        """
        values = dict(table)
        kind = str(values.pop("kind", ""))
        if kind not in KINDS:
            raise BenchError(f"a grouping is one of {', '.join(KINDS)}, not '{kind}'")
        wanted = KINDS[kind]
        if set(values) != set(wanted):
            needs = ", ".join(wanted) or "no value"
            raise BenchError(f"grouping '{kind}' takes {needs}, not {', '.join(values) or 'none'}")
        numbers: JsonObject = {}
        for name, (convert, low, high) in wanted.items():
            value = convert(values[name])
            if value != values[name] or not low <= value <= high:
                raise BenchError(
                    f"grouping '{kind}': {name} must be in {low:g} .. {high:g}, not {values[name]}"
                )
            numbers[name] = value
        return cls(kind, **numbers)

    @property
    def spec(self) -> JsonObject:
        """The kind and its values; they identify the grouping."""
        return {"kind": self.kind, **{name: getattr(self, name) for name in KINDS[self.kind]}}

    @property
    def drops_rows(self) -> bool:
        """Whether rows are left out, so that no stage gets them."""
        return self.kind == "controls"

    @property
    def words(self) -> str:
        """Description of an inference batch, for records and titles."""
        return {
            "rows": f"inference batches of {self.rows} row{'s' if self.rows > 1 else ''}",
            "parts": f"inference batches of 1/{self.parts} of the test batch",
            "dirichlet": f"inference batches of {self.rows} rows, Dirichlet alpha {self.alpha:g}",
            "single-class": "inference batches of one class",
            "same-sizes": "inference batches as small as a class, rows at random",
            "few-classes": f"inference batches of {count(self.classes, 'class')}, "
            f"at most {self.rows} rows",
            "few-classes-sizes": f"inference batches of random rows, sized as those of "
            f"{count(self.classes, 'class')}",
            "quarter-plate": "inference batches of a quarter of the plate",
            "controls": f"{self.controls} negative control{'s' if self.controls > 1 else ''} in "
            "an inference batch",
        }[self.kind]


def pieces(
    grouping: InferenceBatches,
    labels: Strings,
    controls: Bools,
    position: Strings | None,
    rng: np.random.Generator,
) -> list[Ints]:
    """Return the positions of each piece of one test batch.

    With ``dirichlet``, the rows with a class are split into M pieces of nearly equal size, at most
    ``rows``. Each piece draws its composition ``q ~ Dirichlet(alpha K p)``, where p are the shares
    of the K classes in the test batch (this is the symmetric Dirichlet with parameter alpha if all
    classes are equally frequent). It then draws its rows one by one: a class from q, then a random
    row of this class. An exhausted class is removed from q, and q is normalised again. If all
    classes of q are exhausted, the composition of the remaining rows is used. A small alpha gives
    pieces of one class, a large alpha the composition of the test batch. This is the partition of
    Hsu, Qi and Brown 2019 (arXiv 1909.06335, section 3), applied within each test batch. The pieces
    that are filled last are closer to the composition of the remaining rows.

    Rows without a class (negative controls) are distributed in proportion to the piece sizes.

    Parameters
    ----------
    labels
        ``(n,)`` class of each row, ``""`` for rows without one.
    controls
        ``(n,)`` bool.
    position
        ``(n,)`` well names such as ``B07``, or None.

    Raises
    ------
    NotApplicable
        If quarters of a plate are requested and the well positions cannot be parsed.
    """
    n = len(labels)
    order = rng.permutation(n).astype(np.int64)
    kind = grouping.kind
    if kind == "rows":
        return list(np.array_split(order, -(-n // grouping.rows)))
    if kind == "parts":
        return [part for part in np.array_split(order, grouping.parts) if len(part)]
    if kind == "quarter-plate":
        quarter = _quarters(position)
        return [np.flatnonzero(quarter == q) for q in np.unique(quarter)]
    if kind == "controls":
        kept = order[controls[order]][: grouping.controls]
        return [np.sort(np.concatenate([np.flatnonzero(~controls), kept]))]
    classed = order[labels[order] != ""]
    rest = order[labels[order] == ""]
    if not len(classed):
        return [rest]
    names = np.unique(labels[classed])
    by_class = [classed[labels[classed] == name] for name in names]
    if kind == "single-class":
        groups = by_class
    elif kind == "same-sizes":
        groups = _resized(classed, by_class)
    elif kind in ("few-classes", "few-classes-sizes"):
        groups = _few_classes(by_class, grouping, rng)
        if kind == "few-classes-sizes":
            groups = _resized(classed, groups)
    else:
        groups = _dirichlet(by_class, grouping, rng)
    bounds = np.cumsum([len(group) for group in groups]) / len(classed) * len(rest)
    shared = np.split(rest, np.rint(bounds[:-1]).astype(int))
    return [np.concatenate([group, more]) for group, more in zip(groups, shared, strict=True)]


def _resized(rows: Ints, groups: list[Ints]) -> list[Ints]:
    """Return ``rows``, in their order, in pieces of the sizes of ``groups``."""
    return list(np.split(rows, np.cumsum([len(group) for group in groups])[:-1]))


def _few_classes(
    by_class: list[Ints], grouping: InferenceBatches, rng: np.random.Generator
) -> list[Ints]:
    """Return pieces of at most ``rows`` rows with at most ``classes`` classes each.

    The groups of classes depend only on the number of classes, so that ``few-classes-sizes`` has
    the same sizes as ``few-classes`` whatever the state of ``rng``.
    """
    order = generator("inference-batches", "classes", len(by_class)).permutation(len(by_class))
    groups = []
    for start in range(0, len(order), grouping.classes):
        members = [by_class[k] for k in order[start : start + grouping.classes]]
        rows = rng.permutation(np.concatenate(members))
        groups += list(np.array_split(rows, -(-len(rows) // grouping.rows)))
    return groups


def _dirichlet(
    by_class: list[Ints], grouping: InferenceBatches, rng: np.random.Generator
) -> list[Ints]:
    """Return pieces from the rows of each class; these rows are already in random order."""
    counts = np.array([len(rows) for rows in by_class])
    n, share = int(counts.sum()), counts / counts.sum()
    used = np.zeros(len(counts), dtype=np.int64)
    pieces = []
    for part in np.array_split(np.arange(n), -(-n // grouping.rows)):
        q = rng.dirichlet(grouping.alpha * len(counts) * share)
        chosen = []
        for _ in part:
            left = counts - used
            weight = np.where(left > 0, q, 0.0)
            # A draw with tiny alpha is zero after rounding for all classes but one.
            weight = weight if weight.sum() > 0 else left.astype(float)
            k = int(rng.choice(len(counts), p=weight / weight.sum()))
            chosen.append(by_class[k][used[k]])
            used[k] += 1
        pieces.append(np.array(chosen, dtype=np.int64))
    return pieces


def _quarters(position: Strings | None) -> Ints:
    """Return the quarter of the occupied layout for each well, ``(n,)`` 0 to 3."""
    matches = (
        [] if position is None else [re.search(r"([A-Z]{1,2})0*(\d{1,2})$", p) for p in position]
    )
    if position is None or any(match is None for match in matches):
        raise NotApplicable("quarters of a plate need the position of each well, such as B07")
    rows = np.array([_letters(match[1]) for match in matches if match])
    columns = np.array([int(match[2]) for match in matches if match])
    half = [values > (values.min() + values.max()) / 2 for values in (rows, columns)]
    quarter: Ints = (2 * half[0] + half[1]).astype(np.int64)
    return quarter


def _letters(text: str) -> int:
    number = 0
    for letter in text:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number
