"""Corrections by other libraries against these libraries, and what a missing library gives.

``limma_reference.csv`` was computed by limma 3.54.1 on R 4.2.2:
``removeBatchEffect(t(X), batch)``, and with ``design = cbind(1, control)`` (``controls.*``) and
``cbind(1, batch == 3)`` (``alone.*``).
"""

from __future__ import annotations

import dataclasses
import random
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.api import BenchError, NotApplicable
from bench.core.moments import Components
from tests.helpers.errors import raises
from tests.helpers.extras import EXTRAS, skip_without
from tests.helpers.profiles import fitted, planted, reloaded, view

REFERENCE = Path(__file__).with_name("limma_reference.csv")
QUICK = {"scvi": {"epochs": 2}, "sysvi": {"epochs": 2}}


NAMES = ["limma", "mnn", "harmony2", "scvi", "sysvi", "seurat-rpca"]


def sides(seed=0):
    X, y, batch, controls = planted("location", seed, n_batches=4, treated=40, controls=12)
    old = np.isin(batch, ["batch 0", "batch 1"])
    train = view(X[old], batch[old], controls[old], y[old], "train")
    return train, view(X[~old], batch[~old], controls[~old], prefix="test")


def between(X, batch):
    """Return the share of the variance that is between batches."""
    means = np.stack([X[batch == name].mean(axis=0) for name in np.unique(batch)])
    return float(means.var(axis=0).sum() / X.var(axis=0).sum())


@pytest.mark.parametrize("name", NAMES)
def test_order_and_names_and_storage_change_nothing(name):
    skip_without(name)
    train, test = sides(1)
    method = fitted(name, train, test, seed=3, **QUICK.get(name, {}))
    first = method.apply(test).X
    order = np.random.default_rng(0).permutation(len(test))
    moved = test.take(order)
    moved = dataclasses.replace(moved, batch=np.char.add("x", moved.batch))
    again = fitted(name, train, moved, seed=3, **QUICK.get(name, {}))
    np.testing.assert_array_equal(again.apply(moved).X, first[order])
    np.testing.assert_array_equal(reloaded(method).apply(test).X, first)
    with raises(BenchError, "harmony-map", len(test)):
        method.apply(view(test.X, prefix="new"))


@pytest.mark.parametrize("name", ["limma", "mnn", "harmony2", "seurat-rpca"])
def test_a_planted_location_shift_is_removed(name):
    skip_without(name)
    train, test = sides(2)
    method = fitted(name, train, test)
    corrected = np.concatenate([method.apply(side).X for side in (train, test)])
    batch = np.concatenate([train.batch, test.batch])
    before = between(np.concatenate([train.X, test.X]), batch)
    assert between(corrected, batch) < 0.35 * before


def test_equal_sides_are_used_once():
    train, _ = sides(3)
    other = dataclasses.replace(train, ids=np.char.add("again ", train.ids))
    method = fitted("limma", train, other)
    np.testing.assert_array_equal(method.apply(train).X, method.apply(other).X)
    counted = np.stack([train.X[train.batch == b].mean(axis=0) for b in np.unique(train.batch)])
    expected = train.X - counted[np.unique(train.batch, return_inverse=True)[1]] + counted.mean(0)
    np.testing.assert_allclose(method.apply(train).X, expected, atol=1e-5)


@pytest.mark.parametrize("design", ["none", "controls"])
def test_limma_equals_r(design):
    table = pd.read_csv(REFERENCE)
    X = table[["x0", "x1", "x2"]].to_numpy(np.float32)
    batch = table["batch"].astype(str).to_numpy()
    controls, old = table["control"].to_numpy(bool), batch < "2"
    train = view(X[old], batch[old], controls[old], prefix="train")
    test = view(X[~old], batch[~old], controls[~old], prefix="test")
    method = fitted("limma", train, test, design=design)
    wanted = table[[f"{design}.{k + 1}" for k in range(3)]].to_numpy()
    np.testing.assert_allclose(method.apply(train).X, wanted[old], atol=2e-6)
    np.testing.assert_allclose(method.apply(test).X, wanted[~old], atol=2e-6)


def test_limma_leaves_a_batch_that_the_design_explains():
    from bench.methods.limma import remove_batch_effect

    table = pd.read_csv(REFERENCE)
    batch = table["batch"].to_numpy(np.int64)
    design = np.column_stack([np.ones(len(batch)), batch == 3])
    result = remove_batch_effect(table[["x0", "x1", "x2"]].to_numpy(float), batch, design)
    wanted = table[[f"alone.{k + 1}" for k in range(3)]].to_numpy()
    np.testing.assert_allclose(result, wanted, atol=1e-9)


def joint(train, test, n=50):
    """Return components of both sides in the method's order, their batches, and that order."""
    from bench.methods._joint import components_of, joint_rows

    rows = joint_rows(train, test, "x")
    Z = components_of(rows, n, "x")
    place = {name: k for k, name in enumerate(rows.names.tolist())}
    X = np.concatenate([train.X, test.X])
    at = [place[name] for name in (*train.ids.tolist(), *test.ids.tolist())]
    expected = Components.of(rows.X[: len(train)], n, "x").scores(X)
    np.testing.assert_allclose(Z[at], expected, atol=1e-5)
    return Z, rows.codes, at


