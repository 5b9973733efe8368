"""Array types used across the package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Strings = NDArray[np.str_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Array = NDArray[Any]
"""An array of any type."""
DType = np.dtype[Any]
"""Type of the values of an array."""
Arrays = dict[str, Array]
"""Arrays by name, such as the state of a fitted method."""

Recipe = Mapping[str, Any]
"""A resolved recipe: key to value (see ``bench.training.recipes``)."""
Values = Mapping[str, Mapping[str, Any]]
"""Parameters of methods: method to parameter to value."""
Facts = Mapping[str, Any]
"""Entries of a JSON object."""
JsonObject = dict[str, Any]
"""A mutable JSON object."""
