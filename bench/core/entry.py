"""A registered name, imported only when it is loaded.

A plugin file may import its neighbours relatively (``from ._helpers import x``): its folder serves
as the package. Imports above that folder are not supported.
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
from bench.core.meta import OBJECT, with_neighbours

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """A registered name.

    Attributes
    ----------
    kind
        ``method``, ``dataset`` or ``metric``.
    meta
        The literal of the file; empty for an entry point that was not loaded.
    module
        Dotted name, or None for a plugin file.
    path
        The file, if known without importing.
    provider
        ``labshift``, the distribution of an entry point, or the plugin file's name.
    problem
        Why it cannot be used, or an empty string.
    resolved
        Whether the literal was read; not so for an entry point nobody asked for.
    """

    kind: str
    name: str
    provider: str
    meta: dict[str, Any] = field(default_factory=dict)
    module: str | None = None
    path: Path | None = None
    attribute: str = ""
    problem: str = ""
    resolved: bool = True

    @property
    def origin(self) -> str:
        """Who provides it, and where, in words for a message."""
        where = self.path.name if self.path else self.module
        return self.provider if where in (None, self.provider) else f"{self.provider} ({where})"

    @property
    def sources(self) -> list[Path]:
        """The file and the neighbours that it imports relatively: a change there is a change."""
        return [] if self.path is None else with_neighbours(self.path)

    def load(self) -> Any:
        """Import the file and return its class or function.

        Raises
        ------
        BenchError
            If the import fails or the named object is missing.
        """
        if self.problem:
            raise BenchError(f"{self.kind} '{self.name}' of {self.origin} {self.problem}")
        try:
            module = self._module()
        except BenchError:
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise BenchError(
                f"{self.kind} '{self.name}' of {self.origin} cannot be imported: "
                f"{type(error).__name__}: {error}; mend the file or leave the plugin out"
            ) from error
        attribute = self.attribute or self.meta.get("class") or self.meta.get("function")
        if not attribute or not hasattr(module, attribute):
            raise BenchError(
                f"{self.origin} has no '{attribute}': META of {self.name} must name its "
                f"{OBJECT.get(self.kind, 'class')}"
            )
        return getattr(module, attribute)

    def _module(self) -> ModuleType:
        if self.module is not None:
            return importlib.import_module(self.module)
        assert self.path is not None
        return _import_file(self.path.resolve())


def _import_file(path: Path) -> ModuleType:
    """Import a plugin file as a member of a package that is its folder."""
    folder = hashlib.sha256(str(path.parent).encode()).hexdigest()[:12]
    package = f"bench_plugin_{folder}"
    if package not in sys.modules:
        made = ModuleType(package)
        made.__path__ = [str(path.parent)]
        sys.modules[package] = made
    stem = path.stem
    if not stem.isidentifier():
        stem = "file_" + hashlib.sha256(path.name.encode()).hexdigest()[:12]
    name = f"{package}.{stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BenchError(f"plugin file {path} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
