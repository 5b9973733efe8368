"""Tables in memory: AnnData objects and pandas data frames, described by keywords."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from bench.core.errors import BenchError, did_you_mean
from bench.core.words import plural
from bench.data.own.reading import as_float32, not_numeric
from bench.data.own.spec import Spec, check, problem_of, split_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.core.split import Split
    from bench.core.types import Floats


class MemoryTable:
    """An AnnData object or a data frame; a :class:`bench.data.own.files.TableFile`.

    Parameters
    ----------
    data
        ``AnnData``, or ``DataFrame`` with the features among its columns.
    layer, obsm
        Of an AnnData: the layer or the array of ``obsm`` with the features, instead of ``X``.

    Raises
    ------
    BenchError
        If the data are something else, or have no such layer or array.
    """

    typed = True

    def __init__(self, data: Any, layer: str | None, obsm: str | None) -> None:  # noqa: ANN401 - AnnData or DataFrame
        self.apart = hasattr(data, "obs") and hasattr(data, "obsm")
        if isinstance(data, pd.DataFrame):
            if layer or obsm:
                raise BenchError("layer and obsm go with AnnData, and this is a DataFrame")
            self.frame = data.reset_index(drop=True)
            self.frame.columns = [str(name) for name in data.columns]
            self.columns = self.numbers = list(self.frame.columns)
            return
        if not self.apart:
            raise BenchError(f"data must be AnnData or a DataFrame, not {type(data).__name__}")
        self.frame = data.obs.reset_index(drop=True)
        self.columns = [str(name) for name in self.frame.columns]
        self.matrix = matrix_of(data, layer, obsm)
        names = [str(name) for name in data.var_names]
        self.numbers = [f"{obsm}_{j}" for j in range(self.matrix.shape[1])] if obsm else names

    def numeric(self) -> list[str]:
        """Return the columns that contain numbers."""
        if self.apart:
            return self.numbers
        kinds = self.frame.dtypes
        return [n for n in self.numbers if pd.api.types.is_any_real_numeric_dtype(kinds[n])]

    def read(self, roles: Sequence[str], features: Sequence[str]) -> tuple[pd.DataFrame, Floats]:
        """Return the columns with a role and the features, ``(n, d)`` float32."""
        if self.apart:
            place = {name: j for j, name in enumerate(self.numbers)}
            X = dense(self.matrix[:, [place[name] for name in features]])
        else:
            odd = sorted(set(features) - set(self.numeric()))
            if odd:
                raise not_numeric(odd[0], f"values of type {self.frame[odd[0]].dtype}")
            X = self.frame[list(features)].to_numpy(dtype=np.float64, na_value=np.nan)
        return self.frame[list(roles)], np.ascontiguousarray(as_float32(X))

    def digest(self, spec: Spec) -> str:
        """Return the SHA-256 (hex) of the values that a description reads."""
        content = hashlib.sha256()
        features = [name for name in self.numbers if re.search(spec.features or "", name)]
        content.update(repr(features).encode())
        content.update(self.read([], features)[1].tobytes())
        for name in self.columns:
            if name not in features or self.apart:
                content.update(repr([name, *self.frame[name].astype(str)]).encode())
        return content.hexdigest()


def matrix_of(data: Any, layer: str | None, obsm: str | None) -> Any:  # noqa: ANN401 - a matrix, dense or sparse
    """Return ``X`` of an AnnData, a layer, or an array of ``obsm``.

    Raises
    ------
    BenchError
        If it has no such layer or array, or if both are named.
    """
    if layer and obsm:
        raise BenchError("layer and obsm both name the features: keep one of them")
    for kind, name, stored in (("layer", layer, data.layers), ("obsm", obsm, data.obsm)):
        if name is not None and name not in stored:
            raise BenchError(did_you_mean(name, [str(key) for key in stored], kind))
    matrix = data.obsm[obsm] if obsm else data.layers[layer] if layer else data.X
    if matrix is None:
        raise BenchError("this AnnData has no X: name a layer or an array of obsm")
    return matrix


def dense(matrix: Any) -> Any:  # noqa: ANN401 - a matrix, dense or sparse
    """Return a matrix as an array; DataFrames and sparse matrices are converted."""
    return matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)


def spec_in_memory(
    name: str, keys: Mapping[str, object], hold_out: Mapping[str, Sequence[str]]
) -> tuple[Spec, list[Split]]:
    """Return the description of a table in memory, and one split per held-out column.

    Parameters
    ----------
    keys
        Keys of a ``dataset.toml``; those that are None are left out.
    hold_out
        Held-out column -> columns with values in both training and test.

    Raises
    ------
    BenchError
        If a key has a wrong value.
    """
    data = {key: value for key, value in keys.items() if value is not None}
    splits = {
        re.sub(r"[^A-Za-z0-9._-]+", "-", plural(column)).strip("-."): {
            "hold_out": column,
            "shares": list(shared),
        }
        for column, shared in hold_out.items()
    }
    data |= {"name": name, "table": "in memory", "splits": splits}
    try:
        spec = Spec.model_validate(data)
    except ValidationError as error:
        raise BenchError(problem_of(error, data)) from None
    check(spec)
    return spec, [split_of(spec, stem, own) for stem, own in spec.splits.items()]
