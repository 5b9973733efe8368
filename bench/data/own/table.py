"""Load a table described by a ``dataset.toml``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bench.core.dataset import Opened
from bench.core.errors import BenchError, did_you_mean
from bench.core.folders import expanded
from bench.data.own.array_source import ArraySource
from bench.data.own.columns import (
    RESERVED,
    ROLES,
    Texts,  # TC
    as_text,
    controls,
    feature_matrix,
    finite,
    joined_columns,
    named_columns,
    refuse_missing,
    row_ids,
    split_columns,
    unknown_column,
)
from bench.data.own.digests import content_of, digest_of
from bench.data.own.exclusions import read_kept, reasons_of
from bench.data.own.files import open_table
from bench.data.own.spec import Spec, check, parse, split_of
from bench.data.own.wells import normalised_wells, plate_column, position_column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.core.samples import Source
    from bench.core.split import Split
    from bench.core.types import Facts, JsonObject
    from bench.data.own.files import TableFile
    from bench.data.own.images import ImagePixels
    from bench.data.own.memory import MemoryTable


@dataclass(frozen=True, eq=False)
class OwnData:
    """A user's table and its splits; :meth:`open` reads the table itself.

    Attributes
    ----------
    name
        ``name`` in the TOML file.
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
        return self.path.parent / expanded(self._spec.table)

    @property
    def licence(self) -> str:
        """The licence from the TOML file, or an empty string."""
        return self._spec.licence or ""

    @property
    def citation(self) -> str:
        """The citation from the TOML file, or an empty string."""
        return self._spec.citation or ""

    @property
    def upstream(self) -> tuple[str, ...]:
        """Upstream processing of the features, such as their encoder."""
        return self._spec.steps

    def split(self, name: str | None = None) -> Split:
        """Return a split by its name in the file; the name is optional if there is only one.

        Raises
        ------
        BenchError
            For an unknown name, or if no name is given and there are several splits.
        """
        short = {full.partition("/")[2]: split for full, split in self.splits.items()}
        if name is None:
            if len(short) == 1:
                return next(iter(self.splits.values()))
            choices = ", ".join(f"{self.path}:{split}" for split in short)
            raise BenchError(f"{self.path} has {len(short)} splits, name one: {choices}")
        if name in self.splits:
            return self.splits[name]
        if name not in short:
            raise BenchError(f"{self.path}: " + did_you_mean(name, list(short), "split"))
        return short[name]

    def exclusions(self) -> list[str]:
        """Return the reasons of ``exclude`` and the rules of ``exclude_if`` that exclude rows."""
        if self._spec.exclude is None and not self._spec.exclude_if:
            return []
        table = open_table(self.table, self._spec.layer)
        reasons = reasons_of(self._spec, self.path.parent, table)
        return [reason for reason, rows in reasons.items() if rows.any()]

    def open(self, keep: str = "") -> Opened:
        """Read the table and return it as a data set of the edition ``real``.

        Parameters
        ----------
        keep
            Keep the rows excluded for this reason; ``all``, or "" for none.

        Returns
        -------
        Opened
            ``index`` contains ``id``, ``label``, ``control`` and each batch level. Columns named by
            a split or by ``metadata`` keep their names. ``treatment``, ``compound``, ``well`` and
            ``position`` are included if they are declared or can be derived. All are text. ``well``
            identifies a physical well: batch levels, plate and position joined.

        Raises
        ------
        BenchError
            If the table is invalid; the message is one line.
        """
        try:
            splits = list(self.splits.values())
            return _open(self._spec, self.path, self.table, splits, keep=keep)
        except BenchError as error:
            text = str(error)
            if str(self.table) in text:
                raise
            # the cause may be the table or its description in the TOML file: name both
            raise BenchError(f"{self.path} (table {self.table.name}): {text}") from None


def load(path: Path) -> OwnData:
    """Read a ``dataset.toml`` (not yet its table).

    Parameters
    ----------
    path
        The TOML file. A ``table`` in it is relative to the folder of the file.

    Raises
    ------
    BenchError
        For a missing or empty file, a TOML syntax error (with its line), an unknown key (with the
        nearest valid one), a wrong type, a level that is not a batch, the name of a packaged data
        set, or a split that contradicts itself. The message is one line with the file name.
    """
    path = Path(path)
    spec = parse(path)
    try:
        check(spec)
        splits = {name: split_of(spec, name, own) for name, own in spec.splits.items()}
    except BenchError as error:
        raise BenchError(f"{path}: {error}") from None
    return OwnData(spec.name, path, {split.name: split for split in splits.values()}, spec)


