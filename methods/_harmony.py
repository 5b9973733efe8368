"""Canonical row order and the library call, shared by ``harmony``, ``harmony-map``, ``scanorama``.

harmonypy is imported when it runs, never bundled: it is under the GPL.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import BenchError, NotApplicable, param

from ._rows import groups_of

if TYPE_CHECKING:
    from bench.api import Floats, Ints, Strings


@dataclass(frozen=True)
class HarmonyParams:
    """Parameters of Harmony, with harmonypy's defaults."""

    level: str = param("", "batch level that is corrected; empty is the data set's default")
    n_components: int = param(
        50,
        "principal components of the standardised training rows",
        unit="components",
        low=1,
        high=2000,
        search=(20, 200),
        log=True,
    )
    theta: float = param(
        2.0, "weight of batch diversity within clusters", low=0.0, high=100.0, search=(0.0, 8.0)
    )
    sigma: float = param(
        0.1,
        "width of the soft assignment",
        unit="squared cosine distance",
        low=1e-3,
        high=10.0,
        search=(0.02, 0.5),
        log=True,
    )
    ridge: float = param(
        0.0,
        "penalty of batch offsets; 0 takes alpha times the expected rows of a batch in a cluster",
        unit="rows",
        low=0.0,
        high=1e6,
    )
    alpha: float = param(0.2, "see ridge", low=1e-6, high=100.0, search=(0.02, 2.0), log=True)
    tau: float = param(
        0.0, "protects small batches from overcorrection", unit="rows", low=0.0, high=1e6
    )
    nclust: int = param(
        0, "clusters; 0 is a thirtieth of the rows, 1 to 100", unit="clusters", low=0, high=2000
    )
    max_iter: int = param(10, "rounds of clustering and correction", unit="rounds", low=1, high=200)


@dataclass(frozen=True, eq=False)
class Order:
    """A row order and batch numbers that depend on the contents only.

    Attributes
    ----------
    rows
        ``(n,)`` positions in canonical order: by batch, then by content.
    codes
        ``(n,)`` number of the batch of each row in that order.
    key
        Digest of the contents and their grouping.
    """

    rows: Ints
    codes: Ints
    key: str


def canonical(X: Floats, batch: Strings) -> Order:
    """Return the canonical order of rows ``(n, d)`` with batches ``(n,)``.

    Names of rows and batches are salted and differ from run to run, and Harmony shuffles rows with
    a seed: only an order that depends on the contents gives the same result for the same data.
    """
    solid = np.ascontiguousarray(X, dtype=np.float32)
    prints = np.array([hashlib.sha256(row.tobytes()).hexdigest()[:32] for row in solid])
    groups = [rows[np.argsort(prints[rows], kind="stable")] for rows in groups_of(batch)]
    keys = [hashlib.sha256("".join(prints[rows].tolist()).encode()).hexdigest() for rows in groups]
    order = sorted(range(len(groups)), key=keys.__getitem__)
    sizes = [len(groups[k]) for k in order]
    return Order(
        np.concatenate([groups[k] for k in order]),
        np.repeat(np.arange(len(order)), sizes).astype(np.int64),
        hashlib.sha256("".join(keys[k] for k in order).encode()).hexdigest(),
    )


def several_batches(codes: Ints, name: str) -> None:
    """Raise :class:`NotApplicable` if all rows are of one batch."""
    if codes.max(initial=0) < 1:
        raise NotApplicable(
            f"{name} needs rows of at least two batches and found one: choose another level with "
            f"--set {name}.level=..."
        )


def run_harmony(Z: Floats, codes: Ints, params: HarmonyParams, seed: int) -> Any:
    """Run harmonypy on components ``(n, p)`` with batch numbers ``(n,)``.

    Returns
    -------
    harmonypy.Harmony
        Its ``Z_corr`` is ``(n, p)``, ``R`` ``(n, K)`` and ``Y`` ``(p, K)``; checked.

    Raises
    ------
    BenchError
        If the output has an unexpected shape, as in another release of harmonypy.
    """
    import harmonypy

    n, p = Z.shape
    clusters = params.nclust or max(1, min(round(n / 30), 100))
    # Components x rows: given rows x components, harmonypy guesses the side by its length.
    fitted = harmonypy.run_harmony(
        Z.T,
        {"batch": codes},
        "batch",
        theta=params.theta,
        lamb=params.ridge or None,
        sigma=params.sigma,
        nclust=min(clusters, n),
        tau=params.tau,
        block_size=0.05,
        max_iter_harmony=params.max_iter,
        max_iter_kmeans=4,
        epsilon_cluster=1e-3,
        epsilon_harmony=1e-2,
        alpha=params.alpha,
        batch_prop_cutoff=1e-5,
        verbose=False,
        random_state=seed % 2**31,
        ncores=_threads(),
    )
    found = (fitted.Z_corr.shape, fitted.R.shape[0], fitted.Y.shape[0])
    if found != ((n, p), n, p):
        raise BenchError(
            f"harmonypy returned arrays of shape {found} for {n} rows of {p} components: "
            "install harmonypy 2.1 or later"
        )
    return fitted


def _threads() -> int:
    """Return ``$BENCH_THREADS``, else 0, harmonypy's own choice; results do not depend on it."""
    text = os.environ.get("BENCH_THREADS", "")
    return int(text) if text.isdigit() else 0
