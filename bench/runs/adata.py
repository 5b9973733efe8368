"""AnnData objects as input of ``Corrector``: columns of ``obs`` are named, not passed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.errors import did_you_mean
from bench.data.own.columns import bools
from bench.data.own.memory import dense, matrix_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Values = ArrayLike | str | None


def is_adata(X: object) -> bool:
    """Whether an object has the interface of AnnData."""
    return all(hasattr(X, name) for name in ("obs", "var_names", "obsm", "layers"))


def arrays_of(
    X: Any,  # noqa: ANN401 - an array or AnnData
    y: Values,
    batch: Values,
    controls: Values,
    use_rep: str | None,
) -> tuple[Any, ArrayLike | None, ArrayLike | None, ArrayLike | None]:
    """Return features, classes, batches and controls as arrays.

    Parameters
    ----------
    X
        ``(n, d)`` array, or AnnData.
    y, batch, controls
        Arrays ``(n,)``, or with AnnData the names of columns of ``obs``.
    use_rep
        Array of ``obsm`` to use instead of ``X``.

    Raises
    ------
    ValueError
        If a column or an array does not exist, or names are used without AnnData.
    """
    if not is_adata(X):
        arguments = {"y": y, "batch": batch, "controls": controls, "use_rep": use_rep}
        for name, value in arguments.items():
            if isinstance(value, str):
                raise ValueError(f"{name}='{value}' names a part of AnnData, and X is an array")
        return X, y, batch, controls
    values: dict[str, Any] = {}
    for key, value in (("y", y), ("batch", batch), ("controls", controls)):
        if isinstance(value, str) and value not in X.obs:
            raise ValueError(f"{key}: {did_you_mean(value, list(X.obs.columns), 'column of obs')}")
        values[key] = X.obs[value] if isinstance(value, str) else value
    if isinstance(controls, str):
        values["controls"] = bools(values["controls"], controls, typed=True)
    matrix = np.asarray(dense(matrix_of(X, None, use_rep)))
    return matrix, values["y"], values["batch"], values["controls"]


def stored(
    X: Any,  # noqa: ANN401 - an array or AnnData
    corrected: NDArray[np.float32],
    key_added: str | None,
) -> NDArray[np.float32]:
    """Store corrected rows in ``obsm`` of an AnnData under ``key_added``, and return them.

    Raises
    ------
    ValueError
        If ``key_added`` is used without AnnData.
    """
    if key_added is not None:
        if not is_adata(X):
            raise ValueError(f"key_added='{key_added}' needs AnnData, and X is an array")
        X.obsm[key_added] = corrected
    return corrected
