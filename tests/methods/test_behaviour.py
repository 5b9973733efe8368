"""What every method of the registry says it helps against, tried on planted shifts.

A method's literal declares what it ``helps`` and ``hurts``. On five draws of each kind (see
``tests.helpers.shifts``) that played no part while declarations and planting code were written:

- a declared help beats what it is compared with (ERM for a network, the table as it is for a
  correction of profiles, or the method's own ``against``) by a paired t-test, one-sided at 5 %;
- a declared harm is one: the mean difference is negative;
- without a shift no method loses more than three points of accuracy.

Claims that fail are in ``behaviour_failures.csv`` with their number and reason. The list only
shrinks: a line that no longer fails must be removed, and a failure without a line fails the test. A
new method is tested as soon as its file exists.

Trained networks differ slightly between processors. Claims within ``MARGIN`` of their rule on the
machine that wrote the list are in it, too, and may pass or fail; a claim that passed and now fails
by more than the margin is a failure.

``python -m tests.methods.test_behaviour`` prints every method against every kind, declared or not.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.api import NotApplicable
from bench.core.control_names import is_control_row
from bench.core.meta import KINDS_OF_SHIFT
from tests.helpers import shifts
from tests.helpers.extras import skip_without

DEVELOPMENT = tuple(range(10))
"""Draws that were looked at while the planting code and the declarations were written."""
DRAWS = (100, 101, 102, 103, 104)
CRITICAL = 2.132
"""95 % quantile of Student's t with four degrees of freedom."""
ALLOWED = 0.03
MARGIN = 0.006
"""Of accuracy: about nine of the 1,440 test rows of five draws."""
FAILURES = 13
"""Claims that fail. It falls, unless a new method of another library brings one."""
LIST = Path(__file__).with_name("behaviour_failures.csv")


def methods():
    # A pretrained encoder is a first stage that corrects nothing and claims nothing.
    return [
        entry.name
        for entry in shifts.registry().entries("method")
        if not is_control_row(entry.meta["level"])
        and entry.name != "erm"
        and "argument" not in entry.meta
    ]


def failures():
    with LIST.open(encoding="utf-8", newline="") as file:
        return {(row["method"], row["shift"]): row for row in csv.DictReader(file)}


def slack(role, gain):
    """Return by how much accuracy five paired differences are what was declared; < 0 fails."""
    if role == "helps":
        return float(gain.mean() - CRITICAL * gain.std(ddof=1) / np.sqrt(len(gain)))
    return float(-gain.mean() if role == "hurts" else gain.mean() + ALLOWED)


def complaint(role, gain, line):
    """Return what is wrong with five differences and the line of the list about them, or None.

    Parameters
    ----------
    role
        ``helps``, ``hurts`` or ``nothing``.
    gain
        ``(5,)`` differences of accuracy.
    line
        The row of the list, or None.
    """
    left = slack(role, gain)
    if line is None:
        return None if left >= 0 else f"should be '{role}', and is not"
    if left > MARGIN:
        return f"passes now: remove its line from {LIST.name}"
    if left < -MARGIN and line["fails"] == "no":
        return "was at the edge of its rule, and fails now"
    return None


