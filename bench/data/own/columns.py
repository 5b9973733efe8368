"""User data: columns of a table described by ``dataset.toml``.

The TOML file names the feature columns or the image location, the columns with a role, and the
splits. :func:`load` reads only the TOML file. :meth:`OwnData.open` reads the table, and only the
columns that are needed.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.core.errors import BenchError, did_you_mean
from bench.data.partitions import rows_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.core.split import Split
    from bench.core.types import Bools, Floats
    from bench.data.own.files import TableFile
    from bench.data.own.spec import Spec

Texts = NDArray[np.object_]
ROLES = ("treatment", "compound", "well", "position")
RESERVED = ("id", "label", "control", *ROLES)
_BOOLEANS = (
    {"true": True, "false": False},
    {"yes": True, "no": False},
    {"t": True, "f": False},
    {"y": True, "n": False},
)
_NEGATIVE = "negcon"
_OTHER_CONTROL = re.compile(r"poscon(_\w+)?|trt|treatment|empty|")
"""Control types of JUMP other than ``negcon``: all other rows have a class."""


def _one_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value)


def as_text(column: pd.Series[Any]) -> Texts:
    """Return ``(n,)`` text; missing values become ``""``, integral numbers have no ``.0``."""
    missing = column.isna().to_numpy(dtype=bool)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        days = column.dropna()
        plain = bool((days == days.dt.normalize()).all())
        column = column.dt.strftime("%Y-%m-%d" if plain else "%Y-%m-%dT%H:%M:%S")
    values = np.asarray(column, dtype=object)
    if pd.api.types.is_float_dtype(column.dtype):
        # str() of a NumPy scalar gives the shortest text that parses to the same number
        values = np.asarray(column.to_numpy(dtype=column.to_numpy().dtype))
    text = np.empty(len(column), dtype=object)
    text[:] = [
        "" if gone else _one_text(value) for value, gone in zip(values, missing, strict=True)
    ]
    return text


def joined_columns(parts: Sequence[Texts]) -> Texts:
    """Join columns to one name, ``A|B``; different rows always give different names."""
    if len(parts) == 1:
        return parts[0]
    names = np.empty(len(parts[0]), dtype=object)
    names[:] = [
        "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in row)
        for row in zip(*parts, strict=True)
    ]
    return names


def row_ids(spec: Spec, rows: pd.Index[Any], text: Mapping[str, Texts]) -> Texts:
    """Return the unique ids of the rows, ``(n,)``; without id columns, their numbers."""
    if spec.id is None:
        return np.array([str(i) for i in rows], dtype=object)
    for column in spec.id:
        refuse_missing(
            text[column], np.ones(len(rows), dtype=bool), f"id column '{column}'", "fill it"
        )
    ids = joined_columns([text[column] for column in spec.id])
    twice = [name for name, times in Counter(ids.tolist()).items() if times > 1]
    if twice:
        raise BenchError(
            f"id {' + '.join(spec.id)} is not unique: '{twice[0]}' is in several rows"
            + (f", as are {len(twice) - 1} others" if len(twice) > 1 else "")
            + "; add a column to id, or leave id out to number the rows"
        )
    return ids


def bools(column: pd.Series[Any], name: str, typed: bool) -> Bools:
    """Read a control column.

    Accepts booleans; integers 0 and 1; the texts true and false, yes and no, t and f, y and n; and
    the control types of the JUMP consortium, of which ``negcon`` is a negative control. All are
    compared without case and surrounding blanks. Only with control types may a cell be empty: a
    treatment.
    """
    present = column.dropna()
    texts = [str(value).strip().casefold() for value in present]
    spellings = list(_BOOLEANS)
    if pd.api.types.is_integer_dtype(column.dtype) or not typed:
        spellings.append({"1": True, "0": False})
    if _NEGATIVE in texts:
        others = {text for text in texts if _OTHER_CONTROL.fullmatch(text)}
        spellings = [{**dict.fromkeys(others, False), _NEGATIVE: True}]
    meaning = next((spelling for spelling in spellings if set(texts) <= set(spelling)), None)
    if meaning is None:
        accepted = set().union(*spellings)
        odd = next((str(v) for v in present if str(v).strip().casefold() not in accepted), texts[0])
        raise BenchError(
            f"control column '{name}' is not boolean, it contains '{odd}': make a column of true "
            "and false, of 0 and 1, of yes and no, or of negcon and other control types"
        )
    n_missing = len(column) - len(present)
    if n_missing and _NEGATIVE not in meaning:
        raise BenchError(
            f"control column '{name}' has {rows_of(n_missing)} without a value: write true or "
            "false in each"
        )
    control = np.zeros(len(column), dtype=bool)
    control[column.notna().to_numpy(bool)] = [meaning[text] for text in texts]
    return control


def controls(spec: Spec, column: pd.Series[Any], text: Texts, typed: bool) -> Bools:
    """Return the mask of negative controls, ``(n,)``, from the column that ``control`` names."""
    name = column.name
    if not isinstance(spec.control, dict):
        return bools(column, str(name), typed)
    values = spec.control[str(name)]
    unknown = sorted(set(values) - set(text.tolist()))
    if unknown:
        present = sorted(set(text.tolist()) - {""})
        raise BenchError(f"control: {did_you_mean(unknown[0], present, f'value of {name}')}")
    return np.isin(text, values)


def unknown_column(name: str, key: str, columns: Sequence[str], features: Sequence[str]) -> str:
    """Return the message for an unknown column, without listing thousands of features."""
    blank = next((column for column in columns if column.strip() == name.strip()), None)
    if blank is not None:
        return (
            f"{key}: unknown column '{name}': the table has '{blank}', which differs in "
            "surrounding blanks: remove them there"
        )
    near = difflib.get_close_matches(name, columns, n=1, cutoff=0.5)
    others = [column for column in columns if column not in set(features)]
    shown = list(columns) if near else others[:30] or list(columns[:30])
    return f"{key}: " + did_you_mean(name, shown, "column")


def named_columns(spec: Spec, splits: Sequence[Split]) -> dict[str, str]:
    """Return each column that the TOML file names, with the first key that names it."""
    named: dict[str, str] = {}

    def add(key: str, *columns: str | None) -> None:
        for column in columns:
            if column is not None:
                named.setdefault(column, key)

    add("label", spec.label)
    add("control", spec.control_column)
    add("id", *(spec.id or ()))
    add("batches", *spec.batches)
    add("treatment", *(spec.treatment or ()))
    add("compound", *(spec.compound or ()))
    add("nscb_batch", spec.nscb_batch)
    add("well", *(spec.well or ()))
    add("position", spec.position)
    add("entity", spec.entity)
    add("cell_count", spec.cell_count)
    add("images", *(spec.images or ()))
    add("crop", *(spec.crop or ()))
    add("pixel", spec.pixel if isinstance(spec.pixel, str) else None)
    for column, key in split_columns(splits).items():
        add(key, column)
    add("metadata", *spec.metadata)
    return named


def split_columns(splits: Sequence[Split]) -> dict[str, str]:
    """Return each column that a split names, with the key that names it."""
    named: dict[str, str] = {}
    for split in splits:
        where = f"[splits.{split.name.partition('/')[2]}]"
        if split.hold_out is not None:
            named.setdefault(split.hold_out, f"hold_out of {where}")
        for partition in ("train", "validation", "test"):
            table = getattr(split, partition)
            for column in table if isinstance(table, dict) else ():
                named.setdefault(column, f"{partition} of {where}")
        if split.score_unit != "row":
            named.setdefault(split.score_unit, f"score_unit of {where}")
        if split.also_new not in ("", "well"):
            named.setdefault(split.also_new, f"also_new of {where}")
        for key in ("expose", "shares"):
            for column in getattr(split, key):
                named.setdefault(column, f"{key} of {where}")
    return named


def feature_matrix(spec: Spec, table: TableFile, path: Path, named: Mapping[str, str]) -> list[str]:
    """Return the names of the feature columns."""
    if spec.features is None:
        return []
    pattern = re.compile(spec.features)
    features = [name for name in table.numbers if pattern.search(name)]
    if not features:
        # columns with a role are candidates only if there are no others
        free = [name for name in table.numbers if name not in named] or table.numbers
        shown = ", ".join(free[:5]) + (", …" if len(free) > 5 else "")
        hint = ""
        if len(table.columns) == 1 and not table.typed:
            hint = " (the file has one column: fields must be separated by commas, in .tsv by tabs)"
        raise BenchError(
            f"features '{spec.features}' matches no column of {path}, which has for example "
            f"{shown}{hint}: change the regular expression"
        )
    if table.apart:
        return features  # features and obs columns have separate namespaces
    both = [name for name in features if name in named]
    if both:
        shown = ", ".join(f"'{name}' ({named[name]})" for name in both[:4])
        more = f" and {len(both) - 4} more" if len(both) > 4 else ""
        raise BenchError(
            f"features '{spec.features}' also matches {shown}{more}, which cannot be features: "
            f"tighten the regular expression, for example by starting it with '^(?!{both[0]}$)'"
        )
    return features


def refuse_missing(text: Texts, where: Bools, what: str, fix: str) -> None:
    """Raise if a required column has empty cells."""
    n = int(((text == "") & where).sum())
    if n:
        raise BenchError(f"{what} has {rows_of(n)} without a value: {fix}")


def finite(X: Floats, features: Sequence[str], ids: Texts) -> None:
    """Raise if a matrix has a non-finite value; the message names column, rows and a sample."""
    # A column sum is finite unless a value is not (or it overflows): cheap, without an (n, d) mask.
    with np.errstate(over="ignore", invalid="ignore"):
        suspects = np.flatnonzero(~np.isfinite(X.sum(axis=0, dtype=np.float64)))
    bad = [(int(j), ~np.isfinite(X[:, j])) for j in suspects]
    if bad:
        j, rows = bad[0]
        n = int(rows.sum())
        kinds = [
            word
            for word, mask in (("NaN", np.isnan(X[:, j])), ("infinite", np.isinf(X[:, j])))
            if mask.any()
        ]
        more = f" (and {len(bad) - 1} more columns)" if len(bad) > 1 else ""
        raise BenchError(
            f"feature column '{features[j]}' is {' or '.join(kinds)} in {rows_of(n)}, "
            f"first in '{ids[int(np.flatnonzero(rows)[0])]}'{more}: fill or drop them, or tighten "
            "the regular expression in features"
        )
