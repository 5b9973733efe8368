"""Detect and undo what a method changes for the methods after it.

Methods run in the process of the harness. A plugin that disables gradients, changes the default
dtype or replaces a function of the harness would change the scores of all later methods.
:func:`guarded` restores such state. It protects against mistakes and simple tricks; it is not a
sandbox.
"""

from __future__ import annotations

import os
import random
import sys
from contextlib import contextmanager, suppress
from types import FunctionType
from typing import TYPE_CHECKING, Any

from bench.core.checkout import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

HARNESS = "bench"
LIBRARIES = (
    "numpy",
    "numpy.linalg",
    "scipy.special",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.neighbors",
    "torch.nn.functional",
)
"""Modules with functions that scores depend on, checked if they are imported."""
_MISSING = object()
_MEMBERS = FunctionType, classmethod, staticmethod, property
"""Types of the members of classes that are compared."""


class Changes:
    """What was changed inside a block.

    Attributes
    ----------
    settings
        Settings of libraries and of the process, restored.
    functions
        Functions of the harness or of a library that were replaced, restored.
    """

    def __init__(self) -> None:
        self.settings: list[str] = []
        self.functions: list[str] = []

    def __bool__(self) -> bool:
        return bool(self.settings or self.functions)


@contextmanager
def guarded() -> Iterator[Changes]:
    """Restore settings, random states and functions at the end of a block.

    Yields
    ------
    Changes
        Filled at the end of the block, also after an exception. Random states are restored without
        being listed, because drawing from them is allowed.
    """
    changes = Changes()
    state = {name: get() for name, (get, _, _) in _settings().items()}
    states = _random_states()
    functions = _functions()
    try:
        yield changes
    finally:
        for name, (get, set_to, default) in _settings().items():
            before = state.get(name, default)  # a library that was imported meanwhile
            if before is not _MISSING and get() != before:
                changes.settings.append(name)
                set_to(before)
        for restore in states:
            restore()
        for owner, name, before, code in functions:
            now = vars(owner).get(name, _MISSING)
            if now is not before and not _changes_itself(owner, now):
                changes.functions.append(f"{_name(owner)}.{name}")
                with suppress(AttributeError, TypeError):
                    setattr(owner, name, before)
            if code is not None and before.__code__ is not code:
                changes.functions.append(f"{_name(owner)}.{name}")
                before.__code__ = code


Setting = tuple["Callable[[], Any]", "Callable[[Any], object]", Any]
"""Getter, setter, and the default value, ``_MISSING`` if it depends on the machine."""


def _settings() -> dict[str, Setting]:
    """Return the settings that methods can change."""
    settings: dict[str, Setting] = {
        "the working folder": (_working_folder, _change_folder, _MISSING),
        "environment variables BENCH_*": (_variables, _set_variables, _MISSING),
    }
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        settings["numpy.seterr"] = (numpy.geterr, lambda value: numpy.seterr(**value), _MISSING)
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_grad_enabled"):
        settings |= _torch_settings(torch)
    return settings


def _working_folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - for os.chdir
    except FileNotFoundError:
        return None


def _change_folder(folder: str | None) -> None:
    if folder is not None:
        os.chdir(folder)


def _torch_settings(torch: Any) -> dict[str, Setting]:  # noqa: ANN401 - a module that may not be imported
    cudnn = torch.backends.cudnn

    def deterministic() -> tuple[bool, bool]:
        enabled: bool = torch.are_deterministic_algorithms_enabled()
        return enabled, torch.is_deterministic_algorithms_warn_only_enabled()

    def set_deterministic(value: tuple[bool, bool]) -> None:
        torch.use_deterministic_algorithms(value[0], warn_only=value[1])

    return {
        "torch.set_grad_enabled": (torch.is_grad_enabled, torch.set_grad_enabled, True),
        "torch.set_default_dtype": (
            torch.get_default_dtype,
            torch.set_default_dtype,
            torch.float32,
        ),
        "torch.use_deterministic_algorithms": (deterministic, set_deterministic, (False, False)),
        "torch.set_num_threads": (torch.get_num_threads, torch.set_num_threads, _MISSING),
        "torch.backends.cudnn.benchmark": (
            lambda: cudnn.benchmark,
            lambda value: setattr(cudnn, "benchmark", value),
            False,
        ),
    }


def _variables() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key.startswith("BENCH_")}


def _set_variables(values: dict[str, str]) -> None:
    for key in _variables().keys() - values.keys():
        del os.environ[key]
    os.environ.update(values)


def _random_states() -> list[Callable[[], None]]:
    """Return functions that restore the global generators."""
    restore: list[Callable[[], None]] = []
    before = random.getstate()
    restore.append(lambda: random.setstate(before))
    numpy = sys.modules.get("numpy")
    if numpy is not None and "numpy.random" in sys.modules:
        state = numpy.random.get_state()
        restore.append(lambda: numpy.random.set_state(state))
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_rng_state"):
        generator = torch.get_rng_state()
        restore.append(lambda: torch.set_rng_state(generator))
    return restore


def _functions() -> list[tuple[Any, str, Any, Any]]:
    """Return owner, name, object and code of all functions and classes that scores depend on."""
    result: list[tuple[Any, str, Any, Any]] = []
    inside = f"{HARNESS}."
    own = [HARNESS, *(name for name in list(sys.modules) if name.startswith(inside))]
    for name in (*own, *LIBRARIES):
        module = sys.modules.get(name)
        if module is None:
            continue
        for key, value in list(vars(module).items()):
            # Types are compared without a call: there are thousands before and after each run.
            if type(value) is FunctionType:
                result.append((module, key, value, value.__code__))
            elif callable(value):
                result.append((module, key, value, None))
                if isinstance(value, type) and value.__module__ == name and name not in LIBRARIES:
                    result += [
                        (
                            value,
                            attribute,
                            item,
                            item.__code__ if type(item) is FunctionType else None,
                        )
                        for attribute, item in vars(value).items()
                        if isinstance(item, _MEMBERS)
                    ]
    return result


def _changes_itself(owner: type | ModuleType, function: object) -> bool:
    """Return whether a library replaced its own function, as ``torch._dynamo`` does on import."""
    code = getattr(function, "__code__", None)
    file = getattr(sys.modules.get(_name(owner).partition(".")[0]), "__file__", None)
    if code is None or file is None or _is_harness(_name(owner)):
        return False
    return bool(code.co_filename.startswith(os.path.dirname(file) + os.sep))  # noqa: PTH120


def _is_harness(name: str) -> bool:
    return name == HARNESS or name.startswith(f"{HARNESS}.")


def _name(owner: type | ModuleType) -> str:
    return f"{owner.__module__}.{owner.__qualname__}" if isinstance(owner, type) else owner.__name__


def foreign_functions(file: str) -> list[str]:
    """Return the functions of the harness that a plugin file defined, as ``module.name``.

    Parameters
    ----------
    file
        Path of the plugin file.
    """
    names = []
    for name, module in list(sys.modules.items()):
        if not _is_harness(name) or not str(getattr(module, "__file__", "")).startswith(str(ROOT)):
            continue
        for key, value in list(vars(module).items()):
            owned = {key: value}
            if isinstance(value, type) and value.__module__ == name:
                owned |= {f"{key}.{attribute}": item for attribute, item in vars(value).items()}
            names += [
                f"{name}.{place}"
                for place, item in owned.items()
                if isinstance(item, FunctionType) and item.__code__.co_filename == file
            ]
    return names
