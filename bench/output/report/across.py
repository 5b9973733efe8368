"""Summary across splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.words import listed
from bench.output.report.regimes import conditions, regimes
from bench.output.report.sentence import Name, Sentence
from bench.output.report.summary import biology_loss, is_main

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.boards.board import Board


def overview(boards: Sequence[Board]) -> list[Sentence]:
    """Return the sentences that summarise all main boards.

    Parameters
    ----------
    boards
        All boards; those with settings, overrides or the smoke recipe are skipped.
    """
    main = [board for board in boards if is_main(board)]
    if not main:
        text = (
            "No conclusion: no run uses the default data settings and recipe."
            if boards
            else "There are no records yet."
        )
        return [Sentence("limits", (text,))]
    sentences = [*_by_regime(main), *_losses(main)]
    simulated = sorted({board.split for board in main if board.edition == "simulated"})
    if simulated:
        verb = "is" if len(simulated) == 1 else "are"
        sentences.append(Sentence("limits", (f"{listed(simulated, 6)} {verb} simulated.",)))
        if not any(board.edition == "real" for board in main):
            sentences.append(Sentence("limits", ("No record is from real data.",)))
    few = [b for b in main if not any(row.ci_low is not None for row in b.rows)]
    if few:
        text = (
            f"No verdict on {listed(sorted({b.split for b in few}), 6)}: too few held-out batches "
            "or seeds for an interval."
        )
        sentences.append(Sentence("limits", (text,)))
    return sentences


def _by_regime(main: Sequence[Board]) -> list[Sentence]:
    """Summarise the splits with measured conditions, one sentence per regime."""
    sentences = []
    for regime in regimes(main, conditions()):
        n = len(regime.splits)
        parts: list[str | Name] = [
            f"{regime.edition.capitalize()} data, {regime.text} ({n} split{'s' * (n > 1)}): "
        ]
        if not (regime.better or regime.worse or regime.same):
            parts.append("too few held-out batches for a test.")
            sentences.append(Sentence("limits", tuple(parts)))
            continue
        kind = "better" if regime.better else "worse" if regime.worse else "same"
        for word, counts in (("improved by", regime.better), ("worsened by", regime.worse)):
            if counts:
                names = sorted(counts, key=lambda name: (-counts[name], name))
                parts += [f"{word} ", *_names(names), "; "]
        if kind == "same":
            parts.append("no detectable difference to no correction; ")
        parts[-1] = str(parts[-1]).replace("; ", ".")
        sentences.append(Sentence(kind, tuple(parts)))
    return sentences


def _names(names: Sequence[str]) -> list[str | Name]:
    parts: list[str | Name] = []
    for k, name in enumerate(names[:5]):
        parts += [", " if k else "", Name(name)]
    if len(names) > 5:
        parts.append(f" and {len(names) - 5} more")
    return parts


def _losses(main: Sequence[Board]) -> list[Sentence]:
    """Name the splits where a method at its defaults significantly loses biology."""
    splits = [
        board.split
        for board in main
        for row in board.rows
        if not row.params and (loss := biology_loss(board, row)) is not None and loss.is_significant
    ]
    if not splits:
        return []
    text = f"Statistics of whole batches remove biology on {listed(sorted(set(splits)), 6)}."
    return [Sentence("lost", (text,))]
