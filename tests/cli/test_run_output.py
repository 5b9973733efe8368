"""What ``run`` prints after its records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.cli.run_output import print_summary
from tests.helpers.factories import as_records, make_record

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("edition", "fetched", "named"),
    [("simulated", False, True), ("simulated", True, False), ("real", False, False)],
)
def test_the_last_line_names_real_images_where_there_are_none(
    edition: str,
    fetched: bool,
    named: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    if fetched:
        (tmp_path / "mitosis-scanners").mkdir()
    records = as_records([make_record(edition=edition)])
    print_summary(records, {}, [], {"": [], "results": []}, str(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert ("python -m bench data fetch mitosis-scanners" in lines[-1]) is named
    assert any(line.startswith("next: ") for line in lines[-2:])
