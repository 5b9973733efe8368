"""The conformance kit: whether a method, or a data set, keeps the contract of ``bench.api``.

For the tests of anyone who writes a plugin::

    from bench.testing import check_method

    def test_my_method_keeps_the_contract():
        check_method("my-method")

Everything runs on small made-up data, in a second or two. A method that passes can be run, stored,
resumed and compared; whether it is any good is another question. The kit finds mistakes. It is no
proof against somebody who means to deceive.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import random
import sys
import traceback
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import (
    Access,
    AccessError,
    BenchError,
    Context,
    Opened,
    Output,
    Samples,
    generator,
    make_params,
    seed_for,
)
from bench.apply import apply_all, differs, grouping_of, undeclared_adaptation
from bench.data import Side, make_side
from bench.errors import RunFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from bench.registry import Registry

__all__ = ["Check", "check_dataset", "check_method", "made_up"]

KINDS = ("images", "profiles")
CLASSES = ("a", "b", "c")
TRAINING = {"p0": 24, "p1": 24, "p2": 24, "p3": 24}
TEST = {"p4": 22, "p5": 26, "p6": 24}
RAGGED = {"p0": 24, "p1": 24, "p2": 1, "p3": 2}
"""Rows of each plate of the made-up data; ragged ones train what meets small plates."""
_RECIPE = {"steps": 3, "batch_size": 16, "width": 4}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name
        What it was.
    ok
        Whether it held.
    message
        What is wrong and how to mend it; or a remark.
    """

    name: str
    ok: bool
    message: str = ""


class _Broken(Exception):
    """The contract is broken: what, and how to mend it."""


# --------------------------------------------------------------------------- made-up data


