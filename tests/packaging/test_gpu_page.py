"""The figures of docs/gpu.md are those of the benchmark's JSON."""

import json
import re
import statistics

import pytest

from bench.core.checkout import ROOT

ROWS = {
    "`ben`": "ben",
    "`erm`": "erm",
    "bare loop, batches already on the device": "bare loop",
    "the same, kernels chosen by timing, not deterministic": "bare loop, any kernel",
    "plain `DataLoader` loop, 8 workers, `loss.item()` in each step": "DataLoader loop",
}


def test_the_page_has_the_measured_figures():
    page = (ROOT / "docs/gpu.md").read_text(encoding="utf-8")
    figures = json.loads((ROOT / "docs/benchmarks/gpu-h100.json").read_text(encoding="utf-8"))
    rows = dict(re.findall(r"^\| (.+?) \| ([\d,]+ \| [\d,]+) \|$", page, flags=re.MULTILINE))
    assert set(rows) == set(ROWS)
    for label, name in ROWS.items():
        printed = [float(text.replace(",", "")) for text in rows[label].split(" | ")]
        rates = [figures["throughput"][p]["images_per_second"] for p in ("float32", "bfloat16")]
        assert printed == [pytest.approx(statistics.median(rate[name]), abs=0.51) for rate in rates]
    ratios = [figures["throughput"][p]["ben_to_bare"] for p in ("float32", "bfloat16")]
    assert f"reaches {ratios[0]:.2f} of the bare loop in float32 and {ratios[1]:.2f}" in page
    seconds = figures["whole_plate"]["seconds"]
    assert f"takes {seconds['ben']:.1f} s. One forward pass" in page
    assert f"takes {seconds['one forward pass']:.1f} s" in page
    largest = max(row["same_weights_max_difference"] for row in figures["agreement"].values())
    assert f"to {largest:.4f} of the largest logit" in page
