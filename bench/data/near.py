"""Rows that are nearly equal: scaled, rounded or noisy rows, and changed copies of images."""

from __future__ import annotations

import hashlib
import weakref
from typing import TYPE_CHECKING

import numpy as np

from bench.core.progress import report
from bench.core.seeds import generator
from bench.data.folds import CONTENT
from bench.data.views import column_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from bench.core.dataset import Opened
    from bench.core.types import Array, Ints
    from bench.data.partitions import Fold
    from bench.data.task import Task

_COPIES: weakref.WeakKeyDictionary[Opened, dict[str, list[str]]] = weakref.WeakKeyDictionary()
COMPONENTS = 20
"""Number of principal components in which neighbours are searched."""
NEIGHBOURS = 5
RATIO = 0.2
"""Rows are nearly equal below this fraction of the typical distance to the nearest row."""
FREQUENCIES = 8
"""Number of lowest spatial frequencies per axis that describe an image."""
QUICK_ROWS, QUICK_VALUES = 4000, 20_000_000
"""Maximum rows and values that are searched for near copies before a run."""
EXACT_VALUES = 100_000_000
"""Maximum values that are searched for exact copies before a run."""


def copies(task: Task, say: Callable[[str], None] = lambda line: None) -> list[str]:
    """Return a sentence on exact and one on near copies of training rows in the test set, if any.

    Larger data are searched by ``check-data`` only. Exact copies in data that provide digests of
    their rows are found when the split is opened.

    Parameters
    ----------
    say
        Receives the sentences when they are computed, which is once per open data set and split.
    """
    known = _COPIES.setdefault(task.opened, {})
    if task.digest not in known:
        known[task.digest] = _copies(task)
        for sentence in known[task.digest]:
            say(f"warning: {task.typed}: {sentence}")
    return known[task.digest]


def _copies(task: Task) -> list[str]:
    opened, folds = task.opened, task.folds
    n, size = len(opened.index), int(np.prod(opened.source.shape))
    declared = task.split.protocol != "supervised" or CONTENT in task.split.shares
    if declared or n * size > EXACT_VALUES:
        return []
    notes = []
    content = _digests(opened) if opened.content is None else np.asarray(opened.content())
    if opened.content is None:
        _, codes = np.unique(content, return_inverse=True)
        exact = [row for f in folds for row in f.test[np.isin(codes[f.test], codes[_trained(f)])]]
        notes += _sentence(opened, exact, "exact")
    if 2 * NEIGHBOURS <= n <= QUICK_ROWS and n * size <= QUICK_VALUES:
        leaks = crossing(similar_pairs(opened, np.arange(n), content), folds)
        notes += _sentence(opened, [pair[0] for pair in leaks], "near")
    return notes


def _sentence(opened: Opened, rows: Sequence[int], kind: str) -> list[str]:
    tested = {int(row) for row in rows}
    if not tested:
        return []
    verb = "test row is a copy" if len(tested) == 1 else "test rows are copies"
    return [
        f"{len(tested)} {verb} ({kind}) of training rows, such as "
        f"'{column_of(opened, 'id')[min(tested)]}': scores may be too high; see check-data"
    ]


def _trained(fold: Fold) -> Ints:
    return np.concatenate([fold.train, fold.validation])


def _digests(opened: Opened) -> NDArray[np.bytes_]:
    """Return a digest of the values of each row, ``(n,)``."""
    digests = [
        hashlib.blake2b(row.data, digest_size=16).digest()
        for start in range(0, len(opened.index), 1024)
        for row in np.ascontiguousarray(
            opened.source.read(np.arange(start, min(start + 1024, len(opened.index))))
        )
    ]
    return np.array(digests, "S16")


def crossing(pairs: NDArray[np.int64], folds: Sequence[Fold]) -> list[NDArray[np.int64]]:
    """Return the pairs of a test and a training row of some fold, the test row first."""
    leaks: list[NDArray[np.int64]] = []
    for fold in folds:
        trained, tested = (np.isin(pairs, part) for part in (_trained(fold), fold.test))
        leaks += [pair[::-1] for pair in pairs[tested[:, 1] & trained[:, 0]]]
        leaks += list(pairs[tested[:, 0] & trained[:, 1]])
    return leaks


