"""Tables as text: csv, tsv and txt, optionally compressed with gzip."""

from __future__ import annotations

import csv
import gzip
import io
import re
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from bench.core.errors import BenchError
from bench.data.own.reading import as_float32, damaged, not_numeric

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.core.types import Floats


DELIMITED = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")
_GZIP = b"\x1f\x8b"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
# A text file has no types. In a text column only these mean "no value", so that a class may be
# called None or null. In a numeric column all the usual spellings do.
_NO_NAME = ["", "NA", "NaN", "nan"]
_NO_NUMBER = [*_NO_NAME, "N/A", "n/a", "null", "NULL", "None", "<NA>", "#N/A", "-nan", "-NaN"]
_LONGEST_FIELD = 1 << 30
_SAMPLE = 1000
_PRECISION: dict[str, Any] = (
    {"float_precision": "round_trip"} if pd.__version__.startswith("2.") else {}
)
"""Reading a number gives the nearest float; pandas 3 always does this."""


class Delimited:
    """A table as text; a :class:`bench.data.own.files.TableFile`.

    Fields are separated by commas in a csv, by tabs in a tsv. A txt is separated by tabs if its
    first line contains one, otherwise by commas. The text is UTF-8.
    """

    typed = False
    apart = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._compressed = path.name.lower().endswith(".gz")
        self._check_signature()
        named = path.name.lower().removesuffix(".gz")
        with self._reading() as file:
            tabs = named.endswith(".tsv") or (named.endswith(".txt") and "\t" in file.readline())
        self._delimiter = "\t" if tabs else ","
        with self._reading() as file:
            rows = self._rows(file)
            _, header = next(rows, (0, []))
            self._header = 1
            joined = _two_lines(header, next(rows, (0, []))[1])
        if joined:
            header, self._header = joined, 2
        if not header:
            raise BenchError(f"{path} is empty: it needs a line of column names and rows")
        self.columns = [name or f"Unnamed: {i}" for i, name in enumerate(header)]
        # pandas writes its row numbers under an empty name: this is never a feature
        self.numbers = [name for name in self.columns if not re.fullmatch(r"Unnamed: \d+", name)]

    def read(self, roles: Sequence[str], features: Sequence[str]) -> tuple[pd.DataFrame, Floats]:
        """Return the columns with a role as text, and the features, ``(n, d)`` float32.

        Raises
        ------
        BenchError
            If the file is damaged, a line has another number of fields, or a feature is not a
            number.
        """
        wanted = {*roles, *features}
        self._check_lines()
        with self._reading() as file:
            frame = pd.read_csv(
                file,
                sep=self._delimiter,
                usecols=lambda name: name in wanted,
                **self._names(),
                dtype=dict.fromkeys(roles, str),
                na_values=dict.fromkeys(roles, _NO_NAME) | dict.fromkeys(features, _NO_NUMBER),
                keep_default_na=False,
                index_col=False,
                **_PRECISION,
                low_memory=False,
            )
        X = np.empty((len(frame), len(features)), dtype=np.float32)
        for j, name in enumerate(features):
            X[:, j] = as_float32(_numbers(frame[name], name))
        return frame[list(roles)], X

    def numeric(self) -> list[str]:
        """Return the columns that contain numbers in the first :data:`_SAMPLE` rows."""
        with self._reading() as file:
            frame = pd.read_csv(
                file,
                sep=self._delimiter,
                nrows=_SAMPLE,
                **self._names(),
                index_col=False,
                na_values=_NO_NUMBER,
                keep_default_na=False,
                low_memory=False,
            )
        return [
            name
            for name, kind in frame.dtypes.items()
            if name in self.numbers
            and pd.api.types.is_numeric_dtype(kind)
            and not pd.api.types.is_bool_dtype(kind)
        ]

    def _check_signature(self) -> None:
        """Raise for a file that is compressed, or in UTF-16, against its name."""
        with damaged(self.path, "a file"), self.path.open("rb") as file:
            compressed = file.read(2) == _GZIP
        if compressed and not self._compressed:
            raise BenchError(
                f"{self.path} is compressed with gzip: rename it to {self.path.name}.gz, or unpack "
                "it"
            )
        with damaged(self.path, "gzip"), self._bytes() as content:
            mark = content.read(2)
        if mark in _UTF16:
            raise BenchError(
                f"{self.path} is text in UTF-16: save it as UTF-8, in a spreadsheet as 'CSV UTF-8'"
            )

    def _names(self) -> dict[str, Any]:
        """Return the arguments of pandas for a header of two lines."""
        if self._header == 1:
            return {}
        return {"names": self.columns, "header": None, "skiprows": self._header}

    def _bytes(self) -> IO[bytes]:
        opener = gzip.open if self._compressed else open
        return cast("IO[bytes]", opener(self.path, "rb"))

    @contextmanager
    def _reading(self) -> Iterator[IO[str]]:
        """Open the text; errors of decoding say which encoding is expected."""
        with damaged(self.path, "csv"), self._bytes() as content:
            try:
                yield io.TextIOWrapper(content, encoding="utf-8-sig", newline="")
            except UnicodeDecodeError as error:
                byte = error.object[error.start]
                raise BenchError(
                    f"{self.path} is not text in UTF-8 (byte 0x{byte:02x}), probably in Latin-1 or "
                    "Windows-1252: save it as UTF-8, in a spreadsheet as 'CSV UTF-8'"
                ) from None

    def _rows(self, file: IO[str]) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of the last line and the fields of each row."""
        limit = csv.field_size_limit(_LONGEST_FIELD)
        reader = csv.reader(file, delimiter=self._delimiter)
        try:
            for row in reader:
                yield reader.line_num, row
        finally:
            csv.field_size_limit(limit)

    def _check_lines(self) -> None:
        """Raise for what pandas silently shifts, fills or cuts: a row of another length, a NUL."""
        with self._reading() as file:
            for number, row in self._rows(file):
                if row and len(row) != len(self.columns):
                    raise BenchError(
                        f"{self.path}, line {number}, has {len(row)} fields and "
                        f"{len(self.columns)} columns have names: correct that line (a separator "
                        "inside a value needs quotes), or fetch the file again if it is truncated"
                    )
                if any("\0" in field for field in row):
                    raise BenchError(
                        f"{self.path}, line {number}, contains a NUL character: write the file "
                        "again without it"
                    )


def _two_lines(first: list[str], second: list[str]) -> list[str]:
    """Return the names of a header of two lines, as CellProfiler writes it; otherwise none.

    The first line has the object of each column (``Cells``), the second its name.
    """
    names = [f"{a}_{b}" for a, b in zip(first, second, strict=False)]
    repeated = len(set(first)) < len(first) == len(second)
    if not repeated or len(set(names)) < len(names):
        return []
    return names if all(re.fullmatch(r"[A-Za-z]\w+", name) for name in second) else []


def _numbers(column: pd.Series[Any], name: str) -> object:
    """Return a feature column as numbers; raises if it contains other text."""
    kind = column.dtype
    if pd.api.types.is_integer_dtype(kind) or pd.api.types.is_float_dtype(kind):
        return column.to_numpy()
    # pandas reads integers beyond 64 bits, and a column without values, as objects
    numbers = pd.to_numeric(column, errors="coerce")
    odd = numbers.isna() & column.notna()
    if odd.any() or pd.api.types.is_bool_dtype(kind):
        example = column[odd].iloc[0] if odd.any() else column.iloc[0]
        raise not_numeric(name, f"'{example}'")
    return numbers.astype(np.float64).to_numpy()