def claims(name):
    meta = shifts.registry().entry("method", name).meta
    return [("nothing", "nothing"), *(("helps", k) for k in meta.get("helps", []))] + [
        ("hurts", k) for k in meta.get("hurts", [])
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", methods())
def test_a_method_does_what_it_declares(name):
    skip_without(name)
    listed = failures()
    wrong = []
    for role, kind in claims(name):
        gain = shifts.differences(name, kind, DRAWS)
        points = f"{100 * gain.mean():+.1f} points against {shifts.against(name)}"
        print(f"{name} {role} {kind}: {points}")  # noqa: T201 - a command of this file
        print(f"   by {100 * slack(role, gain):+.2f} points")  # noqa: T201 - a command of this file
        wrong_here = complaint(role, gain, listed.get((name, kind)))
        if wrong_here:
            wrong.append(f"{kind} {wrong_here} ({points})")
    assert not wrong, "; ".join(wrong)


def test_every_packaged_method_declares_itself():
    for entry in shifts.registry().entries("method"):
        if not is_control_row(entry.meta["level"]) and entry.provider == "labshift":
            assert {"helps", "hurts"} <= entry.meta.keys(), entry.name


def test_each_line_of_the_list_is_a_claim_with_its_number_and_reason():
    assert sum(row["fails"] == "yes" for row in failures().values()) <= FAILURES
    for (name, kind), row in failures().items():
        assert row["fails"] in ("yes", "no")
        assert kind in [k for _, k in claims(name)], f"{name} claims nothing about {kind}"
        assert float(row["points"]) == float(row["points"])
        assert len(row["reason"]) > 20


def test_the_rule_can_fail_each_way():
    noisy, sure = np.array([0.1, -0.09, 0.1, -0.09, 0.02]), np.full(5, 0.05) + 1e-3 * np.arange(5)
    assert slack("helps", sure) > 0 > slack("helps", noisy)
    assert slack("hurts", sure) < 0 < slack("hurts", -sure)
    assert slack("nothing", sure - 0.07) > 0 > slack("nothing", sure - 0.09)
    at = np.zeros(5) - ALLOWED
    edge, failure = {"fails": "no"}, {"fails": "yes"}
    for near in (at + 0.004, at - 0.004):
        assert complaint("nothing", near, edge) is None
        assert complaint("nothing", near, failure) is None
    assert complaint("nothing", at - 0.004, None)
    assert complaint("nothing", at + 0.004, None) is None
    assert "fails now" in complaint("nothing", at - 0.007, edge)
    assert complaint("nothing", at - 0.007, failure) is None
    for line in (edge, failure):
        assert "remove its line" in complaint("nothing", at + 0.007, line)


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
    confounded = shifts.planted("confounded", 0).index.query("label != ''")
    n_classes = confounded.groupby("plate")["label"].nunique().to_numpy()
    assert n_classes.tolist() == [1] * shifts.TRAINED + [6] * (shifts.BATCHES - shifts.TRAINED)
    training = confounded[confounded["plate"] < f"p{shifts.TRAINED:02d}"]
    assert set(training["label"]) == set(shifts.CLASSES)
    offsets = shifts.planted("hierarchical", 0)
    X = offsets.source.read(np.arange(len(offsets.index)))
    rows = offsets.index["control"].to_numpy(bool)
    names = [offsets.index[c].to_numpy()[rows] for c in ("laboratory", "plate")]
    of_plates = pd.DataFrame(X[rows]).groupby(names).mean()
    laboratories = of_plates.groupby(level=0)
    # Over all features: laboratories differ more than the plates of one of them.
    assert laboratories.mean().std().mean() > 1.5 * laboratories.std().mean().mean()


def main():
    draws = DEVELOPMENT if "development" in sys.argv else DRAWS
    chosen = [a for a in sys.argv[1:] if a != "development"] or methods()
    print(f"mean gain in points (standard error), draws {draws[0]} to {draws[-1]}")  # noqa: T201 - a command of this file
    print("".ljust(18), *(kind.rjust(13) for kind in shifts.KINDS))  # noqa: T201 - a command of this file
    for name in chosen:
        cells = []
        for kind in shifts.KINDS:
            try:
                gain = 100 * shifts.differences(name, kind, draws)
                error = gain.std(ddof=1) / np.sqrt(len(gain))
                cells.append(f"{gain.mean():+.1f} ({error:.1f})")
            except NotApplicable:
                cells.append("-")
        print(name.ljust(18), *(cell.rjust(13) for cell in cells), flush=True)  # noqa: T201 - a command of this file


if __name__ == "__main__":
    assert set(KINDS_OF_SHIFT) < set(shifts.KINDS)
    main()
