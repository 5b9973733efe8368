"""The scikit-learn transformer: scikit-learn's own checks, and parity with runs."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from bench import Corrector
from bench.records.embeddings import embeddings
from bench.records.export import table
from tests.helpers import tiny
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from bench.records.record import Record
    from bench.records.store import Store

ROOT = Path(__file__).resolve().parents[2]


class Told(Corrector):
    """A corrector that gets batches and controls by position, as scikit-learn cannot pass them."""

    def __init__(self, method: str = "tvn") -> None:
        super().__init__(method)

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return ["method"]

    def _facts(self, X: Any) -> dict[str, Any]:
        n = X.shape[0] if hasattr(X, "shape") else len(np.asarray(X))
        place = np.arange(n)
        return {"batch": (place >= n / 2).astype(int), "controls": place % 2 == 0}

    def fit(self, X: Any, y: Any = None) -> Told:
        super().fit(X, y, **self._facts(X))
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        return super().fit_transform(X, y, **self._facts(X))

    def transform(self, X: Any) -> Any:
        return super().transform(X, **self._facts(X))


BY_PLACE = "batches and controls are set by position here, so the order of rows matters"
OWN_BATCH = "it corrects each batch by the rows that are passed, which is what such a method is"
MOVED = {"check_methods_sample_order_invariance": BY_PLACE}
EXPECTED: dict[str, dict[str, str]] = {
    "tvn": {**MOVED, "check_methods_subset_invariance": OWN_BATCH},
    "combat": {**MOVED, "check_methods_subset_invariance": OWN_BATCH},
}
"""What does not apply, and why; everything else must pass."""


def _expected(estimator: Corrector) -> dict[str, str]:
    return EXPECTED.get(estimator.method, {})


@parametrize_with_checks(
    [
        Corrector(),
        Corrector("zscore", params={"rows": "all", "min_rows": 2}),
        Corrector("coral-to-train"),
        Corrector("coral-to-target"),
        Told("tvn"),
        Told("combat"),
    ],
    expected_failed_checks=_expected,
)
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
def test_a_network_passes_them_but_for_what_it_is() -> None:
    recipe = {"steps": 5, "batch_size": 16, "width": 8}
    for method, failing in (("erm", set()), ("ben", {"check_methods_subset_invariance"})):
        checks = check_estimator(Corrector(method, recipe=recipe), on_fail=None, on_skip=None)
        assert len(checks) > 40
        assert {item["check_name"] for item in checks if item["status"] == "failed"} == failing


def test_what_scikit_learn_cannot_tell_a_method_is_asked_for() -> None:
    """Without controls the checks that fit it fail, each for that one reason."""
    checks = check_estimator(Corrector("tvn"), on_fail=None, on_skip=None)
    failed = [str(item["exception"]) for item in checks if item["status"] == "failed"]
    assert failed
    refused = [text for text in failed if "pass controls=" in text]
    assert len(failed) - len(refused) <= 2  # two checks put words of their own over it


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, Record], Any]:
    folder = tmp_path_factory.mktemp("corrector")
    splits = '\n[splits.last]\ntest = { plate = ["p2", "p3"] }\nshares = ["week"]\n'
    path = tiny.write_table(folder / "table", splits)
    targets = tiny.open_table(path, "last")
    bench = tiny.Bench(folder / "results")
    result = {}
    for record in bench.run(",".join(METHODS), targets):
        assert record["status"] == "ok", record["reason"]
        kept = bench.store.find(record["run_id"])
        assert kept is not None
        result[record["method"]] = kept
    return bench.store, result, targets[0].opened


METHODS = ("tvn", "zscore", "sphering", "combat", "coral-to-train", "robust+sphering-all")


@pytest.mark.parametrize("method", METHODS)
def test_it_returns_what_a_run_of_the_same_rows_left(run: Any, method: str) -> None:
    store, records, opened = run
    record = records[method]
    X, obs = table(embeddings(store, record, ("train", "test")), record, opened.index)
    index = opened.index.set_index("id")
    place = {name: k for k, name in enumerate(opened.index["id"])}
    sides = {}
    for side in ("train", "test"):
        rows = obs[obs["split"] == side]
        raw = opened.source.read(np.array([place[name] for name in rows["id"]]))
        facts = index.loc[rows["id"]]
        sides[side] = (raw, facts["plate"].to_numpy(str), facts["control"].to_numpy(bool))
    raw, plate, control = sides["train"]
    corrector = Corrector(method)
    fitted = corrector.fit_transform(raw, batch=plate, controls=control)
    np.testing.assert_allclose(fitted, X[obs["split"] == "train"], rtol=1e-4, atol=1e-4)
    raw, plate, control = sides["test"]
    result = corrector.transform(raw, batch=plate, controls=control)
    np.testing.assert_allclose(result, X[obs["split"] == "test"], rtol=1e-4, atol=1e-4)
    assert result.dtype == np.float32
    # Not because there is nothing to do.
    assert result.shape != raw.shape or np.abs(result - raw).max() > 0.1


def data(seed: int = 0, n: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    batch = np.repeat(["a", "b"], n // 2)
    y = np.tile(["x", "y"], n // 2)
    X = rng.normal(size=(n, 5)) + 3 * (batch == "b")[:, None] + 2 * (y == "y")[:, None]
    controls = np.zeros(n, dtype=bool)
    controls[::4] = True
    return X, y, batch, controls


def test_the_order_of_rows_is_kept_and_says_nothing() -> None:
    X, _, batch, controls = data()
    order = np.random.default_rng(1).permutation(len(X))
    corrector = Corrector("tvn").fit(X, batch=batch, controls=controls)
    result = corrector.transform(X, batch=batch, controls=controls)
    again = corrector.transform(X[order], batch=batch[order], controls=controls[order])
    np.testing.assert_allclose(again, result[order], rtol=1e-5, atol=1e-5)


def test_parameters_are_of_the_last_method_or_of_the_one_that_is_named() -> None:
    X, _, batch, controls = data()

    def corrected(**options: Any) -> np.ndarray:
        fitted = Corrector("tvn", **options).fit(X, batch=batch, controls=controls)
        return fitted.transform(X, batch=batch, controls=controls)

    efaar = corrected(params={"variant": "efaar"})
    np.testing.assert_array_equal(corrected(params={"tvn.variant": "efaar"}), efaar)
    assert np.abs(corrected() - efaar).max() > 0.1
    with raises(ValueError, "tvn"):
        corrected(params={"zscore.rows": "all"})
    with raises(ValueError, "tvn.variant"):
        corrected(params={"variant": "new"})


def test_a_network_learns_classes_in_a_pipeline() -> None:
    X, y, _, _ = data(n=120)
    recipe = {"steps": 100, "batch_size": 16, "width": 8}
    model = make_pipeline(Corrector("erm+sphering-all", recipe=recipe), LogisticRegression())
    assert model.fit(X, y).score(X, y) > 0.8
    with raises(ValueError):
        Corrector("erm").fit(X)


def test_a_method_that_adapts_while_fitting_knows_its_rows_again() -> None:
    X, _, batch, _ = data(n=80)
    corrector = Corrector("harmony").fit(X, batch=batch)
    order = np.random.default_rng(2).permutation(len(X))
    result = corrector.transform(X, batch=batch)
    np.testing.assert_array_equal(corrector.transform(X[order], batch=batch[order]), result[order])
    with raises(ValueError, "harmony-map", "80"):
        corrector.transform(X + 1, batch=batch)
    new = data(seed=3, n=40)
    both = Corrector("harmony").fit(X, batch=batch, X_adapt=new[0], batch_adapt=new[2])
    assert len(both.transform(new[0], batch=new[2])) == 40


@pytest.mark.parametrize(
    "method, options, words",
    [
        ("tvm", {}, ("tvn",)),
        ("tvn", {}, ("controls",)),
        ("label-oracle", {}, ()),
        ("sphering-all", {"batch": ["a"]}, ()),
        ("sphering-all", {"batch": np.full(40, np.nan)}, ()),
        ("sphering-all", {"controls": np.zeros(40, int)}, ("40",)),
        ("batch-mean", {}, ("identity",)),
    ],
)
def test_what_cannot_be_is_a_value_error(method: str, options: dict[str, Any], words: str) -> None:
    with raises(ValueError, *words):
        Corrector(method).fit(data()[0], **options)


@pytest.mark.parametrize("kind", ["object", "category", "string", "datetime", "float"])
def test_a_missing_batch_is_refused_in_every_type(kind: str) -> None:
    X, _, batch, _ = data()
    codes = pd.Series((batch == "b").astype(int))
    values = {
        "object": codes.astype(object),
        "category": codes.astype("category"),
        "string": codes.astype("string"),
        "datetime": pd.to_datetime("2024-01-0" + (codes + 1).astype(str)),
        "float": codes.astype(float),
    }[kind]
    complete = Corrector("center", params={"rows": "all"}).fit_transform(X, batch=values)
    expected = X - np.stack([X[batch == name].mean(axis=0) for name in batch])
    np.testing.assert_allclose(complete, expected, atol=1e-5)
    values = values.copy()
    values[[3, 7]] = None
    for rows in (values, values.to_numpy()):
        with raises(ValueError, "batch", "2 of 40", "row 3"):
            Corrector("sphering-all").fit(X, batch=rows)
    fitted = Corrector("sphering-all").fit(X)
    with raises(ValueError, "batch", "2 of 40"):
        fitted.transform(X, batch=values)


def test_no_correction_returns_the_table() -> None:
    X = data()[0]
    corrector = Corrector("identity").fit(X)
    np.testing.assert_array_equal(corrector.transform(X[:7]), X[:7].astype(np.float32))


def test_fitted_and_not(tmp_path: Path) -> None:
    X, _, batch, controls = data()
    corrector = Corrector("tvn", seed=3)
    with pytest.raises(NotFittedError):
        corrector.transform(X)
    assert clone(corrector).get_params() == {
        "isolate": "plugins",
        "method": "tvn",
        "params": None,
        "recipe": None,
        "seed": 3,
    }
    corrector.fit(X, batch=batch, controls=controls)
    result = corrector.transform(X, batch=batch, controls=controls)
    assert corrector.n_features_in_ == 5
    assert list(corrector.get_feature_names_out()) == [f"corrector{k}" for k in range(5)]
    corrector.set_params(method="zscore")  # takes effect with the next fit
    again = pickle.loads(pickle.dumps(corrector)).transform(X, batch=batch, controls=controls)
    np.testing.assert_array_equal(again, result)
    with raises(ValueError, "3", "5"):
        corrector.transform(X[:, :3])


def test_importing_bench_stays_light() -> None:
    code = (
        "import sys, bench\n"
        "print([m for m in ('sklearn', 'numpy', 'torch') if m in sys.modules])\n"
        "print(bench.Corrector.__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == ["[]", "Corrector"], done.stderr
