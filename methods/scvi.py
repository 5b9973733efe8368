r"""scVI: a variational autoencoder with the batch as an input of the decoder.

A latent variable :math:`u_i \sim N(0, I)` of each row and its batch give the features,

.. math:: x_{ij} - m_j \sim N(\operatorname{softplus}(f_j(u_i, b(i))),\; e^{2 r_j}),

so that what the batch explains need not be in :math:`u`. The corrected row is the mean of
:math:`q(u_i \mid x_i, b(i))`, with ``n_latent`` columns.

scVI was made for counts. Profiles are negative, so the likelihood is normal, there is no logarithm
and no library size. The library keeps the mean of a feature positive; features, standardised by the
training rows, are therefore moved by their minimum :math:`m_j` over all rows. Everything else has
the defaults of the library. The number of epochs does not depend on the number of rows here.

Training and evaluation batches are trained on together without labels, so the method is
transductive. It needs scvi-tools (``pip install 'labshift[scvi]'``) and trains on one CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bench.api import param

from ._joint import Joint, JointRows, library, standardised
from ._scvi import annotated, latent

if TYPE_CHECKING:
    from numpy.typing import NDArray

META = {
    "kind": "method",
    "name": "scvi",
    "class": "Scvi",
    "level": "profile",
    "version": 1,
    "summary": "Latent means of scVI with a normal likelihood over both sides.",
    "reference": "Lopez et al. 2018, Nature Methods 15:1053-1058",
    "url": "https://doi.org/10.1038/s41592-018-0229-2",
    "access": ["train-batch", "adapt"],
}


@dataclass(frozen=True)
class ScviParams:
    """Parameters of scVI."""

    level: str = param("", "batch level that is corrected; empty is the data set's default")
    n_latent: int = param(
        30, "latent variables", unit="columns", low=1, high=1000, search=(10, 100), log=True
    )
    n_layers: int = param(1, "hidden layers", unit="layers", low=1, high=10, search=(1, 3))
    n_hidden: int = param(128, "width of hidden layers", low=1, high=4096, search=(64, 512))
    epochs: int = param(200, "passes over all rows", unit="epochs", low=1, high=10_000)
    batch_size: int = param(128, "rows of a step", unit="rows", low=2, high=100_000)


class Scvi(Joint):
    """scVI through scvi-tools."""

    Params: ClassVar[type] = ScviParams
    name = "scvi"

    def corrected(self, rows: JointRows, seed: int) -> NDArray[Any]:
        """Return the latent means ``(n, n_latent)``."""
        scvi = library("scvi", self.name, "scvi")
        X = standardised(rows, self.name)
        data = annotated(X - X.min(axis=0), rows.codes)

        def build() -> Any:
            scvi.model.SCVI.setup_anndata(data, batch_key="batch", size_factor_key="size")
            return scvi.model.SCVI(
                data,
                n_latent=self.params.n_latent,
                n_layers=self.params.n_layers,
                n_hidden=self.params.n_hidden,
                gene_likelihood="normal",
                log_variational=False,
            )

        return latent(build, self.params.epochs, self.params.batch_size, seed)
