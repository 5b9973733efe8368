"""Metrics that need the extra ``scib``."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

LEIDEN = ("ari_leiden", "arevalo_overall", "nmi_leiden")
"""Metrics of Leiden clusters, computed by scib-metrics."""
HAS_SCIB = find_spec("scib_metrics") is not None
needs_scib = pytest.mark.skipif(not HAS_SCIB, reason="the extra 'scib' is not installed")


def available(names: list[str]) -> list[str]:
    """Return the metrics that can be computed here."""
    return [name for name in names if HAS_SCIB or name not in LEIDEN]


def marked(names: list[str]) -> list[object]:
    """Return metrics as test parameters; those that cannot be computed here are skipped."""
    return [pytest.param(n, marks=needs_scib) if n in LEIDEN else n for n in names]