class _Rows:
    """Rows in memory."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values
        self.shape: tuple[int, ...] = values.shape[1:]
        self.dtype: np.dtype[Any] = values.dtype

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        return self._values[rows]


def made_up(kind: str = "profiles", plates: Mapping[str, int] | None = None) -> Opened:
    """Return a small data set in memory: three classes, controls, and a shift for each plate.

    Parameters
    ----------
    kind
        ``profiles``, (n, 6) float32; or ``images``, (n, 2, 18, 18) uint8.
    plates
        Number of rows by plate. By default 96 rows on four plates to train on and 72 on three to
        test on.

    Returns
    -------
    Opened
        Levels ``plate`` and ``week``; two rows a well; about a quarter of the wells are controls.
    """
    import pandas as pd

    if kind not in KINDS:
        raise BenchError(f"made-up data are {' or '.join(KINDS)}, not '{kind}'")
    sizes = {**TRAINING, **TEST} if plates is None else dict(plates)
    rng = generator("made-up", kind)
    rows = []
    for number, (plate, size) in enumerate(sizes.items()):
        for k in range(size):
            well = k // 2
            control = size > 3 and well % 4 == 0
            rows.append(
                {
                    "id": f"{plate}-row{k:02d}",
                    "label": "" if control else CLASSES[well % len(CLASSES)],
                    "control": control,
                    "plate": plate,
                    "week": f"w{number // 2}",
                    "well": f"{plate}-A{well:02d}",
                }
            )
    index = pd.DataFrame(rows)
    code = np.array([0 if row["control"] else 1 + CLASSES.index(row["label"]) for row in rows])
    on = np.unique(index["plate"].to_numpy(str), return_inverse=True)[1]
    gain, offset = rng.uniform(0.6, 1.6, len(sizes)), rng.normal(0, 1, len(sizes))
    values: NDArray[Any]
    if kind == "profiles":
        signature = 2 * rng.standard_normal((1 + len(CLASSES), 6))
        values = signature[code] + rng.standard_normal((len(rows), 6))
        values = (gain[on, None] * values + offset[on, None]).astype(np.float32)
    else:
        texture = rng.uniform(0, 1, (1 + len(CLASSES), 2, 18, 18))
        values = 60 * texture[code] + 20 * rng.uniform(0, 1, (len(rows), 2, 18, 18))
        values = values * gain[on, None, None, None] + 30 + 8 * offset[on, None, None, None]
        values = np.clip(values, 0, 255).astype(np.uint8)
    return Opened(
        name="made-up",
        index=index,
        source=_Rows(values),
        levels=("plate", "week"),
        level="plate",
        edition="fixture",
        digest=hashlib.sha256(values.tobytes()).hexdigest(),
        columns={"well": "well"},
    )


# --------------------------------------------------------------------------- methods


def check_method(
    method: str | type,
    *,
    values: Mapping[str, Any] | None = None,
    plugins: tuple[Path | str, ...] = (),
    registry: Registry | None = None,
    raises: bool = True,
) -> list[Check]:
    """Check that a method keeps the contract.

    Parameters
    ----------
    method
        Its name, or its class (whose module then holds the literal ``META``).
    values
        Parameters that differ from their defaults.
    plugins
        Plugin files to look the name up in, beside what is installed.
    registry
        Where to look the name up instead.
    raises
        Whether to raise when a check fails.

    Returns
    -------
    list of Check
        In the order in which they were made; what could not be reached is left out.

    Raises
    ------
    AssertionError
        If a check fails, with what is wrong and how to mend it.
    BenchError
        If there is no such method, it cannot be imported, or it is a reference row.
    """
    if isinstance(method, str):
        from bench.registry import Registry

        known = registry or Registry(tuple(Path(path) for path in plugins))
        entry = known.entry("method", method)
        if entry.meta["level"] == "reference":
            raise BenchError(
                f"{method} is a reference row that the harness makes itself: there is no method "
                "to check"
            )
        cls, meta, path = entry.load(), dict(entry.meta), entry.path
    else:
        cls = method
        module = sys.modules.get(cls.__module__)
        meta = dict(getattr(module, "META", {}) or {})
        if meta.get("class") != cls.__name__:
            meta = {}
        file = getattr(module, "__file__", None)
        path = Path(file) if file and meta else None
    checks = _MethodChecks(cls, meta, path, dict(values or {})).run()
    return _told(checks, str(meta.get("name") or cls.__name__), raises)


def _told(checks: list[Check], name: str, raises: bool) -> list[Check]:
    failed = [f"{check.name}: {check.message}" for check in checks if not check.ok]
    if raises and failed:
        raise AssertionError(f"{name} does not keep the contract:\n" + "\n".join(failed))
    return checks


class _Report:
    """Runs checks and keeps what they found."""

    def __init__(self) -> None:
        self.checks: list[Check] = []

    def look(self, name: str, check: Callable[[], str | None]) -> bool:
        """Run one check; it returns a remark or None, and raises what is wrong."""
        try:
            remark = check()
        except _Broken as broken:
            self.checks.append(Check(name, False, " ".join(str(broken).split())))
            return False
        self.checks.append(Check(name, True, remark or ""))
        return True


class _MethodChecks:
    def __init__(
        self, cls: Any, meta: dict[str, Any], path: Path | None, values: dict[str, Any]
    ) -> None:
        self.cls, self.meta, self.path, self.values = cls, meta, path, values
        self.name = str(meta.get("name") or cls.__name__)
        self.report = _Report()

    def run(self) -> list[Check]:
        look = self.report.look
        look("META", self._meta)
        if not look("interface", self._interface) or not look("Params", self._params):
            return self.report.checks
        if not look("access", self._access):
            return self.report.checks
        kinds = self._kinds()
        with _one_thread() if self._is_network() else nullcontext():
            for kind in kinds:
                params = make_params(self.name, self.cls.Params, self.values)
                prefix = f"{kind}: " if len(kinds) > 1 else ""
                trial = _Trial(self.cls, self.name, params, kind, self._is_network())
                trial.run(self.report, prefix)
            self._choices(kinds[-1])
        return self.report.checks

    def _kinds(self) -> tuple[str, ...]:
        """Return what the method is tried on: what stands first on both kinds, as it needs."""
        if self.meta.get("level") not in ("network", "classifier"):
            return ("profiles",)
        needs = getattr(self.cls, "needs", None)
        stated = (
            () if needs is None else needs(make_params(self.name, self.cls.Params, self.values))
        )
        return ("images",) if "images" in stated else KINDS

    def _is_network(self) -> bool:
        return bool(self.meta.get("level") == "network")

    # ------------------------------------------------------------------ what is written down

    def _meta(self) -> None:
        from bench.registry import check_meta

        meta = self.meta
        if not meta:
            raise _Broken(
                f"the module of {self.cls.__name__} has no META whose class is "
                f"'{self.cls.__name__}': `python -m bench new method NAME` writes one"
            )
        try:
            check_meta(meta, self.path.name if self.path else self.name)
        except BenchError as error:
            raise _Broken(str(error)) from None
        if meta["kind"] != "method":
            raise _Broken(f"kind is '{meta['kind']}', and this is a method")
        if meta["class"] != self.cls.__name__:
            raise _Broken(f"class is '{meta['class']}', but the class is {self.cls.__name__}")
        if self.path is not None and self.path.stem.replace("_", "-") != meta["name"]:
            stem = meta["name"].replace("-", "_")
            raise _Broken(
                f"the file is {self.path.name} and the name '{meta['name']}': one file a method, "
                f"named after it; rename the file to {stem}.py"
            )
        if meta["version"] < 1:
            raise _Broken("version counts from 1; raise it whenever numbers change")
        for key, noun in (
            ("summary", "one sentence"),
            ("reference", "a citation or 'unpublished'"),
        ):
            text = meta.get(key)
            if not isinstance(text, str) or not text.strip() or "\n" in text:
                raise _Broken(f"'{key}' is missing: give {noun} on one line")

    def _interface(self) -> None:
        for name in ("access", "fit", "apply", "state", "from_state"):
            if not callable(getattr(self.cls, name, None)):
                raise _Broken(f"{self.cls.__name__} has no {name}(): see bench.api.Method")
        if not isinstance(getattr(self.cls, "Params", None), type):
            raise _Broken(
                f"{self.cls.__name__} has no Params: a frozen dataclass, empty if there are none"
            )

    def _params(self) -> None:
        params = self.cls.Params
        made = getattr(params, "__dataclass_params__", None)
        if made is None or not made.frozen:
            raise _Broken("Params must be a frozen dataclass: @dataclass(frozen=True)")
        for one in dataclasses.fields(params):
            self._field(one)
        try:
            make_params(self.name, params, self.values)
        except BenchError as error:
            raise _Broken(str(error)) from None

    def _field(self, one: dataclasses.Field[Any]) -> None:
        meta, default = one.metadata, one.default
        if not {"doc", "phase", "search"} <= set(meta):
            raise _Broken(
                f"Params.{one.name} is no parameter of the harness: write "
                f'{one.name}: float = param(1.0, "what it does")'
            )
        if type(default) not in (bool, int, float, str):
            raise _Broken(f"the default of Params.{one.name} must be a bool, int, float or str")
        if not meta["doc"].strip():
            raise _Broken(f"Params.{one.name} needs a sentence: what it does, in which unit")

        def allowed(value: Any, what: str) -> None:
            try:
                made = make_params(self.name, self.cls.Params, {one.name: value})
            except BenchError as error:
                raise _Broken(f"{what} of Params.{one.name} is not allowed: {error}") from None
            if getattr(made, one.name) != value:
                raise _Broken(f"{what} of Params.{one.name} is of another type than its default")

        allowed(default, "the default")
        search = meta["search"]
        if search is None:
            return
        if not isinstance(search, tuple) or not search:
            raise _Broken(f"search of Params.{one.name} must be a tuple: (low, high) or the values")
        for value in search:
            allowed(value, f"the value {value!r} in the search space")
        if type(default) in (int, float):
            if len(search) != 2 or not search[0] < search[1]:
                raise _Broken(f"search of Params.{one.name} must be (low, high) with low < high")
            if meta["log"] and search[0] <= 0:
                raise _Broken(
                    f"Params.{one.name} is searched on a logarithm, so its search space must begin "
                    "above 0"
                )

    def _access(self) -> None:
        default = self._access_of({})
        if self.meta:
            words = sorted(self.meta.get("access", []))
            if words != sorted(default.words):
                raise _Broken(
                    f"META says {words}, access(default parameters) says {sorted(default.words)}: "
                    "make them equal"
                )
        for field, value in [*self._variants(), ("", None)]:
            given = {**self.values, field: value} if field else self.values
            access = self._access_of(given)
            if Access.TEST_CONTROLS in access and Access.CONTROLS not in access:
                raise _Broken(
                    "test-controls is declared without controls, so the method could not tell them "
                    "from other rows: add Access.CONTROLS"
                )

    def _access_of(self, given: dict[str, Any]) -> Access:
        params = make_params(self.name, self.cls.Params, given)
        access = _call("access(params)", lambda: self.cls.access(params))
        if not isinstance(access, Access):
            raise _Broken(f"access(params) returned a {type(access).__name__}, not an Access")
        return access

    def _variants(self) -> list[tuple[str, Any]]:
        """Return every choice that is not the default, one parameter at a time."""
        found: list[tuple[str, Any]] = []
        for one in dataclasses.fields(self.cls.Params):
            given = self.values.get(one.name, one.default)
            choices = one.metadata.get("choices") or ()
            if isinstance(one.default, bool):
                choices = (True, False)
            found += [(one.name, choice) for choice in choices if str(choice) != str(given)]
        return found

    def _choices(self, kind: str) -> None:
        """Run every other choice shortly: its access differs, so may its mistakes."""
        for field, value in self._variants():
            params = make_params(self.name, self.cls.Params, {**self.values, field: value})
            trial = _Trial(self.cls, self.name, params, kind, self._is_network())
            self.report.look(f"{field}={value}", trial.shortly)


class _Trial:
    """One method with one set of parameters on one kind of made-up data."""

    def __init__(self, cls: Any, name: str, params: Any, kind: str, is_network: bool) -> None:
        from bench.recipes import recipe_access, resolve

        self.cls, self.name, self.params, self.kind = cls, name, params, kind
        self.is_network = is_network
        self.recipe = resolve("smoke", kind, _RECIPE)
        self.access: Access = cls.access(params)
        if is_network:
            self.access |= recipe_access(self.recipe)
        self.per_batch = bool(self.access & (Access.TEST_BATCH | Access.TEST_CONTROLS))
        self.level = getattr(params, "level", "") or "plate"
        self.opened = made_up(kind)
        self.train = self._side(self.opened, TRAINING, labels=True)
        self.test = self._side(self.opened, TEST, labels=False)
        self.grouping = grouping_of(self.test.batch, self.per_batch)

    def _side(self, opened: Opened, plates: Mapping[str, int], *, labels: bool) -> Side:
        rows = np.flatnonzero(np.isin(opened.index["plate"].to_numpy(str), list(plates)))
        role = "train" if labels else "test"
        return make_side(opened, rows, CLASSES, self.level, "check", role, labels=labels)

    # ------------------------------------------------------------------ what is called

    def seen(self, side: Side, *, labels: bool = False) -> Samples:
        """Return a side as ``apply`` (or with labels ``fit``) sees it."""
        batches = Access.TRAIN_BATCH in self.access if labels else self.per_batch
        wells = labels and Access.TRAIN_WELL in self.access
        return side.view(self.access, batches=batches, labels=labels, wells=wells)

    def adapt(self) -> Samples | None:
        if Access.ADAPT not in self.access:
            return None
        return self.test.view(self.access, batches=True)

    def context(self) -> Context:
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
        return _call("fit", fitted, hint)

    def apply(self, method: Any, view: Samples) -> Output:
        """Return the output of one call."""
        from bench.data import check_part

        def applied() -> Output:
            output: Output = method.apply(view)
            check_part(output, len(view))
            return output

        output: Output = _call("apply", applied)
        return output

    def all(
        self, method: Any, view: Samples, side: Side | None = None, *, backwards: bool = False
    ) -> Output:
        """Return the output of all rows of a side (by default the evaluation side), as in a run."""
        grouping = grouping_of((side or self.test).batch, self.per_batch)
        if grouping is not None and backwards:
            grouping = grouping[::-1]
        output: Output = _call("apply", lambda: apply_all(method, self.access, view, grouping, 0))
        return output

    def calls(self) -> list[Samples]:
        """Return the evaluation view as ``apply`` gets it: whole batches, or one mixture."""
        view = self.seen(self.test)
        calls = [np.arange(len(view))] if self.grouping is None else self.grouping
        return [view.take(idx) for idx in calls]

    def rebuilt(self, state: Mapping[str, NDArray[Any]]) -> Any:
        """Return a method made from a state."""
        copied = {name: np.array(array) for name, array in state.items()}
        return _call("from_state", lambda: self.cls.from_state(self.params, copied))

    # ------------------------------------------------------------------ checks

    def run(self, report: _Report, prefix: str) -> None:
        """Run all checks; stop where nothing further can be looked at."""
        found: dict[str, Any] = {}

        def fits() -> None:
            found["method"] = self._fits()

        def gives() -> None:
            found["first"] = self._gives(found["method"])

        if not report.look(prefix + "fit", fits) or not report.look(prefix + "output", gives):
            return
        method, first = found["method"], found["first"]
        checks: list[tuple[str, Callable[[], str | None]]] = [
            ("row order", lambda: self._row_order(method)),
            ("determinism", lambda: self._determinism(first)),
            ("apply leaves no trace", lambda: self._unchanged(method)),
            ("state", lambda: self._state(method, first)),
            (
                "batches apart" if self.per_batch else "rows apart",
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

    def shortly(self) -> None:
        """Fit and apply, and hold the method to its access."""
        method = self._fits()
        self._apart(method, self._gives(method))

    def _fits(self) -> Any:
        train, adapt = self.seen(self.train, labels=True), self.adapt()
        before = [_bits_of(view) for view in (train, adapt) if view is not None]
        with _noise(0):
            method = self.fit(train, adapt)
        if before != [_bits_of(view) for view in (train, adapt) if view is not None]:
            raise _Broken("fit wrote into the samples: work on a copy, `samples.X.copy()`")
        return method

    def _gives(self, method: Any) -> Output:
        from bench.evaluate import check_output

        for side in (self.train, self.test):
            with _noise(0):
                first = self.all(method, self.seen(side), side)
            try:
                check_output(self.name, first, len(side), side.n_classes)
            except RunFailed as error:
                raise _Broken(str(error)) from error
        for note in first.notes:
            if not isinstance(note, str):
                raise _Broken("Output.notes must be sentences")
        return first

    def _row_order(self, method: Any) -> None:
        view = self.calls()[0]
        order = generator("check", "order").permutation(len(view))
        straight, turned = self.apply(method, view), self.apply(method, view.take(order))
        if differs(straight, turned, order):
            raise _Broken(
                "rows in another order get other values: row i of the output must belong to "
                "samples.ids[i], and nothing may depend on the order of the rows"
            )

    def _determinism(self, first: Output) -> None:
        with _noise(1):
            again = self.fit(self.seen(self.train, labels=True), self.adapt())
        with _noise(2):
            second = self.all(again, self.seen(self.test))
        if _bits(first) != _bits(second):
            raise _Broken(
                "two fits with the same seed differ: draw every random number from "
                "ctx.generator(...) in fit, none in apply, and do not iterate over sets"
            )

    def _unchanged(self, method: Any) -> None:
        view = self.calls()[0]
        samples, state, shared = _bits_of(view), _state_bits(method), _shared(self.cls)
        one = self.apply(method, view)
        if _bits_of(view) != samples:
            raise _Broken("apply wrote into the samples: work on a copy, `samples.X.copy()`")
        for other in self.calls():
            self.apply(method, other)
        two = self.apply(method, view)
        if _state_bits(method) != state:
            raise _Broken(
                "apply changed what state() returns: adapt a copy, and leave self as fit left it"
            )
        for name, value in _shared(self.cls).items():
            if shared.get(name, value) != value:
                raise _Broken(f"apply changed {name}, which all instances share: keep it in self")
        if _bits(one) != _bits(two):
            raise _Broken("the same rows get other values when apply is called again")

    def _state(self, method: Any, first: Output) -> None:
        from safetensors.numpy import load, save

        state = _call("state", method.state)
        if not isinstance(state, dict):
            raise _Broken(f"state() returned a {type(state).__name__}, not a dict of arrays")
        for name, array in state.items():
            if not isinstance(name, str) or not isinstance(array, np.ndarray):
                raise _Broken(f"state()[{name!r}] must be a numpy array under a str name")
            if array.dtype.kind not in "biuf":
                raise _Broken(
                    f"state()['{name}'] is {array.dtype}: only numbers and bools can be stored"
                )
        solid = {n: np.ascontiguousarray(a).reshape(a.shape) for n, a in state.items()}
        try:
            stored = load(save(solid))
        except Exception as error:  # noqa: BLE001 - whatever the library says is the finding
            raise _Broken(f"state() cannot be stored as safetensors: {error}") from None
        second = self.all(self.rebuilt(stored), self.seen(self.test))
        if _bits(first) != _bits(second):
            raise _Broken(
                "from_state(params, state()) gives other values: state() must hold all that fit "
                "learned, in full precision"
            )

    def _apart(self, method: Any, first: Output) -> None:
        state = _call("state", method.state)
        view = self.seen(self.test)
        sentence = _call(
            "apply",
            lambda: undeclared_adaptation(
                method, self.access, view, self.grouping, first, 0, lambda: self.rebuilt(state)
            ),
        )
        if sentence:
            raise _Broken(
                f"{sentence}: declare Access.TEST_BATCH, or use nothing of the other rows, and "
                "carry nothing from one call to the next"
            )
        if self.grouping is not None:
            backwards = self.all(self.rebuilt(state), view, backwards=True)
            if differs(first, backwards, np.arange(len(view))):
                raise _Broken(
                    "batches in another order get other values: carry nothing from one call of "
                    "apply to the next"
                )

    def _labels(self, method: Any) -> None:
        view = self.calls()[0]
        told = replace(view, y=np.arange(len(view), dtype=np.int64) % len(CLASSES))
        if _bits(self.apply(method, view)) != _bits(self.apply(method, told)):
            raise _Broken(
                "apply reads samples.y: labels are for fit alone, and are all -1 in a real run"
            )

    def _names(self, first: Output) -> None:
        sides = (self.train, self.test)
        names = np.unique(np.concatenate([self.seen(s, labels=True).batch for s in sides]))
        known = [*names, *np.unique(np.concatenate([self.seen(s).batch for s in sides]))]
        if (adapt := self.adapt()) is not None:
            known += [*np.unique(adapt.batch)]
        # Sorted batches keep their order: a sampler may number them by it.
        new = {old: f"{k:04d}-x" if old else "" for k, old in enumerate(sorted(set(known)))}

        def renamed(view: Samples) -> Samples:
            ids = [hashlib.sha256(f"other {name}".encode()).hexdigest()[:16] for name in view.ids]
            return replace(
                view, ids=np.asarray(ids), batch=np.asarray([new[name] for name in view.batch])
            )

        with _noise(0):
            method = self.fit(
                renamed(self.seen(self.train, labels=True)),
                None if adapt is None else renamed(adapt),
            )
            second = self.all(method, renamed(self.seen(self.test)))
        if differs(first, second, np.arange(len(first.X))):
            raise _Broken(
                "other ids or batch names give other values: names are opaque, salted for each "
                "run, and must carry nothing"
            )

    def _small(self, method: Any) -> str | None:
        view = self.seen(self.test)
        for idx in (self.test.controls, ~self.test.controls):
            lone = view.take(np.flatnonzero(idx)[:1])
            self._clean("apply on a batch of one row", partial(self.apply, method, lone))
        opened = made_up(self.kind, {**RAGGED, **TEST})
        train = self.seen(self._side(opened, RAGGED, labels=True), labels=True)
        remark = self._clean(
            "fit with batches of one and two rows", lambda: self.fit(train, self.adapt())
        )
        return None if remark is None else f"refused, in words: {remark}"

    def _clean(self, what: str, call: Callable[[], Any]) -> str | None:
        """Run a call that may refuse with a BenchError, and nothing else."""
        try:
            output = call()
        except _Broken as broken:
            refused = broken.__cause__
            if isinstance(refused, BenchError) and not isinstance(
                refused, (AccessError, RunFailed)
            ):
                return str(refused)
            raise _Broken(
                f"{what}: {broken}; give an answer (Output.fallbacks counts batches that were too "
                "small), or raise BenchError with a sentence"
            ) from None
        if isinstance(output, Output) and not np.isfinite(output.X).all():
            raise _Broken(f"{what} gave values that are not finite: fall back on training rows")
        return None

    def _gradients(self) -> str | None:
        from bench.network import NetworkMethod

        method = self.cls(self.params)
        if not isinstance(method, NetworkMethod):
            return "it trains in a loop of its own, so this was not looked at"
        from bench.training import untrained_parameters

        names = _call(
            "one training step",
            lambda: untrained_parameters(
                method, self.seen(self.train, labels=True), self.adapt(), self.context()
            ),
        )
        if names:
            raise _Broken(
                f"the first step gives no gradient to {', '.join(names)}: use it in the loss, or "
                "set requires_grad to False"
            )
        return None


# --------------------------------------------------------------------------- helpers


def _call(what: str, call: Callable[[], Any], hint: str = "") -> Any:
    """Run the plugin's code; whatever it raises becomes a finding that names the place."""
    try:
        return call()
    except _Broken:
        raise
    except AccessError as error:
        raise _Broken(
            f"{what} used what access(params) does not declare{_where(error)}: {error}"
        ) from error
    except RunFailed as error:
        raise _Broken(str(error)) from error
    except Exception as error:
        if "read-only" in str(error):
            hint = "; the samples are not yours to write into: work on a copy"
        if isinstance(error, BenchError):
            raise _Broken(f"{what} refused made-up data{_where(error)}: {error}") from error
        raise _Broken(
            f"{what} raised {type(error).__name__}{_where(error)}: {error}{hint}"
        ) from error


