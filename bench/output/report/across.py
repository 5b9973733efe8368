"""Summary across splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.boards.baselines import IMPROVES, WORSENS
from bench.output.report.sentence import Name, Sentence, listed
from bench.output.report.summary import destruction, is_main

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.boards.board import Board, Row

__all__ = ["overview"]


# --------------------------------------------------------------------------- all boards


def overview(boards: Sequence[Board]) -> list[Sentence]:
    """Return the sentences that summarise all main boards.

    Parameters
    ----------
    boards
        All boards; those with settings, overrides or the smoke recipe are skipped.
    """
    main = [board for board in boards if is_main(board)]
    if not main:
        words = (
            "Nothing can be concluded: no run has its data and recipe as they come."
            if boards
            else "There are no records yet."
        )
        return [Sentence("limits", (words,))]
    made = [*_across(main), *_destroyed_where(main)]
    simulated = sorted({board.split for board in main if board.edition == "simulated"})
    real = sorted({board.split for board in main if board.edition == "real"})
    if simulated:
        words = f"{listed(simulated)} {'is' if len(simulated) == 1 else 'are'} simulated"
        if not real:
            made.append(Sentence("limits", (f"{words}: no conclusion here rests on real data.",)))
        else:
            made.append(
                Sentence("limits", (f"{words}; what is said of real data rests on the rest.",))
            )
    few = [b for b in main if not any(row.ci_low is not None for row in b.rows)]
    if few:
        words = (
            f"No verdict is possible on {listed(sorted({b.split for b in few}))}: too few "
            "held-out batches or seeds for an interval."
        )
        made.append(Sentence("limits", (words,)))
    return made


def _across(main: Sequence[Board]) -> list[Sentence]:
    """Count verdicts of methods at their defaults, separately for real and simulated data."""
    made = []
    for edition, words in (("real", "On real data"), ("simulated", "On simulated data")):
        rows: dict[str, list[Row]] = {}
        used = [board for board in main if board.edition == edition]
        for board in used:
            for row in board.rows:
                if row.rank is not None and row.verdict and not row.params:
                    rows.setdefault(row.method, []).append(row)
        if not rows:
            continue
        boards_with = sum(any(row.verdict and row.rank for row in b.rows) for b in used)
        helps = {m: [r for r in found if r.verdict == IMPROVES] for m, found in rows.items()}
        hurts = {m: [r for r in found if r.verdict == WORSENS] for m, found in rows.items()}
        splits = f"{boards_with} split{'s' if boards_with > 1 else ''}"
        parts: list[str | Name] = [f"{words} ({splits} with intervals), "]
        up = sorted((m for m in helps if helps[m]), key=lambda m: (-len(helps[m]), m))
        down = sorted((m for m in hurts if hurts[m]), key=lambda m: (-len(hurts[m]), m))
        if up:
            parts += ["better than the baseline: ", *_counted(up, helps, rows)]
        else:
            parts.append("no correction is better than the baseline")
        if down:
            parts += ["; worse: ", *_counted(down, hurts, rows)]
        silent = sum(not helps[m] and not hurts[m] for m in rows)
        if silent:
            parts.append(
                f"; {silent} of {len(rows)} methods have no detectable difference anywhere"
            )
        made.append(Sentence("helps" if up else "untold", (*parts, ".")))
    return made


def _counted(
    names: Sequence[str], found: dict[str, list[Row]], rows: dict[str, list[Row]]
) -> list[str | Name]:
    parts: list[str | Name] = []
    for k, name in enumerate(names[:5]):
        parts += [", " if k else "", Name(name), f" on {len(found[name])} of {len(rows[name])}"]
    if len(names) > 5:
        parts.append(f" and {len(names) - 5} more")
    return parts


def _destroyed_where(main: Sequence[Board]) -> list[Sentence]:
    places = [board.split for board in main if any(destruction(board, row) for row in board.rows)]
    if not places:
        return []
    text = f"Batch statistics destroy biology on {listed(sorted(set(places)))}."
    return [Sentence("destroys", (text,))]