def open_declared(declared: Facts, path: Path, splits: Sequence[Split], sha256: str = "") -> Opened:
    """Read a table of a built-in data set in the same way as a user's table.

    Parameters
    ----------
    declared
        The top-level keys of a ``dataset.toml``, without ``table`` and the splits.
    splits
        Splits whose columns the index must contain.
    sha256
        sha256 of the published file, for the digest; by default that of ``path``. Set it for a
        table whose content was verified: two parquet files with equal content may differ in their
        bytes.

    Raises
    ------
    BenchError
        If the table is invalid; the message is one line.
    """
    spec = Spec.model_validate({**declared, "table": path.name})
    return _open(spec, Path(spec.name), path, splits, sha256)


def open_in_memory(spec: Spec, table: MemoryTable, splits: Sequence[Split]) -> Opened:
    """Return a data set of a table in memory, read like a file with the same description.

    Raises
    ------
    BenchError
        If the table is invalid; the message is one line.
    """
    name = Path(spec.name)
    return _open(spec, name, name, splits, table.digest(spec), table=table)


def _open(
    spec: Spec,
    file: Path,
    path: Path,
    splits: Sequence[Split],
    sha256: str = "",
    keep: str = "",
    table: TableFile | None = None,
) -> Opened:
    table = open_table(path, spec.layer, spec.obsm) if table is None else table
    for names in (table.columns, table.numbers):
        twice = [name for name, n in Counter(names).items() if n > 1]
        if twice:
            raise BenchError(f"{path} has two columns '{twice[0]}': rename one")
    named = named_columns(spec, splits)
    raw = {name: key for name, key in named.items() if name in table.columns}
    features = feature_matrix(spec, table, path, raw)
    position = spec.position
    free = [column for column in table.columns if column not in set(features)]
    if position is None:
        position = position_column(free)
    well = spec.well
    if well is None and position is not None:
        plate = plate_column(free)
        outer = [*reversed(spec.batches), *([plate] if plate else []), position]
        well = tuple(dict.fromkeys(outer))
    derived = {
        "treatment": spec.treatment,
        "compound": spec.compound,
        "well": well,
        "position": None if position is None else (position,),
    }
    in_splits = split_columns(splits)
    roles = {"label", *(role for role, columns in derived.items() if columns)}
    for name, key in named.items():
        if name in table.columns or (name in in_splits and name in roles):
            continue
        if name in ROLES and name in in_splits:
            needs = "position (the well on the plate)" if name == "well" else name
            raise BenchError(f"{key} is '{name}', which needs the key {needs}: add it")
        raise BenchError(unknown_column(name, key, table.columns, features))
    needed = dict.fromkeys([*raw, *(c for columns in derived.values() for c in columns or ())])
    frame, X, notes, facts = read_kept(spec, file, path, table, list(needed), features, keep)
    text = {name: as_text(frame[name]) for name in needed}
    # ids keep the text of the table, so that identities of runs do not change
    ids = {name: text[name] for name in spec.id or ()}
    if position is not None:
        text[position] = normalised_wells(text[position])
    index = _index(spec, frame, text, ids, derived, in_splits, table.typed)
    source: Source
    content = None
    if spec.kind == "images":
        pixels = _pixels(spec, file.parent, text, len(frame))
        source, content = pixels.source, pixels.content
        digest = digest_of(spec, sha256 or content_of(path), facts, pixels.digest)
    else:
        finite(X, features, np.asarray(index["id"], dtype=object))
        X.flags.writeable = False
        source, digest = ArraySource(X), digest_of(spec, sha256 or content_of(path), facts)
    columns = {role: role for role in derived if role in index.columns}
    own = {role: getattr(spec, role) for role in ("nscb_batch", "entity", "cell_count")}
    columns |= {role: column for role, column in own.items() if column is not None}
    if isinstance(spec.pixel, str):
        columns["pixel"] = spec.pixel
    return Opened(
        name=spec.name,
        index=index,
        source=source,
        levels=spec.batches,
        level=spec.level or spec.batches[0],
        edition="real",
        digest=digest,
        settings={"keep": keep} if keep else {},
        upstream=spec.steps,
        notes=notes,
        columns=columns,
        features=tuple(features),
        pixel=spec.pixel if isinstance(spec.pixel, float) else 0.0,
        content=content,
        relationships=tuple(file.parent / expanded(name) for name in spec.relationships),
    )


