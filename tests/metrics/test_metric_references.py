"""Each metric of the registry: its reference, range, direction, needs, and what it ignores."""

from __future__ import annotations

import importlib
import inspect

import pytest

from bench import metrics
from bench.core.meta import IGNORED
from bench.core.registry import registry_with
from bench.testing.metric import changed, check_metric
from tests.helpers.optional import marked

PREDICTIONS = "tests.metrics.test_metrics_predictions"
EMBEDDING = "tests.metrics.test_metrics_embedding"
WITHIN = "tests.metrics.test_metrics_within_labels"
LOOP = "for "
PARITY = {
    "accuracy": (
        PREDICTIONS,
        "test_accuracy_and_balanced_accuracy_equal_scikit_learn",
        "accuracy_score",
    ),
    "accuracy_treatments": ("tests.scoring.test_control_classes", "test_the_metric_against_a_loop"),
    "arevalo_overall": (
        EMBEDDING,
        "test_the_overall_score_of_arevalo_is_the_weighted_mean_of_its_components",
        "np.mean",
    ),
    "ari_leiden": (
        WITHIN,
        "test_leiden_equals_scib_metrics_on_the_same_graph",
        "scib.nmi_ari_cluster_labels_leiden",
    ),
    "balanced_accuracy": (
        PREDICTIONS,
        "test_accuracy_and_balanced_accuracy_equal_scikit_learn",
        "balanced_accuracy_score",
    ),
    "batch_1nn": (EMBEDDING, "test_batch_1nn_equals_a_loop", "argmax"),
    "bras": (WITHIN, "test_bras_and_isolated_labels_equal_scib_metrics", "scib.bras"),
    "calibration_error": (PREDICTIONS, "test_calibration_error_equals_a_loop"),
    "cilisi": (WITHIN, "test_cilisi_is_the_lisi_of_harmonypy_in_each_label", "compute_lisi"),
    "clisi": (EMBEDDING, "test_lisi_equals_harmonypy", "compute_lisi"),
    "graph_connectivity": (EMBEDDING, "test_graph_connectivity_equals_a_flood_fill", "while "),
    "ilisi": (EMBEDDING, "test_lisi_equals_harmonypy", "compute_lisi"),
    "isolated_labels": (
        WITHIN,
        "test_bras_and_isolated_labels_equal_scib_metrics",
        "scib.isolated_labels",
    ),
    "kbet": (WITHIN, "test_kbet_equals_scib_metrics_on_the_same_neighbours", "scib.kbet"),
    "map": (EMBEDDING, "test_average_precision_equals_copairs", "copairs"),
    "map_controls": (
        WITHIN,
        "test_precision_among_controls_against_scikit_learn_and_activity",
        "average_precision_score",
    ),
    "nmi_leiden": (
        WITHIN,
        "test_leiden_equals_scib_metrics_on_the_same_graph",
        "scib.nmi_ari_cluster_labels_leiden",
    ),
    "nsc": (EMBEDDING, "test_matching_across_compounds_and_batches_equals_a_loop", "naive_match"),
    "nscb": (EMBEDDING, "test_matching_across_compounds_and_batches_equals_a_loop", "naive_match"),
    "pcr": (EMBEDDING, "test_pcr_equals_regressing_every_component", "LinearRegression"),
    "robustness_index": (EMBEDDING, "test_the_robustness_index_equals_a_loop"),
    "silhouette_batch": (EMBEDDING, "test_silhouettes_equal_scikit_learn", "silhouette_samples"),
    "silhouette_label": (EMBEDDING, "test_silhouettes_equal_scikit_learn", "silhouette_score"),
    "top5_accuracy": (
        PREDICTIONS,
        "test_top5_equals_scikit_learn_and_ties_give_chance",
        "top_k_accuracy_score",
    ),
    "worst_batch_accuracy": (
        PREDICTIONS,
        "test_worst_batch_accuracy_equals_a_loop_and_states_small_batches",
    ),
}
"""Metric -> file and name of the test of its values, and the reference that is called there."""


def test_each_metric_is_compared_with_a_reference():
    assert PARITY.keys() == metrics.METRICS.keys()
    for name, (module, test, *symbols) in PARITY.items():
        source = inspect.getsource(getattr(importlib.import_module(module), test))
        for symbol in symbols or [LOOP]:
            assert symbol in source, (name, test, symbol)
        assert name.split("_")[0] in source, (name, test)


@pytest.mark.parametrize("name", marked(sorted(metrics.METRICS)))
def test_each_metric_has_what_its_literal_declares(name):
    checks = {check.name: check for check in check_metric(name)}
    assert checks["ignores"].ok
    meta = metrics.METRICS[name]
    assert "names" in meta["ignores"]
    assert meta["needs"] != "embedding" or {"scale", "rotation"} <= set(meta["ignores"])


# The reverse: a change that is not declared moves the value of a metric of its kind.
@pytest.mark.parametrize("name", ["silhouette_label", "pcr", "calibration_error", "top5_accuracy"])
def test_what_is_not_declared_matters_or_does_not_concern_the_input(name):
    from bench.testing.metric import _MetricChecks

    meta = metrics.METRICS[name]
    case = _MetricChecks(name, meta, registry_with(()))
    arrays = case.arrays()
    value = case.call(arrays).value
    concerned = {"embedding": IGNORED[:4], "scores": ("names", "monotone")}[meta["needs"]]
    for change in concerned:
        other = case.call(changed(arrays, change)).value
        assert (abs(value - other) < 1e-6) == (change in meta["ignores"]), change
