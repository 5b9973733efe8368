"""Table files: parquet, csv, csv.gz and h5ad behind one protocol.

Opening a file reads only the column names, so that errors are reported before any values are
read. Then only the columns that are needed are read.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import re
import warnings
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import pandas as pd

from bench.core.errors import BenchError
from bench.data.hdf5 import refuse_links

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.core.types import Floats

__all__ = ["TableFile", "damaged", "open_table"]

_FORMATS = ".parquet, .csv, .csv.gz or .h5ad"
_PARQUET = (".parquet", ".pq")
_CSV = (".csv", ".csv.gz")
_ENDINGS = (*_PARQUET, *_CSV, ".h5ad")
# A csv has no types. In a text column only these mean "no value", so that a class may be called
# None or null. In a numeric column all the usual spellings do.
_NO_NAME = ["", "NA", "NaN", "nan"]
_NO_NUMBER = [*_NO_NAME, "N/A", "n/a", "null", "NULL", "None", "<NA>", "#N/A", "-nan", "-NaN"]


class TableFile(Protocol):
    """An open table file; ``read`` raises :class:`BenchError` if the file is damaged."""

    columns: list[str]
    """Columns that may have a role."""
    numbers: list[str]
    """Columns that may be features."""
    typed: bool
    """Whether the format distinguishes numbers from text; csv does not."""
    apart: bool
    """Whether a name may be both in ``numbers`` and in ``columns`` with different meanings."""

    def read(self, roles: Sequence[str], features: Sequence[str]) -> tuple[pd.DataFrame, Floats]:
        """Return the columns with a role and the features, ``(n, d)`` float32."""
        ...


@contextmanager
def damaged(path: Path, kind: str) -> Iterator[None]:
    """Turn the exception of a reader on a damaged file into a one-line error."""
    try:
        yield
    except BenchError:
        raise
    except PermissionError:
        raise BenchError(f"{path} may not be read: change its permissions") from None
    # readers raise many exception types on damaged bytes: zlib.error, IORegistryError, …
    except Exception as e:  # noqa: BLE001 - readers raise many exception types
        said = (" ".join(str(e).split()) or type(e).__name__)[:160].rstrip(". ")
        raise BenchError(
            f"{path} cannot be read as {kind} ({said}): it is damaged, truncated or of another "
            "format; fetch or write it again"
        ) from None


def _not_numeric(column: str, kind: str) -> BenchError:
    return BenchError(
        f"feature column '{column}' holds {kind}, not numbers: make it numeric, or tighten the "
        "regular expression in features"
    )


def _float32(values: object) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        # values outside the float32 range become infinite and are reported
        return cast("Floats", np.asarray(values).astype(np.float32))


class _Parquet:
    typed = True
    apart = False

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self.path = path
        with damaged(path, "parquet"):
            self._file = pq.ParquetFile(path)
            self._schema = self._file.schema_arrow
            stored = self._schema.pandas_metadata or {}
        self.columns = list(self._schema.names)
        index = {name for name in stored.get("index_columns", []) if isinstance(name, str)}
        self.numbers = [name for name in self.columns if name not in index]

    def read(self, roles: Sequence[str], features: Sequence[str]) -> tuple[pd.DataFrame, Floats]:
        import pyarrow as pa

        for name in features:
            kind = self._schema.field(name).type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                raise _not_numeric(name, f"values of type {kind}")
        with damaged(self.path, "parquet"):
            n = self._file.metadata.num_rows
            text = self._file.read(columns=list(roles))
            named = {name: text.column(name).to_pandas(integer_object_nulls=True) for name in roles}
            frame = pd.DataFrame(named, index=pd.RangeIndex(n))
            X = np.empty((n, len(features)), dtype=np.float32)
            start = 0
            # in blocks: otherwise a table of doubles would be in memory twice
            for piece in self._file.iter_batches(batch_size=8192, columns=list(features)):
                stop = start + piece.num_rows
                for j, name in enumerate(features):
                    X[start:stop, j] = _float32(piece.column(name).to_numpy(zero_copy_only=False))
                start = stop
        return frame, X


class _Csv:
    typed = False
    apart = False

    def __init__(self, path: Path) -> None:
        self.path = path
        with damaged(path, "csv"), self._text() as file:
            header = next(csv.reader(file), [])
        if not header:
            raise BenchError(f"{path} is empty: it needs a line of column names and rows")
        self.columns = [name or f"Unnamed: {i}" for i, name in enumerate(header)]
        # pandas writes its row numbers under an empty name: this is never a feature
        self.numbers = [name for name in self.columns if not re.fullmatch(r"Unnamed: \d+", name)]

    def _text(self) -> IO[str]:
        opener = gzip.open if self.path.suffix.lower() == ".gz" else open
        return cast("IO[str]", opener(self.path, "rt", encoding="utf-8-sig", newline=""))

    def _count_fields(self) -> None:
        """Raise for a row of another length; pandas would silently shift or fill it."""
        with self._text() as file:
            reader = csv.reader(file)
            for row in reader:
                if row and len(row) != len(self.columns):
                    raise BenchError(
                        f"{self.path}, line {reader.line_num}, has {len(row)} fields and "
                        f"{len(self.columns)} columns have names: mend that line (a comma inside a "
                        "value needs quotes), or fetch the file again if it is truncated"
                    )

    def read(self, roles: Sequence[str], features: Sequence[str]) -> tuple[pd.DataFrame, Floats]:
        wanted = {*roles, *features}
        with damaged(self.path, "csv"):
            self._count_fields()
            frame = pd.read_csv(
                self.path,
                usecols=lambda name: name in wanted,
                dtype=dict.fromkeys(roles, str),
                na_values=dict.fromkeys(roles, _NO_NAME) | dict.fromkeys(features, _NO_NUMBER),
                keep_default_na=False,
                index_col=False,
                encoding="utf-8-sig",
                float_precision="round_trip",
                low_memory=False,
            )
        X = np.empty((len(frame), len(features)), dtype=np.float32)
        for j, name in enumerate(features):
            column = frame[name]
            if len(frame) and not _is_number(column):
                odd = pd.to_numeric(column, errors="coerce").isna() & column.notna()
                example = column[odd].iloc[0] if odd.any() else column.iloc[0]
                raise _not_numeric(name, f"'{example}'")
            X[:, j] = _float32(column.to_numpy())
        return frame[list(roles)], X


def _is_number(column: pd.Series[Any]) -> bool:
    kind = column.dtype
    numeric = pd.api.types.is_integer_dtype(kind) or pd.api.types.is_float_dtype(kind)
    # pandas reads a column without values as float or as object, depending on its version
    return numeric or bool(column.isna().all())


class _H5ad:
    typed = True
    apart = True  # var_names and the columns of obs

    def __init__(self, path: Path) -> None:
        with damaged(path, "h5ad"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # anndata warnings are meant for developers
            import anndata
            import h5py

            if not h5py.is_hdf5(path):
                raise ValueError("it is not an HDF5 file")
            with h5py.File(path, "r") as file:
                for name in ("X", "obs", "var", "uns", "obsm"):
                    refuse_links(file, name, path)
            self._data = anndata.read_h5ad(path)
        self.path = path
        if self._data.X is None:
            raise BenchError(f"{path} has no matrix X: write the features into X")
        self.columns = [str(name) for name in self._data.obs.columns]
        self.numbers = [str(name) for name in self._data.var_names]

    def read(self, roles: Sequence[str], features: Sequence[str]) -> tuple[pd.DataFrame, Floats]:
        position = {name: j for j, name in enumerate(self.numbers)}
        X = self._data.X[:, [position[name] for name in features]]
        X = X.toarray() if hasattr(X, "toarray") else np.asarray(X)
        if X.dtype.kind not in "iuf":
            raise _not_numeric(features[0], f"values of type {X.dtype}")
        frame = self._data.obs[list(roles)].reset_index(drop=True)
        return frame, np.ascontiguousarray(_float32(X))


def open_table(path: Path) -> TableFile:
    """Open a table file by its suffix and read its column names.

    Raises
    ------
    BenchError
        If the file does not exist, its suffix is unknown, or its content does not match the suffix.
    """
    if path.is_dir():
        raise BenchError(f"{path} is a folder: table must name a file in it")
    if not path.exists():
        here = path.parent.iterdir() if path.parent.is_dir() else ()
        known = sorted(p.name for p in here if p.name.lower().endswith(_ENDINGS))
        near = difflib.get_close_matches(path.name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "the path is relative to the TOML file"
        raise BenchError(f"table {path} does not exist: {hint}")
    name = path.name.lower()
    if name.endswith(_PARQUET):
        return _Parquet(path)
    if name.endswith(_CSV):
        return _Csv(path)
    if name.endswith(".h5ad"):
        return _H5ad(path)
    raise BenchError(f"table {path} has an unknown ending: it must be {_FORMATS}")
