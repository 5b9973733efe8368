"""Conformance checks of a method."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.access import Access
from bench.core.control_names import is_control_row
from bench.core.errors import BenchError
from bench.core.params import make_params
from bench.core.registry import registry_with
from bench.testing.synthetic import (
    KINDS,
    Broken,
    Check,  # TC
    Report,
    call_checked,
    check_texts,
    one_thread,
    raise_failed,
)
from bench.testing.trial import Trial

if TYPE_CHECKING:
    from bench.core.registry import Registry
    from bench.core.types import Facts, JsonObject


def check_method(
    method: str | type,
    *,
    values: Facts | None = None,
    plugins: tuple[Path | str, ...] = (),
    registry: Registry | None = None,
    raises: bool = True,
) -> list[Check]:
    """Check that a method follows the interface.

    Parameters
    ----------
    method
        Name, or class. The module of the class must contain the literal ``META``.
    values
        Parameters that differ from their defaults.
    plugins
        Plugin files to search for the name, in addition to installed methods.
    registry
        Registry used to look up the name instead.
    raises
        Whether to raise if a check fails.

    Returns
    -------
    list of Check
        In the order of execution. Checks that depend on a failed check are skipped.

    Raises
    ------
    AssertionError
        If a check fails. The message describes the error and a fix.
    BenchError
        If the method does not exist, cannot be imported, or is a control row.
    """
    if isinstance(method, str):
        registry = registry or registry_with(plugins)
        entry = registry.entry("method", method)
        if is_control_row(entry.meta["level"]):
            raise BenchError(
                f"{method} is a control row of labshift, not a method with a file, and cannot be "
                "checked"
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
    return raise_failed(checks, str(meta.get("name") or cls.__name__), raises)


class _MethodChecks:
    def __init__(self, cls: Any, meta: JsonObject, path: Path | None, values: JsonObject) -> None:
        self.cls, self.meta, self.path, self.values = cls, meta, path, values
        self.name = str(meta.get("name") or cls.__name__)
        self.report = Report()

    def run(self) -> list[Check]:
        look = self.report.look
        look("META", self._meta)
        if not look("interface", self._interface) or not look("Params", self._params):
            return self.report.checks
        if not look("access", self._access):
            return self.report.checks
        kinds = self._kinds()
        with one_thread() if self._is_network() else nullcontext():
            for kind in kinds:
                params = make_params(self.name, self.cls.Params, self.values)
                prefix = f"{kind}: " if len(kinds) > 1 else ""
                trial = Trial(self.cls, self.name, params, kind, self._is_network())
                trial.run(self.report, prefix)
                if kind == "profiles" and all(check.ok for check in self.report.checks):
                    look(prefix + "unusable tables", trial.refuses)
            self._choices(kinds[-1])
        return self.report.checks

    def _kinds(self) -> tuple[str, ...]:
        """Return the kinds of test data: both for a first stage, unless it requires images."""
        if self.meta.get("level") not in ("network", "classifier"):
            return ("profiles",)
        needs = getattr(self.cls, "needs", None)
        stated = (
            () if needs is None else needs(make_params(self.name, self.cls.Params, self.values))
        )
        return ("images",) if "images" in stated else KINDS

    def _is_network(self) -> bool:
        return bool(self.meta.get("level") == "network")

    def _meta(self) -> None:
        from bench.core.meta import check_meta

        meta = self.meta
        if not meta:
            raise Broken(
                f"the module of {self.cls.__name__} has no META whose class is "
                f"'{self.cls.__name__}': `python -m bench new method NAME` writes one"
            )
        try:
            check_meta(meta, self.path.name if self.path else self.name)
        except BenchError as error:
            raise Broken(str(error)) from None
        if meta["kind"] != "method":
            raise Broken(f"kind must be 'method', not '{meta['kind']}'")
        if meta["class"] != self.cls.__name__:
            raise Broken(f"class is '{meta['class']}', but the class is {self.cls.__name__}")
        if self.path is not None and self.path.stem.replace("_", "-") != meta["name"]:
            stem = meta["name"].replace("-", "_")
            raise Broken(
                f"the file is {self.path.name} and the name '{meta['name']}', which must agree: "
                f"rename the file to {stem}.py"
            )
        if meta["version"] < 1:
            raise Broken("version must be at least 1; increase it whenever numbers change")
        check_texts(meta, ("summary", "reference"))

    def _interface(self) -> None:
        for name in ("access", "fit", "apply", "state", "from_state"):
            if not callable(getattr(self.cls, name, None)):
                raise Broken(f"{self.cls.__name__} has no {name}(): see bench.api.Method")
        if not isinstance(getattr(self.cls, "Params", None), type):
            raise Broken(
                f"{self.cls.__name__} has no Params: a frozen dataclass, empty if there are none"
            )

    def _params(self) -> None:
        params = self.cls.Params
        dataclass_params = getattr(params, "__dataclass_params__", None)
        if dataclass_params is None or not dataclass_params.frozen:
            raise Broken("Params must be a frozen dataclass: @dataclass(frozen=True)")
        for field in dataclasses.fields(params):
            self._field(field)
        try:
            make_params(self.name, params, self.values)
        except BenchError as error:
            raise Broken(str(error)) from None

    def _field(self, field: dataclasses.Field[Any]) -> None:
        meta, default = field.metadata, field.default
        if not {"doc", "phase", "search"} <= set(meta):
            raise Broken(
                f"Params.{field.name} was not declared with bench.api.param: write "
                f'{field.name}: float = param(1.0, "what it does")'
            )
        if type(default) not in (bool, int, float, str):
            raise Broken(f"the default of Params.{field.name} must be a bool, int, float or str")
        if not meta["doc"].strip():
            raise Broken(f"Params.{field.name} needs a doc: one sentence with the unit")

        def allowed(value: Any, label: str) -> None:
            try:
                params = make_params(self.name, self.cls.Params, {field.name: value})
            except BenchError as error:
                raise Broken(f"{label} of Params.{field.name} is not allowed: {error}") from None
            if getattr(params, field.name) != value:
                raise Broken(f"{label} of Params.{field.name} has another type than its default")

        allowed(default, "the default")
        search = meta["search"]
        if search is None:
            return
        if not isinstance(search, tuple) or not search:
            raise Broken(
                f"search of Params.{field.name} must be a tuple: (low, high) or the values"
            )
        for value in search:
            allowed(value, f"the value {value!r} in the search space")
        if type(default) in (int, float):
            if len(search) != 2 or not search[0] < search[1]:
                raise Broken(f"search of Params.{field.name} must be (low, high) with low < high")
            if meta["log"] and search[0] <= 0:
                raise Broken(
                    f"Params.{field.name} is sampled on a log scale, so its search space must "
                    "be positive"
                )

    def _access(self) -> None:
        default = self._access_of({})
        if self.meta:
            listed = sorted(self.meta.get("access", []))
            if listed != sorted(default.words):
                raise Broken(
                    f"access in META is {listed}, access(default parameters) returns "
                    f"{sorted(default.words)}: they must be equal"
                )
        for field, value in [*self._variants(), ("", None)]:
            values = {**self.values, field: value} if field else self.values
            access = self._access_of(values)
            if Access.TEST_CONTROLS in access and Access.CONTROLS not in access:
                raise Broken(
                    "test-controls is declared without controls, which identifies control rows: "
                    "add Access.CONTROLS"
                )

    def _access_of(self, values: JsonObject) -> Access:
        params = make_params(self.name, self.cls.Params, values)
        access = call_checked("access(params)", lambda: self.cls.access(params))
        if not isinstance(access, Access):
            raise Broken(f"access(params) returned a {type(access).__name__}, not an Access")
        return access

    def _variants(self) -> list[tuple[str, Any]]:
        """Return all non-default choices, one parameter at a time."""
        variants: list[tuple[str, Any]] = []
        for field in dataclasses.fields(self.cls.Params):
            current = self.values.get(field.name, field.default)
            choices = field.metadata.get("choices") or ()
            if isinstance(field.default, bool):
                choices = (True, False)
            variants += [(field.name, choice) for choice in choices if str(choice) != str(current)]
        return variants

    def _choices(self, kind: str) -> None:
        """Run all other choices briefly, since their access can differ."""
        for field, value in self._variants():
            params = make_params(self.name, self.cls.Params, {**self.values, field: value})
            trial = Trial(self.cls, self.name, params, kind, self._is_network())
            self.report.look(f"{field}={value}", trial.shortly)
