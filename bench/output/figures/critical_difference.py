"""Average ranks, with groups of methods that do not differ significantly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.boards.pairs import Ranking, rank
from bench.output.canvas import Canvas, canvas
from bench.output.figures._shared import (
    LONGEST,
    metric_words,
    name_lines,
    named_groups,
    nothing,
    pages,
    runs_digest,
    setting_without_metric,
    shared_subtitle,
)
from bench.output.style import PAGE, colour_of, fitted, marker_of, sentence

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from bench.core.meta import Meta
    from bench.output.figures import FigureInput

META: Meta = {
    "kind": "figure",
    "name": "critical-difference",
    "title": "Average ranks with critical differences",
    "summary": "Average ranks over clusters; bars join methods within the critical difference.",
    "needs": ["records"],
}


def draw(inputs: FigureInput) -> list[Path]:
    """Draw the average ranks of the methods of each split, with the critical difference."""
    rankings = [rank(board) for board in inputs.boards]
    rankings = [ranking for ranking in rankings if ranking.ranks is not None]
    if not rankings:
        why = "Ranks need two methods with scores in the same two clusters or more: run some first."
        return nothing(inputs, why)
    files: list[Path] = []
    groups = named_groups(META["name"], rankings, lambda r: setting_without_metric(r.board))
    for stem, page, heights in pages(groups, lambda r: 0.19 * len(r.methods) + 0.75):
        shown = [ranking.board for ranking in page]
        with canvas(inputs.out, stem, runs_digest(shown), PAGE, sum(heights) + 1.05) as drawn:
            axes = drawn.figure.subplots(len(page), 1, squeeze=False, height_ratios=heights)
            for ax, ranking in zip(axes[:, 0], page, strict=True):
                _draw_ranks(drawn, ax, ranking)
            drawn.title(META["title"], shared_subtitle(shown[0]))
            drawn.notes(
                [
                    "Rank 1 is best; ranks are averaged over the clusters of the test set, "
                    "seeds averaged first. Thin bars: 95 % limits from resampling clusters. "
                    "Grey bars join methods with ranks that differ by less than the critical "
                    "difference (CD, Nemenyi, 5 %). Reference lines are not ranked."
                ],
                130,
            )
        files += drawn.files
    return files


def _draw_ranks(drawn: Canvas, ax: Axes, ranking: Ranking) -> None:
    board, ranks = ranking.board, ranking.ranks
    level = next((row.cluster_level for row in board.rows if row.cluster_level), "cluster")
    words = metric_words(board.metric, board.readout)
    if ranks is None:
        sentence(ax, f"{board.split}: nothing to rank.")
        return
    ax.set_title(f"{board.split} · {words}", fontsize=8, pad=3, parse_math=False)
    ax.set_xlabel(
        f"average rank over {ranks.n_blocks} of {level}; Friedman p = {ranks.p:.2g}",
        fontsize=7,
        parse_math=False,
    )
    n = len(ranking.methods)
    in_groups: dict[str, list[int]] = {name: [] for name in ranking.methods}
    for number, (first, last) in enumerate(ranking.groups, start=1):
        for place in range(first, last + 1):
            in_groups[ranking.methods[place]].append(number)
    for place, name in enumerate(ranking.methods):
        colour = colour_of(name)
        rank, low, high = (float(v[place]) for v in (ranks.ranks, ranks.low, ranks.high))
        ax.hlines(place, low, high, color=colour, linewidth=1.1)
        ax.plot([rank], [place], marker=marker_of(name), color=colour)
        drawn.table.append(
            {
                "split": board.split,
                "metric": board.metric,
                "method": name,
                "rank": rank,
                "low": low,
                "high": high,
                "groups": " ".join(map(str, in_groups[name])),
                "critical_difference": ranks.critical_difference,
                "clusters": ranks.n_blocks,
                "friedman_p": ranks.p,
            }
        )
    # The bars that join methods are to the right of all limits, one column each.
    right = max(float(ranks.high.max()), float(n)) + 0.25
    step = 0.16 * max(1.0, n / 8)
    for number, (first, last) in enumerate(ranking.groups):
        x = right + number * step
        ax.vlines(x, first - 0.25, last + 0.25, color="#999999", linewidth=2.4)
    edge = right + max(1, len(ranking.groups)) * step
    ax.hlines(-1.0, 1.0, 1.0 + ranks.critical_difference, color="#444444", linewidth=1.4)
    ax.text(
        1.0 + ranks.critical_difference + 0.1,
        -1.0,
        f"CD = {ranks.critical_difference:.2f}",
        va="center",
        fontsize=7,
        color="#444444",
    )
    ax.set_xlim(0.8, max(edge, 1.0 + ranks.critical_difference + 0.12 * n + 0.6))
    ax.set_ylim(n - 0.5, -1.6)
    ax.set_xticks(range(1, n + 1) if n <= 12 else range(1, n + 1, 2))
    name_lines(ax, [fitted(name, LONGEST) for name in ranking.methods])
