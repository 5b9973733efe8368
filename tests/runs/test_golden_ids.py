"""Run ids do not move: a published record is found again by every later version.

An id may change only with a declared input of a run: a method's version, a recipe, a metric's
version, ``NUMERICS``. Then write the file again with ``GOLDEN=write``, as in
``test_golden_numbers.py``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.group import group

FILE = Path(__file__).with_name("golden_ids.json")
CASES = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["args"][3].rpartition("/")[2])
def test_run_ids_are_unchanged(case, tmp_path):
    data = os.environ.get("BENCH_TEST_DATA", "")
    args = [text.replace("$DATA", data) for text in case["args"]]
    if args != case["args"] and not data:
        pytest.skip("real tables: set BENCH_TEST_DATA")
    result = CliRunner().invoke(
        group, ["run", *args, "--dry-run", "--json", "--results", str(tmp_path)]
    )
    assert result.exit_code == 0, result.output
    keys = ("method_id", "split_id", "seed", "run_id")
    runs = [{key: run[key] for key in keys} for run in json.loads(result.stdout)["runs"]]
    if os.environ.get("GOLDEN") == "write":
        case["runs"] = runs
        FILE.write_text(json.dumps(CASES, indent=1) + "\n", encoding="utf-8")
    assert runs == case["runs"]
