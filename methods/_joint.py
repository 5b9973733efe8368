"""Training and evaluation batches corrected together, for methods of other libraries.

A batch with rows on both sides counts as two, one per side; if both sides have the same rows (a
split without training), they are used once. Rows are put into an order that depends on their
contents alone, since libraries start from a seed and the order of the rows.
"""

from __future__ import annotations

import contextlib
import importlib
import random
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from bench.api import Access, BenchError, NotApplicable, Output, param

from ._harmony import canonical, several_batches
from ._rows import find_names, pack_names, profiles, unpack_names
from ._whitening import Components

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

    from numpy.typing import NDArray

    from bench.api import Bools, Context, Floats, Ints, Samples


@dataclass(frozen=True)
class ComponentParams:
    """Parameters of methods that correct principal components."""

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


@dataclass(frozen=True, eq=False)
class JointRows:
    """Rows to correct together.

    Attributes
    ----------
    X
        ``(n, d)`` float32 in canonical order, training rows first.
    codes
        ``(n,)`` numbers of their batches, not decreasing.
    names
        ``(n,)`` ids.
    n_train
        Number of training rows.
    controls
        ``(n,)`` which rows are negative controls; all False unless requested.
    again
        Ids of evaluation rows that are the training rows, in the same order; empty otherwise.
    """

    X: Floats
    codes: Ints
    names: NDArray[np.str_]
    n_train: int
    controls: Bools
    again: NDArray[np.str_]


def joint_rows(
    train: Samples, adapt: Samples | None, name: str, *, controls: bool = False
) -> JointRows:
    """Return training and evaluation rows in canonical order.

    Raises
    ------
    NotApplicable
        If all rows are of one batch.
    BenchError
        If there is no evaluation view.
    """
    X = profiles(train, name)
    if adapt is None:
        raise BenchError(f"{name} needs the evaluation rows while fitting")
    T = profiles(adapt, name)
    ours, theirs = canonical(X, train.batch), canonical(T, adapt.batch)
    same = ours.key == theirs.key
    sides = [(train, X, ours)] if same else [(train, X, ours), (adapt, T, theirs)]
    codes = np.concatenate([order.codes for *_, order in sides])
    codes[len(ours.codes) :] += ours.codes.max(initial=-1) + 1
    several_batches(codes, name)
    masks = [
        samples.controls()[order.rows] if controls else np.zeros(len(order.rows), bool)
        for samples, _, order in sides
    ]
    return JointRows(
        np.concatenate([part[order.rows] for _, part, order in sides]),
        codes,
        np.concatenate([samples.ids[order.rows] for samples, _, order in sides]),
        len(ours.codes),
        np.concatenate(masks),
        adapt.ids[theirs.rows] if same else train.ids[:0],
    )


class Joint(ABC):
    """A correction of training and evaluation rows together; subclasses define ``corrected``."""

    Params: ClassVar[type]
    name: ClassVar[str]

    def __init__(self, params: Any) -> None:
        self.params = params
        self._names = np.array([], dtype=str)
        self._corrected: Floats = np.zeros((0, 0), np.float32)

    @classmethod
    def access(cls, params: Any) -> Access:
        """Return the training batches and the evaluation set with its batches."""
        return Access.TRAIN_BATCH | Access.ADAPT

    def needs_controls(self) -> bool:
        """Whether ``corrected`` needs to know which rows are negative controls."""
        return False

    @abstractmethod
    def corrected(self, rows: JointRows, seed: int) -> NDArray[Any]:
        """Return the corrected rows ``(n, q)``."""

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Correct training rows ``(n, d)`` and evaluation rows ``(m, d)`` together.

        Raises
        ------
        NotApplicable
            If the library is not installed, or all rows are of one batch.
        BenchError
            If there is no evaluation view, or the library returns other shapes or values that are
            not finite.
        """
        rows = joint_rows(train, adapt, self.name, controls=self.needs_controls())
        result = np.asarray(self.corrected(rows, ctx.seed), np.float32)
        if result.ndim != 2 or len(result) != len(rows.X) or not np.isfinite(result).all():
            raise BenchError(
                f"{self.name}: its library returned an array of shape {result.shape}, or values "
                f"that are not finite, for {len(rows.X)} rows: install the version that the extra "
                "names, or report it"
            )
        self._names = np.concatenate([rows.names, rows.again])
        self._corrected = np.concatenate([result, result[: len(rows.again)]])

    def apply(self, samples: Samples) -> Output:
        """Return the corrected rows, ``(n, q)``, which must have been there at fit.

        Raises
        ------
        BenchError
            For a row that was not there.
        """
        place = find_names(samples.ids, self._names)
        if (place < 0).any():
            raise BenchError(
                f"{self.name} has not seen {int((place < 0).sum())} of {len(place)} rows while "
                "fitting: it cannot correct later rows; harmony-map can"
            )
        return Output(self._corrected[place])

    def state(self) -> dict[str, NDArray[Any]]:
        """Names and corrected values ``(n + m, q)`` of all rows."""
        return {"names": pack_names(self._names), "corrected": self._corrected}

    @classmethod
    def from_state(cls, params: Any, state: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild from :meth:`state`."""
        method = cls(params)
        method._names = unpack_names(state["names"])
        method._corrected = np.asarray(state["corrected"], np.float32)
        return method


def components_of(rows: JointRows, n: int, name: str) -> Floats:
    """Return ``(n, p)`` scores in the principal components of the standardised training rows."""
    return Components.of(rows.X[: rows.n_train], n, name).scores(rows.X)


def standardised(rows: JointRows, name: str) -> Floats:
    """Return ``(n, q)`` features with mean 0 and variance 1 among training rows.

    Features that are constant among them are left out.

    Raises
    ------
    NotApplicable
        If none varies.
    """
    train = rows.X[: rows.n_train].astype(np.float64)
    mean, sd = train.mean(axis=0), train.std(axis=0)
    used = sd > 1e-6 * np.maximum(np.abs(mean), 1e-6)
    if not used.any():
        raise NotApplicable(f"{name} needs a feature that varies among the training rows")
    result: Floats = ((rows.X[:, used] - mean[used]) / sd[used]).astype(np.float32)
    return result


def library(module: str, method: str, extra: str) -> ModuleType:
    """Import a library of an extra.

    Raises
    ------
    NotApplicable
        If it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise NotApplicable(
            f"{method} needs {error.name or module}, which is not installed: "
            f"pip install 'labshift[{extra}]'"
        ) from None


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed all global generators and restore them; warnings of the library are ignored."""
    import torch

    legacy, plain = np.random.get_state(), random.getstate()  # noqa: NPY002 - used by libraries
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.random.seed(seed % 2**32)  # noqa: NPY002 - used by libraries
        random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            np.random.set_state(legacy)  # noqa: NPY002 - used by libraries
            random.setstate(plain)