def _where(error: BaseException) -> str:
    """Return the last place outside the harness, as `` (file.py line 12)``."""
    package = Path(__file__).resolve().parent
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_file() and not path.resolve().is_relative_to(package):
            return f" ({path.name} line {frame.lineno})"
    return ""


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute in one thread: on so few rows several only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _noise(seed: int) -> Iterator[None]:
    """Move the global generators that nobody may use, and put them back."""
    legacy = np.random.get_state()  # noqa: NPY002 - it is this generator that is looked after
    plain = random.getstate()
    torch = sys.modules.get("torch")
    before = None if torch is None else torch.random.get_rng_state()
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    if torch is not None:
        torch.manual_seed(seed)
    try:
        yield
    finally:
        np.random.set_state(legacy)  # noqa: NPY002
        random.setstate(plain)
        if torch is not None:
            torch.random.set_rng_state(before)


def _bits(output: Output) -> tuple[bytes, bytes]:
    return output.X.tobytes(), b"" if output.logits is None else output.logits.tobytes()


def _bits_of(view: Samples) -> tuple[bytes, ...]:
    return tuple(a.tobytes() for a in (view.ids, view.y, view.batch, view.X) if a is not None)


def _state_bits(method: Any) -> dict[str, bytes]:
    state = _call("state", method.state)
    return {name: np.asarray(array).tobytes() for name, array in state.items()}


