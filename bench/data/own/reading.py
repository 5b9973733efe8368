"""Errors and conversions shared by the readers of table files."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import numpy as np

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.core.types import Floats


@contextmanager
def damaged(path: Path, kind: str) -> Iterator[None]:
    """Turn the exception of a reader on a damaged file into a one-line error."""
    try:
        yield
    except BenchError:
        raise
    except PermissionError:
        raise BenchError(f"{path} cannot be read: change its permissions") from None
    except Exception as error:  # noqa: BLE001 - readers raise many exception types
        reason = (" ".join(str(error).split()) or type(error).__name__)[:160].rstrip(". ")
        raise BenchError(
            f"{path} cannot be read as {kind} ({reason}): it is damaged, truncated or of another "
            "format; fetch or write it again"
        ) from None


def not_numeric(column: str, kind: str) -> BenchError:
    """Return the error for a feature column that contains something other than numbers."""
    return BenchError(
        f"feature column '{column}' contains {kind}, not numbers: make it numeric, or tighten the "
        "regular expression in features"
    )


def as_float32(values: object) -> Floats:
    """Return an array as float32; values outside its range become infinite and are reported."""
    with np.errstate(over="ignore", invalid="ignore"):
        return cast("Floats", np.asarray(values).astype(np.float32))
