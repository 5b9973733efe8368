"""Base classes and helpers for methods that train a network.

Importing this module does not import torch: names that need it are imported on first use. The
hooks of a method are documented in :class:`NetworkMethod`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from bench.training.batchwise import (
    BatchwiseMethod,
    BatchwiseParams,
    inference_rows,
    rows_that_give,
)
from bench.training.encoders import encode, pinned
from bench.training.method import NetworkMethod, NoParams
from bench.training.samplers import Sampler, batchwise, usable_groups
from bench.training.statistics import ApplyStatistics, Batch, Statistics

if TYPE_CHECKING:
    from bench.training.architectures import mlp
    from bench.training.batchnorm import refuse_without_batch_norm
    from bench.training.inference import TestBatch
    from bench.training.inputs import augmented
    from bench.training.model import Model

__all__ = [
    "ApplyStatistics",
    "Batch",
    "BatchwiseMethod",
    "BatchwiseParams",
    "Model",
    "NetworkMethod",
    "NoParams",
    "Sampler",
    "Statistics",
    "TestBatch",
    "augmented",
    "batchwise",
    "encode",
    "inference_rows",
    "mlp",
    "pinned",
    "refuse_without_batch_norm",
    "rows_that_give",
    "usable_groups",
]

_NEED_TORCH = {
    "Model": "model",
    "TestBatch": "inference",
    "augmented": "inputs",
    "mlp": "architectures",
    "refuse_without_batch_norm": "batchnorm",
}


def __getattr__(name: str) -> object:
    if name in _NEED_TORCH:
        return getattr(importlib.import_module(f"bench.training.{_NEED_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