def _shared(cls: Any) -> dict[str, bytes]:
    """Return what the class and its module hold in plain containers, as bytes."""
    module = sys.modules.get(cls.__module__)
    found: dict[str, bytes] = {}
    for where, owner in (("class attribute", cls), ("global", module)):
        for name, value in vars(owner).items() if owner is not None else ():
            plain = (bool, int, float, str, list, dict, set, tuple, np.ndarray, type(None))
            if name.startswith("__") or not isinstance(value, plain):
                continue
            try:
                found[f"the {where} {name}"] = pickle.dumps(value)
            except (pickle.PicklingError, TypeError, AttributeError):
                continue
    return found


# --------------------------------------------------------------------------- data sets


def check_dataset(
    dataset: str | type,
    *,
    edition: str | None = None,
    settings: Mapping[str, Any] | None = None,
    plugins: tuple[Path | str, ...] = (),
    raises: bool = True,
) -> list[Check]:
    """Check that a data set keeps the contract; reads a few of its rows.

    Parameters
    ----------
    dataset
        Its name, or its class (whose module then holds the literal ``META``).
    edition
        The edition to open; by default the first that is here.
    settings
        Values of its settings, such as a simulator's.
    plugins
        Plugin files to look the name up in.
    raises
        Whether to raise when a check fails.

    Returns
    -------
    list of Check
        In the order in which they were made.

    Raises
    ------
    AssertionError
        If a check fails, with what is wrong and how to mend it.
    BenchError
        If there is no such data set, or it cannot be imported.
    """
    if isinstance(dataset, str):
        from bench.registry import Registry

        entry = Registry(tuple(Path(path) for path in plugins)).entry("dataset", dataset)
        cls, meta = entry.load(), dict(entry.meta)
    else:
        cls = dataset
        meta = dict(getattr(sys.modules.get(cls.__module__), "META", {}) or {})
    checks = _DatasetChecks(cls, meta, edition, dict(settings or {})).run()
    return _told(checks, str(meta.get("name") or cls.__name__), raises)