def similar_pairs(opened: Opened, rows: Ints, content: Array) -> NDArray[np.int64]:
    """Return pairs of nearly equal rows, ``(p, 2)``, by each description of a row.

    Parameters
    ----------
    rows
        ``(n,)`` rows of the data set.
    content
        ``(n,)`` digests of these rows.
    """
    pairs = [near_pairs(X, content) for X in descriptors(opened, rows)]
    return rows[np.unique(np.concatenate(pairs), axis=0)]


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


def descriptors(opened: Opened, rows: Ints) -> list[NDArray[np.float32]]:
    """Return features for comparing rows, each ``(n, d)``: principal components of scaled features.

    A table has one array. Images have two: one that JPEG compression and resampling hardly change,
    and one that shifts hardly change.
    """
    describe = (image_descriptors, shift_descriptors) if opened.is_images else (_unchanged,)
    parts: list[list[NDArray[np.float32]]] = [[] for _ in describe]
    for start in range(0, len(rows), 256):
        chunk = opened.source.read(rows[start : start + 256])
        for function, part in zip(describe, parts, strict=True):
            part.append(function(chunk))
        report("comparing rows", min(start + 256, len(rows)), len(rows))
    return [_components(np.concatenate(part).astype(np.float64)) for part in parts]


def _unchanged(rows: Array) -> Array:
    return rows


def _components(X: Array) -> NDArray[np.float32]:
    from sklearn.decomposition import PCA

    X -= X.mean(axis=0)
    spread = X.std(axis=0)
    X = X[:, spread > 0] / spread[spread > 0]
    k = min(COMPONENTS, *X.shape)
    if k == 0:
        return np.zeros((len(X), 1), np.float32)
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

    square = _square(images)
    k = min(FREQUENCIES, square.shape[2])
    low = np.abs(dctn(square, axes=(2, 3), norm="ortho")[:, :, :k, :k])
    low[:, :, 0, 0] = 0
    return _symmetric(low / _norm(low))


def shift_descriptors(images: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return a description that is nearly equal for shifted images, ``(n, d)``.

    A shift changes the phase of Fourier coefficients only, apart from the margins, which a Hann
    window hides. The description has the moduli of the lowest frequencies, symmetric under
    mirroring and quarter turns like :func:`image_descriptors`.

    Parameters
    ----------
    images
        ``(n, C, H, W)``.
    """
    from scipy.fft import fft2

    square = _square(images)
    size = square.shape[2]
    k = min(FREQUENCIES, size)
    window = np.hanning(size + 2)[1:-1]
    square -= square.mean(axis=(2, 3), keepdims=True)
    moduli = np.abs(fft2(square * window[:, None] * window)[:, :, :k])
    moduli[:, :, 0, 0] = 0
    upper, mirrored = moduli[..., :k], moduli[..., -np.arange(k) % size]
    norm = _norm(upper + mirrored)
    both = [(upper + mirrored) / norm, np.abs(upper - mirrored) / norm]
    return np.concatenate([_symmetric(part) for part in both], axis=1)


def _square(images: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return the central squares of images."""
    height, width = images.shape[2:]
    size = min(height, width)
    top, left = (height - size) // 2, (width - size) // 2
    return images[:, :, top : top + size, left : left + size].astype(np.float64)


def _norm(values: NDArray[np.float64]) -> NDArray[np.float64]:
    norm: NDArray[np.float64] = np.sqrt((values**2).sum(axis=(2, 3), keepdims=True))
    return np.maximum(norm, 1e-12)


def _symmetric(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return sum and absolute difference of values that a transposition exchanges, ``(n, d)``."""
    other = np.swapaxes(values, 2, 3)
    upper = np.triu_indices(values.shape[2])
    pairs = [(values + other)[:, :, *upper], np.abs(values - other)[:, :, *upper]]
    result: NDArray[np.float32] = np.concatenate(pairs, axis=2).astype(np.float32)
    return result.reshape(len(values), -1)
