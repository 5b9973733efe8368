"""Conformance checks for methods and data sets, for use in the tests of a plugin."""

from __future__ import annotations

from bench.testing.dataset import check_dataset
from bench.testing.made_up import Check
from bench.testing.method import check_method

__all__ = ["Check", "check_dataset", "check_method"]