class _DatasetChecks:
    def __init__(
        self, cls: Any, meta: dict[str, Any], edition: str | None, settings: dict[str, Any]
    ) -> None:
        self.cls, self.meta, self.edition, self.settings = cls, meta, edition, settings
        self.report = _Report()
        self.dataset: Any = None
        self.opened: Any = None

    def run(self) -> list[Check]:
        look = self.report.look
        look("META", self._meta)
        if look("editions", self._editions) and look("open", self._open):
            look("index", self._index)
            look("rows", self._rows)
            look("digest", self._digest)
        return self.report.checks

    def _meta(self) -> None:
        from bench.registry import check_meta

        try:
            check_meta(self.meta, self.cls.__name__)
        except BenchError as error:
            raise _Broken(str(error)) from None
        if self.meta["kind"] != "dataset" or self.meta["class"] != self.cls.__name__:
            raise _Broken(f"kind must be 'dataset' and class '{self.cls.__name__}'")
        for key in ("summary", "reference", "licence"):
            if not isinstance(self.meta.get(key), str) or not self.meta[key].strip():
                raise _Broken(f"'{key}' is missing: give one line")
        for key in ("editions", "levels"):
            if not self.meta.get(key):
                raise _Broken(f"'{key}' is missing: list them")

    def _editions(self) -> None:
        settings = make_params("data", self.cls.Settings, self.settings)
        self.dataset = self.cls(settings)
        there = _call("editions", self.dataset.editions)
        unknown = set(there) - {"real", "simulated", "fixture"}
        if unknown or not set(there) <= set(self.meta.get("editions", there)):
            raise _Broken(f"editions() returned {there}: real, simulated, fixture, as META lists")
        if not there:
            raise _Broken("no edition is here: put the files where the data set looks for them")
        self.edition = self.edition or there[0]

    def _open(self) -> None:
        self.opened = _call("open", lambda: self.dataset.open(self.edition))
        if not isinstance(self.opened, Opened):
            raise _Broken(f"open() returned a {type(self.opened).__name__}, not Opened")
        if self.opened.edition != self.edition:
            raise _Broken(f"open('{self.edition}') says it is the {self.opened.edition} edition")
        if not self.opened.levels or self.opened.level not in self.opened.levels:
            raise _Broken("level must be one of levels, the batch levels, smallest first")

    def _index(self) -> None:
        index = self.opened.index
        for name in ("id", "label", "control", *self.opened.levels):
            if name not in index.columns:
                raise _Broken(f"the index has no column '{name}'")
        if not len(index):
            raise _Broken("the index has no rows")
        if index["id"].duplicated().any():
            raise _Broken(f"the id {index['id'][index['id'].duplicated()].iloc[0]} occurs twice")
        if index["control"].dtype != bool:
            raise _Broken("the column 'control' must be bool")
        for name in ("id", "label", *self.opened.levels):
            if not all(isinstance(value, str) for value in index[name]):
                raise _Broken(f"the column '{name}' must hold str, '' where there is none")
        if (index["label"][~index["control"]] != "").sum() == 0:
            raise _Broken("no row has a label")
        for role, column in self.opened.columns.items():
            if column not in index.columns:
                raise _Broken(f"the role '{role}' is column '{column}', which is not there")

    def _rows(self) -> None:
        source, n = self.opened.source, len(self.opened.index)
        if source.dtype not in (np.uint8, np.uint16, np.float32) or len(source.shape) not in (1, 3):
            raise _Broken(
                "rows are (C, H, W) or (d,) of uint8, uint16 or float32, not "
                f"{source.shape} {source.dtype}"
            )
        rows = generator("check", "rows").integers(0, n, 16)
        rows[:2] = 0, n - 1
        values = _call("read", lambda: source.read(rows))
        if values.shape != (len(rows), *source.shape) or values.dtype != source.dtype:
            raise _Broken(
                f"read() of {len(rows)} rows gave {values.shape} {values.dtype}, where "
                f"{(len(rows), *source.shape)} {source.dtype} is due"
            )
        if not np.isfinite(values.astype(np.float64)).all():
            raise _Broken("some values are not finite")
        singly = [_call("read", partial(source.read, rows[row : row + 1])) for row in (0, 1)]
        turned = _call("read", partial(source.read, rows[::-1].copy()))
        if not np.array_equal(turned[::-1], values) or not all(
            np.array_equal(one[0], values[k]) for k, one in enumerate(singly)
        ):
            raise _Broken("read() must return the rows in the order asked for, repeats included")
        if len(_call("read", lambda: source.read(rows[:0]))):
            raise _Broken("read() of no rows must return none")

    def _digest(self) -> None:
        again = _call("open", lambda: self.cls(self.dataset_settings()).open(self.edition))
        if not self.opened.digest or again.digest != self.opened.digest:
            raise _Broken("the digest must be a hex string of the content, equal at each opening")
        if list(again.index["id"]) != list(self.opened.index["id"]):
            raise _Broken("a second opening gives other rows")

    def dataset_settings(self) -> Any:
        return make_params("data", self.cls.Settings, self.settings)
