"""Train a network with ``torch.compile``: fused operations instead of one kernel for each.

With ``recipe.compile`` the network is compiled when the first batch arrives, which takes seconds to
minutes, so it pays for long trainings only. Weights differ in rounding from those of a training
without it. Inference is never compiled: the same weights give the same profiles.

Each shape of a batch is compiled for itself, so that the kernels of a step do not depend on the
steps before it, and an interrupted training continues with the same weights.
"""

from __future__ import annotations

import functools
import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError
from bench.core.folders import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from bench.core.method import Context
    from bench.core.samples import Samples

__all__ = ["compiled"]

BACKEND = "inductor"
"""Compiler of ``torch.compile``."""
SHAPES = 1024
"""Maximum number of shapes of batches. Beyond it, torch would stop to compile."""


@functools.cache
def compiled(cls: type) -> type:
    """Return a network method with compiled training.

    Raises
    ------
    BenchError
        When it is fitted and the network cannot be compiled here.
    """

    def fit(method: Any, train: Samples, adapt: Samples | None, ctx: Context) -> None:  # noqa: ANN401 - an instance of any class
        with _compiler():
            method._compiled = []
            try:
                cls.fit(method, train, adapt, ctx)  # type: ignore[attr-defined]
            except Exception as error:
                if _is_of_the_compiler(error):
                    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
                    raise BenchError(
                        f"recipe.compile=true: the network cannot be compiled here ({first}): "
                        "install a C++ compiler such as g++, or leave compile out"
                    ) from error
                raise
            finally:
                for network in method._compiled:
                    network._compiled_call_impl = None
                method._compiled = None

    def modify(method: Any, network: nn.Module) -> nn.Module:  # noqa: ANN401 - an instance of any class
        network = cls.modify(method, network)  # type: ignore[attr-defined]
        if method._compiled is not None:
            network.compile(backend=BACKEND, dynamic=False)
            method._compiled.append(network)
        return network

    names: dict[str, Any] = {"fit": fit, "modify": modify, "_compiled": None}
    names |= {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls.__name__, (cls,), names)


@contextmanager
def _compiler() -> Iterator[None]:
    """Configure the compiler: no shared state between fits, no file that Python would unpickle."""
    import torch._dynamo
    import torch._inductor.config

    variable = "TORCHINDUCTOR_CACHE_DIR"
    before = os.environ.get(variable)  # torch sets it on its own, to a folder in /tmp
    os.environ[variable] = str(cache_folder("compiled"))
    limit = "recompile_limit" if hasattr(torch._dynamo.config, "recompile_limit") else None
    dynamo = {limit or "cache_size_limit": SHAPES}
    inductor = {"fx_graph_cache": False, "compile_threads": 1, "triton.autotune_pointwise": False}
    torch._dynamo.reset()
    try:
        with ExitStack() as stack:
            stack.enter_context(torch._dynamo.config.patch(dynamo))
            stack.enter_context(torch._inductor.config.patch(inductor))
            yield
    finally:
        torch._dynamo.reset()
        del os.environ[variable]
        if before is not None:
            os.environ[variable] = before


def _is_of_the_compiler(error: BaseException) -> bool:
    """Return whether an error was raised by the compiler and not by the network or the method."""
    modules = ("torch._dynamo", "torch._inductor")
    return any(type(error).__module__.startswith(module) for module in modules)
