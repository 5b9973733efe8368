"""Splits: from column values of a data set's index to rows on the training and the test side.

Importing this module costs no more than NumPy: ``list splits`` reads the packaged splits with it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Bools, Ints, Opened, Split
from bench.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "Fold",
    "audit",
    "check_split",
    "encode",
    "find_split",
    "folds",
    "packaged_splits",
    "read_split",
    "split_digest",
]

Texts = NDArray[np.object_]

_TASKS = ("classify", "retrieve")
_PROTOCOLS = ("supervised", "unsupervised", "transfer")
_STEPS = ("mean", "median")
_WHOLE = "all"
CONTENT = "content"
"""What ``shares`` names where equal rows may lie on both sides."""


@dataclass(frozen=True, eq=False)
class Fold:
    """One training side and one test side of a split.

    Attributes
    ----------
    name
        The held-out value, or ``all`` where the split has one fold.
    train, validation, test
        Positions in the index of the opened data set, ascending and disjoint (except in the
        unsupervised protocol, where ``train`` and ``test`` are all rows). Rows without a class
        are among them: they belong to their batch like any other row.
    scored
        ``(len(test),)`` true for the rows of ``test`` that count: not a control, and of a class
        that the training rows hold. The others stay unlabelled rows of their batch.
    classes
        The label map of the *split*, the same in every fold: class ``k`` is ``classes[k]``.
        A row whose label is not in it has no class (-1), in training too.
    n_excluded
        Rows of ``test`` left out because their class has no training rows; controls not counted.
    excluded_classes
        Those classes.
    """

    name: str
    train: Ints
    validation: Ints
    test: Ints
    scored: Bools
    classes: tuple[str, ...]
    n_excluded: int = 0
    excluded_classes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Origin:
    """What an encoder was trained on that is taken to another data set.

    Attributes
    ----------
    split
        Name of the split whose training rows these are.
    opened
        Its data set.
    train
        Rows of that data set, ascending.
    classes
        Label map of the training.
    """

    split: str
    opened: Opened
    train: Ints
    classes: tuple[str, ...]


# --------------------------------------------------------------------------- what a split says


def check_split(split: Split) -> Split:
    """Return the split, or raise :class:`BenchError` where its fields contradict each other."""
    where = f"split '{split.name}'"
    if not split.shift.strip():
        raise BenchError(
            f'{where} does not say what differs between train and test: add shift = "…"'
        )
    if split.task not in _TASKS:
        raise BenchError(f"{where}: " + did_you_mean(split.task, list(_TASKS), "task"))
    if split.protocol not in _PROTOCOLS:
        raise BenchError(f"{where}: " + did_you_mean(split.protocol, list(_PROTOCOLS), "protocol"))
    if split.where is not None and (not split.where or not all(split.where.values())):
        raise BenchError(f'{where}: where is empty: write where = {{ COLUMN = ["value"] }}')
    hidden = [name for name in split.expose if name in ("label", "id", "control")]
    if hidden:
        raise BenchError(f"{where} exposes '{hidden[0]}': take it out of expose")
    if split.protocol != "transfer" and (split.source or split.channels):
        raise BenchError(f'{where} names source or channels, which need protocol = "transfer"')
    if split.aggregate and split.protocol == "supervised":
        raise BenchError(f"{where}: aggregate is for retrieval; name a score_unit instead")
    for step in split.aggregate:
        if step.rpartition("=")[2] not in _STEPS or not step.rpartition("=")[0]:
            raise BenchError(
                f"{where}: a step of aggregate is COLUMN=mean or COLUMN=median, not '{step}'"
            )
    if split.protocol == "transfer" and not split.source:
        raise BenchError(
            f'{where} does not say what the encoder is trained on: add source = "DATASET/SPLIT"'
        )
    if split.protocol != "supervised":
        if split.hold_out or split.train or split.validation or split.test != _WHOLE:
            raise BenchError(
                f"{where} is {split.protocol}, which takes all rows: write test = "
                '"all" and leave out hold_out, train and validation'
            )
        return split
    if split.hold_out is not None:
        if split.train or split.validation or split.test:
            raise BenchError(
                f"{where} has hold_out, which makes both sides: leave out train, validation and "
                "test, or leave out hold_out"
            )
        return split
    if split.test is None:
        raise BenchError(
            f'{where} says nothing about the test rows: add hold_out = "COLUMN" or '
            'test = { COLUMN = ["value"] }'
        )
    if isinstance(split.test, str):
        raise BenchError(
            f'{where} has test = "{split.test}", which needs protocol = "unsupervised"; to test on '
            'some rows write test = { COLUMN = ["value"] }'
        )
    for side in ("train", "validation", "test"):
        table = getattr(split, side)
        if table is not None and not table:
            raise BenchError(f'{where}: {side} is empty: write {side} = {{ COLUMN = ["value"] }}')
        for column, values in (table or {}).items():
            if not values:
                raise BenchError(f"{where}: {side}.{column} is empty: name at least one value")
    return split


# --------------------------------------------------------------------------- rows


def rows_of(n: int) -> str:
    """Return ``1 row`` or ``n rows``, for messages."""
    return f"{n} row" if n == 1 else f"{n} rows"


def _natural(text: str) -> tuple[Any, ...]:
    """Sort key that puts ``Week2`` before ``Week10``; ties are broken by the text itself."""
    parts = re.split(r"(\d+)", text)
    return tuple((1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts), text


def _column(split: Split, opened: Opened, name: str, used_by: str) -> Texts:
    if name not in opened.index.columns:
        known = [str(column) for column in opened.index.columns if column not in ("id", "control")]
        where = f"split '{split.name}', {used_by}: "
        raise BenchError(where + did_you_mean(name, known, "column"))
    column: Texts = np.asarray(opened.index[name], dtype=object)
    return column


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _value(wanted: str, present: Sequence[str], where: str, what: str) -> str:
    """Return the value of a column that ``wanted`` names: itself, or the one equal as a number."""
    if wanted in present:
        return wanted
    number = _number(wanted)
    if number is not None:
        # 3 in a TOML file is "3.0" in a column of floats and may be "03" in a column of text
        equal = [value for value in present if _number(value) == number]
        if len(equal) == 1:
            return equal[0]
    raise BenchError(where + did_you_mean(wanted, sorted(present, key=_natural)[:40], what))


def _matching(
    split: Split, opened: Opened, side: str, table: Mapping[str, Sequence[str]]
) -> NDArray[np.bool_]:
    """Return the mask of rows whose columns all have one of the values."""
    mask = np.ones(len(opened.index), dtype=bool)
    for name, values in table.items():
        column = _column(split, opened, name, side)
        present = sorted({str(value) for value in column} - {""})
        where = f"split '{split.name}', {side}: "
        wanted = {_value(str(value), present, where, f"value of {name}") for value in values}
        mask &= np.isin(column.astype(str), sorted(wanted))
    return mask


def _labels(opened: Opened) -> Texts:
    labels: Texts = np.asarray(opened.index["label"], dtype=object)
    if opened.control_classes:
        return labels
    labels = labels.copy()
    labels[np.asarray(opened.index["control"], dtype=bool)] = ""
    return labels


def encode(labels: Sequence[str] | NDArray[Any], classes: Sequence[str]) -> Ints:
    """Return ``(n,)`` int64 classes of labels; -1 for a label that is not in ``classes``.

    Parameters
    ----------
    labels
        ``(n,)`` text; ``""`` is a row without a class.
    classes
        The label map, as in :attr:`Fold.classes`.
    """
    code = {name: k for k, name in enumerate(classes)}
    return np.array([code.get(str(label), -1) for label in labels], dtype=np.int64)


def folds(split: Split, opened: Opened) -> list[Fold]:
    """Return the folds of a split, in natural order of their names.

    ``hold_out`` gives one fold for each value of the column: the rows with the value are the test
    side, all others the training side. ``test`` with or without ``train`` gives the single fold
    ``all``; without ``train`` every row outside ``test`` and ``validation`` trains. The
    unsupervised protocol gives the single fold ``all`` with every row on both sides; so does
    ``transfer``, but with no row on the training side, which is another data set's
    (:class:`Origin`).

    The label map is one for the split, sorted. With ``hold_out`` it holds the classes that occur
    under at least two held-out values, the only ones that can be both trained and scored; otherwise
    the classes of the training rows, so that it never depends on which classes the test holds and
    several tests of one training set share a fit. Rows of other classes are excluded from scoring
    and counted.

    A fold may have nothing to score (:attr:`Fold.scored` all false), for instance where a
    held-out week holds controls and classes of its own only; a split may not.

    Raises
    ------
    BenchError
        For an unknown column or value, sides that are empty or overlap, one held-out value, rows
        without a value where the column decides, fewer than two classes to train, or nothing
        to score.
    """
    check_split(split)
    where = f"split '{split.name}'"
    labels = _labels(opened)
    if not len(labels):
        raise BenchError(f"{where}: data set {opened.name} has no rows")
    for name in (*split.expose, *split.shares):
        if name != CONTENT:
            _column(split, opened, name, "expose" if name in split.expose else "shares")
    if split.cluster and split.cluster not in opened.levels:
        raise BenchError(
            f"{where}, cluster: " + did_you_mean(split.cluster, list(opened.levels), "batch level")
        )
    for step in split.aggregate:
        name = step.rpartition("=")[0]
        _column(split, opened, opened.columns.get(name, name), "aggregate")
    inside = _inside(split, opened)
    if split.protocol != "supervised":
        every = np.flatnonzero(inside).astype(np.int64)
        names = tuple(sorted({str(label) for label in labels[every]} - {""}))
        _two_classes(where, names)
        nothing = np.zeros(0, dtype=np.int64)
        learnt = nothing if split.protocol == "transfer" else every
        made = [Fold(_WHOLE, learnt, nothing, every, labels[every] != "", names)]
        _whole_units(split, opened, made, labels)
        return made
    if split.hold_out is not None:
        made = _held_out(split, opened, labels, inside)
    else:
        made = [_fixed(split, opened, labels, inside)]
    _whole_units(split, opened, made, labels)
    if not any(fold.scored.any() for fold in made):
        raise BenchError(
            f"{where} has nothing to score: no class of the test rows has training rows; "
            "choose a split whose sides share classes"
        )
    return made


def _inside(split: Split, opened: Opened) -> Bools:
    """Return the rows that take part, ``(n,)`` bool; each value of ``where`` must have some.

    A scenario of five laboratories of which one is missing would be another scenario.
    """
    inside = np.ones(len(opened.index), dtype=bool)
    for name, values in (split.where or {}).items():
        column = _column(split, opened, name, "where").astype(str)
        known = set(column.tolist())
        lacking = [value for value in values if value not in known]
        if lacking:
            raise BenchError(
                f"split '{split.name}' needs rows of {name} {' and '.join(lacking)}, and "
                f"{opened.name} has none here: get their files, or choose another split"
            )
        inside &= np.isin(column, values)
    return inside


def _whole_units(split: Split, opened: Opened, made: Sequence[Fold], labels: Texts) -> None:
    """Refuse a score unit whose rows cannot be averaged to one prediction."""
    where, name = f"split '{split.name}'", split.score_unit
    if name == "row":
        return
    units = _column(split, opened, name, "score_unit").astype(str)
    for fold in made:
        rows = fold.test[fold.scored]
        n_missing = int((units[rows] == "").sum())
        if n_missing:
            raise BenchError(
                f"{where}: {rows_of(n_missing)} to score without a value in the score unit {name}: "
                "fill it or choose another score_unit"
            )
        of: dict[str, str] = {}
        for unit, label in zip(units[rows].tolist(), labels[rows].tolist(), strict=True):
            if of.setdefault(unit, label) != label:
                raise BenchError(
                    f"{where}: the rows of {name} '{unit}' have the labels '{of[unit]}' and "
                    f"'{label}', so they cannot be scored as one: choose another score_unit"
                )


def _two_classes(where: str, classes: Sequence[str]) -> None:
    if len(classes) < 2:
        found = f"only '{classes[0]}'" if classes else "none"
        raise BenchError(
            f"{where} needs at least two classes to learn, and has {found}: choose another label "
            "or another split"
        )


def _held_out(split: Split, opened: Opened, labels: Texts, inside: Bools) -> list[Fold]:
    where, name = f"split '{split.name}'", str(split.hold_out)
    column = _column(split, opened, name, "hold_out").astype(str)
    n_missing = int((column[inside] == "").sum())
    if n_missing:
        raise BenchError(
            f"{where}: {rows_of(n_missing)} without a value in the hold_out column {name}: fill it "
            "or drop those rows"
        )
    values = sorted(set(column[inside].tolist()), key=_natural)
    if len(values) < 2:
        raise BenchError(
            f"{where}: column {name} has the single value '{values[0]}', so holding it out leaves "
            "nothing to train on: hold out another column"
        )
    text = labels.astype(str)
    seen: dict[str, set[str]] = {}
    for label, value in zip(text[inside].tolist(), column[inside].tolist(), strict=True):
        if label:
            seen.setdefault(label, set()).add(value)
    classes = tuple(sorted(label for label, under in seen.items() if len(under) > 1))
    if len(classes) < 2:
        raise BenchError(
            f"{where}: {len(classes)} of {len(seen)} classes occur under more than one value of "
            f"{name}, and two are needed to train and score: hold out another column"
        )
    made = []
    for value in values:
        is_test = column == value
        learnt, held = np.flatnonzero(~is_test & inside), np.flatnonzero(is_test & inside)
        made.append(_fold(value, learnt, np.zeros(0), held, text, classes))
    return made


def _fixed(split: Split, opened: Opened, labels: Texts, inside: Bools) -> Fold:
    where = f"split '{split.name}'"
    test = split.test
    if test is None or isinstance(test, str):  # check_split has refused both
        raise TypeError(f"{where}: test must be a table")
    masks = {"test": _matching(split, opened, "test", test)}
    masks["validation"] = np.zeros(len(labels), dtype=bool)
    if split.validation is not None:
        masks["validation"] = _matching(split, opened, "validation", split.validation)
    if split.train is not None:
        masks["train"] = _matching(split, opened, "train", split.train)
    else:
        for name in dict.fromkeys((*test, *(split.validation or {}))):
            column = _column(split, opened, name, "test")
            n_missing = int((column.astype(str) == "").sum())
            if n_missing:
                raise BenchError(
                    f"{where}: {rows_of(n_missing)} without a value in {name}, so it is open "
                    "whether they may train: fill it, drop those rows, or name the training values"
                )
        masks["train"] = ~masks["test"] & ~masks["validation"]
    masks = {side: mask & inside for side, mask in masks.items()}
    for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        n_both = int((masks[one] & masks[other]).sum())
        if n_both:
            raise BenchError(
                f"{where}: {rows_of(n_both)} in both {one} and {other}: make their values disjoint"
            )
    for side, mask in masks.items():
        wanted = side != "validation" or split.validation is not None
        if wanted and not mask.any():
            raise BenchError(
                f"{where}: no row is in {side}: "
                + (
                    "test and validation take them all"
                    if side == "train" and split.train is None
                    else "no row has all the values it names"
                )
                + "; choose other values"
            )
    text = labels.astype(str)
    classes = tuple(sorted(set(text[masks["train"]].tolist()) - {""}))
    _two_classes(f"{where}, in its training rows,", classes)
    sides = {side: np.flatnonzero(mask) for side, mask in masks.items()}
    return _fold(_WHOLE, sides["train"], sides["validation"], sides["test"], text, classes)


def _fold(
    name: str,
    train: NDArray[Any],
    validation: NDArray[Any],
    test: NDArray[Any],
    labels: NDArray[Any],
    classes: tuple[str, ...],
) -> Fold:
    held = labels[test]
    scored = np.isin(held, classes)
    outside = held[~scored & (held != "")]
    return Fold(
        name=name,
        train=train.astype(np.int64),
        validation=validation.astype(np.int64),
        test=test.astype(np.int64),
        scored=scored,
        classes=classes,
        n_excluded=len(outside),
        excluded_classes=tuple(sorted(set(outside.tolist()))),
    )


# --------------------------------------------------------------------------- what is shared


def audit(
    split: Split,
    opened: Opened,
    made: Sequence[Fold],
    content: NDArray[Any] | None = None,
) -> list[str]:
    """Return one sentence for each thing that lies on both sides and is not declared.

    Looked at are the physical wells and the batch levels: a plate on both sides makes a test easier
    than its ``shift`` says; and where it is known the rows' content, since a copy of a training row
    is no test. What is in ``split.shares`` is declared and passes. Without a supervised training on
    rows of this data set there are no sides and nothing to report.

    Parameters
    ----------
    split, opened, made
        The split, its data set and its folds.
    content
        ``(n,)`` digests, equal where two rows are; by default what the data set keeps of its own,
        if anything. ``bench.content`` makes them for any data set.

    Raises
    ------
    BenchError
        If a sample itself is on both sides.
    """
    if split.protocol != "supervised":
        return []
    ids = np.asarray(opened.index["id"], dtype=object).astype(str)
    for fold in made:
        # by id and not by row: a data set may hold one sample in two rows
        learnt = set(ids[fold.train].tolist()) | set(ids[fold.validation].tolist())
        both = sorted(learnt & set(ids[fold.test].tolist()))
        if both:
            raise BenchError(
                f"split '{split.name}', fold {fold.name}: samples on both sides ({len(both)}), "
                f"such as '{both[0]}': give each sample one row and one side"
            )
    well = opened.columns.get("well", "well")
    looked_at = [name for name in (well, *opened.levels) if name in opened.index.columns]
    sentences = []
    for name in dict.fromkeys(looked_at):
        if name in split.shares or name == split.hold_out:
            continue
        column = np.asarray(opened.index[name], dtype=object).astype(str)
        _, codes = np.unique(column, return_inverse=True)
        none = int(codes[np.flatnonzero(column == "")[0]]) if (column == "").any() else -1
        n_shared, n_test, n_folds = 0, 0, 0
        for fold in made:
            learnt_codes = np.union1d(codes[fold.train], codes[fold.validation])
            test_codes = np.setdiff1d(codes[fold.test], [none])
            n = len(np.intersect1d(learnt_codes, test_codes))
            n_shared, n_test, n_folds = n_shared + n, n_test + len(test_codes), n_folds + (n > 0)
        if n_shared:
            span = f" in {n_folds} of {len(made)} folds" if len(made) > 1 else ""
            sentences.append(
                f"{n_shared} of {n_test} test values of {name} also occur in training{span}; "
                f"the split does not declare that it shares {name}."
            )
    if content is None and opened.content is not None:
        content = opened.content()
    if content is not None and CONTENT not in split.shares:
        sentences += _copies(ids, made, content)
    return sentences


def _copies(ids: NDArray[Any], made: Sequence[Fold], content: NDArray[Any]) -> list[str]:
    """Return a sentence about test rows that equal a training row value by value, if any do."""
    _, codes = np.unique(content, return_inverse=True)
    found: set[int] = set()
    for fold in made:
        learnt = np.union1d(codes[fold.train], codes[fold.validation])
        found.update(fold.test[np.isin(codes[fold.test], learnt)].tolist())
    if not found:
        return []
    first = min(found)
    twins = [ids[row] for row in np.flatnonzero(codes == codes[first]) if row != first]
    return [
        f"{rows_of(len(found))} to test on equal a training row value by value, such as "
        f"'{ids[first]}' and '{twins[0]}'; the split does not declare that it shares {CONTENT}."
    ]


def split_digest(opened: Opened, made: Sequence[Fold]) -> str:
    """Return the sha256 (hex) of which sample is on which side of each fold, scored or not.

    It depends on ids, not on the order of rows.
    """
    ids = np.asarray(opened.index["id"], dtype=object).astype(str)
    sides = [
        {
            "fold": fold.name,
            "classes": list(fold.classes),
            "train": sorted(ids[fold.train].tolist()),
            "validation": sorted(ids[fold.validation].tolist()),
            "test": sorted(ids[fold.test].tolist()),
            "scored": sorted(ids[fold.test[fold.scored]].tolist()),
        }
        for fold in sorted(made, key=lambda fold: fold.name)
    ]
    text = json.dumps(sides, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


# --------------------------------------------------------------------------- packaged splits

_FIELDS = {f.name: f for f in dataclasses.fields(Split)}
_LISTS = ("expose", "metrics", "shares", "aggregate")
_TABLES = ("train", "validation", "test", "where")


def read_split(where: str, table: Mapping[str, Any]) -> Split:
    """Return the split that a table of plain values describes.

    Parameters
    ----------
    where
        Where the table stands, for messages.
    table
        The fields of :class:`bench.api.Split`, with lists in place of tuples.

    Raises
    ------
    BenchError
        For an unknown key, a wrong type, a missing field, or a split that contradicts itself.
    """
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in _FIELDS:
            raise BenchError(f"{where}: " + did_you_mean(key, list(_FIELDS), "key"))
        if key in _LISTS:
            good = isinstance(value, list) and all(isinstance(v, str) for v in value)
            values[key], kind = tuple(value) if good else (), "a list of strings"
        elif key == "channels":
            good = isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
            values[key], kind = dict(value) if good else {}, "a table of names"
        elif key in _TABLES and isinstance(value, dict):
            good = all(isinstance(v, list) for v in value.values())
            values[key] = {k: tuple(map(str, v)) for k, v in value.items()} if good else {}
            kind = "a table of lists"
        else:
            good, kind = isinstance(value, str), "a string"
            values[key] = value
        if not good:
            raise BenchError(f"{where}: {key} must be {kind}, not {value!r}")
    for key in ("name", "dataset", "shift"):
        if key not in values:
            raise BenchError(f'{where} has no {key}: add {key} = "…"')
    family = "transfer" if values.get("protocol") == "transfer" else values["dataset"]
    if not re.fullmatch(re.escape(family) + r"/[A-Za-z0-9][\w.-]*", values["name"]):
        raise BenchError(f"{where}: name must be '{family}/…', not '{values['name']}'")
    return check_split(Split(**values))


def _folders() -> list[Path]:
    """Return the folders of packaged splits; ``bench.datasets`` has no ``__init__.py``."""
    package = importlib.import_module("bench.datasets")
    return [Path(folder) / "splits" for folder in package.__path__]


def packaged_splits(folders: Sequence[Path] | None = None) -> dict[str, Split]:
    """Return the splits that come with the harness, by canonical name.

    Parameters
    ----------
    folders
        Where to look for ``*.toml`` files, each with ``[[split]]`` tables whose keys are the
        fields of :class:`bench.api.Split`; default: ``splits/`` of ``bench.datasets``.

    Raises
    ------
    BenchError
        For a file that is not TOML, an unknown key, a wrong type, or a name or alias taken twice.
    """
    found: dict[str, Split] = {}
    taken: dict[str, str] = {}
    for folder in _folders() if folders is None else folders:
        for file in sorted(folder.glob("*.toml")):
            try:
                content = tomllib.loads(file.read_text(encoding="utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise BenchError(f"{file.name} is not TOML: {error}. Mend it there.") from None
            tables = content.get("split")
            if set(content) != {"split"} or not isinstance(tables, list):
                raise BenchError(f"{file.name} may hold [[split]] tables and nothing else")
            for number, table in enumerate(tables, 1):
                split = read_split(f"{file.name}, split {number}", table)
                for name in filter(None, (split.name, split.alias)):
                    if name in taken:
                        raise BenchError(
                            f"{file.name}: the name '{name}' is taken by {taken[name]}: rename one"
                        )
                    taken[name] = f"{split.name} in {file.name}"
                found[split.name] = split
    return found


def find_split(name: str, known: Mapping[str, Split] | None = None) -> Split:
    """Return a packaged split by canonical name or alias.

    Raises
    ------
    BenchError
        For an unknown name, with the nearest known ones.
    """
    known = packaged_splits() if known is None else known
    for split in known.values():
        if name in (split.name, split.alias):
            return split
    names = [*known, *(split.alias for split in known.values() if split.alias)]
    raise BenchError(
        did_you_mean(name, names, "split") + " A table of your own is given as FILE.toml:NAME."
    )
