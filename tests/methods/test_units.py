"""Features that are nearly constant, or in other units, in every correction of profiles."""

import numpy as np
import pytest

from bench.core.errors import NotApplicable
from bench.core.seeds import generator
from tests.helpers.errors import raises
from tests.helpers.profiles import applied, fitted, planted, view

BY_CONTROLS = {
    "zscore": {},
    "robust": {},
    "sphering": {},
    "sphering centred": {"centre": "controls"},
    "tvn": {},
    "tvn efaar": {"variant": "efaar"},
    "tvn controls-zscore": {"variant": "controls-zscore"},
}
UNITLESS = (*BY_CONTROLS, "sphering-all", "coral-to-train", "coral-to-target")
IN_UNITS = ("center", "combat")


def nearly_constant(X, controls, level, noise):
    """Return X with a feature that is ``level`` among controls, but for relative noise."""
    rng = generator("nearly constant", level, noise)
    X = X.astype(np.float64)
    column = np.where(controls, level, level + np.abs(rng.normal(0, 0.3, len(X))))
    column += np.where(controls, noise * rng.normal(size=len(X)), 0)
    return np.column_stack([X, column]).astype(np.float32)


@pytest.mark.parametrize("level", [2.0, 0.0], ids=["large mean", "mean 0"])
@pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-4], ids=["exact", "rounding", "small"])
@pytest.mark.parametrize("name", BY_CONTROLS)
def test_a_feature_nearly_constant_among_controls_is_left_out(name, noise, level):
    X, _, batch, controls = planted("location", 0, n_batches=3)
    method, params = name.split(" ")[0], BY_CONTROLS[name]
    plain, more = (
        view(values, batch, controls) for values in (X, nearly_constant(X, controls, level, noise))
    )
    expected = applied(fitted(method, plain, **params), plain).X
    output = applied(fitted(method, more, **params), more)
    assert f"{method}: 1 features constant among" in output.notes[0]
    width = expected.shape[1]
    # The other features are corrected as if this one were not in the table.
    np.testing.assert_allclose(output.X[:, :width], expected, atol=1e-4)
    assert not output.X[:, width:].any()


@pytest.mark.parametrize("name", ["zscore", "robust"])
def test_a_feature_nearly_constant_in_one_batch_takes_the_training_scale(name):
    X, _, batch, controls = planted("nothing", 1, n_batches=3)
    noise = generator("one batch").normal(size=len(X))
    rows = (batch == "batch 1") & controls
    exact, rounded = X.copy(), X.copy()
    exact[rows, 3] = 2.0
    rounded[rows, 3] = 2.0 + 1e-6 * noise[rows]
    outputs = []
    for values in (exact, rounded):
        samples = view(values, batch, controls)
        outputs.append(applied(fitted(name, samples), samples))
    assert np.abs(outputs[0].X).max() < 50
    np.testing.assert_allclose(outputs[1].X, outputs[0].X, atol=1e-4)
    assert outputs[1].notes == ()


def test_mad_int_select_drops_a_nearly_constant_feature():
    X, _, batch, controls = planted("nothing", 2, n_batches=3)
    samples = view(nearly_constant(X, controls, 2.0, 1e-7), batch, controls)
    method = fitted("mad-int-select", samples)
    assert X.shape[1] not in method.state()["features"]


@pytest.mark.parametrize("name", ["zscore", "robust"])
def test_a_table_without_any_variation_among_controls_does_not_apply(name):
    X, _, batch, controls = planted("nothing", 3, n_batches=2)
    X[controls] = 1.5
    with raises(NotApplicable, name, "30"):
        fitted(name, view(X, batch, controls))


@pytest.mark.parametrize("name", [*UNITLESS, *IN_UNITS])
def test_units_of_features_do_not_matter(name):
    X, y, batch, controls = planted("scale", 4, n_batches=4)
    method, params = name.split(" ")[0], BY_CONTROLS.get(name, {})
    units = np.where(np.arange(X.shape[1]) < 10, 2.0**-46, 2.0**20).astype(np.float32)
    results = []
    for values in (X, X * units):
        samples = view(values, batch, controls, y)
        results.append(applied(fitted(method, samples, samples, **params), samples).X)
    expected = results[0] * units if name in IN_UNITS else results[0]
    scale = np.abs(expected).max(axis=0)
    np.testing.assert_allclose(results[1] / scale, expected / scale, atol=1e-4)
