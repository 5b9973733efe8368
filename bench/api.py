"""Contracts for methods, data sets and metrics.

A method sees :class:`Samples`, a *view* of some rows. What a method did not declare in its
:class:`Access` is not in the view, nor reachable from it by attributes. Views protect against
mistakes; they are not a sandbox against code that reads files directly.
"""

from __future__ import annotations

from bench.core.access import Access, track_of
from bench.core.dataset import Dataset, Opened
from bench.core.errors import AccessError, BenchError, NotApplicable, RunFailed
from bench.core.fixed_features import fixed_features
from bench.core.folders import cache_folder, data_folder
from bench.core.method import Context, Method
from bench.core.params import make_params, param
from bench.core.samples import Output, Samples, Source
from bench.core.seeds import generator, seed_for
from bench.core.split import Split
from bench.core.types import Array, Arrays, Bools, Facts, Floats, Ints, JsonObject, Recipe, Strings

__all__ = [
    "Access",
    "AccessError",
    "Array",
    "Arrays",
    "BenchError",
    "Bools",
    "Context",
    "Dataset",
    "Facts",
    "Floats",
    "Ints",
    "JsonObject",
    "Method",
    "NotApplicable",
    "Opened",
    "Output",
    "Recipe",
    "RunFailed",
    "Samples",
    "Source",
    "Split",
    "Strings",
    "cache_folder",
    "data_folder",
    "fixed_features",
    "generator",
    "make_params",
    "param",
    "seed_for",
    "track_of",
]
