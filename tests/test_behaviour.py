"""What every method of the registry says it helps against, tried on planted shifts.

A method's literal declares what it ``helps`` and ``hurts``. On five draws of each kind (see
``tests.shifts``) that played no part while declarations and planting code were written:

- a declared help beats what it is compared with (ERM for a network, the table as it is for a
  correction of profiles, or the method's own ``against``) by a paired t-test, one-sided at 5 %;
- a declared harm is one: the mean difference is negative;
- without a shift nobody loses more than three points of accuracy.

What does not hold stands in ``behaviour_failures.csv`` with its number and its reason. The list
only shrinks: a line that no longer fails must go, and a failure without a line fails the test. A
new method is tried the moment its file exists.

``python -m tests.test_behaviour`` prints every method against every kind, declared or not.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.api import NotApplicable
from bench.errors import BenchError
from bench.registry import KINDS_OF_SHIFT
from tests import shifts

DEVELOPMENT = tuple(range(10))
"""Draws that were looked at while the planting code and the declarations were written."""
DRAWS = (100, 101, 102, 103, 104)
CRITICAL = 2.132
"""95 % quantile of Student's t with four degrees of freedom."""
ALLOWED = 0.03
LIST = Path(__file__).with_name("behaviour_failures.csv")


def methods():
    entries = shifts.registry().entries("method")
    return [e.name for e in entries if e.meta["level"] != "reference" and e.name != "erm"]


def failures():
    with LIST.open(encoding="utf-8", newline="") as file:
        return {(row["method"], row["shift"]): row for row in csv.DictReader(file)}


def verdict(role, gain):
    """Return whether five paired differences are what was declared."""
    if role == "helps":
        error = gain.std(ddof=1) / np.sqrt(len(gain))
        return bool(gain.mean() > CRITICAL * error)
    return bool(gain.mean() < 0) if role == "hurts" else bool(gain.mean() >= -ALLOWED)


def claims(name):
    meta = shifts.registry().entry("method", name).meta
    return [("nothing", "nothing"), *(("helps", k) for k in meta.get("helps", []))] + [
        ("hurts", k) for k in meta.get("hurts", [])
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", methods())
def test_a_method_does_what_it_declares(name):
    listed = failures()
    wrong = []
    for role, kind in claims(name):
        try:
            gain = shifts.differences(name, kind, DRAWS)
        except BenchError as error:
            if "pip install" not in str(error):
                raise
            pytest.skip(str(error))
        points = f"{100 * gain.mean():+.1f} points against {shifts.against(name)}"
        print(f"{name} {role} {kind}: {points}")  # noqa: T201
        good, known = verdict(role, gain), (name, kind) in listed
        if good and known:
            wrong.append(f"{kind} holds now ({points}): take its line out of {LIST.name}")
        if not good and not known:
            wrong.append(f"{kind} should be '{role}', and is {points}")
    assert not wrong, "; ".join(wrong)


def test_every_packaged_method_declares_itself():
    for entry in shifts.registry().entries("method"):
        if entry.meta["level"] != "reference" and entry.provider == "labshift":
            assert {"helps", "hurts"} <= entry.meta.keys(), entry.name


def test_each_line_of_the_list_is_a_claim_with_its_number_and_reason():
    for (name, kind), row in failures().items():
        assert kind in [k for _, k in claims(name)], f"{name} claims nothing about {kind}"
        assert float(row["points"]) == float(row["points"])
        assert len(row["reason"]) > 20


def test_the_rule_can_fail_each_way():
    noisy, sure = np.array([0.1, -0.09, 0.1, -0.09, 0.02]), np.full(5, 0.05) + 1e-3 * np.arange(5)
    assert verdict("helps", sure)
    assert not verdict("helps", noisy)
    assert not verdict("hurts", sure)
    assert verdict("nothing", sure - 0.07)
    assert not verdict("nothing", sure - 0.09)


def test_planted_shifts_are_what_they_say():
    def moments(kind):
        opened = shifts.planted(kind, 0)
        X = opened.source.read(np.arange(len(opened.index))).astype(np.float64)
        rows = opened.index["control"].to_numpy(bool)
        batch = opened.index["plate"].to_numpy(str)[rows]
        groups = [X[rows][batch == name] for name in np.unique(batch)]
        means = np.stack([g.mean(axis=0) for g in groups])
        logs = np.log(np.stack([g.std(axis=0, ddof=1) for g in groups]))
        return means.std(axis=0, ddof=1).mean(), logs.std(axis=0, ddof=1).mean()

    quiet = moments("nothing")
    assert moments("location")[0] > 2 * quiet[0]
    assert moments("location")[1] == pytest.approx(quiet[1], rel=1e-3)
    assert moments("scale")[1] > 2 * quiet[1]
    assert moments("label-shift") == pytest.approx(quiet, rel=0.5)
    composition = shifts.planted("label-shift", 0).index.query("label == 'a'")
    even = shifts.planted("nothing", 0).index.query("label == 'a'")
    assert even.groupby("plate").size().nunique() == 1
    shares = composition.groupby("plate").size()
    assert len(shares) < shifts.BATCHES  # some plates have none
    assert shares.nunique() > 1
    offsets = shifts.planted("nested", 0)
    X = offsets.source.read(np.arange(len(offsets.index)))
    rows = offsets.index["control"].to_numpy(bool)
    names = [offsets.index[c].to_numpy()[rows] for c in ("laboratory", "plate")]
    of_plates = pd.DataFrame(X[rows]).groupby(names).mean()
    laboratories = of_plates.groupby(level=0)
    # Over all features: the laboratories lie further apart than the plates of one of them.
    assert laboratories.mean().std().mean() > 1.5 * laboratories.std().mean().mean()


def main():
    draws = DEVELOPMENT if "development" in sys.argv else DRAWS
    chosen = [a for a in sys.argv[1:] if a != "development"] or methods()
    print(f"mean gain in points (standard error), draws {draws[0]} to {draws[-1]}")  # noqa: T201
    print("".ljust(18), *(kind.rjust(13) for kind in shifts.KINDS))  # noqa: T201
    for name in chosen:
        cells = []
        for kind in shifts.KINDS:
            try:
                gain = 100 * shifts.differences(name, kind, draws)
                error = gain.std(ddof=1) / np.sqrt(len(gain))
                cells.append(f"{gain.mean():+.1f} ({error:.1f})")
            except NotApplicable:
                cells.append("-")
        print(name.ljust(18), *(cell.rjust(13) for cell in cells), flush=True)  # noqa: T201


if __name__ == "__main__":
    assert set(KINDS_OF_SHIFT) < set(shifts.KINDS)
    main()
