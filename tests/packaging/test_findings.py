"""Generated documents agree with the published records."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
