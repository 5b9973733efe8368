"""Recovery of annotated relationships, such as complexes of proteins, after each correction.

See :mod:`bench.scoring.profiles.relationships`. The files of the key ``relationships`` in
``dataset.toml`` name related pairs or sets; without it, compounds that share a label are related.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.canonical import digest
from bench.core.errors import NotApplicable
from bench.output.style import colour_of, marker_of
from bench.scoring.profiles.relationships import (
    FEWEST,
    SIGNIFICANT,
    TAILS,
    across,
    among,
    annotated_pairs,
    cosines,
    entity_profiles,
    recoveries,
)
from bench.studies._profiles import BASELINE, corrected
from bench.studies._results import Finding
from bench.studies._sentences import listed, nothing, noun_of

if TYPE_CHECKING:
    from bench.core.types import Strings
    from bench.output.canvas import Canvas
    from bench.scoring.profiles.relationships import Recovery
    from bench.studies._context import StudyContext
    from bench.studies._results import Cell

META = {
    "kind": "study",
    "name": "relationships",
    "version": 1,
    "question": "Which annotated relationships does a map recover, before and after corrections?",
    "methods": ["center", "robust", "zscore", "sphering", "tvn", "combat", "harmony"],
}
TAIL = TAILS[0]
"""The tail that is drawn and read."""
SHOWN = {
    "source": "source",
    "excluded": "excluded",
    "method": "method",
    f"recall_{TAIL}": "recall",
    "low": "low",
    "high": "high",
    "difference": "vs identity",
    "permutation_p": "p random",
    "n_pairs": "pairs",
}
NOTES = (
    f"Recall: related pairs in the lowest or highest {TAIL:.0%} of the cosine similarities of all "
    "pairs of entities, each with the mean profile of its rows.",
    "excluded: a batch level within which no profiles are compared. The similarity is then the "
    "mean cosine between profiles in different batches.",
    "random: mean recall if the names of the entities are exchanged. p random: share of exchanges "
    "with at least the observed recall.",
    "odds (in table.csv): geometric mean odds ratio of relations among the nearest 1 % of the "
    "other entities. With fewer than a thousand entities, the 1/2 added to counts of 0 dominates "
    "it: compare it within one table only.",
    f"enriched (in table.csv): share of entities with p < {SIGNIFICANT} (hypergeometric, not "
    "adjusted).",
    "95 % intervals: bootstrap over entities. Batches are not resampled.",
)


def run(context: StudyContext) -> Finding:
    """Score the relationships of each source after every correction."""
    context.describe("known relationships", "cosine")
    opened = context.task.opened
    try:
        names, annotated = annotated_pairs(opened)
    except NotApplicable as error:
        context.leave_out("all methods", str(error))
        return Finding([], SHOWN, nothing(context))
    for own in annotated:
        context.depend_on(digest([own.source, names[own.pairs].tolist()]))
    by_method: dict[str, list[Recovery]] = {}
    for method, X in corrected(context):
        similarity = cosines(entity_profiles(opened, X, names))
        by_method[method] = recoveries(similarity, annotated, opened.digest)
        for level in opened.levels:
            kept, similarity = across(opened, X, names, level)
            pairs = [own for own in among(annotated, names, kept) if len(own.pairs)]
            if len(kept) < FEWEST or not pairs:
                reason = "no related entities are in two of its values"
                context.leave_out(f"excluded {noun_of(level)}", reason)
                continue
            by_method[method] += recoveries(
                similarity, pairs, opened.digest, level, restriction=level
            )
    if BASELINE not in by_method:
        return Finding([], SHOWN, nothing(context))
    table = [
        _row(method, own[k], by_method[BASELINE][k])
        for k in range(len(by_method[BASELINE]))
        for method, own in by_method.items()
    ]

    def draw(canvas: Canvas) -> None:
        _draw(canvas, by_method, names)

    return Finding(
        table, SHOWN, _reading(table), draw, max(3.0, 1.8 + 0.22 * len(by_method)), NOTES
    )


def _row(method: str, own: Recovery, base: Recovery) -> dict[str, Cell]:
    excluded = noun_of(own.restriction)
    row: dict[str, Cell] = {"source": own.source, "excluded": excluded, "method": method}
    for tail in TAILS:
        row[f"recall_{tail}"] = own.recall[tail]
        row[f"lower_{tail}"], row[f"upper_{tail}"] = own.low[tail], own.high[tail]
    row["low"], row["high"] = own.interval(TAIL)
    if own is not base:
        row["difference"] = own.recall[TAIL] - base.recall[TAIL]
        row["difference_low"], row["difference_high"] = own.interval(TAIL, base)
    row |= {
        "null": own.expected[TAIL],
        "permutation_p": own.p[TAIL],
        "odds": own.mean_odds,
        "enriched": own.enriched,
        "n_pairs": own.n_pairs,
        "n_entities": own.n_entities,
    }
    row["odds_low"], row["odds_high"] = own.interval("odds")
    return row


def _reading(table: list[dict[str, Cell]]) -> tuple[str, str, str]:
    base = [row for row in table if row["method"] == BASELINE]
    recalls = [
        f"{row['source']} {row[f'recall_{TAIL}']:.3f} (random {row['null']:.3f}, p "
        f"{row['permutation_p']:.3f})"
        for row in base
        if row["excluded"] == "none"
    ]
    first, hardest = base[0]["source"], base[-1]["excluded"]
    shown = [row for row in table if (row["source"], row["excluded"]) == (first, hardest)]
    gains = sorted(
        ((row["difference"], row) for row in shown if row not in base),
        key=lambda gain: -float(gain[0] or 0),
    )
    texts = [
        f"{row['method']} {gain:+.3f} [{row['difference_low']:+.3f}, {row['difference_high']:+.3f}]"
        for gain, row in gains
    ]
    return (
        f"Recall without correction: {listed(recalls, sep='; ')}.",
        f"Differences to no correction for {first} ({hardest} excluded): "
        f"{listed(texts, sep='; ') or 'none scored'}.",
        "Not shown: relationships that the annotation lacks, and entities without a profile here. "
        "Without an excluded batch level, related entities on one plate may be similar by its "
        "batch effect.",
    )


def _draw(canvas: Canvas, by_method: dict[str, list[Recovery]], names: Strings) -> None:
    """Draw the recall per method and restriction, a panel per source."""
    base = by_method[BASELINE]
    sources = list(dict.fromkeys(own.source for own in base))
    restrictions = list(dict.fromkeys(own.restriction for own in base))
    drawn = list(dict.fromkeys([restrictions[0], restrictions[-1]]))
    axes = canvas.figure.subplots(1, len(sources), squeeze=False, sharey=True)[0]
    for ax, source in zip(axes, sources, strict=True):
        for place, (method, results) in enumerate(by_method.items()):
            for own in results:
                if own.source != source or own.restriction not in drawn:
                    continue
                weak, colour = own.restriction == drawn[0], colour_of(method)
                y = place + (0 if len(drawn) == 1 else -0.14 if weak else 0.14)
                ax.hlines(y, *own.interval(TAIL), color=colour, linewidth=1.2 if weak else 0.8)
                ax.plot(
                    own.recall[TAIL],
                    y,
                    color=colour,
                    marker=marker_of(method),
                    markersize=4,
                    markerfacecolor=colour if weak else "white",
                )
                if weak:
                    canvas.table.extend(
                        {
                            "source": source,
                            "method": method,
                            "entity": str(names[entity]),
                            "odds_ratio": float(odds),
                            "p": float(p),
                        }
                        for entity, odds, p in zip(
                            own.entities, own.odds, own.p_entity, strict=True
                        )
                    )
        first = next(own for own in base if own.source == source)
        random = first.expected[TAIL]
        ax.axvline(random, color="#888888", linewidth=0.8, zorder=0)
        at = ax.get_xaxis_transform()
        ax.text(random, 0.01, " random", color="#666666", fontsize=7, transform=at)
        ax.set_title(f"{source}: {first.n_pairs} pairs", fontsize=8)
        ax.set_yticks(range(len(by_method)), list(by_method))
        ax.set_ylim(len(by_method) - 0.5, -0.5)
        ax.minorticks_off()
    text = f"recall in both {TAIL:.0%} tails"
    if len(drawn) > 1:
        text += f"; open: not within the same {noun_of(drawn[-1])}"
    canvas.figure.supxlabel(text, fontsize=8)
