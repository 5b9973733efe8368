"""Principal components shared by methods and the control row without correction."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from bench.core.errors import NotApplicable
from bench.core.moments import Components
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
