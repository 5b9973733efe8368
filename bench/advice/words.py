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
    use, evidence = _use(rows, best, baselines), _evidence(rows, best, gain)
    return {
        "What to use": tuple(use),
        "Evidence": tuple(evidence),
        "Cost in biology": tuple(_cost(rows, best)),
        "When not to correct": tuple(_warnings(rows, best, lines)),
        "Limits": tuple(_limits(done, rows, lines, supports, gaps)),
    }


def _use(
    rows: Sequence[Compared], best: Compared | None, baselines: Mapping[str, float]
) -> list[str]:
    plain = max(baselines, key=lambda name: baselines[name])
    if best is None:
        top = f" Highest score: {rows[0].method}, {rows[0].mean:.3f}." if rows else ""
        return [
            f"Do not correct: none of {len(rows)} corrections is better than {plain} "
            f"({baselines[plain]:.3f}) with enough evidence.{top}"
        ]
    uses = {
        "inductive": "only the training data",
        "test-controls": "the negative controls of each new batch",
        "test-batch": "all rows of each new batch at once",
        "transductive": "all new data while fitting; fit it again for each new batch",
    }
    sentences = [
        f"Use {best.method}: {best.mean:.3f}, compared with {best.mean - best.gain:.3f} for "
        f"{best.without} ({_signed(best.gain, best.low, best.high)}).",
        f"It uses {uses[best.track]}.",
    ]
    if best is not rows[0]:
        sentences.append(
            f"{rows[0].method} scores {rows[0].mean:.3f}, but "
            + (
                "the difference is within the SD over seeds and it uses more information."
                if rows[0].grade == best.grade
                else "the evidence for it is weaker."
            )
        )
    return sentences


def _evidence(rows: Sequence[Compared], best: Compared | None, gain: float | None) -> list[str]:
    sentences = []
    if best is not None and best.grade == "clear":
        sentences.append(
            f"Clear: the interval over seeds and {best.n_batches} held-out batches is above 0, "
            f"and p = {best.p:.2g}, adjusted for {len(rows)} methods ({TEST}, Holm)."
        )
    elif best is not None:
        why = (
            f"with {best.n_batches} held-out batches there is no interval"
            if best.low is None
            else f"the interval includes 0 or the p value adjusted for {len(rows)} methods is too "
            "large"
        )
        sentences.append(
            f"Likely, not certain: it is better in {best.better_in} of {best.n_batches} held-out "
            f"batches, but {why}."
        )
    if gain is not None:
        sentences.append(
            "If the method is chosen without each held-out batch in turn, the mean gain on that "
            f"batch is {gain:+.3f}."
        )
    if best is None and rows:
        n = sum(row.grade == "harm" for row in rows)
        sentences.append(
            f"{n} of {len(rows)} methods are measurably worse than no correction; the others show "
            "no detectable difference."
        )
    return sentences


def _cost(rows: Sequence[Compared], best: Compared | None) -> list[str]:
    row = best if best is not None else (rows[0] if rows else None)
    if row is None or not row.n_classes:
        return ["No scores per class were recorded."]
    if not row.losers:
        return [f"With {row.method}, no class of {row.n_classes} loses more than 5 points."]
    shown = ", ".join(f"{name} (-{100 * lost:.0f} points)" for name, lost in row.losers[:3])
    more = f" and {len(row.losers) - 3} more" if len(row.losers) > 3 else ""
    return [
        f"With {row.method}, {len(row.losers)} of {row.n_classes} classes lose more than 5 "
        f"points: {shown}{more}. Do not use it if you need these classes."
    ]


def _warnings(rows: Sequence[Compared], best: Compared | None, lines: Sequence[Check]) -> list[str]:
    sentences = []
    confounded = [
        line for line in lines if line.topic.startswith("class and") and line.state == "warn"
    ]
    if confounded:
        level = confounded[0].topic.removeprefix("class and ")
        sentences.append(
            f"Classes and {level} are confounded. Methods that use statistics of a whole {level} "
            "(ben, adabn, combat, harmony) can remove biology. Statistics of the negative controls "
            "do not depend on the classes."
        )
    for line in lines:
        if line.topic == "upstream" and line.state != "ok":
            sentences.append(f"Upstream: {line.text}.")
        # A measured gain outweighs a test that finds no batch effect.
        if line.topic == "batch effect" and line.state == "ok" and best is None:
            sentences.append(f"Batch effect: {line.text}.")
    harm = [row for row in rows if row.grade == "harm"]
    if harm:
        worst = sorted(harm, key=lambda row: row.gain)
        shown = ", ".join(
            f"{row.method} ({_signed(row.gain, row.low, row.high)})" for row in worst[:5]
        )
        more = f" and {len(worst) - 5} more" if len(worst) > 5 else ""
        sentences.append(f"Worse than no correction on these data: {shown}{more}.")
    return sentences or ["No check speaks against a correction."]


def _limits(
    done: Records,
    rows: Sequence[Compared],
    lines: Sequence[Check],
    supports: Sequence[MethodSupport],
    gaps: Sequence[Paired],
) -> list[str]:
    sentences = []
    seeds = {record.seed for record in done}
    if len(seeds) < 3 or done[0].recipe == "smoke":
        sentences.append(
            "This is a trial with the smoke recipe or fewer than 3 seeds. Repeat it without "
            "--recipe and --seeds before you rely on it."
        )
    level = done[0].clusters["level"]
    n = max((row.n_batches for row in rows), default=len(done[0].clusters["names"]))
    if n < MIN_CLUSTERS:
        sentences.append(
            f"{n} held-out values of {level} are too few for an interval (at least "
            f"{MIN_CLUSTERS}): there is no significance test."
        )
    detectable = [smallest for gap in gaps if (smallest := gap.detectable(len(gaps))) is not None]
    if detectable:
        least = float(np.median(detectable))
        sentences.append(
            f"Smallest detectable gain with {n} batches: {least:.3f} (power 0.8, median over "
            "methods)."
        )
    excluded = max(record.n_excluded for record in done)
    if excluded:
        sentences.append(
            f"{excluded} rows are excluded because their class occurs in no other batch. The "
            "effect of a correction on them is unknown."
        )
    sentences.append(
        f"The result applies to a new {level}. Another laboratory or microscope can differ in "
        "other ways."
    )
    without = [s.name for s in supports if s.verdict == "no" and "controls" in s.reason]
    if without:
        sentences.append(f"Not tested, because batches lack controls: {', '.join(without)}.")
    position = [line for line in lines if line.topic == "column position" and line.state != "ok"]
    if position:
        score = max(v for k, v in position[0].facts.items() if k != "chance")
        sentences.append(
            f"The position on the plate alone predicts the class with {score:.2f}. Part of every "
            "score can come from the position."
        )
    return sentences


def _signed(value: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{value:+.3f}"
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
