"""Predictions and embeddings that were computed elsewhere: a table with one row per sample.

``id`` names the sample as in the data set; an ``.h5ad`` file may use ``obs_names`` instead.
``fold`` is needed only if a sample has several rows, one per model. The other columns are one of:

* classes: ``prediction`` has the name of the predicted class;
* scores: one column per class, with its name; probabilities, or logits of a softmax;
* embeddings: all other numeric columns.

In an ``.h5ad`` file, scores and embeddings are ``X``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from bench.core.errors import BenchError, did_you_mean
from bench.core.words import listed
from bench.data.own.columns import as_text
from bench.data.own.files import open_table
from bench.data.own.reading import damaged

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from bench.core.types import Floats, Ints, Strings
    from bench.data.own.files import TableFile

Kind = Literal["classes", "scores", "embeddings"]
KINDS: tuple[Kind, ...] = ("classes", "scores", "embeddings")
PREDICTION = "prediction"
_SAMPLE = 200
"""Rows of a text file that determine which of its columns are numeric."""
_TOLERANCE = 1e-3
"""Largest difference from 1 of the sum of the probabilities of a row."""


@dataclass(frozen=True, eq=False)
class External:
    """Outputs of a model for some samples.

    Attributes
    ----------
    path
        The file.
    kind
        ``classes``, ``scores`` or ``embeddings``.
    ids, fold
        Sample and fold of each row, ``(n,)``; the fold is ``""`` without a column of that name.
    predicted
        Predicted classes, ``(n,)``; empty strings for other kinds.
    X
        Scores or embeddings, ``(n, d)`` float32; ``d = 0`` for predicted classes.
    columns
        Names of the columns of ``X``.
    digest
        SHA-256 (hex) of the content; it does not depend on the order of the rows.
    """

    path: Path
    kind: Kind
    ids: Strings
    fold: Strings
    predicted: Strings
    X: Floats
    columns: tuple[str, ...]
    digest: str

    @property
    def has_folds(self) -> bool:
        """Whether each fold has its own rows."""
        return bool((self.fold != "").any())

    def positions(self, fold: str, ids: Strings) -> Ints:
        """Return the row of each sample in a fold, ``(k,)``; -1 for a sample without one."""
        rows = np.flatnonzero(self.fold == (fold if self.has_folds else ""))
        return pd.Index(self.ids[rows]).get_indexer(pd.Index(ids)) if len(rows) else _none(ids)

    def required(self, fold: str, ids: Strings, what: str) -> Ints:
        """Return the row of each sample in a fold, ``(k,)``.

        Raises
        ------
        BenchError
            If a sample has no row, or a value of a row is not finite.
        """
        at = self.positions(fold, ids)
        rows = np.flatnonzero(self.fold == (fold if self.has_folds else ""))
        if (absent := ids[at < 0]).size:
            where = f" of fold {fold}" if self.has_folds else ""
            raise BenchError(
                f"{self.path} lacks {len(absent)} of {len(ids)} {what} rows{where} (first: "
                f"'{absent[0]}'): add them; `--ids FILE` writes the ids that the split needs"
            )
        bad = ids[~np.isfinite(self.X[rows[at]]).all(axis=1)]
        if bad.size:
            raise BenchError(
                f"{self.path} has values that are not finite in {len(bad)} {what} rows (first: "
                f"'{bad[0]}'): compute them again, or leave the column out"
            )
        positions: Ints = rows[at]
        return positions

    def scores(self, rows: Ints, classes: Sequence[str]) -> Floats:
        """Return the probabilities of rows, ``(k, n_classes)``; one-hot for predicted classes.

        Raises
        ------
        BenchError
            If a predicted class is not one of ``classes``.
        """
        if self.kind == "classes":
            code = {name: k for k, name in enumerate(classes)}
            unknown = sorted(set(self.predicted[rows].tolist()) - set(code))
            if unknown:
                raise BenchError(f"{self.path}: {did_you_mean(unknown[0], list(classes), 'class')}")
            picked = [code[name] for name in self.predicted[rows].tolist()]
            return np.eye(len(classes), dtype=np.float32)[picked]
        values = self.X[rows][:, [self.columns.index(name) for name in classes]].astype(np.float64)
        if not self.probabilities:
            values = np.exp(values - values.max(axis=1, keepdims=True))
        scaled: Floats = (values / values.sum(axis=1, keepdims=True)).astype(np.float32)
        return scaled

    @property
    def probabilities(self) -> bool:
        """Whether all scores are probabilities; otherwise they are logits."""
        sums = self.X.sum(axis=1, dtype=np.float64)
        return bool((self.X >= 0).all() and (np.abs(sums - 1) < _TOLERANCE).all())


def _none(ids: Strings) -> Ints:
    return np.full(len(ids), -1, np.int64)


def read_external(
    path: Path,
    classes: Sequence[str],
    known: Collection[str],
    *,
    kind: str = "auto",
    features: str | None = None,
) -> External:
    """Read a table of predictions or embeddings.

    Parameters
    ----------
    path
        A ``.parquet``, ``.csv``, ``.tsv`` or ``.h5ad`` file.
    classes
        Classes of the split.
    known
        Metadata columns of the data set; they are not features.
    kind
        One of :data:`KINDS`; ``auto`` chooses by the columns: scores if every class has a column,
        classes if there is a column ``prediction`` and no numeric column, otherwise embeddings.
    features
        Regular expression that selects the columns of embeddings.

    Raises
    ------
    BenchError
        If the file cannot be read, has no ids, or has two rows for one sample and fold.
    """
    table = open_table(path)
    numeric = _numeric(path, table)
    if kind == "auto":
        numbers = [n for n in numeric if n not in {*known, "id", "fold"}]
        kind = "embeddings"
        if classes and set(classes) <= {*numeric}:
            kind = "scores"
        elif PREDICTION in table.columns and not numbers:
            kind = "classes"
    if kind not in KINDS:
        raise BenchError(f"--kind: {did_you_mean(kind, ['auto', *KINDS], 'kind')}")
    chosen: list[str] = []
    if kind == "scores":
        chosen = list(classes)
        if absent := [name for name in classes if name not in numeric]:
            raise BenchError(f"{path} has no numeric column '{absent[0]}': add one for every class")
    elif kind == "embeddings":
        chosen = _features(path, numeric, {*known, "id", "fold", PREDICTION}, features)
    elif PREDICTION not in table.columns:
        raise BenchError(f"{path} has no column '{PREDICTION}' with the predicted class: add it")
    named = [name for name in ("id", "fold", PREDICTION) if name in table.columns]
    frame, X = table.read(named, chosen)
    n = len(frame)
    ids = as_text(frame["id"]).astype(str) if "id" in frame else _obs_names(path)
    blank = np.full(n, "")
    fold = as_text(frame["fold"]).astype(str) if "fold" in frame else blank
    predicted = as_text(frame[PREDICTION]).astype(str) if kind == "classes" else blank
    _refuse_duplicates(path, ids, fold)
    digest = _digest(kind, chosen, ids, fold, predicted, X)
    return External(path, kind, ids, fold, predicted, X, tuple(chosen), digest)


def _numeric(path: Path, table: TableFile) -> list[str]:
    """Return the columns with numbers, without reading all rows of a parquet file."""
    if table.apart:  # X of an .h5ad file; obs has no features
        return table.numbers
    if not table.typed:
        frame, _ = table.read(table.columns, [])
        head = frame.head(_SAMPLE)
        return [n for n in table.numbers if pd.to_numeric(head[n], errors="coerce").notna().all()]
    import pyarrow as pa
    import pyarrow.parquet as pq

    with damaged(path, "parquet"):
        schema = pq.read_schema(path)
    kinds = {name: schema.field(name).type for name in table.numbers}
    return [n for n, k in kinds.items() if pa.types.is_floating(k) or pa.types.is_integer(k)]


def _features(
    path: Path, numeric: Sequence[str], reserved: Collection[str], pattern: str | None
) -> list[str]:
    """Return the columns of the embeddings."""
    try:
        chosen = [
            name
            for name in numeric
            if (name not in reserved if pattern is None else re.search(pattern, name))
        ]
    except re.error as error:
        raise BenchError(
            f"--features '{pattern}' is not a regular expression: {error}; correct it"
        ) from None
    if not chosen:
        others = listed([name for name in numeric if name not in reserved], 5) or "none"
        which = "no numeric columns" if pattern is None else f"no column that matches '{pattern}'"
        raise BenchError(
            f"{path} has {which} for embeddings (numeric columns: {others}): write the embedding "
            "as numbers, or select its columns with --features REGEX"
        )
    return chosen


def _obs_names(path: Path) -> Strings:
    if not path.name.lower().endswith(".h5ad"):
        raise BenchError(f"{path} has no column 'id': add the ids of the data set's samples")
    import anndata

    with damaged(path, "h5ad"):
        names: Strings = anndata.read_h5ad(path, backed="r").obs_names.to_numpy(str)
    return names


def _refuse_duplicates(path: Path, ids: Strings, fold: Strings) -> None:
    keys = pd.MultiIndex.from_arrays([ids, fold])
    twice = keys[keys.duplicated()].unique()
    if len(twice):
        name, where = twice[0]
        raise BenchError(
            f"{path} has {len(twice)} ids in several rows (first: '{name}'"
            + (f", fold {where}" if where else "")
            + "): keep one row per id, or add a column fold if there is one model per fold"
        )


def _digest(
    kind: str,
    columns: Sequence[str],
    ids: Strings,
    fold: Strings,
    predicted: Strings,
    X: Floats,
) -> str:
    order = np.lexsort([ids, fold])
    total = hashlib.sha256("\x1f".join([kind, *columns]).encode())
    for texts in (ids, fold, predicted):
        total.update(("\x1e" + "\x1f".join(texts[order].tolist())).encode())
    total.update(np.ascontiguousarray(X[order]).tobytes())
    return total.hexdigest()
