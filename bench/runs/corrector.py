"""A scikit-learn transformer over the corrections.

::

    from bench import Corrector

    corrector = Corrector("tvn").fit(X, batch=plates, controls=is_dmso)
    corrected = corrector.transform(X_new, batch=new_plates, controls=new_is_dmso)

It uses the same code path as a benchmark run: the same chain and the same views, so a method sees
only the inputs that it declares. Methods that act on one batch get one call per batch.
The output equals that of a run on the same rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from bench.core.access import Access
from bench.core.control_names import is_control_row
from bench.core.errors import BenchError
from bench.core.isolated import host
from bench.runs.adata import arrays_of, is_adata, stored
from bench.runs.chain import Chain, parse_chain
from bench.runs.isolation import of_stages
from bench.runs.rows import (
    applied,
    in_order,
    learned,
    partition_of,
    registry_of,
    require_controls,
    require_rows,
)
from bench.runs.similarity import Reference
from bench.training.recipes import resolve

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from bench.core.dataset import Opened
    from bench.core.types import Array, Arrays, Facts, JsonObject, Recipe
    from bench.runs.adata import Values
    from bench.runs.similarity import Similarity


class Corrector(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Transformer for any correction of profiles, or a chain of corrections.

    Methods that estimate from the batch that they correct (``zscore``, ``tvn``, ``combat``, …) get
    one batch of ``transform`` per call. A corrected row then depends on the other rows passed in
    the same call.

    Parameters
    ----------
    method
        Method or chain, such as ``tvn``, ``zscore+sphering`` or, with labels, ``erm+zscore``.
        Network methods train an MLP on the table.
    params
        Method parameters: ``{"variant": "efaar"}`` for the last method, or
        ``{"tvn.variant": "efaar"}``. ``python -m bench show method tvn`` lists them.
    recipe
        Overrides of the default recipe of network methods, such as ``{"steps": 200}``.
    seed
        Random seed of the methods.
    isolate
        Methods that run in processes of their own: those of ``plugins`` (files), ``all``, or
        ``none``, see :func:`bench.run`.

    Attributes
    ----------
    n_features_in_
        Number of columns seen in ``fit``.
    feature_names_in_
        Their names, if ``X`` has column names.
    classes_
        Classes of ``y``; empty if ``y`` was not passed.
    states_
        Fitted state of each stage, as arrays.
    fitted_
        The fitted method and parameters. Changing parameters has no effect until the next ``fit``.
    n_features_out_
        Number of columns returned.
    isolated_
        How the methods of others were isolated in ``fit``: ``bubblewrap``, ``process``, ``no``,
        or None for packaged methods in this process.
    fallbacks_
        Number of batches in ``fit`` that were too small, so the method's fallback was used.
    batches_, with_controls_, reference_
        Names of the batches in ``fit``, whether any row was a control, and a description of these
        batches for :meth:`compare`.

    Examples
    --------
    >>> import numpy as np
    >>> from bench import Corrector
    >>> X = np.array([[1.0, 2.0], [3.0, 4.0], [11.0, 2.0], [13.0, 4.0]])
    >>> corrector = Corrector("zscore", params={"rows": "all", "min_rows": 2})
    >>> corrector.fit_transform(X, batch=["a", "a", "b", "b"]).tolist()
    [[-1.0, -1.0], [1.0, 1.0], [-1.0, -1.0], [1.0, 1.0]]
    """

    def __init__(
        self,
        method: str = "sphering-all",
        *,
        params: Facts | None = None,
        recipe: Recipe | None = None,
        seed: int = 0,
        isolate: str = "plugins",
    ) -> None:
        self.method = method
        self.params = params
        self.recipe = recipe
        self.seed = seed
        self.isolate = isolate

    def fit(
        self,
        X: object,
        y: Values = None,
        *,
        batch: Values = None,
        controls: Values = None,
        X_adapt: object = None,
        batch_adapt: Values = None,
        controls_adapt: Values = None,
        use_rep: str | None = None,
    ) -> Self:
        """Fit on training rows.

        Parameters
        ----------
        X
            ``(n, d)`` profiles, finite, or AnnData: then ``y``, ``batch`` and ``controls`` may be
            names of columns of ``obs``.
        y
            ``(n,)`` classes, for network methods. Ignored by profile methods.
        batch
            ``(n,)`` batch names, such as plates, none missing. By default all rows are one batch.
        controls
            ``(n,)`` bool, true for negative controls. By default no row is a control.
        X_adapt, batch_adapt, controls_adapt
            Unlabelled rows for methods that adapt during fitting (``harmony``,
            ``coral-to-target``). By default these methods adapt to ``X``.
        use_rep
            Of an AnnData: array of ``obsm`` to use instead of ``X``.

        Raises
        ------
        ValueError
            If arrays have the wrong shape, the method or a parameter is unknown, or the method does
            not apply to the data.
        """
        self._fit(X, y, batch, controls, (X_adapt, batch_adapt, controls_adapt), use_rep)
        return self

    def fit_transform(
        self,
        X: object,
        y: Values = None,
        *,
        batch: Values = None,
        controls: Values = None,
        X_adapt: object = None,
        batch_adapt: Values = None,
        controls_adapt: Values = None,
        use_rep: str | None = None,
        key_added: str | None = None,
    ) -> NDArray[np.float32]:
        """Fit on training rows and return them corrected. Parameters are those of :meth:`fit`.

        Parameters
        ----------
        key_added
            Of an AnnData: also store the result in ``obsm`` under this name, such as ``X_tvn``.

        Returns
        -------
        ndarray
            ``(n, p)`` float32.
        """
        corrected = self._fit(
            X, y, batch, controls, (X_adapt, batch_adapt, controls_adapt), use_rep
        )
        return stored(X, corrected, key_added)

    def transform(
        self,
        X: object,
        *,
        batch: Values = None,
        controls: Values = None,
        use_rep: str | None = None,
        key_added: str | None = None,
    ) -> NDArray[np.float32]:
        """Return corrected rows, ``(n, p)`` float32. Parameters are those of :meth:`fit_transform`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If called before :meth:`fit`.
        ValueError
            If arrays have the wrong shape, or the method cannot correct the rows.
        """
        check_is_fitted(self, "states_")
        values, _, batch, controls = arrays_of(X, None, batch, controls, use_rep)
        rows: NDArray[np.float32] = validate_data(self, values, dtype=np.float32, reset=False)
        try:
            partition = partition_of(rows, batch, controls, None, self.seed)
            chain = self._chain(partition.opened, self.fitted_)
            for stage, state in zip(chain.stages, self.states_, strict=True):
                require_controls(stage, partition)
                method = stage.cls.from_state(stage.params, state)
                partition = partition.with_profiles(applied(method, stage, partition, self.seed).X)
        except BenchError as error:
            raise ValueError(str(error)) from error
        finally:
            host.close_all()
        return stored(X, in_order(partition), key_added)

    def compare(
        self, X: object, *, batch: Values = None, controls: Values = None
    ) -> list[Similarity]:
        """Return how far each batch is from the batches in ``fit``, by their controls.

        All rows are compared if no row in ``fit`` was a control. Batches without a control are left
        out otherwise. Parameters are those of :meth:`fit`.
        """
        check_is_fitted(self, "states_")
        values, _, batch, controls = arrays_of(X, None, batch, controls, None)
        rows: NDArray[np.float32] = validate_data(self, values, dtype=np.float32, reset=False)
        partition = partition_of(rows, batch, controls, None, self.seed)
        kept = partition.controls if self.with_controls_ else np.ones(len(rows), bool)
        if not kept.any():
            return []
        return self.reference_.compare(rows[partition.rows][kept], partition.batch[kept])

    def save(self, path: Path | str) -> None:
        """Write the fitted correction to a file in the safetensors format, which has no code.

        Raises
        ------
        BenchError
            If the method corrects the rows in ``fit`` only, or the file cannot be written.
        """
        from bench.runs.saved import write_corrector

        check_is_fitted(self, "states_")
        write_corrector(self, path)

    @classmethod
    def load(cls, path: Path | str, *, isolate: str = "plugins") -> Corrector:
        """Return the fitted correction of a file written by :meth:`save` or ``bench fit``.

        Parameters
        ----------
        isolate
            As of the class.

        Raises
        ------
        BenchError
            If the file is damaged or of a later version, or a method has changed since.
        """
        from bench.runs.saved import read_corrector

        return read_corrector(path, isolate)[0]

    @property
    def chain_(self) -> Chain:
        """The fitted methods with their parameters."""
        check_is_fitted(self, "states_")
        empty = np.zeros((1, self.n_features_in_), np.float32)
        return self._chain(partition_of(empty, None, None, None, self.seed).opened, self.fitted_)

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - scikit-learn has no types
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.target_tags.required = self._headed()
        return tags

    @property
    def _n_features_out(self) -> int:
        return int(self.n_features_out_)

    def _fit(
        self,
        X: object,
        y: Values,
        batch: Values,
        controls: Values,
        adapt: tuple[object, Values, Values],
        use_rep: str | None,
    ) -> NDArray[np.float32]:
        try:
            X, y, batch, controls = arrays_of(X, y, batch, controls, use_rep)
            other, _, *columns = arrays_of(
                adapt[0], None, *adapt[1:], use_rep if is_adata(adapt[0]) else None
            )
            headed = self._headed(strict=True)
            if headed and y is None:
                # Raise scikit-learn's standard message first, because callers match on it.
                raise ValueError(
                    f"This Corrector estimator requires y to be passed, but the target y is None: "
                    f"{self.method} is trained on classes"
                )
            arrays = (X, y) if headed else (X,)
            checked = validate_data(self, *arrays, dtype=np.float32, ensure_min_samples=2)
            rows: NDArray[np.float32] = checked[0] if headed else checked
            labels = None
            if headed:
                check_classification_targets(checked[1])
                labels = column_or_1d(checked[1])
            return self._fitted(rows, labels, batch, controls, (other, columns[0], columns[1]))
        except BenchError as error:
            raise ValueError(str(error)) from error
        finally:
            host.close_all()

    def _fitted(
        self,
        X: NDArray[np.float32],
        labels: Array | None,
        batch: ArrayLike | None,
        controls: ArrayLike | None,
        adapt: tuple[object, ArrayLike | None, ArrayLike | None],
    ) -> NDArray[np.float32]:
        classes = np.unique(labels) if labels is not None else np.array([])
        train = partition_of(X, batch, controls, labels, self.seed)
        chain = self._chain(train.opened)
        other = train
        if adapt[0] is not None:
            other_X = validate_data(self, adapt[0], dtype=np.float32, reset=False)
            other = partition_of(other_X, adapt[1], adapt[2], None, self.seed)
        self.batches_, self.with_controls_ = np.unique(train.batch), bool(train.controls.any())
        compared = train.controls if self.with_controls_ else np.ones(len(X), bool)
        self.reference_ = Reference.of(X[train.rows][compared], train.batch[compared])
        adapts = any(Access.ADAPT in stage.access for stage in chain.stages)
        states: list[Arrays] = []
        fallbacks = 0
        for k, stage in enumerate(chain.stages):
            require_controls(stage, train)
            require_rows(stage)
            method = learned(
                stage, train, other, self.recipe, self.seed, supervised=labels is not None
            )
            states.append({name: array.copy() for name, array in method.state().items()})
            output = applied(method, stage, train, self.seed)
            fallbacks = max(fallbacks, output.fallbacks)
            if adapts and k + 1 < len(chain.stages):
                other = other.with_profiles(applied(method, stage, other, self.seed).X)
            train = train.with_profiles(output.X)
        self.classes_ = classes
        self.states_ = states
        self.isolated_ = of_stages(chain.stages)
        self.fallbacks_ = fallbacks
        self.fitted_ = (self.method, dict(self.params or {}))
        out = in_order(train)
        self.n_features_out_ = out.shape[1]
        return out

    def _headed(self, *, strict: bool = False) -> bool:
        """Whether a stage trains on classes. Unknown methods raise in ``fit`` only."""
        try:
            registry = registry_of(self.isolate)
            entries = [registry.entry("method", name.strip()) for name in self.method.split("+")]
            networks = [e for e in entries if e.meta["level"] in ("network", "classifier")]
            return any(getattr(entry.load(), "has_head", True) for entry in networks)
        except (BenchError, AttributeError):
            if strict:
                raise
            return False

    def _chain(self, opened: Opened, fitted: tuple[str, Facts] | None = None) -> Chain:
        """Return the fitted chain, or the chain of the current parameters."""
        typed, params = fitted or (self.method, self.params or {})
        values: dict[str, JsonObject] = {}
        for key, value in params.items():
            owner, _, name = str(key).rpartition(".")
            values.setdefault(owner or typed.split("+")[-1].strip(), {})[name] = value
        stages = {name.strip() for name in typed.split("+")}
        if unknown := sorted(set(values) - stages):
            raise BenchError(f"params name '{unknown[0]}', which is no stage of {typed}")
        recipe = resolve("default", "profiles", dict(self.recipe or {}))
        chain = parse_chain(typed, registry_of(self.isolate), opened, values, recipe)
        if is_control_row(chain.stages[0].kind) and chain.stages[0].name != "identity":
            raise BenchError(
                f"{typed} is a control row, not a correction: use a profile method, or identity"
            )
        return chain
