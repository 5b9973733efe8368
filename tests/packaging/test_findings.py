"""Generated documents agree with the published records."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.records.store import Store

ROOT = Path(__file__).resolve().parents[2]


SCRIPTS = ["results/findings.py", "results/docs.py", "results/regimes.py"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_numbers_in_the_documents_come_from_the_records(script: str) -> None:
    done = subprocess.run(
        [sys.executable, script, "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_stale_number_is_seen(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "docs").mkdir()
    for name in ("results/findings.py", "results/FINDINGS.md", "docs/results.md"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    script = tmp_path / "results" / "findings.py"
    text = script.read_text(encoding="utf-8").replace("HERE.parent)", f"{str(ROOT)!r})", 1)
    script.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "stale" in done.stderr


def test_studies_say_what_their_outputs_say() -> None:
    done = subprocess.run(
        [sys.executable, "results/studies.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_published_record_is_read() -> None:
    folder = ROOT / "results" / "reference" / "records"
    n = sum(len(file.read_bytes().splitlines()) for file in folder.rglob("*.jsonl"))
    assert len(Store(ROOT / "results").load_reference()) == n > 0


def test_numbers_of_units_follow_the_metric_values_that_reading_adds() -> None:
    for record in Store(ROOT / "results").load_reference():
        if record.split_id != "jump-source3-statistics/batches":
            continue
        table = record.metrics_table()
        counts = table[table["metric"] == "balanced_accuracy"].set_index("subset")["n"]
        folds = [name for name in counts.index if name.startswith("fold=")]
        assert counts["pooled"] == counts["all"] == counts[folds].sum()
        break
