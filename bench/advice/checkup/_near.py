"""Find rows that are nearly equal: scaled, rounded or noisy rows, and changed copies of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.advice.checkup._check import Check, supervised_folds
from bench.core.progress import report
from bench.core.seeds import generator
from bench.data.duplicates import row_digests
from bench.data.views import column_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from bench.core.dataset import Opened
    from bench.core.split import Split
    from bench.core.types import Array, Ints

ROWS = 20_000
"""Maximum rows that are compared with each other; larger data sets are subsampled with a seed."""
COMPONENTS = 20
"""Number of principal components in which neighbours are searched."""
NEIGHBOURS = 5
RATIO = 0.2
"""Rows are nearly equal below this fraction of the typical distance to the nearest row."""
FREQUENCIES = 8
"""Number of lowest spatial frequencies per axis that describe an image."""


def near_duplicates(opened: Opened, splits: Sequence[Split]) -> Iterator[Check]:
    """Find rows that are nearly equal, and splits that have them in training and test.

    Nothing is refused: replicates can be nearly equal, too.
    """
    n = len(opened.index)
    rows = np.arange(n)
    if n > ROWS:
        rows = np.sort(generator("checkup", "near", n).permutation(n)[:ROWS])
    if len(rows) < 2 * NEIGHBOURS:
        return
    pairs = near_pairs(descriptors(opened, rows), row_digests(opened)[rows])
    pairs = rows[pairs]
    searched = "" if len(rows) == n else f" (searched in {len(rows):,} of {n:,} rows)"
    if not len(pairs):
        text = f"none: no row is nearly equal to another{searched}"
        yield Check("near duplicates", "ok", text, {"near_duplicates": 0})
        return
    involved = np.unique(pairs)
    yield Check(
        "near duplicates",
        "look",
        f"{len(involved)} rows are nearly equal to another{searched}, such as "
        f"{_example(opened, pairs[0])}: {_reading(opened)}",
        {"near_duplicates": len(involved)},
    )
    for split, split_folds in supervised_folds(opened, splits):
        leaks: list[NDArray[np.int64]] = []
        for fold in split_folds:
            trained, tested = (np.isin(pairs, part) for part in (fold.train, fold.test))
            leaks += [pair[::-1] for pair in pairs[tested[:, 1] & trained[:, 0]]]
            leaks += list(pairs[tested[:, 0] & trained[:, 1]])
        if leaks:
            count = len({int(pair[0]) for pair in leaks})
            yield Check(
                f"split {split.name}",
                "warn",
                f"leak: {count} test rows are nearly equal to a training row, such as "
                f"{_example(opened, leaks[0])}{searched}: check whether they are one sample",
                {"near_duplicates_on_both_sides": count},
            )


def _example(opened: Opened, pair: Ints) -> str:
    return " and ".join(f"'{name}'" for name in column_of(opened, "id")[pair])


def _reading(opened: Opened) -> str:
    if opened.is_images:
        return "they may be copies that were compressed, turned, mirrored or changed in brightness"
    return "they may be copies that were scaled, rounded or changed by noise"


def near_pairs(X: Array, content: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return pairs of rows that are much nearer than rows of these data usually are, ``(p, 2)``.

    The distance is Euclidean in principal components. Let ``t`` be the median distance to the
    nearest row. From three effective components on, it is at least a tenth of the median distance
    of random pairs, which copies of most rows do not change. Rows are paired below ``RATIO * t``.
    In data of dimension k, a fraction ``1 - 2 ** -(RATIO ** k)`` of rows has such a neighbour by
    chance; k is estimated from the distances to the first two neighbours (Facco et al. 2017,
    doi:10.1038/s41598-017-11873-y). If there are not more pairs than by chance, none is returned.

    Parameters
    ----------
    X
        ``(n, d)`` descriptors.
    content
        ``(n,)`` digests; rows of equal content are not paired.
    """
    from sklearn.neighbors import NearestNeighbors

    n = len(X)
    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, n - 1)).fit(X)
    distance, other = search.kneighbors()
    distance = distance.astype(np.float64)
    distance[content[other] == content[:, None]] = np.inf
    first = distance.min(axis=1)
    finite = np.isfinite(first)
    if not finite.any():
        return np.empty((0, 2), np.int64)
    order = generator("checkup", "pairs", n).permutation(n)
    random = np.linalg.norm(X[order] - X[np.roll(order, 1)], axis=1)
    typical = float(np.median(first[finite]))
    variance = X.var(axis=0, dtype=np.float64)
    if variance.sum() ** 2 >= 3 * (variance**2).sum():  # otherwise rows are close by chance
        typical = max(typical, 0.1 * float(np.median(random)))
    near = distance < RATIO * typical
    i, k = np.nonzero(near)
    pairs = np.unique(np.sort(np.stack([i, other[i, k]], axis=1), axis=1), axis=0)
    by_chance = n * (1 - 2.0 ** -(RATIO ** _dimension(distance)))
    if int(near.any(axis=1).sum()) <= by_chance + 3 * np.sqrt(by_chance):
        return np.empty((0, 2), np.int64)
    return pairs


