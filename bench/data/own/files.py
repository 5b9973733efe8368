"""Table files: parquet, h5ad and delimited text behind one protocol.

Opening a file reads only the column names, so that errors are reported before any values are
read. Then only the columns that are needed are read.
"""

from __future__ import annotations

import difflib
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from bench.core.errors import BenchError, did_you_mean
from bench.data.hdf5 import refuse_links, refuse_unwritten
from bench.data.own.delimited import DELIMITED, Delimited
from bench.data.own.reading import as_float32, damaged, not_numeric

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.core.types import Floats


_FORMATS = ".parquet, .csv, .tsv, .txt (each also with .gz) or .h5ad"
_PARQUET = (".parquet", ".pq")
_BLOCK = 8192
"""Rows of an h5ad that are in memory with all columns."""
_ENDINGS = (*_PARQUET, *DELIMITED, ".h5ad")


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

    def numeric(self) -> list[str]:
        """Return the columns that contain numbers; of delimited text, by its first lines."""
        ...

    def read(self, roles: Sequence[str], features: Sequence[str]) -> tuple[pd.DataFrame, Floats]:
        """Return the columns with a role and the features, ``(n, d)`` float32."""
        ...


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

    def numeric(self) -> list[str]:
        import pyarrow as pa

        kinds = {name: self._schema.field(name).type for name in self.numbers}
        return [n for n, k in kinds.items() if pa.types.is_integer(k) or pa.types.is_floating(k)]

    def read(self, roles: Sequence[str], features: Sequence[str]) -> tuple[pd.DataFrame, Floats]:
        import pyarrow as pa

        for name in features:
            kind = self._schema.field(name).type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                raise not_numeric(name, f"values of type {kind}")
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
                    X[start:stop, j] = as_float32(piece.column(name).to_numpy(zero_copy_only=False))
                start = stop
        return frame, X


def _written(name: str, item: object, path: Path) -> None:
    """Raise for an HDF5 array with values that were never written; groups are accepted."""
    import h5py

    if isinstance(item, h5py.Dataset):
        refuse_unwritten(item, name, path)


def _shape(item: Any) -> tuple[int, ...] | None:  # noqa: ANN401 - an HDF5 array or group
    """Return the shape of an HDF5 array or sparse matrix, or None for another group."""
    if hasattr(item, "shape"):
        return tuple(item.shape or ())
    attributes = item.attrs
    if not {"encoding-type", "h5sparse_format"} & set(attributes):
        return None
    shape = attributes.get("shape", attributes.get("h5sparse_shape", ()))
    return tuple(map(int, np.ravel(shape)))


def _named(shape: tuple[int, ...] | None) -> str:
    return "a group and no matrix" if shape is None else f"an array of shape {shape}"


