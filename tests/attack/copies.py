"""Add changed copies of rows to real data and count those that ``check-data`` would report.

Run from the root: ``BENCH_TEST_DATA=FOLDER python -m tests.attack.copies [NAME]...``. Of each data
set, up to 1,500 rows are read and 20 changed copies are added. The first column is the number of
pairs that are reported without copies.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from bench.core.registry import Registry
from bench.core.seeds import generator
from bench.data.near import similar_pairs
from bench.data.opening import open_all
from bench.data.own.array_source import ArraySource

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

ROWS, COPIES = 1500, 20


def digits(n: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    return lambda row: np.array([float(f"{value:.{n}g}") for value in row])


def jpeg(quality: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    def change(image: NDArray[Any]) -> NDArray[Any]:
        planes = []
        for plane in image:
            sink = io.BytesIO()
            Image.fromarray(plane).save(sink, "JPEG", quality=quality)
            planes.append(np.asarray(Image.open(sink)))
        return np.stack(planes)

    return change


def resized(image: NDArray[Any]) -> NDArray[Any]:
    height, width = image.shape[1:]
    small = [
        Image.fromarray(plane).resize((3 * width // 4, 3 * height // 4), Image.Resampling.BILINEAR)
        for plane in image
    ]
    return np.stack(
        [np.asarray(p.resize((width, height), Image.Resampling.BILINEAR)) for p in small]
    )


OF_ROWS = {
    "x 1.0001": lambda row: row * 1.0001,
    "4 digits": digits(4),
    "3 digits": digits(3),
    "2 digits": digits(2),
}
OF_IMAGES = {
    "mirrored": lambda x: x[:, :, ::-1],
    "turned": lambda x: np.rot90(x, 1, (1, 2)),
    "brighter": lambda x: np.clip(x.astype(np.int64) + 1, 0, np.iinfo(x.dtype).max),
    "contrast": lambda x: x * 0.9,
    "jpeg 90": jpeg(90),
    "jpeg 60": jpeg(60),
    "shifted": lambda x: np.roll(x, 1, 2),
    "resized": resized,
}


def pairs_of(X: NDArray[Any], *, images: bool) -> set[tuple[int, ...]]:
    opened: Any = SimpleNamespace(is_images=images, source=ArraySource(X))
    rows = np.arange(len(X))
    return set(map(tuple, similar_pairs(opened, rows, rows.astype(str)).tolist()))


def found(file: Path) -> tuple[int, dict[str, int]]:
    """Return the pairs without copies, and the number of copies found by kind of change."""
    opened, _, _ = open_all(str(file), Registry(), "auto")
    rng = generator("attack", "copies", file.parent.name, file.name)
    n = min(ROWS, len(opened.index))
    X = opened.source.read(np.sort(rng.permutation(len(opened.index))[:n]))
    rows, images = rng.permutation(n)[:COPIES], opened.is_images
    changes: dict[str, Any] = OF_IMAGES if images else OF_ROWS
    counts = {}
    for name, change in changes.items():
        copies = np.stack([change(X[row]) for row in rows]).astype(X.dtype)
        pairs = pairs_of(np.concatenate([X, copies]), images=images)
        counts[name] = sum((int(row), n + k) in pairs for k, row in enumerate(rows))
    return len(pairs_of(X, images=images)), counts


def main() -> None:
    """Print a line per data set."""
    root = Path(os.environ["BENCH_TEST_DATA"])
    for file in sorted(root.glob("*/dataset*.toml")):
        if len(sys.argv) < 2 or file.parent.name in sys.argv:
            pairs, counts = found(file)
            shown = ", ".join(f"{name} {count}" for name, count in counts.items())
            sys.stdout.write(f"{file.parent.name}/{file.name}: {pairs}; {shown}\n")


if __name__ == "__main__":
    main()
