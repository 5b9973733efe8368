"""A recommendation as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.boards.pairing import TEST
from bench.boards.stats.scores import MIN_CLUSTERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.advice.advice import Compared, Records
    from bench.advice.checkup import Check
    from bench.advice.support import MethodSupport
    from bench.boards.pairing import Paired


# --------------------------------------------------------------------------- text


def advice_title(done: Records) -> str:
    """Return the title of a recommendation."""
    first = done[0]
    seeds = {record.seed for record in done}
    plural = "s" if len(seeds) > 1 else ""
    return (
        f"{first.split_id} · {first.edition} data · {first.recipe} recipe · "
        f"{len(seeds)} seed{plural} · balanced accuracy by probe"
    )


def advice_sections(
    done: Records,
    rows: Sequence[Compared],
    best: Compared | None,
    baselines: Mapping[str, float],
    gain: float | None,
    lines: Sequence[Check],
    supports: Sequence[MethodSupport],
    gaps: Sequence[Paired],
) -> dict[str, tuple[str, ...]]:
    """Return the sections of a recommendation: headings and sentences."""
    use, sure = _use(rows, best, baselines), _sure(rows, best, gain)
    return {
        "What to use": tuple(use),
        "How sure that is": tuple(sure),
        "What it costs in biology": tuple(_cost(rows, best)),
        "When not to correct": tuple(_warnings(rows, lines)),
        "What the data cannot tell": tuple(_limits(done, rows, lines, supports, gaps)),
    }


def _use(
    rows: Sequence[Compared], best: Compared | None, baselines: Mapping[str, float]
) -> list[str]:
    plain = max(baselines, key=lambda name: baselines[name])
    if best is None:
        top = f" The highest, {rows[0].method}, scores {rows[0].mean:.3f}." if rows else ""
        return [
            f"Do not correct: none of {len(rows)} corrections is shown to beat {plain}, which "
            f"scores {baselines[plain]:.3f}.{top}"
        ]
    told = {
        "inductive": "nothing beyond the training data",
        "test-controls": "the negative controls of each new batch",
        "test-batch": "all rows of each new batch at once",
        "transductive": "all new data while fitting, so it is fitted again for each new batch",
    }
    text = (
        f"Use {best.method}: {best.mean:.3f} against {best.mean - best.gain:.3f} of {best.without}"
    )
    text += f" without it ({_signed(best.gain, best.low, best.high)})."
    made = [text, f"It must be told {told[best.track]}."]
    if best is not rows[0]:
        made.append(
            f"{rows[0].method} scores {rows[0].mean:.3f}, but "
            + (
                "is no better than the seeds' spread and must be told more."
                if rows[0].grade == best.grade
                else "its advantage is less certain."
            )
        )
    return made


def _sure(rows: Sequence[Compared], best: Compared | None, gain: float | None) -> list[str]:
    made = []
    if best is not None and best.grade == "clear":
        made.append(
            f"Clear: the interval over seeds and {best.n_batches} held-out batches lies above 0, "
            f"and p = {best.p:.2g} after adjusting for the {len(rows)} methods that were "
            f"tried ({TEST}, Holm)."
        )
    elif best is not None:
        why = (
            f"with {best.n_batches} held-out batches there is no interval"
            if best.low is None
            else "the interval reaches 0, or not enough is left of it after adjusting for "
            f"{len(rows)} methods"
        )
        made.append(
            f"Likely, not proven: it is better in {best.better_in} of {best.n_batches} held-out "
            f"batches, but {why}."
        )
    if gain is not None:
        made.append(
            "Had the method been chosen without each held-out batch in turn, that choice would "
            f"have gained {gain:+.3f} on the batch it had not seen."
        )
    if best is None and rows:
        tried = [row for row in rows if row.grade == "harm"]
        made.append(
            f"{len(tried)} of {len(rows)} do measurable harm; the others cannot be told apart from "
            "doing nothing."
        )
    return made


def _cost(rows: Sequence[Compared], best: Compared | None) -> list[str]:
    row = best if best is not None else (rows[0] if rows else None)
    if row is None or not row.n_classes:
        return ["Nothing was scored class by class."]
    if not row.losers:
        return [f"With {row.method} none of {row.n_classes} classes loses more than 5 points."]
    shown = ", ".join(f"{name} (-{100 * lost:.0f} points)" for name, lost in row.losers[:3])
    more = f" and {len(row.losers) - 3} more" if len(row.losers) > 3 else ""
    return [
        f"With {row.method} {len(row.losers)} of {row.n_classes} classes lose more than 5 points: "
        f"{shown}{more}. If yours is among them, do without."
    ]


def _warnings(rows: Sequence[Compared], lines: Sequence[Check]) -> list[str]:
    made = []
    nested = [line for line in lines if line.topic.startswith("class and") and line.state == "warn"]
    if nested:
        level = nested[0].topic.removeprefix("class and ")
        made.append(
            f"Do not use statistics of a whole {level} (ben, adabn, center over all rows, combat, "
            f"harmony): each {level} holds classes of its own, so they remove biology. Statistics "
            "of the negative controls alone do not have this fault."
        )
    for line in lines:
        if line.topic == "upstream" and line.state != "ok":
            made.append(f"Upstream: {line.text}.")
        if line.topic == "batch effect" and line.state == "ok":
            made.append(f"There may be nothing to correct: {line.text}.")
    harm = [row for row in rows if row.grade == "harm"]
    if harm:
        worst = sorted(harm, key=lambda row: row.gain)
        shown = ", ".join(
            f"{row.method} ({_signed(row.gain, row.low, row.high)})" for row in worst[:5]
        )
        more = f" and {len(worst) - 5} more" if len(worst) > 5 else ""
        made.append(f"Measured harm on these data: {shown}{more}.")
    return made or ["Nothing that was looked at speaks against correcting."]


def _limits(
    done: Records,
    rows: Sequence[Compared],
    lines: Sequence[Check],
    supports: Sequence[MethodSupport],
    gaps: Sequence[Paired],
) -> list[str]:
    made = []
    seeds = {record.seed for record in done}
    if len(seeds) < 3 or done[0].recipe == "smoke":
        made.append(
            "Much: this is a trial with the smoke recipe or fewer than 3 seeds; run it again "
            "without --recipe and --seeds before you rely on it."
        )
    level = done[0].clusters["level"]
    n = max((row.n_batches for row in rows), default=len(done[0].clusters["names"]))
    if n < MIN_CLUSTERS:
        made.append(
            f"{n} held-out values of {level} are too few for an interval (at least "
            f"{MIN_CLUSTERS}): nothing here can be proven, only pointed at."
        )
    detectable = [smallest for gap in gaps if (smallest := gap.detectable(len(gaps))) is not None]
    if detectable:
        least = float(np.median(detectable))
        made.append(
            f"With {n} batches that differ as these do, a gain below {least:.3f} is missed more "
            "often than one time in five."
        )
    excluded = max(record.n_excluded for record in done)
    if excluded:
        made.append(
            f"{excluded} rows were left out, since no other batch holds their class: what a "
            "correction does to them is not known."
        )
    made.append(
        f"Whether this holds beyond a new {level}: another laboratory or microscope may differ in "
        "ways that no batch here does."
    )
    without = [s.name for s in supports if s.verdict == "no" and "controls" in s.reason]
    if without:
        made.append(f"What controls would allow: {', '.join(without)} need them in every batch.")
    position = [line for line in lines if line.topic == "column position" and line.state == "warn"]
    if position:
        made.append(
            "How much of the score is the position on the plate, which alone tells the class "
            f"with {max(v for k, v in position[0].facts.items() if k != 'chance'):.2f}."
        )
    return made


def _signed(value: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{value:+.3f}"
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
