"""One trial of a method on synthetic data."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.access import Access
from bench.core.errors import AccessError, BenchError, RunFailed
from bench.core.method import Context
from bench.core.seeds import generator, seed_for
from bench.data.views import Partition, make_partition
from bench.runs.apply import apply_all, differs, grouping_of, undeclared_adaptation
from bench.testing.synthetic import (
    CLASSES,
    RAGGED,
    TEST,
    TRAINING,
    Broken,
    Report,  # TC
    bits,
    bits_of,
    call_checked,
    call_or_refusal,
    noise,
    shared_memory,
    state_bits,
    synthetic_data,
)
from bench.testing.tables import NAN, unusable_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.core.dataset import Opened
    from bench.core.samples import Output, Samples
    from bench.core.types import Array, JsonObject

_RECIPE = {"steps": 3, "batch_size": 16, "width": 4}


class Trial:
    """One method with one set of parameters on one kind of synthetic data."""

    def __init__(self, cls: Any, name: str, params: Any, kind: str, is_network: bool) -> None:
        from bench.training.recipes import recipe_access, resolve

        self.cls, self.name, self.params, self.kind = cls, name, params, kind
        self.is_network = is_network
        self.recipe = resolve("smoke", kind, _RECIPE)
        self.access: Access = cls.access(params)
        if is_network:
            self.access |= recipe_access(self.recipe)
        self.per_batch = bool(self.access & (Access.TEST_BATCH | Access.TEST_CONTROLS))
        self.level = getattr(params, "level", "") or "plate"
        self.opened = synthetic_data(kind)
        self.train = self._partition(self.opened, TRAINING, labels=True)
        self.test = self._partition(self.opened, TEST, labels=False)
        self.grouping = grouping_of(self.test.batch, self.per_batch)

    def _partition(self, opened: Opened, plates: Mapping[str, int], *, labels: bool) -> Partition:
        rows = np.flatnonzero(np.isin(opened.index["plate"].to_numpy(str), list(plates)))
        role = "train" if labels else "test"
        return make_partition(opened, rows, CLASSES, self.level, "check", role, labels=labels)

    def seen(self, partition: Partition, *, labels: bool = False) -> Samples:
        """Return a side as seen by ``apply``, or by ``fit`` if ``labels``."""
        batches = Access.TRAIN_BATCH in self.access if labels else self.per_batch
        wells = labels and Access.TRAIN_WELL in self.access
        return partition.view(self.access, batches=batches, labels=labels, wells=wells)

    def adapt(self) -> Samples | None:
        """Return the evaluation view for ADAPT methods, otherwise None."""
        if Access.ADAPT not in self.access:
            return None
        return self.test.view(self.access, batches=True)

    def context(self) -> Context:
        """Return the context passed to ``fit``."""
        return Context(seed=seed_for("check", self.name), recipe=dict(self.recipe))

    def fit(self, train: Samples, adapt: Samples | None) -> Any:
        """Return a fitted method."""

        def fitted() -> Any:
            method = self.cls(self.params)
            method.fit(train, adapt, self.context())
            return method

        hint = ""
        if adapt is None:
            hint = "; `adapt` is None unless Access.ADAPT is declared"
        return call_checked("fit", fitted, hint)

    def apply(self, method: Any, view: Samples) -> Output:
        """Return the output of one call."""
        from bench.runs.apply import check_part

        def applied() -> Output:
            output: Output = method.apply(view)
            check_part(output, len(view))
            return output

        output: Output = call_checked("apply", applied)
        return output

    def all(
        self,
        method: Any,
        view: Samples,
        partition: Partition | None = None,
        *,
        backwards: bool = False,
    ) -> Output:
        """Return the output for all rows of a side (default: evaluation side), as in a run."""
        grouping = grouping_of((partition or self.test).batch, self.per_batch)
        if grouping is not None and backwards:
            grouping = grouping[::-1]
        output: Output = call_checked("apply", lambda: apply_all(method, view, grouping, 0))
        return output

    def calls(self) -> list[Samples]:
        """Return the evaluation views passed to ``apply``: complete batches, or one mixture."""
        view = self.seen(self.test)
        calls = [np.arange(len(view))] if self.grouping is None else self.grouping
        return [view.take(idx) for idx in calls]

    def rebuilt(self, state: Mapping[str, Array]) -> Any:
        """Return a method rebuilt from a state."""
        copied = {name: np.array(array) for name, array in state.items()}
        return call_checked("from_state", lambda: self.cls.from_state(self.params, copied))

    def run(self, report: Report, prefix: str) -> None:
        """Run all checks, except those that depend on a failed check."""
        results: JsonObject = {}

        def fits() -> None:
            results["method"] = self._fits()

        def gives() -> None:
            results["first"] = self._gives(results["method"])

        if not report.look(prefix + "fit", fits) or not report.look(prefix + "output", gives):
            return
        method, first = results["method"], results["first"]
        checks: list[tuple[str, Callable[[], str | None]]] = [
            ("row order", lambda: self._row_order(method)),
            ("determinism", lambda: self._determinism(first)),
            ("side effects", lambda: self._unchanged(method)),
            ("state", lambda: self._state(method, first)),
            (
                "independent batches" if self.per_batch else "independent rows",
                lambda: self._apart(method, first),
            ),
            ("labels", lambda: self._labels(method)),
            ("names", lambda: self._names(first)),
            ("small batches", lambda: self._small(method)),
        ]
        if self.is_network:
            checks.append(("gradients", self._gradients))
        for name, check in checks:
            report.look(prefix + name, check)

    def refuses(self) -> str | None:
        """Check that tables that cannot be corrected raise or return finite values."""
        remarks = []
        for name, opened in unusable_tables().items():
            self.opened = opened
            self.train = self._partition(opened, TRAINING, labels=True)
            self.test = self._partition(opened, TEST, labels=False)
            self.grouping = grouping_of(self.test.batch, self.per_batch)
            try:
                output = self.all(self._fits(), self.seen(self.test))
            except (Broken, BenchError) as error:
                refusal = error.__cause__ if isinstance(error, Broken) else error
                if not isinstance(refusal, BenchError) or isinstance(refusal, AccessError):
                    raise Broken(
                        f"{name}: {error}; raise BenchError with a one-line message"
                    ) from None
                if "\n" in str(refusal):
                    raise Broken(f"{name}: the message has several lines: {refusal}") from None
                remarks.append(name)
                continue
            if name == NAN:
                raise Broken(
                    f"{name}: it is not refused; raise BenchError if a value is not finite"
                )
            if not np.isfinite(output.X).all():
                raise Broken(
                    f"{name}: the output is not finite; use a fallback or raise BenchError"
                )
        return f"raises for: {', '.join(remarks)}" if remarks else None

    def shortly(self) -> str | None:
        """Fit and apply, and check the method's access; it may require other data."""
        try:
            method = self._fits()
            self._apart(method, self._gives(method))
        except Broken as broken:
            refusal = broken.__cause__
            if isinstance(refusal, BenchError) and not isinstance(
                refusal, (AccessError, RunFailed)
            ):
                return f"not checked: {refusal}"
            raise
        return None

    def _fits(self) -> Any:
        train, adapt = self.seen(self.train, labels=True), self.adapt()
        before = [bits_of(view) for view in (train, adapt) if view is not None]
        with noise(0):
            method = self.fit(train, adapt)
        if before != [bits_of(view) for view in (train, adapt) if view is not None]:
            raise Broken("fit wrote into the samples: work on a copy, `samples.X.copy()`")
        return method

    def _gives(self, method: Any) -> Output:
        from bench.scoring.result import check_output

        for partition in (self.train, self.test):
            with noise(0):
                first = self.all(method, self.seen(partition), partition)
            try:
                check_output(self.name, first, len(partition), partition.n_classes)
            except RunFailed as error:
                raise Broken(str(error)) from error
        for note in first.notes:
            if not isinstance(note, str):
                raise Broken("Output.notes must be sentences")
        return first

    def _row_order(self, method: Any) -> None:
        view = self.calls()[0]
        order = generator("check", "order").permutation(len(view))
        straight, turned = self.apply(method, view), self.apply(method, view.take(order))
        if differs(straight, turned, order):
            raise Broken(
                "the output depends on the order of rows: row i of the output must belong to "
                "samples.ids[i]"
            )

    def _determinism(self, first: Output) -> None:
        with noise(1):
            again = self.fit(self.seen(self.train, labels=True), self.adapt())
        with noise(2):
            second = self.all(again, self.seen(self.test))
        if bits(first) != bits(second):
            raise Broken(
                "two fits with the same seed differ: draw every random number from "
                "ctx.generator(...) in fit, none in apply, and do not iterate over sets"
            )

    def _unchanged(self, method: Any) -> None:
        view = self.calls()[0]
        samples, state, shared = bits_of(view), state_bits(method), shared_memory(self.cls)
        first = self.apply(method, view)
        if bits_of(view) != samples:
            raise Broken("apply wrote into the samples: work on a copy, `samples.X.copy()`")
        for other in self.calls():
            self.apply(method, other)
        second = self.apply(method, view)
        if state_bits(method) != state:
            raise Broken("apply changed the state: adapt a copy and do not modify self")
        for name, value in shared_memory(self.cls).items():
            if shared.get(name, value) != value:
                raise Broken(
                    f"apply changed {name}, which is shared by all instances: store it in self"
                )
        if bits(first) != bits(second):
            raise Broken("a second call of apply on the same rows returns other values")

    def _state(self, method: Any, first: Output) -> None:
        from safetensors.numpy import load, save

        state = call_checked("state", method.state)
        if not isinstance(state, dict):
            raise Broken(f"state() returned a {type(state).__name__}, not a dict of arrays")
        for name, array in state.items():
            if not isinstance(name, str) or not isinstance(array, np.ndarray):
                raise Broken(f"state()[{name!r}] must be a numpy array under a str name")
            if array.dtype.kind not in "biuf":
                raise Broken(
                    f"state()['{name}'] is {array.dtype}: only numbers and bools can be stored"
                )
        solid = {n: np.ascontiguousarray(a).reshape(a.shape) for n, a in state.items()}
        try:
            stored = load(save(solid))
        except Exception as error:  # noqa: BLE001 - any exception is a failed check
            raise Broken(f"state() cannot be stored as safetensors: {error}") from None
        second = self.all(self.rebuilt(stored), self.seen(self.test))
        if bits(first) != bits(second):
            raise Broken(
                "from_state(params, state()) changes the output: state() must contain everything "
                "that fit learned, in full precision"
            )

    def _apart(self, method: Any, first: Output) -> None:
        state = call_checked("state", method.state)
        view = self.seen(self.test)
        sentence = call_checked(
            "apply",
            lambda: undeclared_adaptation(
                method, self.access, view, self.grouping, first, 0, lambda: self.rebuilt(state)
            ),
        )
        if sentence:
            raise Broken(
                f"{sentence}: declare Access.TEST_BATCH, or do not use other rows or store "
                "anything between calls"
            )
        if self.grouping is not None:
            backwards = self.all(self.rebuilt(state), view, backwards=True)
            if differs(first, backwards, np.arange(len(view))):
                raise Broken(
                    "the output depends on the order of batches: apply must not store anything "
                    "between calls"
                )

    def _labels(self, method: Any) -> None:
        view = self.calls()[0]
        labelled = replace(view, y=np.arange(len(view), dtype=np.int64) % len(CLASSES))
        if bits(self.apply(method, view)) != bits(self.apply(method, labelled)):
            raise Broken(
                "apply reads samples.y: labels are available to fit only, and are all -1 in a run"
            )

    def _names(self, first: Output) -> None:
        partitions = (self.train, self.test)
        batches = np.unique(np.concatenate([self.seen(s, labels=True).batch for s in partitions]))
        names = [*batches, *np.unique(np.concatenate([self.seen(s).batch for s in partitions]))]
        if (adapt := self.adapt()) is not None:
            names += [*np.unique(adapt.batch)]
        # Preserve the order of sorted batch names, since samplers may number batches by it.
        new = {old: f"{k:04d}-x" if old else "" for k, old in enumerate(sorted(set(names)))}

        def renamed(view: Samples) -> Samples:
            ids = [hashlib.sha256(f"other {name}".encode()).hexdigest()[:16] for name in view.ids]
            return replace(
                view, ids=np.asarray(ids), batch=np.asarray([new[name] for name in view.batch])
            )

        with noise(0):
            method = self.fit(
                renamed(self.seen(self.train, labels=True)),
                None if adapt is None else renamed(adapt),
            )
            second = self.all(method, renamed(self.seen(self.test)))
        if differs(first, second, np.arange(len(first.X))):
            raise Broken(
                "the output depends on ids or batch names: they are opaque and differ between runs"
            )

    def _small(self, method: Any) -> str | None:
        view = self.seen(self.test)
        for idx in (self.test.controls, ~self.test.controls):
            lone = view.take(np.flatnonzero(idx)[:1])
            call_or_refusal("apply on a batch of one row", partial(self.apply, method, lone))
        opened = synthetic_data(self.kind, {**RAGGED, **TEST})
        train = self.seen(self._partition(opened, RAGGED, labels=True), labels=True)
        remark = call_or_refusal(
            "fit with batches of one and two rows", lambda: self.fit(train, self.adapt())
        )
        return None if remark is None else f"raises: {remark}"

    def _gradients(self) -> str | None:
        from bench.training.method import NetworkMethod

        method = self.cls(self.params)
        if not isinstance(method, NetworkMethod):
            return "skipped: the method does not use the training loop of labshift"
        from bench.training.loop import untrained_parameters

        names = call_checked(
            "one training step",
            lambda: untrained_parameters(
                method, self.seen(self.train, labels=True), self.adapt(), self.context()
            ),
        )
        if names:
            raise Broken(
                f"no gradient in the first step: {', '.join(names)}; use it in the loss or set "
                "requires_grad to False"
            )
        return None
