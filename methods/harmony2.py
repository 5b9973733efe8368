r"""Harmony2 in scanpy's own implementation.

The same model as ``harmony``: soft clusters that mix batches, and a linear correction of the batch
offsets in each. Harmony2 stabilises the diversity penalty and estimates the ridge penalty per
cluster and batch. It leaves out batches that are nearly absent from a cluster.

There are two implementations of Harmony2 here: ``harmony`` is harmonypy (C++, GPL), which follows
the R package; this one is ``scanpy.pp.harmony_integrate`` (numba, BSD), which needs scanpy 1.13
and so Python 3.12: ``pip install 'labshift[harmony2]'``. Their random starts differ, so their
results are alike and not equal. Rows are in the principal components of the standardised training
rows, and in an order that depends on their contents alone.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.api import NotApplicable, param

from ._joint import ComponentParams, Joint, JointRows, components_of, library, seeded

if TYPE_CHECKING:
    from numpy.typing import NDArray

META = {
    "kind": "method",
    "name": "harmony2",
    "class": "Harmony2",
    "level": "profile",
    "version": 1,
    "summary": "Harmony2 in scanpy's implementation; `harmony` is harmonypy's.",
    "reference": "Patikas et al. 2026, bioRxiv 2026.03.16.711825",
    "url": "https://doi.org/10.64898/2026.03.16.711825",
    "access": ["train-batch", "adapt"],
    "helps": ["location", "hierarchical"],
    "hurts": ["label-shift"],
}


@dataclass(frozen=True)
class Harmony2Params(ComponentParams):
    """Parameters of Harmony2, by scanpy's defaults."""

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
    alpha: float = param(
        0.2, "ridge penalty per expected row", low=1e-6, high=100.0, search=(0.02, 2.0), log=True
    )
    nclust: int = param(
        0, "clusters; 0 leaves the number to scanpy", unit="clusters", low=0, high=2000
    )
    max_iter: int = param(10, "rounds of clustering and correction", unit="rounds", low=1, high=200)


class Harmony2(Joint):
    """Harmony2 through scanpy."""

    Params: ClassVar[type] = Harmony2Params
    name = "harmony2"

    def corrected(self, rows: JointRows, seed: int) -> NDArray[Any]:
        """Return the corrected components ``(n, p)``."""
        scanpy = library("scanpy", self.name, "harmony2")
        integrate = getattr(scanpy.pp, "harmony_integrate", None)
        if integrate is None or "flavor" not in inspect.signature(integrate).parameters:
            raise NotApplicable(
                f"harmony2 needs scanpy 1.13 (Python 3.12) and found {version('scanpy')}: "
                "pip install 'labshift[harmony2]', or use harmony"
            )
        import pandas as pd
        from anndata import AnnData

        Z = components_of(rows, self.params.n_components, self.name).astype(np.float64)
        names = [str(k) for k in range(len(Z))]
        obs = pd.DataFrame({"batch": pd.Categorical(rows.codes.astype(str))}, index=names)
        data = AnnData(obs=obs, obsm={"X_pca": Z})
        with seeded(seed):
            integrate(
                data,
                "batch",
                flavor="harmony2",
                n_clusters=self.params.nclust or None,
                max_iter_harmony=self.params.max_iter,
                sigma=self.params.sigma,
                theta=self.params.theta,
                alpha=self.params.alpha,
                rng=seed % 2**31,
            )
        return np.asarray(data.obsm["X_pca_harmony"])