def corrected_of(method, train, test):
    return np.concatenate([method.apply(side).X for side in (train, test)])


def test_mnn_equals_scranpy():
    skip_without("mnn")
    import knncolle
    import scranpy

    train, test = sides(4)
    Z, codes, at = joint(train, test)
    exact = {"nn_parameters": knncolle.VptreeParameters()}
    library = scranpy.correct_mnn(Z.T.astype(float), codes.tolist(), num_neighbors=7, **exact)
    method = fitted("mnn", train, test, neighbors=7)
    wanted = np.asarray(library["corrected"]).T[at]
    np.testing.assert_allclose(corrected_of(method, train, test), wanted, atol=1e-4)


def test_harmony2_equals_scanpy():
    skip_without("harmony2")
    import scanpy
    from anndata import AnnData

    train, test = sides(5)
    Z, codes, at = joint(train, test)
    obs = pd.DataFrame({"batch": pd.Categorical(codes.astype(str))})
    obs.index = obs.index.astype(str)
    data = AnnData(obs=obs, obsm={"X_pca": Z.astype(float)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scanpy.pp.harmony_integrate(data, "batch", rng=9)
    method = fitted("harmony2", train, test, seed=9)
    wanted = np.asarray(data.obsm["X_pca_harmony"])[at]
    np.testing.assert_allclose(corrected_of(method, train, test), wanted, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["scvi", "sysvi"])
def test_latent_means_equal_scvi_tools(name, tmp_path, monkeypatch):
    skip_without(name)
    import scvi
    import torch
    from anndata import AnnData
    from bench.methods._joint import joint_rows, standardised

    monkeypatch.chdir(tmp_path)
    train, test = sides(6)
    rows = joint_rows(train, test, "x")
    X = standardised(rows, "x")
    np.testing.assert_allclose(X[: len(train)].std(axis=0), 1, atol=1e-5)
    data = AnnData(X - X.min(axis=0) if name == "scvi" else X)
    data.obs["batch"] = pd.Categorical(rows.codes.astype(str))
    data.obs["size"] = 1.0
    np.random.seed(5)  # noqa: NPY002 - the library uses the global generator
    random.seed(5)
    torch.manual_seed(5)
    if name == "scvi":
        scvi.model.SCVI.setup_anndata(data, batch_key="batch", size_factor_key="size")
        how = {"gene_likelihood": "normal", "log_variational": False}
        model = scvi.model.SCVI(data, n_latent=30, **how)
    else:
        scvi.external.SysVI.setup_anndata(data, batch_key="batch")
        model = scvi.external.SysVI(data)
    model.train(max_epochs=2, train_size=1.0, shuffle_set_split=False, accelerator="cpu")
    wanted = model.get_latent_representation()
    place = {key: k for k, key in enumerate(rows.names.tolist())}
    at = [place[key] for key in (*train.ids.tolist(), *test.ids.tolist())]
    torch.manual_seed(1)
    state = np.random.get_state()[1].copy(), random.getstate(), torch.get_rng_state()  # noqa: NPY002
    method = fitted(name, train, test, seed=5, epochs=2)
    np.testing.assert_allclose(corrected_of(method, train, test), wanted[at], atol=1e-5)
    np.testing.assert_array_equal(np.random.get_state()[1], state[0])  # noqa: NPY002
    assert random.getstate() == state[1]
    assert torch.equal(torch.get_rng_state(), state[2])


# The encoder takes a table as it is, so a table does not need its library.
@pytest.mark.parametrize("name", sorted(EXTRAS.keys() - {"encoder"}))
def test_a_missing_library_names_its_extra(monkeypatch, name):
    module, extra = EXTRAS[name]
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, f"{module}.external", None)
    with raises(NotApplicable, f"labshift[{extra}]"):
        fitted(name, *sides(7))


def test_an_old_scanpy_is_named(monkeypatch):
    import scanpy

    monkeypatch.setattr(scanpy.pp, "harmony_integrate", lambda data, key: None, raising=False)
    with raises(NotApplicable, "1.13", "3.12", version("scanpy")):
        fitted("harmony2", *sides(7))


def test_seurat_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with raises(NotApplicable, "Rscript", "Seurat"):
        fitted("seurat-rpca", *sides(7))
    script = tmp_path / "Rscript"
    script.write_text("#!/bin/sh\nexit 1\n")
    script.chmod(0o755)
    with raises(NotApplicable, "Rscript", "Seurat"):
        fitted("seurat-rpca", *sides(7))
    script.write_text(
        '#!/bin/sh\ncase "$*" in *quit*) exit 0;; esac\necho "no memory" >&2\nexit 3\n'
    )
    with raises(BenchError, "3", "no memory"):
        fitted("seurat-rpca", *sides(7))
