"""Retrieval at graded restrictions: no restriction, not the same plate, batch, position, and both.

What a query may retrieve decides what a score means: wells of its own plate share its batch effect,
and wells in its position share the position effect. See :mod:`bench.scoring.profiles.restricted`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.output.style import colour_of, label_ends, marker_of
from bench.scoring.profiles.restricted import METRICS, Score, restrictions, scores
from bench.studies._profiles import BASELINE, corrected
from bench.studies._results import Finding
from bench.studies._sentences import listed, nothing, noun_of

if TYPE_CHECKING:
    from bench.output.canvas import Canvas
    from bench.studies._context import StudyContext
    from bench.studies._results import Cell

META = {
    "kind": "study",
    "name": "restrictions",
    "version": 1,
    "question": "How much retrieval is left if the gallery excludes the query's plate or position?",
    "methods": ["center", "robust", "zscore", "sphering", "tvn", "combat", "harmony"],
}
SHOWN = {
    "match": "match",
    "excluded": "excluded",
    "method": "method",
    "recall@1": "recall@1",
    "rank": "rank",
    "difference": "vs identity",
    "difference_low": "low",
    "difference_high": "high",
    "normalised map": "mAP",
    "n": "wells",
}
DRAWN = "recall@1"
NOTES = (
    "Each correction is fitted on all rows without classes. 95 % intervals: bootstrap over "
    "treatments. Plates are not resampled, so they do not cover new plates. mAP is normalised: 0 "
    "is a random ranking.",
    "Queries without a match in their gallery are skipped. Where the number of queries differs, so "
    "do the treatments, so the lines of the figure are interrupted there.",
    "Recall@1 of the match label is NSC without a restriction, and NSCB if the batch is excluded.",
)


def run(context: StudyContext) -> Finding:
    """Score every correction at every restriction."""
    context.describe("retrieval", "cosine")
    by_method: dict[str, dict[tuple[str, str], Score]] = {}
    for method, X in corrected(context):
        own = scores(context.task.opened, X)
        by_method[method] = {(score.match, score.restriction): score for score in own}
    keys = list(by_method.get(BASELINE, {}))
    if not keys:
        context.leave_out("all methods", "no treatment has two wells that may retrieve each other")
        return Finding([], SHOWN, nothing(context))
    table = [
        _row(method, key, by_method)
        for key in keys
        for method in by_method
        if key in by_method[method]
    ]
    order = list(restrictions(context.task.opened))

    def draw(canvas: Canvas) -> None:
        _draw(canvas, by_method, order)

    return Finding(table, SHOWN, _reading(by_method), draw, 3.6, NOTES)


def _row(
    method: str, key: tuple[str, str], by_method: dict[str, dict[tuple[str, str], Score]]
) -> dict[str, Cell]:
    score, base = by_method[method][key], by_method[BASELINE][key]
    scored = [own[key].value(DRAWN) for own in by_method.values() if key in own]
    row: dict[str, Cell] = {
        "match": score.match,
        "excluded": _shown(score.restriction),
        "method": method,
    }
    for metric in METRICS:
        row[metric] = score.value(metric)
        row[f"{metric}_low"], row[f"{metric}_high"] = score.interval(metric)
    row["rank"] = 1 + sum(value > score.value(DRAWN) for value in scored)
    if score is not base:
        row["difference"] = score.value(DRAWN) - base.value(DRAWN)
        row["difference_low"], row["difference_high"] = score.interval(DRAWN, base)
    return {**row, "n": score.n, "skipped": score.skipped}


def _shown(restriction: str) -> str:
    return " + ".join(noun_of(name) for name in restriction.split("+"))


def _reading(by_method: dict[str, dict[tuple[str, str], Score]]) -> tuple[str, str, str]:
    base = by_method[BASELINE]
    match = next(iter(base))[0]
    values = {key[1]: score.value(DRAWN) for key, score in base.items() if key[0] == match}
    hardest = min(values, key=lambda name: values[name])
    gains = sorted(
        (
            (own[match, hardest].value(DRAWN) - values[hardest], method)
            for method, own in by_method.items()
            if method != BASELINE and (match, hardest) in own
        ),
        reverse=True,
    )
    first = f"Without correction, recall@1 of the same {match} is "
    if "none" in values:
        first += f"{values['none']:.3f} without a restriction and "
    first += f"{values[hardest]:.3f} if the gallery excludes the query's {_shown(hardest)}."
    texts = listed([f"{method} {gain:+.3f}" for gain, method in gains])
    return (
        first,
        f"Differences to no correction there: {texts or 'no correction was scored'}.",
        "Not shown: intervals for new plates, since only treatments are resampled.",
    )


def _draw(
    canvas: Canvas, by_method: dict[str, dict[tuple[str, str], Score]], order: list[str]
) -> None:
    """Draw recall@1 against the restriction, a panel per match and a line per method.

    Lines are interrupted where the number of queries changes, since the treatments do.
    """
    matches = list(dict.fromkeys(match for match, _ in by_method[BASELINE]))
    axes = canvas.figure.subplots(1, len(matches), squeeze=False)[0]
    for ax, match in zip(axes, matches, strict=True):
        names = [name for name in order if (match, name) in by_method[BASELINE]]
        ends: dict[str, tuple[float, float]] = {}
        for k, (method, own) in enumerate(by_method.items()):
            colour = colour_of(method)
            offset = (k - (len(by_method) - 1) / 2) * 0.06
            line = []
            for place, name in enumerate(names):
                if (match, name) not in own:
                    continue
                score = own[match, name]
                low, high = score.interval(DRAWN)
                x = place + offset
                line.append((x, score.value(DRAWN)))
                ax.vlines(x, low, high, color=colour, linewidth=0.8, alpha=0.7)
                canvas.table.append(
                    {
                        "match": match,
                        "restriction": name,
                        "method": method,
                        "value": line[-1][1],
                        "ci_low": low,
                        "ci_high": high,
                        "n": score.n,
                    }
                )
            n = [own[match, name].n for name in names if (match, name) in own]
            for part in runs_of(line, n):
                ax.plot(*zip(*part, strict=True), color=colour, marker=marker_of(method), ms=3)
            ends[method] = line[-1]
        base = by_method[BASELINE]
        labels = [f"{_shown(name)}\nn = {base[match, name].n:,}" for name in names]
        labels = [label.replace(" + ", "\n+ ") for label in labels]
        ax.set_xticks(range(len(names)), labels, rotation=0, fontsize=6.5)
        ax.minorticks_off()
        ax.set_xlim(-0.5, len(names) + 0.7)
        ax.set_ylim(bottom=0)
        ax.set_xlabel("gallery excludes wells of the query's")
        ax.set_title(f"same {match}", fontsize=8)
        label_ends(ax, ends, {method: colour_of(method) for method in ends})
    axes[0].set_ylabel("recall@1")


def runs_of(line: list[tuple[float, float]], n: list[int]) -> list[list[tuple[float, float]]]:
    """Return the points of a line in parts with the same number of queries."""
    parts: list[list[tuple[float, float]]] = []
    for k, point in enumerate(line):
        if k and n[k] == n[k - 1]:
            parts[-1].append(point)
        else:
            parts.append([point])
    return parts
