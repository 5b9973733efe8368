"""Array types used across the package."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Strings = NDArray[np.str_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
