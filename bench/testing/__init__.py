"""Conformance checks of extensions, for use in the tests of a plugin."""

from __future__ import annotations

from bench.testing.dataset import check_dataset
from bench.testing.figure import check_figure
from bench.testing.method import check_method
from bench.testing.metric import check_metric
from bench.testing.study import check_study
from bench.testing.synthetic import Check

__all__ = ["Check", "check_dataset", "check_figure", "check_method", "check_metric", "check_study"]
