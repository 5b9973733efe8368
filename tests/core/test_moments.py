"""Principal components shared by methods and the control row without correction."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from bench.core.errors import NotApplicable
from bench.core.moments import (
    BLOCK,
    PRODUCT,
    Components,
    Spectrum,
    covariance,
    fold,
    mean_of,
    project,
    reciprocal,
    spread_of,
)
from bench.core.seeds import generator
from tests.helpers.errors import raises


@pytest.mark.parametrize("n, d, k", [(300, 12, 5), (20, 40, 50)])
def test_components_equal_scikit_learns_but_for_signs(n, d, k):
    rng = generator("components", n)
    X = (rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 30).astype(np.float32)
    new = X[:7] + 1
    components = Components.of(X, k, "pca")
    scaler = StandardScaler().fit(X.astype(np.float64))
    pca = PCA(min(k, d, n - 1)).fit(scaler.transform(X.astype(np.float64)))
    expected = pca.transform(scaler.transform(new.astype(np.float64)))
    scores = components.scores(new)
    assert scores.shape == expected.shape
    signs = np.sign((components.axes * pca.components_.T).sum(axis=0))
    np.testing.assert_allclose(scores * signs, expected, atol=2e-4)
    again = Components.from_arrays(components.arrays())
    np.testing.assert_array_equal(again.scores(new), scores)


def test_a_constant_feature_is_left_out_and_a_table_of_them_refused():
    X = generator("constant").normal(size=(30, 4)).astype(np.float32)
    with_constant = np.column_stack([X, np.full(30, 1e4 / 3, np.float32)])
    plain, more = (Components.of(values, 4, "pca").scores(values) for values in (X, with_constant))
    np.testing.assert_allclose(more, plain, atol=1e-5)
    with raises(NotApplicable, "pca", "30"):
        Components.of(np.ones((30, 4), np.float32), 2, "pca")


def test_two_rows_have_one_component_and_one_row_has_none():
    X = np.array([[1.0, 2.0, 5.0], [3.0, 2.0, 1.0]], np.float32)
    assert Components.of(X, 2, "pca").axes.shape == (3, 1)
    with raises(NotApplicable, "pca", "1 rows"):
        Components.of(X[:1], 2, "pca")


@pytest.mark.parametrize("n", [BLOCK - 1, BLOCK, BLOCK + 1])
def test_moments_are_those_of_numpy_over_several_blocks(n):
    X = generator("blocks", n).normal(3, 2, (n, 3)).astype(np.float32)
    wide, mean = X.astype(np.float64), mean_of(X)
    np.testing.assert_allclose(mean, wide.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(spread_of(X, mean), wide.std(axis=0), rtol=1e-12)
    scale = np.array([1.0, 2.0, 0.0])
    expected = np.cov(wide / [1, 2, 1], rowvar=False) * [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    np.testing.assert_allclose(covariance(X, mean, scale, n - 1), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("share", "kept"), [(0.9e-6, False), (1.1e-6, True)])
def test_rounded_constants_have_no_spread(share, kept):
    X = 1 + share * np.array([[-1.0], [1.0]])
    assert (spread_of(X, X.mean(axis=0)) > 0).tolist() == [kept]


def test_a_scale_of_zero_has_no_reciprocal_and_only_steep_matrices_are_float64():
    scale = np.array([0.0, 0.5, 2.0])
    assert reciprocal(scale).tolist() == [0, 2, 0.5]
    matrix = np.arange(6.0).reshape(3, 2)
    expected = [[0, 0], [4, 6], [2, 2.5]]
    for steep, kind in ((False, np.float32), (True, np.float64)):
        folded = fold(scale, matrix, steep=steep)
        assert folded.dtype == kind
        assert folded.tolist() == expected
    assert fold(scale, matrix).dtype == np.float32


@pytest.mark.parametrize("n", [1, PRODUCT, PRODUCT + 1, 3 * PRODUCT])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_projection_loses_no_digits_to_a_large_mean_or_to_factors(n, kind):
    rng = generator("project", n)
    mean = 1e4 + rng.uniform(size=4)
    X = (mean + rng.normal(size=(n, 4))).astype(np.float32)
    right = rng.normal(size=(4, 3)).astype(kind)
    rest = rng.normal(size=(4, 2)).astype(kind), rng.normal(size=(2, 3)).astype(kind)
    centred = X.astype(np.float64) - mean
    for factors in (None, rest):
        full = right + (0 if factors is None else factors[0] @ factors[1])
        result = project(X, mean, right, factors)
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, centred @ full, rtol=1e-5, atol=5e-6)


def test_a_spectrum_is_sorted_signed_shrunk_and_stretched():
    rng = generator("spectrum")
    half = rng.normal(size=(5, 3))
    matrix = half @ half.T
    spectrum = Spectrum.of(matrix)
    values, vectors = spectrum.values, spectrum.vectors
    assert spectrum.rank == 3
    assert values.tolist() == sorted(values, reverse=True)
    assert (values[3:] == 0).all()
    np.testing.assert_allclose((vectors * values) @ vectors.T, matrix, atol=1e-12)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(5), atol=1e-12)
    assert (vectors[np.abs(vectors).argmax(axis=0), np.arange(5)] > 0).all()
    expected = 0.75 * values + 0.25 * np.trace(matrix) / 5
    np.testing.assert_allclose(spectrum.shrunk(0.25).values, expected)
    np.testing.assert_allclose(spectrum.stretch(0.5), (values + 0.5) ** -0.5)
    assert (spectrum.stretch(0.0)[3:] == 0).all()
    used = np.array([True, False, True, True, False])
    part = Spectrum.of(matrix, used)
    alone = Spectrum.of(matrix[np.ix_(used, used)])
    np.testing.assert_array_equal(part.values, alone.values)
    np.testing.assert_array_equal(part.vectors[used], alone.vectors)
    assert (part.vectors[~used] == 0).all()
    zero = Spectrum.of(np.zeros((2, 2)))
    assert zero.rank == 0
