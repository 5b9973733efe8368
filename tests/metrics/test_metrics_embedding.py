"""Metrics of embeddings against their reference libraries, naive loops and known inputs."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.metrics import average_precision_score, silhouette_samples, silhouette_score
from sklearn.neighbors import NearestNeighbors

from bench import metrics
from bench.core.errors import BenchError
from bench.metrics import _core, _retrieval_clusters
from bench.metrics._lisi import lisi
from bench.metrics._silhouette import silhouette
from bench.metrics.map import average_precisions
from tests.helpers.errors import raises
from tests.helpers.optional import LEIDEN, available, marked, needs_scib

EMBEDDING = [
    name
    for name, meta in metrics.METRICS.items()
    if meta["needs"] == "embedding" and name != "map_controls"  # it has rows of its own
]
HERE = available(EMBEDDING)
GRAPH = [
    "arevalo_overall",
    "ari_leiden",
    "batch_1nn",
    "ilisi",
    "clisi",
    "graph_connectivity",
    "nmi_leiden",
    "robustness_index",
]


def compute_all(names, **arrays):
    """Return several metrics of one neighbour graph."""
    arrays["neighbours"] = metrics.neighbours(arrays["X"])
    return {name: metrics.compute(name, **arrays) for name in names}


def table(seed=0, n=300, d=12, labels=5, batches=3, signal=1.5, effect=1.0):
    """Rows with a label and a batch effect; two compounds a label, in every batch."""
    rng = np.random.default_rng(seed)
    label, batch = rng.integers(0, labels, n), rng.integers(0, batches, n)
    X = rng.normal(size=(n, d))
    X += (
        signal * rng.normal(size=(labels, d))[label] + effect * rng.normal(size=(batches, d))[batch]
    )
    compound = np.array([f"c{a}.{b}" for a, b in zip(label, rng.integers(0, 3, n), strict=True)])
    return {
        "X": X.astype(np.float32),
        "label": label,
        "batch": np.array([f"b{b}" for b in batch]),
        "compound": compound,
    }


def cosine(X):
    X = np.asarray(X, dtype=np.float64)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    return unit, unit @ unit.T


@pytest.mark.parametrize("n, k", [(2, 90), (60, 90), (500, 20)])
def test_neighbours_equal_scikit_learn(n, k):
    X = table(n=n)["X"]
    graph = metrics.neighbours(X, k)
    unit, _ = cosine(X)
    near = NearestNeighbors(n_neighbors=min(k, n - 1), algorithm="brute").fit(unit)
    distances, indices = near.kneighbors()
    assert graph.indices.shape == (n, min(k, n - 1))
    np.testing.assert_array_equal(graph.indices, indices)
    # scikit-learn takes the root of a difference: good to about 1e-8.
    np.testing.assert_allclose(graph.distances, distances, atol=1e-7)


def test_neighbours_do_not_depend_on_chunks_or_on_row_order(monkeypatch):
    X = table(n=200)["X"]
    whole = metrics.neighbours(X, 10)
    monkeypatch.setattr(_core, "CHUNK_BYTES", 5000)
    parts = metrics.neighbours(X, 10)
    np.testing.assert_array_equal(whole.indices, parts.indices)
    np.testing.assert_allclose(whole.distances, parts.distances, atol=1e-14)
    order = np.random.default_rng(0).permutation(200)
    moved = metrics.neighbours(X[order], 10)
    np.testing.assert_array_equal(order[moved.indices], whole.indices[order])


def test_close_rows_far_from_the_origin_are_told_apart():
    # Cosine distances of about 1e-10: differences of float32 products would be all noise.
    rng = np.random.default_rng(0)
    X = np.ones((50, 8)) + 1e-5 * rng.normal(size=(50, 8))
    unit, _ = cosine(X)
    gaps = np.linalg.norm(unit[:, None] - unit[None], axis=2) + np.diag(np.full(50, np.inf))
    np.testing.assert_array_equal(metrics.neighbours(X, 3).indices, gaps.argsort(axis=1)[:, :3])


def test_a_row_of_zeros_has_no_direction():
    X = np.array([[0, 0], [1, 0], [1, 0.1], [-1, 0.0]])
    graph = metrics.neighbours(X, 3)
    assert graph.distances[0] == pytest.approx(np.full(3, np.sqrt(2)))
    assert graph.indices[1].tolist() == [2, 0, 3]


def test_lisi_equals_harmonypy():
    from harmonypy import compute_lisi

    data = table()
    unit, _ = cosine(data["X"])
    frame = pd.DataFrame({"batch": data["batch"], "label": data["label"].astype(str)})
    expected = compute_lisi(unit, frame, ["batch", "label"])
    graph = metrics.neighbours(data["X"])
    for i, column in enumerate(("batch", "label")):
        codes = np.unique(data[column], return_inverse=True)[1]
        result = lisi(graph, codes, codes.max() + 1)
        # harmonypy stops its search at an entropy error of 1e-5.
        np.testing.assert_allclose(result, expected[:, i], atol=1e-4)
        value = metrics.compute("ilisi" if column == "batch" else "clisi", **data).value
        median, k = np.median(expected[:, i]), codes.max() + 1
        rescaled = (median - 1) / (k - 1) if column == "batch" else (k - median) / (k - 1)
        assert value == pytest.approx(rescaled, abs=1e-4)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_silhouettes_equal_scikit_learn(distance, monkeypatch):
    monkeypatch.setattr(_core, "CHUNK_BYTES", 40_000)
    data = table(n=220)
    X, label, batch = data["X"].astype(np.float64), data["label"], data["batch"]
    label[:1] = 9  # a row alone in its label
    data["label"] = label
    codes = np.unique(label, return_inverse=True)[1]
    np.testing.assert_allclose(
        silhouette(X, codes, codes.max() + 1, distance),
        silhouette_samples(X, label, metric=distance),
        atol=1e-7,
    )
    value = metrics.compute("silhouette_label", **data, distance=distance).value
    assert value == pytest.approx((silhouette_score(X, label, metric=distance) + 1) / 2, abs=1e-7)
    means = []
    for k in set(label) - {9}:
        rows = label == k
        width = silhouette_samples(X[rows], batch[rows], metric=distance)
        means.append(np.mean(1 - np.abs(width)))
    result = metrics.compute("silhouette_batch", **data, distance=distance)
    assert result.value == pytest.approx(np.mean(means), abs=1e-7)
    assert "5 of 6 labels" in result.used


def naive_average_precision(similarity, positive, negative):
    """Walk down the ranking and average the precision at each hit."""
    ranked = sorted(np.flatnonzero(positive | negative), key=lambda j: -similarity[j])
    hits, result = 0, []
    for place, j in enumerate(ranked, start=1):
        if positive[j]:
            hits += 1
            result.append(hits / place)
    return np.mean(result)


@pytest.mark.parametrize("negatives", ["all", "batch"])
def test_average_precision_equals_a_walk_down_the_ranking_and_scikit_learn(negatives):
    data = table(n=80)
    label, batch = data["label"], data["batch"]
    _, similarity = cosine(data["X"])
    result = average_precisions(data["X"], label=label, batch=batch, negatives=negatives)
    for i in range(80):
        positive = (label == label[i]) & (batch != batch[i])
        negative = label != label[i]
        if negatives == "batch":
            negative &= batch == batch[i]
        assert result[i] == pytest.approx(
            naive_average_precision(similarity[i], positive, negative), abs=1e-12
        )
        rows = positive | negative
        assert result[i] == pytest.approx(
            average_precision_score(positive[rows], similarity[i, rows]), abs=1e-12
        )
    macro = np.mean([result[label == k].mean() for k in set(label)])
    value = metrics.compute("map", **{**data, "negatives": negatives})
    assert value.value == pytest.approx(macro, abs=1e-12)


def test_average_precision_equals_copairs(tmp_path, monkeypatch):
    copairs_map = pytest.importorskip("copairs.map", reason="the extra 'map' is not installed")
    monkeypatch.setenv("HOME", str(tmp_path))  # its cache of null distributions
    data = table(n=120, d=8)
    meta = pd.DataFrame({"what": data["label"].astype(str), "where": data["batch"]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = copairs_map.average_precision(
            meta,
            data["X"].astype(np.float64),
            pos_sameby=["what"],
            pos_diffby=["where"],
            neg_sameby=[],
            neg_diffby=["what"],
            progress_bar=False,
        )
    result = average_precisions(data["X"], label=data["label"], batch=data["batch"])
    np.testing.assert_allclose(result, expected["average_precision"].to_numpy(), atol=2e-6)


@pytest.mark.parametrize("k", [1, 15])
def test_the_robustness_index_equals_a_loop(k):
    data = table(n=120)
    label, batch = data["label"], data["batch"]
    _, similarity = cosine(data["X"])
    np.fill_diagonal(similarity, -np.inf)
    so = os = 0
    for i in range(120):
        for j in np.argsort(-similarity[i])[:k]:
            so += int(label[i] == label[j] and batch[i] != batch[j])
            os += int(label[i] != label[j] and batch[i] == batch[j])
    value = metrics.compute("robustness_index", **data, k=k)
    assert value.value == pytest.approx(so / (so + os), abs=1e-12)


def test_the_robustness_index_of_biology_batch_and_nothing():
    assert metrics.compute("robustness_index", **oracle()).value == 1
    assert metrics.compute("robustness_index", **by_batch()).value < 0.01
    value = metrics.compute("robustness_index", **shuffled())
    assert value.value == pytest.approx(float(value.used.rpartition(" ")[2]), abs=0.03)


@pytest.mark.parametrize("k", [1, 3, 15])
def test_graph_connectivity_equals_a_flood_fill(k):
    data = table(n=150, signal=0.5)
    _, similarity = cosine(data["X"])
    np.fill_diagonal(similarity, -np.inf)
    joined = np.zeros((150, 150), dtype=bool)
    for i in range(150):
        joined[i, similarity[i].argsort()[-k:]] = True
    joined |= joined.T
    shares = []
    for name in set(data["label"]):
        rows, best = set(np.flatnonzero(data["label"] == name)), 0
        left = set(rows)
        while left:
            reached = frontier = {left.pop()}
            while frontier:
                frontier = {j for i in frontier for j in rows if joined[i, j]} - reached
                reached = reached | frontier
            left -= reached
            best = max(best, len(reached))
        shares.append(best / len(rows))
    value = metrics.compute("graph_connectivity", **data, k=k)
    assert value.value == pytest.approx(np.mean(shares), abs=1e-12)


def test_pcr_equals_regressing_every_component():
    data = table()
    X = data["X"].astype(np.float64)
    parts = PCA().fit_transform(X)
    dummies = pd.get_dummies(data["batch"]).to_numpy(float)
    explained = [
        LinearRegression().fit(dummies, part).score(dummies, part) * part.var() for part in parts.T
    ]
    expected = 1 - np.sum(explained) / parts.var(axis=0).sum()
    assert metrics.compute("pcr", **data).value == pytest.approx(expected, abs=1e-10)
    noise = np.random.default_rng(0).normal(size=(300, 4000))
    # Pure noise: the expected share is (3 - 1) / (300 - 1).
    value = metrics.compute("pcr", X=noise, batch=data["batch"]).value
    assert 1 - value == pytest.approx(2 / 299, rel=0.05)


def naive_match(X, label, compound, batch=None):
    _, similarity = cosine(X)
    right = scored = 0
    n = len(X)
    for i in range(n):
        allowed = [
            j
            for j in range(n)
            if compound[j] != compound[i] and (batch is None or batch[j] != batch[i])
        ]
        if not any(label[j] == label[i] for j in allowed):
            continue
        scored += 1
        right += label[max(allowed, key=lambda j: similarity[i, j])] == label[i]
    return right, scored


def test_matching_across_compounds_and_batches_equals_a_loop():
    data = table(n=90, labels=6)
    data["batch"][data["label"] == 2] = "b0"
    value = metrics.compute("nsc", **data)
    right, scored = naive_match(data["X"], data["label"], data["compound"])
    assert (round(value.value * value.n), value.n) == (right, scored)
    value = metrics.compute("nscb", **data)
    right, scored = naive_match(data["X"], data["label"], data["compound"], data["batch"])
    assert (round(value.value * value.n), value.n) == (right, scored)
    assert scored == 90 - (data["label"] == 2).sum()
    assert "5 of 6 labels" in value.used


def test_treatments_are_averaged_before_they_are_matched():
    data = table(n=120)
    treatment = np.array([f"{c}/{i % 2}" for i, c in enumerate(data["compound"])])
    names = np.unique(treatment)
    first = np.array([np.flatnonzero(treatment == t)[0] for t in names])
    means = np.stack([data["X"][treatment == t].astype(np.float64).mean(axis=0) for t in names])
    by_hand = metrics.compute(
        "nsc", X=means, label=data["label"][first], compound=data["compound"][first]
    )
    assert metrics.compute("nsc", **data, treatment=treatment) == by_hand
    # A treatment in several batches is one profile in each for nscb.
    value = metrics.compute("nscb", **data, treatment=treatment)
    pairs = len({(t, b) for t, b in zip(treatment, data["batch"], strict=True)})
    assert f"of {pairs} treatments" in value.used


def test_batch_1nn_equals_a_loop():
    data = table(effect=0.5)
    _, similarity = cosine(data["X"])
    np.fill_diagonal(similarity, -np.inf)
    expected = np.mean(data["batch"][similarity.argmax(axis=1)] == data["batch"])
    assert metrics.compute("batch_1nn", **data).value == expected


def test_query_clusters_average_to_the_metric_with_the_gallery_fixed():
    data = table(n=90)
    for name in ("nsc", "nscb", "map"):
        clusters = _retrieval_clusters.query_clusters(name, **data)
        assert np.average(clusters.values, weights=clusters.sizes) == pytest.approx(
            metrics.compute(name, **data).value, abs=1e-12
        )
    assert clusters.names == sorted({str(k) for k in data["label"]})
    assert _retrieval_clusters.query_clusters("nsc", **data).names == sorted(set(data["compound"]))
    with raises(BenchError, "pcr"):
        _retrieval_clusters.query_clusters("pcr", **data)


def oracle(seed=0):
    """The label in one-hot form with a little noise: no trace of the batch."""
    data = table(seed, n=600)
    rng = np.random.default_rng(seed)
    data["X"] = (np.eye(5)[data["label"]] + 1e-3 * rng.normal(size=(600, 5))).astype(np.float32)
    return data


def shuffled(seed=0):
    """The features of another row: no trace of label or batch."""
    data = table(seed, n=600)
    data["X"] = np.random.default_rng(seed).permutation(data["X"])
    return data


def by_batch():
    """The batch in one-hot form with a little noise: no trace of the label."""
    data = table(n=600)
    codes = np.unique(data["batch"], return_inverse=True)[1]
    noise = 1e-3 * np.random.default_rng(0).normal(size=(600, 3))
    data["X"] = (np.eye(3)[codes] + noise).astype(np.float32)
    return data


def chance_of(name, data):
    """The mean share of right answers among those allowed: what a blind guess scores."""
    label, compound, batch = data["label"], data["compound"], data["batch"]
    same = label[:, None] == label[None]
    allowed = compound[:, None] != compound[None]
    if name == "nscb":
        allowed &= batch[:, None] != batch[None]
    if name == "map":
        same = same & (batch[:, None] != batch[None])
        allowed = same | (label[:, None] != label[None])
        share = (same & allowed).sum(axis=1) / allowed.sum(axis=1)
        return np.mean([share[label == k].mean() for k in np.unique(label)])
    return np.mean((same & allowed).sum(axis=1) / allowed.sum(axis=1))


def test_the_label_itself_gives_the_best_score():
    value = compute_all(HERE, **oracle())
    for name in ("nsc", "nscb", "map", "clisi", "graph_connectivity"):
        assert value[name].value == pytest.approx(1, abs=1e-6), name
    assert value["silhouette_label"].value > 0.99
    # Noise alone parts the batches of a label a little.
    assert value["silhouette_batch"].value > 0.85
    assert value["ilisi"].value > 0.85
    assert value["pcr"].value > 0.98
    assert value["batch_1nn"].value == pytest.approx(1 / 3, abs=0.06)


def test_rows_that_know_nothing_give_chance():
    data = shuffled()
    value = compute_all(HERE, **data)
    for name in ("nsc", "nscb", "map"):
        assert value[name].value == pytest.approx(chance_of(name, data), abs=0.05), name
    assert value["batch_1nn"].value == pytest.approx(1 / 3, abs=0.06)
    assert value["silhouette_label"].value == pytest.approx(0.5, abs=0.05)
    assert value["ilisi"].value > 0.8
    assert value["clisi"].value < 0.3
    assert value["pcr"].value == pytest.approx(1 - 2 / 599, abs=0.01)


def test_rows_that_know_only_their_batch_give_the_worst_mixing():
    value = compute_all(HERE, **by_batch())
    assert value["batch_1nn"].value == 1
    assert value["ilisi"].value == pytest.approx(0, abs=1e-6)
    assert value["pcr"].value < 0.01
    assert value["silhouette_batch"].value < 0.02
    assert value["nscb"].value == pytest.approx(chance_of("nscb", by_batch()), abs=0.05)


def test_a_collapsed_embedding_scores_chance_whatever_the_row_order():
    data = table(n=400, labels=4, batches=2)
    order = np.argsort(data["label"] * 2 + (data["batch"] == "b1"), kind="stable")
    data = {key: array[order] for key, array in data.items()}
    data["X"] = np.ones((400, 6), dtype=np.float32)
    value = compute_all(("nsc", "nscb", "map", "batch_1nn", "clisi", "ilisi"), **data)
    for name in ("nsc", "nscb", "map"):
        assert value[name].value == pytest.approx(chance_of(name, data), abs=1e-9), name
    assert value["batch_1nn"].value == pytest.approx(0.5, abs=0.04)
    assert value["clisi"].value < 0.15
    assert value["ilisi"].value > 0.85
    assert metrics.compute("silhouette_label", **data).value == pytest.approx(0.5, abs=1e-9)
    assert np.isnan(metrics.compute("pcr", **data).value)


@needs_scib
def test_the_overall_score_of_arevalo_is_the_weighted_mean_of_its_components():
    data = table(n=200)
    rng = np.random.default_rng(0)
    controls = {
        "controls": rng.normal(size=(30, 12)).astype(np.float32),
        "control_batch": np.repeat(["b0", "b1", "b2"], 10),
    }
    clusters = {"resolution": 1.0}
    halves = (
        ("graph_connectivity", "kbet", "ilisi", "silhouette_batch"),
        ("silhouette_label", "clisi", "nmi_leiden", "ari_leiden", "map", "map_controls"),
    )
    parts = {
        name: metrics.compute(name, **data, **controls, **clusters).value
        for half in halves
        for name in half
    }
    mixing, biology = (np.mean([parts[name] for name in half]) for half in halves)
    value = metrics.compute("arevalo_overall", **data, **controls)
    assert len(parts) == 10
    assert value.value == pytest.approx(0.4 * mixing + 0.6 * biology, abs=1e-12)
    for name, part in parts.items():
        assert f"{name} {part:.3f}" in value.used
    # Without controls, the component that needs them is left out.
    lacking = metrics.compute("arevalo_overall", **data)
    rest = np.mean([parts[name] for name in halves[1] if name != "map_controls"])
    assert lacking.value == pytest.approx(0.4 * mixing + 0.6 * rest, abs=1e-12)
    assert "map_controls" in lacking.used


@needs_scib
def test_an_undefined_component_is_left_out_of_its_mean_and_named():
    data = table(n=60, labels=20, batches=30, signal=0)
    data["batch"] = np.array([f"b{i}" for i in range(60)])
    value = metrics.compute("arevalo_overall", **data)
    assert "undefined and left out: kbet, silhouette_batch" in value.used
    assert np.isfinite(value.value)


@pytest.mark.parametrize("name", marked(EMBEDDING))
def test_row_order_names_scale_and_rotation_do_not_matter(name):
    data = table(n=160)
    before = metrics.compute(name, **data)
    rng = np.random.default_rng(3)
    order = rng.permutation(160)
    turn, _ = np.linalg.qr(rng.normal(size=(12, 12)))
    after = {key: array[order] for key, array in data.items()}
    after["X"] = 7.5 * after["X"].astype(np.float64) @ turn
    after["batch"] = np.char.add("day ", after["batch"])
    after["label"] = 10 - after["label"]
    value = metrics.compute(name, **after)
    assert value.value == pytest.approx(before.value, abs=1e-6)
    assert value.n == before.n
    low, high = metrics.METRICS[name]["range"]
    assert low <= value.value <= high


@pytest.mark.parametrize("name", marked(GRAPH))
def test_one_graph_serves_all(name):
    data = table(n=250)
    shared = metrics.compute(name, **data, neighbours=metrics.neighbours(data["X"]))
    assert shared == metrics.compute(name, **data)


@pytest.mark.parametrize("name", marked(sorted(set(EMBEDDING) - {"batch_1nn", "ilisi", "pcr"})))
@pytest.mark.parametrize("kind", ["text", "number"])
def test_rows_without_a_label_are_left_out_and_counted(name, kind):
    data = table(n=200)
    expected = metrics.compute(name, **data)
    extra = table(seed=9, n=30)
    both = {key: np.concatenate([data[key], extra[key]]) for key in data}
    both["label"][200:] = -1
    if kind == "text":
        both["label"] = np.array([str(k) if k >= 0 else "" for k in both["label"]])
    # A graph over all rows does not fit those that are left.
    value = metrics.compute(name, **both, neighbours=metrics.neighbours(both["X"]))
    assert value.value == pytest.approx(expected.value, abs=1e-9)
    assert value.n == expected.n
    assert "30 rows without a label" in value.used


@pytest.mark.parametrize("name", marked(EMBEDDING))
def test_one_label_in_one_batch_is_undefined_not_an_error(name):
    rng = np.random.default_rng(0)
    n = 20
    value = metrics.compute(
        name,
        X=rng.normal(size=(n, 4)),
        label=np.zeros(n, dtype=int),
        batch=np.full(n, "b"),
        compound=np.full(n, "c"),
    )
    if name == "graph_connectivity":  # one label is defined: it hangs together
        assert value.value == 1
    else:
        assert np.isnan(value.value)
        assert value.n == 0


def test_replicates_that_are_all_in_other_batches_leave_no_silhouette_by_batch():
    data = table(n=30, labels=10, batches=3)
    data["label"] = np.repeat(np.arange(10), 3)
    data["batch"] = np.tile(["x", "y", "z"], 10)
    value = metrics.compute("silhouette_batch", **data)
    assert np.isnan(value.value)
    assert "0 of 10 labels" in value.used


@pytest.mark.parametrize("name", marked(EMBEDDING))
def test_bad_embeddings_are_explained(name):
    data = table(n=40)
    bad = data["X"].copy()
    bad[3, 2] = np.nan
    with raises(BenchError, "NaN", "1", "40", fix=False):
        metrics.compute(name, **{**data, "X": bad})
    with raises(BenchError, "40"):
        metrics.compute(name, **{**data, "X": data["X"][:, 0]})
    with raises(BenchError, "39", fix=False):
        metrics.compute(name, **{**data, "X": data["X"][1:]})


@pytest.mark.slow
def test_memory_stays_far_below_that_of_all_pairs():
    import tracemalloc

    rng = np.random.default_rng(0)
    n = 12_000
    X = rng.normal(size=(n, 16)).astype(np.float32)
    label = rng.integers(0, 9, n)
    batch = np.array(["a", "b", "c"])[rng.integers(0, 3, n)]
    tracemalloc.start()
    compute_all(
        [*(set(GRAPH) - set(LEIDEN)), "silhouette_label", "pcr"], X=X, label=label, batch=batch
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All pairs in float64 would be 1.15 GB.
    assert peak < 200e6


@pytest.mark.parametrize("unit", [1e-14, 1e9])
def test_units_do_not_change_a_euclidean_silhouette(unit):
    data = table(n=80)
    kwargs = {"label": data["label"], "distance": "euclidean"}
    before = metrics.compute("silhouette_label", X=data["X"], **kwargs).value
    scaled = data["X"].astype(np.float64) * unit
    assert metrics.compute("silhouette_label", X=scaled, **kwargs).value == pytest.approx(before)


def test_a_row_without_length_has_no_distance_to_itself():
    X = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.2], [0.0, 1.0], [0.1, 1.0]], np.float32)
    code = np.array([0, 0, 0, 1, 1])

    def distance(i, j):
        if i == j:
            return 0.0
        lengths = np.linalg.norm(X[i]) * np.linalg.norm(X[j])
        return 1.0 - (float(X[i] @ X[j]) / lengths if lengths else 0.0)

    expected = []
    for i in range(5):
        own = [distance(i, j) for j in range(5) if j != i and code[j] == code[i]]
        other = [distance(i, j) for j in range(5) if code[j] != code[i]]
        a, b = np.mean(own), np.mean(other)
        expected.append((b - a) / max(a, b))
    np.testing.assert_allclose(silhouette(X, code, 2, "cosine"), expected, atol=1e-6)


def test_neighbours_far_from_the_origin_are_those_of_the_differences():
    rng = np.random.default_rng(0)
    X = 1.0 + 1e-8 * rng.normal(size=(400, 6))
    unit = _core.unit_rows(X)
    gaps = ((unit[:, None] - unit[None]) ** 2).sum(axis=2)
    np.fill_diagonal(gaps, np.inf)
    result = _core.neighbours(X, 5)
    np.testing.assert_allclose(result.distances**2, np.sort(gaps, axis=1)[:, :5], rtol=1e-9)


def test_entries_without_a_value():
    column = np.array(["a", None, np.nan, "", 1], dtype=object)
    assert _core.has_value(column).tolist() == [True, False, False, False, True]
    assert _core.has_value(np.array([0, 3, -1])).tolist() == [True, True, False]
    assert _core.has_value(np.array([0.0, np.nan])).tolist() == [True, False]
    assert _core.has_value(np.array(["a", ""])).tolist() == [True, False]