def _pixels(spec: Spec, folder: Path, text: Mapping[str, Texts], n: int) -> ImagePixels:
    """Return the pixels of the rows."""
    if spec.encoder:
        raise BenchError(
            f"encoder = '{spec.encoder}' names what computed the features of a table, and these "
            "rows are images: remove the key, and run a method such as encoder:efficientnet-lite0"
        )
    from bench.data.own.images import open_array, open_files

    if spec.array is not None:
        return open_array(folder, spec.array, spec.axes, spec.channels, n)
    every = np.ones(n, dtype=bool)
    for column in spec.images or ():
        refuse_missing(text[column], every, f"images column '{column}'", "fill it")
    names = [text[column] for column in spec.images or ()]
    crops = None if spec.crop is None else [text[column] for column in spec.crop]
    return open_files(folder, names, crops, spec.channels, spec.name)


def _index(
    spec: Spec,
    frame: pd.DataFrame,
    text: Mapping[str, Texts],
    id_text: Mapping[str, Texts],
    derived: Mapping[str, tuple[str, ...] | None],
    in_splits: Mapping[str, str],
    typed: bool,
) -> pd.DataFrame:
    n = len(frame)
    every = np.ones(n, dtype=bool)
    ids = row_ids(spec, frame.index, id_text)
    control = np.zeros(n, dtype=bool)
    if spec.control_column is not None:
        column = spec.control_column
        control = controls(spec, frame[column], text[column], typed)
    treated = ~control
    refuse_missing(
        text[spec.label],
        treated,
        f"label column '{spec.label}'",
        "fill it, drop those rows, or mark them in a control column",
    )
    label = np.where(control, "", text[spec.label]).astype(object)
    classes = sorted(set(label.tolist()) - {""})
    if len(classes) < 2:
        present = f"only '{classes[0]}'" if classes else "none, as every row is a control"
        raise BenchError(
            f"label column '{spec.label}' needs two classes and has {present}: choose another label"
        )
    index: JsonObject = {"id": ids, "label": label, "control": control}
    for role, columns in derived.items():
        if not columns:
            continue
        joined = joined_columns([text[column] for column in columns])
        whole = np.all([text[column] != "" for column in columns], axis=0)
        if role in ("treatment", "compound"):
            lacking = next((c for c in columns if (text[c][treated] == "").any()), columns[0])
            refuse_missing(
                np.where(whole, joined, ""),
                treated,
                f"{role} column '{lacking}'",
                f"fill it, or leave {role} out",
            )
        index[role] = np.where(whole | control, joined, "").astype(object)
        if role in ("well", "position"):
            index[role] = np.where(whole, joined, "").astype(object)
    for column in spec.batches:
        refuse_missing(
            text[column], every, f"batch column '{column}'", "fill it or drop those rows"
        )
    if spec.nscb_batch is not None:
        what = f"nscb_batch column '{spec.nscb_batch}'"
        refuse_missing(text[spec.nscb_batch], treated, what, "fill it or drop those rows")
    named = (spec.nscb_batch, spec.pixel, spec.entity, spec.cell_count)
    others = [name for name in named if isinstance(name, str)]
    for column in dict.fromkeys([*spec.batches, *others, *in_splits, *spec.metadata]):
        if column not in text:
            continue  # a split may name a role, which is already in the index
        if column not in index:
            index[column] = text[column]
        elif (column in spec.metadata and column not in (*spec.batches, *in_splits)) or (
            # well names recur on plates: the unit is the physical well
            derived.get(column) and in_splits.get(column, "").startswith("score_unit")
        ):
            continue  # the role of that name has the same information or more
        elif not np.array_equal(index[column], text[column]):
            raise BenchError(
                f"the table's column '{column}' has a reserved name ({', '.join(RESERVED)}) and "
                f"other content: rename it in the table, for example to meta_{column}"
            )
    return pd.DataFrame(index)
