"""Real tables and images for tests."""

import os
from pathlib import Path

import pytest


def real_folder(name: str) -> Path:
    """Return the folder of a real data set; skip the test if it is not on this machine.

    Real data are not part of the project, so tests that read them say which folder is missing.
    """
    root = os.environ.get("BENCH_TEST_DATA", "")
    folder = Path(root) / name
    if not root or not folder.is_dir():
        pytest.skip(f"{name} is missing: set BENCH_TEST_DATA to the folder of the real data sets")
    return folder
