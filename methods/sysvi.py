r"""sysVI: a conditional autoencoder with a VampPrior and latent cycle consistency.

As in ``scvi``, the batch is an input of the decoder and the corrected row is a latent mean. The
likelihood is normal with a free mean, which suits profiles. The prior is a mixture of
``n_prior_components`` posteriors of learned pseudo-inputs. Each row is also decoded into another
batch and encoded again, and

.. math:: \lambda\, \lVert u_i - u(x(u_i, b'), b') \rVert^2

is added to the loss (:math:`\lambda` is ``cycle_weight``), with latent variables standardised
within a step. The latent variable then depends less on the batch.

Features are standardised by the training rows. Training and evaluation batches are trained on
together without labels, so the method is transductive. It needs scvi-tools
(``pip install 'labshift[scvi]'``) and trains on one CPU.
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
    "name": "sysvi",
    "class": "Sysvi",
    "level": "profile",
    "version": 1,
    "summary": "Latent means of sysVI (VampPrior, cycle consistency) over both sides.",
    "reference": "Hrovatin et al. 2023, bioRxiv 2023.11.03.565463",
    "url": "https://doi.org/10.1101/2023.11.03.565463",
    "access": ["train-batch", "adapt"],
}


@dataclass(frozen=True)
class SysviParams:
    """Parameters of sysVI."""

    level: str = param("", "batch level that is corrected; empty is the data set's default")
    n_latent: int = param(
        15, "latent variables", unit="columns", low=1, high=1000, search=(10, 100), log=True
    )
    n_prior_components: int = param(5, "modes of the prior", low=1, high=1000, search=(2, 20))
    cycle_weight: float = param(
        2.0, "weight of the cycle consistency", low=0.0, high=1000.0, search=(0.5, 50.0), log=True
    )
    epochs: int = param(200, "passes over all rows", unit="epochs", low=1, high=10_000)
    batch_size: int = param(128, "rows of a step", unit="rows", low=2, high=100_000)


class Sysvi(Joint):
    """SysVI through scvi-tools."""

    Params: ClassVar[type] = SysviParams
    name = "sysvi"

    def corrected(self, rows: JointRows, seed: int) -> NDArray[Any]:
        """Return the latent means ``(n, n_latent)``."""
        model = library("scvi.external", self.name, "scvi").SysVI
        data = annotated(standardised(rows, self.name), rows.codes)

        def build() -> Any:
            model.setup_anndata(data, batch_key="batch")
            return model(
                data,
                prior="vamp",
                n_prior_components=min(self.params.n_prior_components, len(rows.X)),
                n_latent=self.params.n_latent,
            )

        weights = {"z_distance_cycle_weight": self.params.cycle_weight}
        return latent(build, self.params.epochs, self.params.batch_size, seed, weights)
