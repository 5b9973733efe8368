"""Two-dimensional layouts of embeddings, computed with scanpy by the same rule for all.

scanpy takes seconds to import, so this module is imported only when a figure is drawn.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


COMPONENTS = 50
"""Maximum number of principal components for a layout."""
NEIGHBOURS = 15
MOST = 2000
"""Maximum rows of a layout; larger sets are subsampled by id, identically for every method."""
RULE = (
    f"first {COMPONENTS} principal components, {NEIGHBOURS} neighbours by cosine, seed 0, at most "
    f"{MOST:,} rows"
)


def layout(X: NDArray[np.float32], kind: Literal["umap", "tsne"] = "umap") -> NDArray[np.float64]:
    """Return a layout, ``(n, 2)``; the same rows give the same numbers.

    Parameters
    ----------
    X
        ``(n, d)`` embedding, n of at least 4.
    kind
        ``umap`` of scanpy with its defaults, or ``tsne`` with perplexity 30 or (n - 1) / 3.

    Raises
    ------
    ValueError
        If there are fewer than 4 rows.
    """
    if len(X) < 4:
        raise ValueError(f"a layout needs at least 4 rows, and there are {len(X)}")
    import anndata
    import scanpy as sc

    with warnings.catch_warnings():
        # scanpy, umap-learn and numba warn about each other's versions and about sequential
        # execution of a seeded run; readers of a figure do not need these warnings.
        warnings.simplefilter("ignore")
        data = anndata.AnnData(np.ascontiguousarray(X, dtype=np.float32))
        count = min(COMPONENTS, X.shape[1], len(X) - 1)
        if X.shape[1] > count:
            sc.pp.pca(data, n_comps=count, random_state=0)
            basis = "X_pca"
        else:
            data.obsm["X_all"] = data.X
            basis = "X_all"
        if kind == "tsne":
            perplexity = min(30.0, (len(X) - 1) / 3)
            sc.tl.tsne(data, use_rep=basis, perplexity=perplexity, random_state=0, n_jobs=1)
            return np.asarray(data.obsm["X_tsne"], dtype=np.float64)
        near = min(NEIGHBOURS, len(X) - 1)
        sc.pp.neighbors(data, n_neighbors=near, use_rep=basis, metric="cosine", random_state=0)
        # With fewer rows, spectral initialisation fails.
        start = "spectral" if len(X) > 20 else "random"
        sc.tl.umap(data, init_pos=start, random_state=0)
        return np.asarray(data.obsm["X_umap"], dtype=np.float64)
