r"""Scanorama: batches are joined through pairs of mutual nearest neighbours.

Rows are standardised and converted to principal components, both as learned from the training rows,
and scaled to unit length. Between every two batches, pairs of rows that are among each other's
``knn`` nearest (city-block distance) are anchors; the two batches with the largest share of
anchored rows are joined first. A row of the batch that is moved becomes

.. math:: z_i \leftarrow z_i + \frac{\sum_a k(z_i, z_a)\, (z_{m(a)} - z_a)}{\sum_a k(z_i, z_a)},
          \qquad k(u, v) = \exp(-\tfrac{\sigma}{2} \lVert u - v \rVert^2),

over its anchors a and their partners m(a). Batches without enough anchors (``alpha``), or with
fewer rows than ``knn``, are not changed; the latter are reported. It was made for thousands of
cells a batch. On plates of some tens of wells a correction depends on few anchors. It moves rows of
several classes onto the same partners. On the planted tables of the tests it lowers the score, also
without a shift. The loss is larger with fewer neighbours.

It joins the training *and* the evaluation batches, so it is transductive, and later rows cannot be
corrected. The library is scanorama (``pip install 'labshift[scanorama]'``); nothing of the
algorithm is changed. Differences from its defaults: components come from the training rows alone,
and neighbours are exact. Row order and seed have no effect. Rows are still sorted into an order
that depends on their contents. The seed of the run is passed on.
"""

from __future__ import annotations

import contextlib
import io
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.api import Access, BenchError, NotApplicable, Output, param

from ._harmony import canonical, several_batches
from ._rows import find_names, pack_names, profiles, unpack_names
from ._whitening import Components

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from bench.api import Context, Floats, Ints, Samples

META = {
    "kind": "method",
    "name": "scanorama",
    "class": "Scanorama",
    "deterministic": True,
    "level": "profile",
    "version": 1,
    "summary": "Training and evaluation batches joined by mutual nearest neighbours.",
    "reference": "Hie et al. 2019, Nature Biotechnology 37:685-691",
    "url": "https://doi.org/10.1038/s41587-019-0113-3",
    "access": ["train-batch", "adapt"],
    "hurts": ["scale", "covariance", "label-shift"],
}


@dataclass(frozen=True)
class ScanoramaParams:
    """Parameters of Scanorama, by the library's defaults."""

    level: str = param("", "batch level that is corrected; empty is the data set's default")
    n_components: int = param(
        100,
        "principal components of the standardised training rows",
        unit="components",
        low=1,
        high=2000,
        search=(20, 200),
        log=True,
    )
    knn: int = param(
        20, "neighbours that are looked at", unit="rows", low=1, high=10_000, search=(5, 50)
    )
    sigma: float = param(
        15.0,
        "sharpness of the kernel that spreads a correction",
        unit="per squared distance of rows of length 1",
        low=1e-3,
        high=1e4,
        search=(1.0, 100.0),
        log=True,
    )
    alpha: float = param(
        0.1,
        "batches with a smaller share of anchored rows are not joined",
        unit="share of rows",
        low=0.0,
        high=1.0,
        search=(0.0, 0.3),
    )


