"""A registered name, imported only when it is loaded.

A plugin file may use relative imports of files in its folder (``from ._helpers import x``).
Imports from parent folders are not supported.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError
from bench.core.guard import foreign_functions, guarded
from bench.core.literals import with_neighbours
from bench.core.meta import Meta, target_of

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """A registered name.

    Attributes
    ----------
    kind
        ``method``, ``dataset``, ``metric``, ``figure`` or ``study``.
    meta
        The literal of the file; empty for an entry point that has not been loaded.
    module
        Dotted name, or None for a plugin file.
    provider
        ``labshift``, the distribution of an entry point, or the plugin file's name.
    problem
        Why it cannot be used, or an empty string.
    resolved
        Whether the literal was read; False for an entry point that has not been used.
    argument
        What follows the colon of a method such as ``encoder:resnet50``; part of its name.
    isolated
        Whether the code of a method or metric runs in another process and is not imported in this
        one.
    fitted_by
        The packaged method that an isolated method shares its fit with.
    """

    kind: str
    name: str
    provider: str
    meta: Meta = field(default_factory=Meta)
    module: str | None = None
    path: Path | None = None
    attribute: str = ""
    problem: str = ""
    resolved: bool = True
    argument: str = ""
    isolated: bool = False
    fitted_by: Entry | None = None

    @property
    def origin(self) -> str:
        """Provider and file, for messages."""
        where = self.path.name if self.path else self.module
        return self.provider if where in (None, self.provider) else f"{self.provider} ({where})"

    @property
    def sources(self) -> list[Path]:
        """The file and all files that it imports relatively."""
        return [] if self.path is None else with_neighbours(self.path)

    def load(self) -> Any:  # noqa: ANN401 - a class or a function of a plugin
        """Import the file and return its class or function.

        Raises
        ------
        BenchError
            If the import fails or the named object is missing.
        """
        if self.problem:
            raise BenchError(f"{self.kind} '{self.name}' of {self.origin} {self.problem}")
        if self.isolated:
            if self.kind == "metric":
                from bench.core.isolated.metric import remote_metric

                return remote_metric(self)
            from bench.core.isolated.remote import remote_class

            return remote_class(self)
        try:
            module = self._module() if self.provider == "labshift" else self._guarded_module()
        except BenchError:
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise BenchError(
                f"{self.kind} '{self.name}' of {self.origin} cannot be imported: "
                f"{type(error).__name__}: {error}; fix the file or remove the plugin"
            ) from error
        attribute = self.attribute or target_of(self.meta, self.kind)
        if not attribute or not hasattr(module, attribute):
            noun = "class" if self.kind in ("method", "dataset") else "function"
            raise BenchError(
                f"{self.origin} has no '{attribute}', the {noun} of {self.kind} {self.name}"
            )
        return getattr(module, attribute)

    def _guarded_module(self) -> ModuleType:
        """Return the module of a plugin; refuse one that changes the benchmark on import."""
        key = (self.module, self.path)
        if key in _CHECKED:
            return self._module()
        with guarded() as changes:
            module = self._module()
        for name in (*changes.functions, *foreign_functions(str(self.path))):
            raise BenchError(
                f"{self.kind} '{self.name}' of {self.origin} replaces {name}: a plugin must not "
                "change the benchmark; remove the assignment"
            )
        _CHECKED.add(key)
        return module

    def _module(self) -> ModuleType:
        if self.module is not None:
            return importlib.import_module(self.module)
        assert self.path is not None
        return _import_file(self.path.resolve())


_CHECKED: set[tuple[str | None, Path | None]] = set()
"""Module and file of the plugins that were imported and checked."""


def _import_file(path: Path) -> ModuleType:
    """Import a plugin file as a module in a package with the file's folder."""
    folder = hashlib.sha256(str(path.parent).encode()).hexdigest()[:12]
    package = f"bench_plugin_{folder}"
    if package not in sys.modules:
        parent = ModuleType(package)
        parent.__path__ = [str(path.parent)]
        sys.modules[package] = parent
    stem = path.stem
    if not stem.isidentifier():
        stem = "file_" + hashlib.sha256(path.name.encode()).hexdigest()[:12]
    name = f"{package}.{stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BenchError(f"plugin file {path} is not a Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
