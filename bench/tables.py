"""Own data: a ``dataset.toml`` beside a parquet, csv, csv.gz or h5ad file becomes a data set.

The TOML file says which columns are features or where the images are, what the rows are called,
and what the splits are.
:func:`load` reads it alone; :meth:`OwnData.open` reads the table, with only the columns it needs.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.api import Bools, Floats, Ints, Opened, Source, Split
from bench.errors import BenchError, did_you_mean
from bench.splits import rows_of
from bench.table_files import damaged, open_table
from bench.table_spec import Spec, check, parse, split_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.own_images import Found
    from bench.table_files import TableFile

__all__ = ["ArraySource", "OwnData", "load", "open_declared", "parse_split_argument"]

Texts = NDArray[np.object_]

_ROLES = ("treatment", "compound", "well", "position")
_RESERVED = ("id", "label", "control", *_ROLES)
_WELL = re.compile(r"(meta(data)?_)?well", re.IGNORECASE)
_PLATE = re.compile(r"(meta(data)?_)?plate", re.IGNORECASE)


# --------------------------------------------------------------------------- the argument


def parse_split_argument(text: str) -> tuple[Path, str | None] | None:
    """Read ``FILE.toml[:NAME]``, cut at the last colon after ``.toml``.

    Returns
    -------
    tuple of Path and str or None, or None
        The file, and the name of the split if one was given; None if the text names no TOML file
        and is the name of a packaged split instead.

    Raises
    ------
    BenchError
        If nothing follows the colon.

    Examples
    --------
    >>> parse_split_argument("ottawa") is None
    True
    >>> file, name = parse_split_argument("C:/plates/dataset.toml:weeks")
    >>> file.as_posix(), name
    ('C:/plates/dataset.toml', 'weeks')
    """
    whole = re.fullmatch(r"(.*\.toml)(?::(.*))?", text, flags=re.IGNORECASE | re.DOTALL)
    if whole is None:
        return None
    file, name = whole.groups()
    if name is not None and not name.strip():
        raise BenchError(f"'{text}' names no split after the colon: write {file}:NAME")
    return Path(file).expanduser(), name


# --------------------------------------------------------------------------- reading


class ArraySource:
    """Rows of a matrix in memory; a :class:`bench.api.Source`.

    Parameters
    ----------
    X
        ``(n, d)`` float32.
    """

    def __init__(self, X: Floats) -> None:
        self._X = X
        self.shape: tuple[int, ...] = (X.shape[1],)
        self.dtype: np.dtype[Any] = X.dtype

    def read(self, rows: Ints) -> NDArray[Any]:
        """Return a copy of the rows, ``(k, d)``."""
        return self._X[np.asarray(rows)]


# --------------------------------------------------------------------------- columns


def _one_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value)


def _as_text(column: pd.Series[Any]) -> Texts:
    """Return ``(n,)`` text, ``""`` where there is no value; a whole number has no ``.0``."""
    missing = column.isna().to_numpy(dtype=bool)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        days = column.dropna()
        plain = bool((days == days.dt.normalize()).all())
        column = column.dt.strftime("%Y-%m-%d" if plain else "%Y-%m-%dT%H:%M:%S")
    values = np.asarray(column, dtype=object)
    if pd.api.types.is_float_dtype(column.dtype):
        # str() of NumPy's own scalars: the shortest text that reads back as the same number
        values = np.asarray(column.to_numpy(dtype=column.to_numpy().dtype))
    text = np.empty(len(column), dtype=object)
    text[:] = [
        "" if gone else _one_text(value) for value, gone in zip(values, missing, strict=True)
    ]
    return text


def _joined(parts: Sequence[Texts]) -> Texts:
    """Join columns to one name, ``A|B``; different rows of parts never give the same name."""
    if len(parts) == 1:
        return parts[0]
    made = np.empty(len(parts[0]), dtype=object)
    made[:] = [
        "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in row)
        for row in zip(*parts, strict=True)
    ]
    return made


def _bools(column: pd.Series[Any], name: str, typed: bool) -> Bools:
    """Read a control column: booleans, integers 0 and 1, or the words true and false."""
    present = column.dropna()
    words = [str(value).lower() for value in present]
    spellings = [{"true": True, "false": False}]
    if pd.api.types.is_integer_dtype(column.dtype) or not typed:
        spellings.append({"1": True, "0": False})
    meaning = next((one for one in spellings if set(words) <= set(one)), None)
    if meaning is None:
        known = set().union(*spellings)
        odd = next((str(v) for v in present if str(v).lower() not in known), words[0])
        raise BenchError(
            f"control column '{name}' is not boolean, it holds '{odd}': make a column of true and "
            "false, or of 0 and 1"
        )
    n_missing = len(column) - len(present)
    if n_missing:
        raise BenchError(
            f"control column '{name}' has {rows_of(n_missing)} without a value: write true or "
            "false in each"
        )
    return np.array([meaning[word] for word in words], dtype=bool)


def _unknown_column(name: str, key: str, columns: Sequence[str], features: Sequence[str]) -> str:
    """Say that a key names no column, without listing thousands of features."""
    near = difflib.get_close_matches(name, columns, n=1, cutoff=0.5)
    others = [column for column in columns if column not in set(features)]
    known = list(columns) if near else others[:30] or list(columns[:30])
    return f"{key}: " + did_you_mean(name, known, "column")


@dataclass(frozen=True, eq=False)
class OwnData:
    """A user's table and its splits; the table itself is read by :meth:`open`.

    Attributes
    ----------
    name
        ``name`` of the TOML file.
    path
        The TOML file.
    splits
        Splits by canonical name, ``<name>/<split>``.
    """

    name: str
    path: Path
    splits: dict[str, Split]
    _spec: Spec

    @property
    def table(self) -> Path:
        """The table file; a relative path is relative to the TOML file."""
        return self.path.parent / self._spec.table

    @property
    def licence(self) -> str:
        """The licence as stated, or an empty string."""
        return self._spec.licence or ""

    @property
    def citation(self) -> str:
        """The citation as stated, or an empty string."""
        return self._spec.citation or ""

    @property
    def upstream(self) -> tuple[str, ...]:
        """Processing that the features already had."""
        return self._spec.upstream

    def split(self, name: str | None = None) -> Split:
        """Return a split by its name in the file; without a name, the only one.

        Raises
        ------
        BenchError
            For an unknown name, or no name where there are several splits.
        """
        short = {full.partition("/")[2]: split for full, split in self.splits.items()}
        if name is None:
            if len(short) == 1:
                return next(iter(self.splits.values()))
            choices = ", ".join(f"{self.path}:{one}" for one in short)
            raise BenchError(f"{self.path} has {len(short)} splits, name one: {choices}")
        if name in self.splits:
            return self.splits[name]
        if name not in short:
            raise BenchError(f"{self.path}: " + did_you_mean(name, list(short), "split"))
        return short[name]

    def open(self) -> Opened:
        """Read the table and return it as a data set of the edition ``real``.

        Returns
        -------
        Opened
            ``index`` holds ``id``, ``label``, ``control``, each batch level and each column that a
            split names or that is in ``metadata`` under its own name, and ``treatment``,
            ``compound``, ``well`` and ``position`` where they are declared or can be derived, all
            text. ``well`` names a physical well: batch levels, plate and position together.

        Raises
        ------
        BenchError
            One line for everything that is wrong with the table.
        """
        try:
            return _open(self._spec, self.path, self.table, list(self.splits.values()))
        except BenchError as error:
            text = str(error)
            if str(self.table) in text:
                raise
            # what is wrong lies in the table or in what the TOML file says of it: name both
            raise BenchError(f"{self.path} (table {self.table.name}): {text}") from None


def load(path: Path) -> OwnData:
    """Read a ``dataset.toml`` (not yet its table).

    Parameters
    ----------
    path
        The TOML file. ``table`` in it is relative to the file's folder.

    Raises
    ------
    BenchError
        One line with the file, for a missing or empty file, a TOML error with its line, an unknown
        key with the nearest known one, a wrong type, a level that is not a batch, a name that a
        packaged data set has, or a split that contradicts itself.
    """
    path = Path(path)
    spec = parse(path)
    try:
        check(spec)
        splits = {name: split_of(spec, name, own) for name, own in spec.splits.items()}
    except BenchError as error:
        raise BenchError(f"{path}: {error}") from None
    return OwnData(spec.name, path, {split.name: split for split in splits.values()}, spec)


def open_declared(
    declared: Mapping[str, Any], path: Path, splits: Sequence[Split], sha256: str = ""
) -> Opened:
    """Read a table that comes with the harness as a user's own is read.

    Parameters
    ----------
    declared
        The keys of a ``dataset.toml`` above its splits, without ``table``.
    path
        The table.
    splits
        Splits whose columns the index must hold.
    sha256
        Of the bytes that the table is published with, for the digest; empty takes those of
        ``path``. For a table whose content was compared: two parquet files of the same content
        may differ in their bytes.

    Raises
    ------
    BenchError
        One line for what is wrong with the table.
    """
    spec = Spec.model_validate({**declared, "table": path.name})
    return _open(spec, Path(spec.name), path, splits, sha256)


# --------------------------------------------------------------------------- from table to index


def _named_columns(spec: Spec, splits: Sequence[Split]) -> dict[str, str]:
    """Return each column that the file names, with the key that names it first."""
    named: dict[str, str] = {}

    def add(key: str, *columns: str | None) -> None:
        for column in columns:
            if column is not None:
                named.setdefault(column, key)

    add("label", spec.label)
    add("control", spec.control)
    add("id", *(spec.id or ()))
    add("batches", *spec.batches)
    add("treatment", *(spec.treatment or ()))
    add("compound", *(spec.compound or ()))
    add("nscb_batch", spec.nscb_batch)
    add("well", *(spec.well or ()))
    add("position", spec.position)
    add("images", *(spec.images or ()))
    add("crop", *(spec.crop or ()))
    for column, key in _split_columns(splits).items():
        add(key, column)
    add("metadata", *spec.metadata)
    return named


def _split_columns(splits: Sequence[Split]) -> dict[str, str]:
    """Return each column that a split names, with where it does."""
    named: dict[str, str] = {}
    for split in splits:
        where = f"[splits.{split.name.partition('/')[2]}]"
        if split.hold_out is not None:
            named.setdefault(split.hold_out, f"hold_out of {where}")
        for side in ("train", "validation", "test"):
            table = getattr(split, side)
            for column in table if isinstance(table, dict) else ():
                named.setdefault(column, f"{side} of {where}")
        if split.score_unit != "row":
            named.setdefault(split.score_unit, f"score_unit of {where}")
        for key in ("expose", "shares"):
            for column in getattr(split, key):
                named.setdefault(column, f"{key} of {where}")
    return named


def _lone(pattern: re.Pattern[str], columns: Sequence[str]) -> str | None:
    found = [column for column in columns if pattern.fullmatch(column)]
    return found[0] if len(found) == 1 else None


def _features(spec: Spec, table: TableFile, path: Path, named: Mapping[str, str]) -> list[str]:
    if spec.features is None:
        return []
    pattern = re.compile(spec.features)
    features = [name for name in table.numbers if pattern.search(name)]
    if not features:
        # columns with a role are no candidates, unless there are no others
        free = [name for name in table.numbers if name not in named] or table.numbers
        shown = ", ".join(free[:5]) + (", …" if len(free) > 5 else "")
        hint = ""
        if len(table.columns) == 1 and not table.typed:
            hint = " (the file has one column: fields must be separated by commas)"
        raise BenchError(
            f"features '{spec.features}' matches no column of {path}, which has for example "
            f"{shown}{hint}: change the regular expression"
        )
    if table.apart:
        return features  # names of features and of obs columns are apart
    both = [name for name in features if name in named]
    if both:
        shown = ", ".join(f"'{name}' ({named[name]})" for name in both[:4])
        more = f" and {len(both) - 4} more" if len(both) > 4 else ""
        raise BenchError(
            f"features '{spec.features}' also matches {shown}{more}, which cannot be features: "
            f"tighten the regular expression, for example by starting it with '^(?!{both[0]}$)'"
        )
    return features


def _open(spec: Spec, file: Path, path: Path, splits: Sequence[Split], sha256: str = "") -> Opened:
    table = open_table(path)
    for names in (table.columns, table.numbers):
        twice = [name for name, n in Counter(names).items() if n > 1]
        if twice:
            raise BenchError(f"{path} has two columns '{twice[0]}': rename one")
    named = _named_columns(spec, splits)
    raw = {name: key for name, key in named.items() if name in table.columns}
    features = _features(spec, table, path, raw)

    position = spec.position
    free = [column for column in table.columns if column not in set(features)]
    if position is None:
        position = _lone(_WELL, free)
    well = spec.well
    if well is None and position is not None:
        plate = _lone(_PLATE, free)
        outer = [*reversed(spec.batches), *([plate] if plate else []), position]
        well = tuple(dict.fromkeys(outer))
    derived = {
        "treatment": spec.treatment,
        "compound": spec.compound,
        "well": well,
        "position": None if position is None else (position,),
    }
    known = {role for role, columns in derived.items() if columns}
    in_splits = _split_columns(splits)
    for name, key in named.items():
        if name in table.columns or (name in in_splits and name in {*known, "label"}):
            continue
        if name in _ROLES and name in in_splits:
            needs = "position (the well on the plate)" if name == "well" else name
            raise BenchError(f"{key} is '{name}', which needs the key {needs}: add it")
        raise BenchError(_unknown_column(name, key, table.columns, features))

    needed = dict.fromkeys([*raw, *(c for columns in derived.values() for c in columns or ())])
    frame, X = table.read(list(needed), features)
    if not len(frame):
        raise BenchError(f"{path} has no rows: write at least two classes in two batches")
    text = {name: _as_text(frame[name]) for name in needed}
    index = _index(spec, path, frame, text, derived, in_splits, table.typed)
    source: Source
    content = None
    if spec.kind == "images":
        pixels = _pixels(spec, file.parent, text, len(frame))
        source, content = pixels.source, pixels.content
        digest = _digest(spec, sha256 or _content(path), pixels.digest)
    else:
        _finite(X, features, np.asarray(index["id"], dtype=object))
        X.flags.writeable = False
        source, digest = ArraySource(X), _digest(spec, sha256 or _content(path))
    columns = {role: role for role in derived if role in index.columns}
    if spec.nscb_batch is not None:
        columns["nscb_batch"] = spec.nscb_batch
    return Opened(
        name=spec.name,
        index=index,
        source=source,
        levels=spec.batches,
        level=spec.level or spec.batches[0],
        edition="real",
        digest=digest,
        upstream=spec.upstream,
        columns=columns,
        content=content,
    )


def _pixels(spec: Spec, folder: Path, text: Mapping[str, Texts], n: int) -> Found:
    """Return where the pixels of the rows are."""
    from bench.own_images import open_array, open_files

    if spec.array is not None:
        return open_array(folder, spec.array, spec.axes, spec.channels, n)
    every = np.ones(n, dtype=bool)
    for column in spec.images or ():
        _refuse_missing(text[column], every, f"images column '{column}'", "fill it")
    names = [text[column] for column in spec.images or ()]
    crops = None if spec.crop is None else [text[column] for column in spec.crop]
    return open_files(folder, names, crops, spec.channels, spec.name)


def _refuse_missing(text: Texts, where: Bools, what: str, mend: str) -> None:
    n = int(((text == "") & where).sum())
    if n:
        raise BenchError(f"{what} has {rows_of(n)} without a value: {mend}")


def _index(
    spec: Spec,
    path: Path,
    frame: pd.DataFrame,
    text: Mapping[str, Texts],
    derived: Mapping[str, tuple[str, ...] | None],
    in_splits: Mapping[str, str],
    typed: bool,
) -> pd.DataFrame:
    n = len(frame)
    every = np.ones(n, dtype=bool)
    if spec.id is None:
        ids = np.array([str(i) for i in range(n)], dtype=object)
    else:
        for column in spec.id:
            _refuse_missing(text[column], every, f"id column '{column}'", "fill it")
        ids = _joined([text[column] for column in spec.id])
        twice = [name for name, times in Counter(ids.tolist()).items() if times > 1]
        if twice:
            raise BenchError(
                f"id {' + '.join(spec.id)} is not unique: '{twice[0]}' is in several rows"
                + (f", as are {len(twice) - 1} others" if len(twice) > 1 else "")
                + "; add a column to id, or leave id out to number the rows"
            )
    control = np.zeros(n, dtype=bool)
    if spec.control is not None:
        control = _bools(frame[spec.control], spec.control, typed)
    treated = ~control
    _refuse_missing(
        text[spec.label],
        treated,
        f"label column '{spec.label}'",
        "fill it, drop those rows, or mark them in a control column",
    )
    label = np.where(control, "", text[spec.label]).astype(object)
    classes = sorted(set(label.tolist()) - {""})
    if len(classes) < 2:
        found = f"only '{classes[0]}'" if classes else "none, as every row is a control"
        raise BenchError(
            f"label column '{spec.label}' needs two classes and has {found}: choose another label"
        )
    made: dict[str, Any] = {"id": ids, "label": label, "control": control}
    for role, columns in derived.items():
        if not columns:
            continue
        joined = _joined([text[column] for column in columns])
        whole = np.all([text[column] != "" for column in columns], axis=0)
        if role in ("treatment", "compound"):
            lacking = next((c for c in columns if (text[c][treated] == "").any()), columns[0])
            _refuse_missing(
                np.where(whole, joined, ""),
                treated,
                f"{role} column '{lacking}'",
                f"fill it, or leave {role} out",
            )
        made[role] = np.where(whole | control, joined, "").astype(object)
        if role in ("well", "position"):
            made[role] = np.where(whole, joined, "").astype(object)
    for column in spec.batches:
        _refuse_missing(
            text[column], every, f"batch column '{column}'", "fill it or drop those rows"
        )
    if spec.nscb_batch is not None:
        what = f"nscb_batch column '{spec.nscb_batch}'"
        _refuse_missing(text[spec.nscb_batch], treated, what, "fill it or drop those rows")
    nscb_batch = [spec.nscb_batch] if spec.nscb_batch is not None else []
    for column in dict.fromkeys([*spec.batches, *nscb_batch, *in_splits, *spec.metadata]):
        if column not in text:
            continue  # a split may name a role, which is there already
        if column not in made:
            made[column] = text[column]
        elif column in spec.metadata and column not in (*spec.batches, *in_splits):
            continue  # the role of that name says the same or more
        elif not np.array_equal(made[column], text[column]):
            raise BenchError(
                f"the table's column '{column}' is not what '{column}' means here (one of "
                f"{', '.join(_RESERVED)}): rename it in the table, for example to meta_{column}"
            )
    return pd.DataFrame(made)


def _finite(X: Floats, features: Sequence[str], ids: Texts) -> None:
    """Refuse a matrix with a value that is not finite, naming column, rows and a sample."""
    # a column's sum is finite unless a value is not (or it overflows): cheap, and no (n, d) mask
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


def _content(path: Path) -> str:
    content = hashlib.sha256()
    with damaged(path, "a file"), path.open("rb") as file:
        while block := file.read(1 << 20):
            content.update(block)
    return content.hexdigest()


def _digest(spec: Spec, content: str, pixels: str | None = None) -> str:
    """Return the sha256 (hex) of the table's bytes and the keys that say how to read them.

    Of images, the digest of their pixels stands for where they lie.
    """
    keys = (
        "features id label batches level control treatment compound nscb_batch well position"
    ).split()
    said = spec.model_dump(mode="json", include=set(keys))
    whole = {"table": content, "keys": said}
    if pixels is not None:
        whole["pixels"] = pixels
    text = json.dumps(whole, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
