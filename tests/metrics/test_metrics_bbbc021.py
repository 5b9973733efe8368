"""NSC and NSCB on real profiles against an independent count, and against published practice."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import metrics
from bench.metrics import _retrieval_clusters
from tests.helpers.errors import mentions


@pytest.fixture(scope="module")
def wells():
    folder = os.environ.get("BENCH_TEST_DATA")
    if not folder:
        pytest.skip("the BBBC021 table is not here: set BENCH_TEST_DATA to the folder that has it")
    path = Path(folder) / "bbbc021_ljosa2013" / "bbbc021_ljosa2013_wells.parquet"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in BENCH_TEST_DATA")
    return pd.read_parquet(path)


def features(wells):
    columns = [c for c in wells if c.startswith(("Cells_", "Cytoplasm_", "Nuclei_"))]
    return wells[columns].to_numpy(np.float64)


def scaled(X, rows):
    sd = X[rows].std(axis=0)
    return (X - X[rows].mean(axis=0)) / np.where(sd > 0, sd, 1)


def whitened(wells):
    """Centre each plate on its DMSO wells, then whiten on them with eigenvalues + 1."""
    X, dmso = features(wells), wells["meta_is_control"].to_numpy()
    for plate in wells["meta_plate"].unique():
        rows = (wells["meta_plate"] == plate).to_numpy()
        X[rows] -= X[rows & dmso].mean(axis=0)
    X = scaled(X, dmso)
    values, vectors = np.linalg.eigh(np.cov(X[dmso].T))
    return X @ vectors / np.sqrt(np.maximum(values, 0) + 1)


def arrays(wells, X):
    treatment = wells["meta_compound"] + "@" + wells["meta_concentration"].astype(str)
    label = wells["meta_moa"].where(~wells["meta_is_control"], "")
    return {
        "X": X.astype(np.float32),
        "label": label.to_numpy(str),
        "compound": wells["meta_compound"].to_numpy(str),
        "batch": wells["meta_week"].to_numpy(str),
        "treatment": treatment.to_numpy(str),
    }


def counted_by_hand(wells, X):
    """Count matches with plain numpy: means of wells, all cosines, masked argmax."""
    treated = wells.assign(row=np.arange(len(wells)))[~wells["meta_is_control"]]
    rows, moa, compound, week = [], [], [], []
    for (name, _), part in treated.groupby(["meta_compound", "meta_concentration"]):
        rows.append(X[part["row"]].mean(axis=0))
        moa.append(part["meta_moa"].iloc[0])
        compound.append(name)
        week.append(part["meta_week"].iloc[0])
    P, moa, compound, week = np.array(rows), np.array(moa), np.array(compound), np.array(week)
    norm = np.sqrt((P * P).sum(axis=1))
    cosine = (P @ P.T) / norm[:, None] / norm[None]
    cosine[compound[:, None] == compound[None]] = -2
    nsc = moa[cosine.argmax(axis=1)] == moa
    cosine[week[:, None] == week[None]] = -2
    several = np.array([len(set(week[moa == m])) > 1 for m in moa])
    nscb = (moa[cosine.argmax(axis=1)] == moa)[several]
    return (nsc.sum(), nsc.size), (nscb.sum(), nscb.size)


@pytest.mark.parametrize("correction", ["z-score", "whitening"])
def test_counts_equal_an_independent_count(wells, correction):
    X = features(wells)
    X = scaled(X, np.full(len(X), True)) if correction == "z-score" else whitened(wells)
    nsc, nscb = counted_by_hand(wells, X.astype(np.float32).astype(np.float64))
    for name, expected in (("nsc", nsc), ("nscb", nscb)):
        value = metrics.compute(name, **arrays(wells, X))
        assert (round(value.value * value.n, 9), value.n) == expected
    published = {"z-score": (0.864, 0.70), "whitening": (0.922, 0.739)}[correction]
    assert (nsc[0] / 103, nscb[0] / 92) == pytest.approx(published, abs=0.005)


def test_two_mechanisms_of_one_week_are_left_out_and_counted(wells):
    value = metrics.compute("nscb", **arrays(wells, whitened(wells)))
    mentions(value.used, "92 of 103", "10 of 12", "10")
    assert "330 rows without a label left out" in value.used


def test_profiles_averaged_beforehand_give_the_same(wells):
    passed = arrays(wells, whitened(wells))
    frame = pd.DataFrame({key: passed[key] for key in ("label", "compound", "batch", "treatment")})
    keep = frame["label"] != ""
    means, rows = [], []
    for _, part in frame[keep].groupby("treatment"):
        means.append(passed["X"][part.index].astype(np.float64).mean(axis=0))
        rows.append(part.index[0])
    columns = {key: frame[key].to_numpy(str)[rows] for key in ("label", "compound", "batch")}
    for name in ("nsc", "nscb"):
        value = metrics.compute(name, X=np.array(means), **columns)
        assert value.value == metrics.compute(name, **passed).value


def test_compounds_as_clusters_give_the_metric_back(wells):
    passed = arrays(wells, whitened(wells))
    clusters = _retrieval_clusters.query_clusters("nscb", **passed)
    assert clusters.sizes.sum() == 92
    assert np.average(clusters.values, weights=clusters.sizes) == pytest.approx(
        metrics.compute("nscb", **passed).value, abs=1e-12
    )