class _H5ad:
    typed = True
    apart = True  # var_names and the columns of obs

    def __init__(self, path: Path, layer: str | None = None, obsm: str | None = None) -> None:
        with damaged(path, "h5ad"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # anndata warnings are meant for developers
            import anndata
            import h5py

            if not h5py.is_hdf5(path):
                raise ValueError("it is not an HDF5 file")
            with h5py.File(path, "r") as file:
                for name in ("X", "obs", "var", "uns", "obsm", "layers"):
                    refuse_links(file, name, path)
                file.visititems(lambda name, item: _written(name, item, path))
                stored = "X" in file and file["X"].attrs.get("encoding-type") != "null"
                shape = _shape(file["X"]) if stored else None
            # X stays on disk; rows are read in blocks
            self._data = anndata.read_h5ad(path, backed="r" if stored else None)
            if self._data.isbacked:
                self._data.file.close()
            if stored and shape != self._data.shape:
                raise ValueError(f"X is {_named(shape)}, not of shape {self._data.shape}")
        self.path = path
        layers = [str(name) for name in self._data.layers]
        if layer is not None and layer not in layers:
            raise BenchError(f"{path}: " + did_you_mean(layer, layers, "layer"))
        embeddings = [str(name) for name in self._data.obsm]
        if obsm is not None and obsm not in embeddings:
            raise BenchError(f"{path}: " + did_you_mean(obsm, embeddings, "obsm"))
        self.columns = [str(name) for name in self._data.obs.columns]
        self._matrix: Any = None
        if obsm is not None:
            self._matrix = np.asarray(self._data.obsm[obsm])
            if self._matrix.ndim != 2:
                raise BenchError(
                    f"{path}: obsm {obsm} has shape {self._matrix.shape}, not rows and columns: "
                    "choose another obsm"
                )
            self.numbers = [f"{obsm}_{j}" for j in range(self._matrix.shape[1])]
            return
        self._matrix = None if layer is None else self._data.layers[layer]
        if layer is None and not stored:
            raise BenchError(
                f'{path} has no matrix X: write the features into X, or add layer = "NAME" '
                f'(layers: {", ".join(layers) or "none"}) or obsm = "NAME" '
                f"(obsm: {', '.join(embeddings) or 'none'})"
            )
        self.numbers = [str(name) for name in self._data.var_names]

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """Return the matrix; ``X`` of the file is open in the block only."""
        if self._matrix is not None:
            yield self._matrix
            return
        import anndata

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = anndata.read_h5ad(self.path, backed="r")
        try:
            # the rows of a matrix in columns are scattered over the file
            in_columns = getattr(data.X, "format", "") == "csc"
            yield data.X.to_memory() if in_columns else data.X
        finally:
            data.file.close()

    def numeric(self) -> list[str]:
        return self.numbers

    def read(self, roles: Sequence[str], features: Sequence[str]) -> tuple[pd.DataFrame, Floats]:
        position = {name: j for j, name in enumerate(self.numbers)}
        columns = [position[name] for name in features]
        n = len(self._data.obs)
        X = np.empty((n, len(columns)), dtype=np.float32)
        if not columns:
            return self._data.obs[list(roles)].reset_index(drop=True), X
        with self._opened() as matrix:
            if matrix.dtype.kind not in "iuf":
                raise not_numeric(features[0], f"values of type {matrix.dtype}")
            for start in range(0, n, _BLOCK):
                block = matrix[start : start + _BLOCK]
                block = block.toarray() if hasattr(block, "toarray") else np.asarray(block)
                X[start : start + _BLOCK] = as_float32(block[:, columns])
        return self._data.obs[list(roles)].reset_index(drop=True), X


def open_table(path: Path, layer: str | None = None, obsm: str | None = None) -> TableFile:
    """Open a table file by its suffix and read its column names.

    Parameters
    ----------
    layer, obsm
        For h5ad: the layer, or the array of ``obsm``, with the features, instead of ``X``.

    Raises
    ------
    BenchError
        If the file does not exist, its suffix is unknown, its content does not match the suffix, or
        it has no such layer or array.
    """
    if path.is_dir():
        raise BenchError(f"{path} is a folder: table must name a file in it")
    if not path.exists():
        here = path.parent.iterdir() if path.parent.is_dir() else ()
        tables = sorted(p.name for p in here if p.name.lower().endswith(_ENDINGS))
        near = difflib.get_close_matches(path.name, tables, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "the path is relative to the TOML file"
        raise BenchError(f"table {path} does not exist: {hint}")
    name = path.name.lower()
    for key, value in (("layer", layer), ("obsm", obsm)):
        if value is not None and not name.endswith(".h5ad"):
            raise BenchError(
                f'{key} = "{value}" needs a table in .h5ad, not {path.name}: remove it'
            )
    if name.endswith(_PARQUET):
        return _Parquet(path)
    if name.endswith(DELIMITED):
        return Delimited(path)
    if name.endswith(".h5ad"):
        return _H5ad(path, layer, obsm)
    raise BenchError(f"table {path} has an unknown ending: it must be {_FORMATS}")