def _dimension(distance: Array) -> float:
    """Return the intrinsic dimension of the rows.

    The logarithm of the ratio of the distances to the first two neighbours is exponential with mean
    1 / k. Its median, ``log(2) / k``, is not changed by some copies.
    """
    two = np.sort(distance, axis=1)[:, :2]
    two = two[np.isfinite(two).all(axis=1) & (two[:, 0] > 0)]
    middle = float(np.median(np.log(two[:, 1] / two[:, 0]))) if len(two) else 0.0
    return max(1.0, float(np.log(2)) / middle) if middle > 0 else 1.0


def descriptors(opened: Opened, rows: Ints) -> NDArray[np.float32]:
    """Return features for comparing rows, ``(n, d)``: principal components of scaled features."""
    from sklearn.decomposition import PCA

    parts = []
    for start in range(0, len(rows), 256):
        chunk = opened.source.read(rows[start : start + 256])
        parts.append(image_descriptors(chunk) if opened.is_images else chunk)
        report("comparing rows", min(start + 256, len(rows)), len(rows))
    X = np.concatenate(parts).astype(np.float64)
    X -= X.mean(axis=0)
    spread = X.std(axis=0)
    X = X[:, spread > 0] / spread[spread > 0]
    k = min(COMPONENTS, *X.shape)
    if k == 0:
        return np.zeros((len(rows), 1), np.float32)
    components = PCA(k, svd_solver="randomized", random_state=0).fit_transform(X)
    result: NDArray[np.float32] = components.astype(np.float32)
    return result


def image_descriptors(images: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return a description that is equal for turned and mirrored images, ``(n, d)``.

    Mirroring changes the sign of coefficients of the discrete cosine transform, and a quarter turn
    exchanges rows and columns, too. The description has sum and absolute difference of the
    absolute values of each pair of exchanged coefficients, of the lowest frequencies without the
    mean. They are divided by the norm, so that brightness and contrast have no effect.

    Parameters
    ----------
    images
        ``(n, C, H, W)``.
    """
    from scipy.fft import dctn

    n, height, width = len(images), *images.shape[2:]
    size = min(height, width)
    top, left = (height - size) // 2, (width - size) // 2
    square = images[:, :, top : top + size, left : left + size].astype(np.float64)
    k = min(FREQUENCIES, size)
    low = np.abs(dctn(square, axes=(2, 3), norm="ortho")[:, :, :k, :k])
    low[:, :, 0, 0] = 0
    norm = np.sqrt((low**2).sum(axis=(2, 3), keepdims=True))
    low /= np.maximum(norm, 1e-12)
    other = np.swapaxes(low, 2, 3)
    upper = np.triu_indices(k)
    pairs = [(low + other)[:, :, *upper], np.abs(low - other)[:, :, *upper]]
    result: NDArray[np.float32] = np.concatenate(pairs, axis=2).reshape(n, -1).astype(np.float32)
    return result