class Scanorama:
    """Scanorama through its library."""

    Params: ClassVar[type] = ScanoramaParams
    name = "scanorama"

    def __init__(self, params: ScanoramaParams) -> None:
        self.params = params
        self._names = np.array([], dtype=str)
        self._corrected: NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self._small = 0

    @classmethod
    def access(cls, params: ScanoramaParams) -> Access:
        """Return the training batches and the evaluation set with its batches."""
        return Access.TRAIN_BATCH | Access.ADAPT

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Join training rows ``(n, d)`` and evaluation rows ``(m, d)`` batch by batch.

        Raises
        ------
        NotApplicable
            If the library is not installed, all rows are of one batch, or no feature varies among
            the training rows.
        BenchError
            If there is no evaluation view.
        """
        X = profiles(train, self.name)
        _library(ctx.seed)
        if adapt is None:
            raise BenchError("scanorama needs the evaluation rows while fitting")
        T = profiles(adapt, self.name)
        ours, theirs = canonical(X, train.batch), canonical(T, adapt.batch)
        same = ours.key == theirs.key
        joint = [(X, train.ids, ours)] if same else [(X, train.ids, ours), (T, adapt.ids, theirs)]
        codes = np.concatenate([order.codes for _, _, order in joint])
        codes[len(ours.codes) :] += ours.codes.max(initial=-1) + 1
        several_batches(codes, self.name)
        components = Components.of(X[ours.rows], self.params.n_components, self.name)
        Z = np.concatenate([components.scores(part[order.rows]) for part, _, order in joint])
        sizes = np.bincount(codes)
        large = sizes >= self.params.knn
        if large.sum() < 2:
            raise NotApplicable(
                f"scanorama needs two batches of at least knn = {self.params.knn} rows and found "
                f"{int(large.sum())}: choose a higher level, or --set scanorama.knn=..."
            )
        self._small = int((~large).sum())
        self._corrected = join(Z, codes, large, self.params, ctx.seed)
        names = [ids[order.rows] for _, ids, order in joint]
        if same:
            names.append(adapt.ids[theirs.rows])
            self._corrected = np.concatenate([self._corrected, self._corrected])
        self._names = np.concatenate(names)

    def apply(self, samples: Samples) -> Output:
        """Return the joined components of rows that were part of the fit, ``(n, p)``.

        Raises
        ------
        BenchError
            For a row that was not part of the fit.
        """
        place = find_names(samples.ids, self._names)
        if (place < 0).any():
            raise BenchError(
                f"scanorama has not seen {int((place < 0).sum())} of {len(place)} rows while "
                "fitting: it cannot correct later rows; harmony-map can"
            )
        note = f"scanorama: {self._small} batches with fewer rows than knn were left as they are"
        return Output(self._corrected[place], notes=(note,) if self._small else ())

    def state(self) -> dict[str, NDArray[Any]]:
        """Names and joined components ``(n + m, p)`` of all rows; number of left-out batches."""
        return {
            "names": pack_names(self._names),
            "corrected": self._corrected,
            "small": np.array([self._small]),
        }

    @classmethod
    def from_state(cls, params: ScanoramaParams, state: Mapping[str, NDArray[Any]]) -> Scanorama:
        """Rebuild from :meth:`state`."""
        method = cls(params)
        method._names = unpack_names(state["names"])
        method._corrected = np.asarray(state["corrected"], np.float32)
        method._small = int(state["small"][0])
        return method


def join(
    Z: Floats, codes: Ints, large: NDArray[np.bool_], params: ScanoramaParams, seed: int
) -> NDArray[np.float32]:
    """Run the library on components ``(n, p)`` with batch numbers ``(n,)`` in growing order.

    Parameters
    ----------
    Z, codes
        The rows and their batches.
    large
        ``(n_batches,)`` which batches are joined; the others are only scaled to unit length.
    params, seed
        As given.

    Returns
    -------
    numpy.ndarray
        ``(n, p)`` float32; shape and values are checked.

    Raises
    ------
    BenchError
        If the output has an unexpected shape or values that are not finite.
    """
    length = np.linalg.norm(Z, axis=1, keepdims=True)
    unit = np.divide(Z, length, out=np.zeros_like(Z), where=length > 0).astype(np.float64)
    parts = np.split(unit, np.flatnonzero(np.diff(codes)) + 1)
    taking = np.flatnonzero(large)
    library = _library(seed)
    # The library prints whatever `verbose` says of some steps.
    with _global_generators_kept(seed), contextlib.redirect_stdout(io.StringIO()):
        made = library.assemble(
            [parts[k] for k in taking],
            verbose=False,
            knn=params.knn,
            sigma=params.sigma,
            alpha=params.alpha,
            approx=False,
        )
    for k, part in zip(taking, made, strict=True):
        parts[k] = part
    joined: NDArray[np.float32] = np.concatenate(parts).astype(np.float32)
    if joined.shape != Z.shape or not np.isfinite(joined).all():
        raise BenchError(
            f"scanorama's library returned an array of shape {joined.shape}, or not finite, for "
            f"{len(Z)} rows of {Z.shape[1]} components: install scanorama 1.7.4"
        )
    return joined


def _library(seed: int) -> Any:
    """Return the library, imported without leaving NumPy's global generator seeded.

    Raises
    ------
    NotApplicable
        If it is not installed.
    """
    with _global_generators_kept(seed):
        try:
            import scanorama
        except ImportError:
            raise NotApplicable(
                "scanorama needs its library, which is not here: pip install 'labshift[scanorama]'"
            ) from None
    return scanorama


@contextlib.contextmanager
def _global_generators_kept(seed: int) -> Iterator[None]:
    """Seed NumPy's and Python's global generators, and restore their states afterwards."""
    legacy, plain = np.random.get_state(), random.getstate()  # noqa: NPY002 - scanorama uses the global generator
    np.random.seed(seed % 2**32)  # noqa: NPY002 - scanorama uses the global generator
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(legacy)  # noqa: NPY002 - scanorama uses the global generator
        random.setstate(plain)
