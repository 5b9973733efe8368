"""Guess the keys of a ``dataset.toml`` from the columns of a table, with a reason for each.

Names are compared without the prefixes of the field's tools: ``Metadata_Plate`` (pycytominer),
``Image_Metadata_Plate`` (CytoTable) and ``meta_plate`` are all ``plate``. A name only proposes a
column; its values decide whether it is used.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bench.advice.checkup import JOIN, is_numbered_within
from bench.core.errors import BenchError
from bench.core.words import count
from bench.data.own.columns import as_text, bools, joined_columns
from bench.data.own.wells import plate_column, position_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.data.own.columns import Texts

_PREFIX = re.compile(r"^(image_)?(meta(data)?_)?(assay_)?", re.IGNORECASE)
_BRACKETS = re.compile(r"(characteristics|comment|experimental_condition|factor_value)_\[(.+)\]")
"""Columns of the Image Data Resource and of MAGE-TAB."""
LABELS = (
    "label|class|phase|phenotype|cell_?type|localization|localisation",
    "moa|mechanism(_of_action)?|moa_.*",
    "compound(_?name)?|treatment(_?name)?|drug(_?name)?|pert(urbation)?_?i?name|perturbation",
    "target(_?gene)?|gene(_?(symbol|name))?|sirna(_?id)?|guide(_?id)?|condition|marker",
    "jcp2022|broad_sample|inchi_?key|compound_?id|pert(urbation)?_?id|smiles",
)
"""Names of labels, in order of preference: what is to be recognised, then what was done."""
BATCHES = (
    "(assay_)?plate(_?(barcode|name|id))?|batch(_?(id|name|no|number))?|week|day|date|session|run|"
    "time(_?(h|point))?|experiment(_?(id|name))?|exp|replicate|rep|donor|patient|case|individual|"
    "slide|source|lab(oratory)?|centre|center|institute|hospital|study|microscope|scanner|"
    "instrument|machine|stain(ing)?|period|cohort|screen|folder_[1-9]|table|dataset_name"
)
CONTROLS = r"(is_?)?(neg(ative)?_?)?(control|ctrl)(s|_?type)?|pert(urbation)?_?type|is_?dmso|negcon"
VEHICLES = (
    r"dmso|vehicle|negcon|neg(ative)?[ _-]?(control|ctrl)|untreated|mock|scrambled|none treated|"
    r"no[ _-](reagent|treatment)"
)
NEGATIVE = VEHICLES + "|neg(ative)?"
"""Values in a column of controls; a class of cells may be called negative."""
OBJECTS = (
    r"(.*_)?(field|site|fov|tile|imagenumber|image_?id|objectnumber|object_?id|cell_?id)|export|"
    "folder_1|table"
)
_METADATA = (
    "(?i:image_|meta_|metadata_|ExecutionTime_|ModuleError_|Group_|Channel_|Series_|Frame_|Width_|"
    r"Height_|Scaling_|Threshold_|(\w+_)?(AreaShape_(Center|Bounding)|Location_(Center|Max)|"
    "Number_Object|(Parent|Children)_))"
)
"""Beginnings of columns that are never features, unless they belong to a family."""
CROP = ("top", "left", "height", "width")
_IMAGE = re.compile(r".+\.(png|tiff?|jpe?g)|.+\.zarr/.+", re.IGNORECASE)
_DRAWING = r"(?i:overlay|outline|thumbnail)"
"""Columns of pictures for the eye, which CellProfiler saves next to the channels."""
_PLACE = (
    r"(?!Location|(Image|Object)?Number|Parent|Children|AreaShape_(Center|Bounding)|"
    r"Neighbors_\w+ClosestObjectNumber)"
)
FAMILIES = (
    ("^(Cells|Cytoplasm|Nuclei)_" + _PLACE, "features of CellProfiler by compartment"),
    (
        "^(AreaShape_(?!Center|Bounding)|Correlation_|Granularity_|Intensity_|"
        r"Neighbors_(?!\w+ClosestObjectNumber)|RadialDistribution_|Texture_)",
        "features of CellProfiler for one kind of object",
    ),
    (
        "^(Count|ImageQuality|AreaOccupied|Intensity|Granularity|Texture|Correlation|"
        "(Mean|Median|StDev)_[A-Za-z]+)_" + _PLACE,
        "features of CellProfiler per image",
    ),
    (
        r"^\w+_(AreaShape_(?!Center|Bounding)|Correlation_|Granularity_|Intensity_|"
        r"Neighbors_(?!\w+ClosestObjectNumber)|RadialDistribution_|Texture_)",
        "features of CellProfiler by kind of object",
    ),
)
"""Regular expressions over columns, with what they match."""
FEW = 4
"""Minimum number of columns that make a family of features."""
FEW_NAMES = 12
"""Maximum number of columns without a pattern that are listed by name."""


@dataclass(frozen=True)
class Guess:
    """A key of a ``dataset.toml``.

    Attributes
    ----------
    key
        The key, such as ``label``.
    value
        Its value as Python data, or None if no column was recognised.
    reason
        Why; one line.
    """

    key: str
    value: str | list[str] | dict[str, list[str]] | None
    reason: str


class Columns:
    """The columns of a table that are not features, as text.

    Parameters
    ----------
    frame
        ``(n, c)``, as read by :func:`bench.data.own.files.open_table`.
    typed
        Whether the file distinguishes numbers from text.
    """

    def __init__(self, frame: pd.DataFrame, *, typed: bool) -> None:
        self.frame, self.typed = frame, typed
        self.text: dict[str, Texts] = {str(name): as_text(frame[name]) for name in frame}
        self.n = len(frame)

    def named(self, pattern: str) -> list[str]:
        """Return the columns with a name, without prefixes of tools and without case."""
        return [name for name in self.text if re.fullmatch(pattern, short(name))]

    def values(self, name: str) -> list[str]:
        """Return the distinct values of a column, sorted; the empty text is left out."""
        return sorted(set(self.text[name].tolist()) - {""})

    def complete(self, name: str) -> bool:
        """Whether each row has a value."""
        return bool((self.text[name] != "").all())


def short(name: str) -> str:
    """Return a name in lower case, without the prefix of a tool.

    Examples
    --------
    >>> short("Image_Metadata_Plate"), short("meta_week"), short("Comment [Gene Symbol]")
    ('plate', 'week', 'gene_symbol')
    """
    plain = re.sub(r"[\s.\-]+", "_", name.strip().lower())
    return _BRACKETS.sub(r"\2", _PREFIX.sub("", plain))


def relative(path: Path, base: Path) -> str:
    """Return a path relative to a folder if it is inside, otherwise the absolute path."""
    absolute, root = path.resolve(), base.resolve()
    return (absolute.relative_to(root) if absolute.is_relative_to(root) else absolute).as_posix()


def features(numbers: Sequence[str], others: Iterable[str]) -> tuple[str, str, list[str]]:
    """Return a regular expression for the features, its reason, and the matched columns.

    Parameters
    ----------
    numbers
        Numeric columns.
    others
        Columns with a role by their name. They never match.
    """
    taken = set(others)
    for pattern, reason in FAMILIES:
        matched = [name for name in numbers if re.search(pattern, name)]
        if len(matched) >= FEW:
            return pattern, reason, matched
    stems = Counter(re.sub(r"\d+", "0", name) for name in numbers if re.search(r"\d", name))
    stem, n = stems.most_common(1)[0] if stems else ("", 0)
    free = [name for name in numbers if name not in taken and not _is_metadata(name)]
    if n >= max(FEW, len(free) // 2):
        pattern = "^" + re.escape(stem).replace("0", r"\d+") + "$"
        matched = [name for name in numbers if re.search(pattern, name)]
        return pattern, "numbered columns, as of an embedding", matched
    parts = [f"{re.escape(name)}$" for name in numbers if name in taken and not _is_metadata(name)]
    parts += [_METADATA] if any(map(_is_metadata, numbers)) else []
    pattern = f"^(?!{'|'.join(parts)})" if parts else "."
    if len(free) <= FEW_NAMES:
        pattern = f"^({'|'.join(map(re.escape, free))})$"
    return pattern, "numeric columns without another role", free


def _is_metadata(name: str) -> bool:
    return bool(re.match(_METADATA, name))


def images(columns: Columns, table: Path, base: Path) -> list[Guess]:
    """Guess the columns of image files, relative to ``base`` or the table, and of a crop."""
    named = [
        name
        for name, text in columns.text.items()
        if all(map(_IMAGE.fullmatch, text.tolist())) and not re.search(_DRAWING, name)
    ]
    for folder in (base, table.parent):
        files = [name for name in named if (folder / columns.text[name][0]).exists()]
        if files:
            break
    else:
        if not named:
            return []
        first = columns.text[named[0]][0]
        reason = f"{named[0]} names files, but {first} is not in {base}"
        folders = named[0].replace("FileName_", "PathName_")
        if folders != named[0] and folders in columns.text:
            reason += f"; join {folders} and {named[0]} to one column of paths"
        return [Guess("images", None, reason)]
    reason = "files that exist"
    if folder != base:
        reason = f"files relative to the table: write this file to {folder} with --output"
    guesses = [Guess("images", files, reason)]
    crop = [name for key in CROP for name in columns.named(key)]
    if len(crop) == len(CROP):
        guesses.append(Guess("crop", crop, "part of the image file"))
    return guesses


def controls(columns: Columns) -> Guess:
    """Guess the negative controls: a column of yes and no, or one with the name of a vehicle."""
    for name in sorted(columns.named(CONTROLS), key=lambda c: "type" in c.lower()):
        try:
            mask = bools(columns.frame[name], name, columns.typed)
        except BenchError:
            continue
        if 0 < mask.sum() < len(mask):
            return Guess("control", name, f"marks {count(int(mask.sum()), 'row')} of {len(mask):,}")
    for pattern in (*LABELS, CONTROLS):
        for name in columns.named(pattern):
            words = NEGATIVE if pattern == CONTROLS else VEHICLES
            values = [v for v in columns.values(name) if re.fullmatch(words, v.casefold())]
            rows = int(np.isin(columns.text[name], values).sum())
            if values and rows < columns.n:
                reason = f"{count(rows, 'row')} of {columns.n:,} have this value"
                return Guess("control", {name: values}, reason)
    return Guess("control", None, "no column and no value looks like a negative control")


def batches(columns: Columns, label: str | None) -> list[Guess]:
    """Guess the levels of batches, the most numerous first, and say why others are left out."""
    candidates: list[tuple[int, str]] = []
    seen: list[NDArray[np.intp]] = []
    left = []
    plate = plate_column(list(columns.text))
    names = dict.fromkeys([*([plate] if plate else []), *columns.named(BATCHES)])
    for name in names:
        n = len(columns.values(name))
        codes = pd.factorize(columns.text[name])[0]
        if name == label:
            continue
        if n < 2:
            left.append(f"{name} has one value")
        elif not columns.complete(name):
            left.append(f"{name} has empty cells")
        elif n > columns.n // 2:
            left.append(f"{name} differs in almost every row")
        elif any(np.array_equal(codes, other) for other in seen):
            left.append(f"{name} divides the rows like another level")
        else:
            seen.append(codes)
            candidates.append((-n, name))
    levels = [name for _, name in sorted(candidates, key=lambda pair: pair[0])]
    counts = ", ".join(f"{len(columns.values(name)):,} {name}" for name in levels)
    rest = f"; not used: {', '.join(left)}" if left else ""
    if plate is not None and plate in levels:
        for outer in levels:
            if is_numbered_within(columns.text[plate], columns.text[outer]):
                rest += f"; each {outer} has the same names: {JOIN.format(plate, outer)}"
    if not levels:
        return [Guess("batches", None, f"no column looks like a batch{rest}")]
    return [Guess("batches", levels, f"{counts}, smallest first{rest}")]


def labels(columns: Columns, levels: Sequence[str], control: Guess) -> Guess:
    """Guess the label: the first name in :data:`LABELS` with classes that repeat over batches."""
    skipped = []
    treated = ~_mask(columns, control)
    for pattern in LABELS:
        for name in columns.named(pattern):
            text = columns.text[name][treated]
            sizes = Counter(text.tolist())
            if "" in sizes:
                skipped.append(f"{name} has empty cells")
            elif len(sizes) < 2:
                skipped.append(f"{name} has one value")
            elif len(sizes) > treated.sum() // 2:
                skipped.append(f"{name} differs in almost every row")
            elif name not in levels:
                rest = f"; not used: {', '.join(skipped)}" if skipped else ""
                spread = ""
                if levels:
                    pairs = set(zip(text, columns.text[levels[-1]][treated], strict=True))
                    many = sum(n > 1 for n in Counter(value for value, _ in pairs).values())
                    spread = f", {many:,} of them in several values of {levels[-1]}"
                return Guess("label", name, f"{len(sizes):,} classes{spread}{rest}")
    rest = f" ({', '.join(skipped)})" if skipped else ""
    return Guess("label", None, f"no column looks like a label{rest}: name the column to predict")


def _mask(columns: Columns, control: Guess) -> NDArray[np.bool_]:
    if isinstance(control.value, str):
        return bools(columns.frame[control.value], control.value, columns.typed)
    if isinstance(control.value, dict):
        [(name, values)] = control.value.items()
        return np.isin(columns.text[name], values)
    return np.zeros(columns.n, dtype=bool)


def ids(columns: Columns) -> Guess:
    """Guess columns that are unique together: plate, well, then the field and the object."""
    names = list(columns.text)
    position, plate = position_column(names), plate_column(names)
    for name in columns.named("id|image_?id|cell_?id|object_?id"):
        if len(columns.values(name)) == columns.n:
            return Guess("id", [name], "differs in each row")
    chosen = [name for name in (plate, position) if name is not None and columns.complete(name)]
    objects = [name for name in columns.named(OBJECTS) if name not in chosen]
    further = [name for name in objects if columns.complete(name)]
    singles = [[name] for name in further]
    for extra in [[], *singles, further] if chosen else [further, *singles]:
        some = [*chosen, *extra]
        if some:
            joined = joined_columns([columns.text[name] for name in some])
            if len(set(joined.tolist())) == columns.n:
                return Guess("id", some, "unique together")
    for name, text in columns.text.items():
        if len(columns.values(name)) == columns.n and all(map(_IMAGE.fullmatch, text.tolist())):
            return Guess("id", [name], "a file per row")
    return Guess("id", None, "no columns are unique together: rows are numbered")


def treatments(columns: Columns, label: str | None, control: Guess) -> list[Guess]:
    """Guess the compound and the treatment where the label is a class of compounds."""
    treated = ~_mask(columns, control)
    compounds = [
        name
        for pattern in LABELS[2:]
        for name in columns.named(pattern)
        if name != label and (columns.text[name][treated] != "").all()
    ]
    if label is None or not compounds or label in columns.named(LABELS[2]):
        return []
    dose = [
        name
        for name in columns.named(r"(.*_)?(dose|concentration|conc)(_.*)?|mmoles_per_liter")
        if (columns.text[name][treated] != "").all()
    ][:1]
    return [
        Guess("compound", compounds[:1], "retrieval excludes the same compound"),
        Guess("treatment", [compounds[0], *dose], "replicates of one treatment"),
    ]


def shared(columns: Columns, held_out: str, levels: Sequence[str]) -> list[str]:
    """Return the other levels with rows in several values of a held-out level."""
    result = []
    for level in levels:
        pairs = set(zip(columns.text[level], columns.text[held_out], strict=True))
        if level != held_out and len(pairs) > len({value for value, _ in pairs}):
            result.append(level)
    return result
