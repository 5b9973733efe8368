"""Metrics of mixing within labels and of clusters: against scib-metrics, harmonypy and loops."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chisquare
from sklearn.metrics import average_precision_score, silhouette_samples

from bench import metrics
from bench.core.errors import BenchError
from bench.metrics._silhouette import silhouette
from bench.scoring.profiles.activity import activity
from tests.helpers.errors import raises
from tests.helpers.optional import HAS_SCIB, needs_scib
from tests.metrics.test_metrics_embedding import by_batch, cosine, oracle, shuffled, table
from tests.scoring.test_profiles import screen
from tests.scoring.test_profiles import table as profiles_of


def theirs():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scib = pytest.importorskip("scib_metrics", reason="the extra 'scib' is not installed")
    return scib


def test_cilisi_is_the_lisi_of_harmonypy_in_each_label():
    from harmonypy import compute_lisi

    data = table(n=400)
    unit, _ = cosine(data["X"])
    values = []
    for k in range(5):
        rows = data["label"] == k
        frame = pd.DataFrame({"batch": data["batch"][rows]})
        perplexity = min(30, min(90, rows.sum() - 1) / 3)
        lisi = compute_lisi(unit[rows], frame, ["batch"], perplexity)[:, 0]
        values.append((lisi - 1) / 2)
    result = metrics.compute("cilisi", **data)
    assert result.value == pytest.approx(np.concatenate(values).mean(), abs=2e-3)
    assert result.n == 400


def test_kbet_against_a_loop():
    data = table(n=300)
    data["label"][:20] = 9  # too few rows
    _, similarity = cosine(data["X"])
    rates = []
    for k in range(5):
        rows = np.flatnonzero(data["label"] == k)
        batch = data["batch"][rows]
        names, sizes = np.unique(batch, return_counts=True)
        number = int(min(70, max(10, np.floor(sizes.mean() / 4))))
        accepted = []
        for place, i in enumerate(rows):
            own = similarity[i, rows].copy()
            own[place] = -np.inf
            near = batch[np.argsort(-own)[:number]]
            observed = [(near == name).sum() for name in names]
            accepted.append(chisquare(observed, number * sizes / len(rows)).pvalue >= 0.05)
        rates.append(np.mean(accepted))
    result = metrics.compute("kbet", **data)
    assert result.value == pytest.approx(np.mean(rates), abs=1e-12)
    assert "5 of 6 labels" in result.used


def test_kbet_equals_scib_metrics_on_the_same_neighbours():
    scib = theirs()
    from scib_metrics.nearest_neighbors import NeighborsResults

    data = table(n=90, labels=1, effect=0.3)
    graph = metrics.neighbours(data["X"], 10)  # a quarter of 30 rows, but at least 10
    expected = scib.kbet(NeighborsResults(graph.indices, graph.distances), data["batch"])[0]
    assert metrics.compute("kbet", **data).value == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_bras_and_isolated_labels_equal_scib_metrics(distance):
    scib = theirs()
    data = table(n=260, batches=4)
    data["batch"][data["label"] == 2] = "b0"
    X = data["X"]
    result = metrics.compute("bras", **data, distance=distance).value
    expected = scib.bras(X, data["label"], data["batch"], metric=distance)
    assert result == pytest.approx(float(expected), abs=1e-5)
    if distance == "euclidean":
        result = metrics.compute("isolated_labels", **data, distance=distance).value
        expected = scib.isolated_labels(X, data["label"], data["batch"])
        assert result == pytest.approx(float(expected), abs=1e-5)


def test_isolated_labels_against_scikit_learn():
    data = table(n=200)
    data["batch"][np.isin(data["label"], [1, 3])] = "b0"
    width = silhouette_samples(data["X"].astype(float), data["label"], metric="cosine")
    means = [(width[data["label"] == k].mean() + 1) / 2 for k in (1, 3)]
    result = metrics.compute("isolated_labels", **data)
    assert result.value == pytest.approx(np.mean(means), abs=1e-7)
    assert result.n == np.isin(data["label"], [1, 3]).sum()


def test_the_width_against_all_other_rows_against_a_loop():
    data = table(n=60)
    code = np.unique(data["batch"], return_inverse=True)[1]
    _, similarity = cosine(data["X"])
    result = silhouette(data["X"], code, 3, others="all")
    for i in range(60):
        own = (code == code[i]) & (np.arange(60) != i)
        a, b = (1 - similarity[i, own]).mean(), (1 - similarity[i, code != code[i]]).mean()
        assert result[i] == pytest.approx((b - a) / max(a, b), abs=1e-12)


def test_nested_batches_are_mixed_for_the_silhouette_and_not_for_bras():
    """Batches in two distant pairs: each has a batch close by."""
    rng = np.random.default_rng(0)
    batch = np.repeat(np.arange(4), 50)
    X = rng.normal(size=(200, 6))
    X[:, 0] += 40 * (batch >= 2)
    arrays = {"X": X, "label": np.zeros(200, int), "batch": batch, "distance": "euclidean"}
    assert metrics.compute("silhouette_batch", **arrays).value > 0.95
    assert metrics.compute("bras", **arrays).value < 0.7
    assert metrics.compute("cilisi", **{**arrays, "distance": None}).value < 0.45


@needs_scib
def test_leiden_equals_scib_metrics_on_the_same_graph():
    scib = theirs()
    from scib_metrics.nearest_neighbors import NeighborsResults

    data = table(n=200, signal=0.8)
    graph = metrics.neighbours(data["X"], 24)
    self = np.arange(200)[:, None]
    indices, distances = np.hstack([self, graph.indices]), np.hstack([0.0 * self, graph.distances])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = scib.nmi_ari_cluster_labels_leiden(
            NeighborsResults(indices, distances), data["label"]
        )
    for name in ("nmi", "ari"):
        result = metrics.compute(f"{name}_leiden", **data).value
        assert result == pytest.approx(expected[name], abs=0.05)  # rows are in another order
        assert metrics.compute(f"{name}_leiden", **oracle()).value == pytest.approx(1)
        assert metrics.compute(f"{name}_leiden", **shuffled()).value < 0.1


@pytest.mark.skipif(HAS_SCIB, reason="the extra is installed")
@pytest.mark.parametrize("name", ["nmi_leiden", "ari_leiden", "arevalo_overall"])
def test_without_the_extra_the_error_names_it(name):
    with raises(BenchError, "scib"):
        metrics.compute(name, **table(n=60))


def test_precision_among_controls_against_scikit_learn_and_activity():
    opened = screen(controls=12)
    X, index = profiles_of(opened), opened.index
    control = index["control"].to_numpy(bool)
    batch, treatment = index["plate"].to_numpy(str), index["treatment"].to_numpy(str)
    result = metrics.compute(
        "map_controls",
        X=X[~control],
        label=index["label"].to_numpy(str)[~control],
        treatment=treatment[~control],
        batch=batch[~control],
        controls=X[control],
        control_batch=batch[control],
    )
    groups = activity(opened, X)
    assert result.value == pytest.approx(groups.precision.mean(), abs=1e-9)
    _, similarity = cosine(X)
    by_treatment = {}
    for i in np.flatnonzero(~control):
        positive = (treatment == treatment[i]) & (np.arange(len(X)) != i)
        rows = positive | (control & (batch == batch[i]))
        score = average_precision_score(positive[rows], similarity[i, rows])
        by_treatment.setdefault(treatment[i], []).append(score)
    expected = np.mean([np.mean(own) for own in by_treatment.values()])
    assert result.value == pytest.approx(expected, abs=1e-9)
    assert np.isnan(metrics.compute("map_controls", **table(n=40)).value)


def test_biology_without_batch_and_batch_without_biology():
    best, worst = oracle(), by_batch()
    for name in ("cilisi", "kbet", "bras"):
        assert metrics.compute(name, **best).value > 0.8, name
        assert metrics.compute(name, **worst).value < 0.2, name


def test_metrics_within_labels_do_not_reward_merging_labels():
    """If labels are mostly in one batch, merging them mixes batches, but not within labels."""
    apart, merged = (table(n=600, signal=signal, effect=0.0) for signal in (3.0, 0.0))
    rng = np.random.default_rng(0)
    mostly = np.where(rng.random(600) < 0.85, apart["label"] % 3, rng.integers(0, 3, 600))
    values = {
        name: [metrics.compute(name, **{**data, "batch": mostly}).value for data in (apart, merged)]
        for name in ("ilisi", "cilisi", "kbet", "bras")
    }
    assert values["ilisi"][1] > values["ilisi"][0] + 0.2
    for name in ("cilisi", "kbet", "bras"):
        assert values[name][1] == pytest.approx(values[name][0], abs=0.06), name
