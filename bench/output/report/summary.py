"""Boards -> sentences: best methods, size of gains, ties, loss of biology.

Each sentence is built from numbers by a rule that the page states. Smoke runs, unranked rows and
unresolved differences are not mentioned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.boards.board import MIN_SEEDS, Board, Row
from bench.boards.pairing import pair
from bench.boards.stats.scores import MIN_CLUSTERS
from bench.boards.stats.tests import holm
from bench.core.words import number, plural
from bench.output.report.sentence import (
    Finding,
    Name,
    Sentence,
    difference,
    level_of,
    metric,
    names_text,
    score_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "BATCH_TRACKS",
    "LOST",
    "MARGIN",
    "RULES",
    "Destruction",
    "destruction",
    "finding",
    "is_main",
]

ALPHA = 0.05
BATCH_TRACKS = ("test-batch", "transductive")
"""Tracks whose methods use statistics of unlabelled test rows."""
LOST = 0.5
"""Fraction of ERM's margin over chance whose loss counts as destroyed biology."""
MARGIN = 0.1
"""Minimum margin of ERM over chance; batches below it are ignored."""
LEAKS = {
    "position-only": "the place on the plate alone",
    "batch-only": "the names of the batches alone",
}
RULES = (
    "Helps, hurts: the 95 % interval of the paired difference to ERM, over seeds crossed with "
    "batches, lies on one side of 0. Cannot be told apart: it holds 0. With the best: paired "
    f"p values adjusted by Holm, {ALPHA:g}. Fewer than {MIN_CLUSTERS} held-out batches or "
    f"{MIN_SEEDS} seeds give no verdict. Destroyed: a batch in which a method of the tracks "
    f"{' and '.join(BATCH_TRACKS)} loses more than half of ERM's margin over chance (where that "
    f"margin is at least {MARGIN:g}); said where there are two or more of them, at least twice as "
    "many as batches that gain as much, and the mean falls."
)


def is_main(board: Board) -> bool:
    """Whether a board uses default data and recipe: no settings, no overrides, not smoke."""
    return not board.settings and not board.overrides and board.recipe != "smoke"


# --------------------------------------------------------------------------- one board


def finding(board: Board) -> Finding:
    """Return the summary of a board."""
    ranked = [row for row in board.rows if row.rank is not None]
    sentences: list[Sentence] = []
    if ranked:
        best = _best(ranked, higher=board.higher_is_better)
        sentences.append(_won(board, best))
        sentences += _tracks(ranked, higher=board.higher_is_better)
        sentences += _untold(ranked, best)
        sentences += _verdicts(ranked)
    else:
        sentences.append(_nothing(board))
    sentences += _destroys(board)
    sentences += _leaks(board)
    return Finding(board, tuple(sentences))


def _best(rows: Iterable[Row], *, higher: bool) -> Row:
    sign = -1 if higher else 1
    return min(rows, key=lambda row: (sign * (row.mean or 0.0), row.method))


def _won(board: Board, best: Row) -> Sentence:
    word = "highest" if board.higher_is_better else "lowest"
    score = f"{metric(board)} {score_text(best)}"
    if best.method_id == "erm" and not best.params:
        text = f" scores {word}, {score}: no correction scores better than none."
        return Sentence("won", (Name(best.method), text))
    parts: list[str | Name] = [Name(best.method), f" scores {word}: {score}"]
    if best.diff_to_erm is not None:
        parts.append(f", {difference(best)} against ERM")
    if best.track != "inductive":
        parts.append(f". It is of the track {best.track}: {SEES[best.track]}")
    return Sentence("won", (*parts, "."))


SEES = {
    "test-controls": "it sees the controls of the test batch",
    "test-batch": "it sees the unlabelled rows of the test batch",
    "transductive": "it sees the unlabelled evaluation set while fitting",
}


def _tracks(ranked: Sequence[Row], *, higher: bool) -> list[Sentence]:
    tracks = list(dict.fromkeys(row.track for row in ranked))
    if len(tracks) < 2:
        return []
    parts: list[str | Name] = ["First in its track: "]
    for k, track in enumerate(tracks):
        best = _best((row for row in ranked if row.track == track), higher=higher)
        parts += ["; " if k else "", f"{track} ", Name(best.method), f" {number(best.mean)}"]
    return [Sentence("tracks", (*parts, "."))]


def _untold(ranked: Sequence[Row], best: Row) -> list[Sentence]:
    """Name the rows that do not differ significantly from the best."""
    others = [row for row in ranked if row is not best]
    if not others:
        return []
    found = [
        pair(best.scores, row.scores)
        if best.scores is not None and row.scores is not None
        else None
        for row in others
    ]
    known = [gap is not None and gap.p is not None and gap.n_seeds >= MIN_SEEDS for gap in found]
    if not any(known):
        return [Sentence("untold", (_too_few(best),))]
    adjusted = holm([gap.p if gap is not None else None for gap in found])
    rest = [
        row for row, p, k in zip(others, adjusted, known, strict=True) if not k or (p or 0) >= ALPHA
    ]
    n = sum(known)
    how = f"paired, Holm over {n} comparison{'s' if n > 1 else ''}"
    if not rest:
        return [Sentence("untold", (f"It can be told from every other ranked row ({how}).",))]
    if len(rest) == len(others):
        words = "None of the others can" if len(others) > 1 else "The other one cannot"
        return [Sentence("untold", (f"{words} be told apart from it ({how}).",))]
    return [Sentence("untold", ("Cannot be told apart from it: ", *names_text(rest), f" ({how})."))]


def _too_few(row: Row) -> str:
    """State why there is no verdict between rows."""
    if row.n_clusters < MIN_CLUSTERS:
        level = level_of(row)
        held = (
            f"{row.n_clusters} {level if row.n_clusters == 1 else plural(level)} were held out"
            if row.n_clusters
            else "no score of single held-out batches is on record"
        )
        return (
            f"Which differences are real cannot be told: {held}, and an interval needs "
            f"{MIN_CLUSTERS}."
        )
    return "Which differences are real cannot be told: too few seeds are in common."


def _verdicts(ranked: Sequence[Row]) -> list[Sentence]:
    made = []
    for kind, words in (("helps", "Helps"), ("hurts", "Hurts")):
        rows = [row for row in ranked if row.verdict == kind]
        if rows:
            alone = ", each interval by itself" if len(rows) > 1 else ""
            parts: list[str | Name] = [f"{words} against ERM{alone}: "]
            for k, row in enumerate(rows):
                parts += ["; " if k else "", Name(row.method), f" {difference(row)}"]
            made.append(Sentence(kind, (*parts, ".")))
    same = [row for row in ranked if row.verdict.startswith("cannot")]
    if same:
        parts = ["Cannot be told apart from ERM: ", *names_text(same), "."]
        made.append(Sentence("untold", tuple(parts)))
    return made


def _nothing(board: Board) -> Sentence:
    scored = [row for row in board.rows if row.mean is not None and row.track != "reference"]
    if not scored:
        return Sentence("limits", ("No method could be scored here.",))
    reasons = sorted({row.reason for row in scored if row.reason})
    return Sentence("limits", (f"Nothing is ranked here: {'; '.join(reasons)}.",))


# --------------------------------------------------------------------------- biology destroyed


@dataclass(frozen=True)
class Destruction:
    """Batches where a method loses class information that ERM keeps.

    Attributes
    ----------
    row
        The method.
    Names of the batches that lose, or gain, more than :data:`LOST` of ERM's margin over
    chance.
        chance.
    Number of evaluated batches: those where ERM is at least :data:`MARGIN` above chance.
        Batches that were looked at: those where ERM is at least :data:`MARGIN` above chance.
    The batch with the largest loss, and its scores with ERM and with the method.
        The batch that loses most, and its scores with ERM and with the method.
    """

    row: Row
    destroyed: tuple[str, ...]
    gained: tuple[str, ...]
    n: int
    worst: str
    before: float
    after: float


def destruction(board: Board, row: Row) -> Destruction | None:
    """Return where a method that uses test statistics destroys biology, or None."""
    base = next((r for r in board.rows if r.method_id == "erm" and not r.params and r.seeds), None)
    if (
        base is None
        or board.chance is None
        or not board.higher_is_better
        or row.track not in BATCH_TRACKS
        or row.diff_to_erm is None
        or row.diff_to_erm >= 0
        or not row.rank
    ):
        return None
    losses = {
        name: (base.points[name] - value) / (base.points[name] - board.chance)
        for name, value in row.points.items()
        if base.points.get(name, board.chance) - board.chance >= MARGIN
    }
    destroyed = tuple(name for name, loss in losses.items() if loss > LOST)
    gained = tuple(name for name, loss in losses.items() if loss < -LOST)
    if len(destroyed) < 2 or len(destroyed) < 2 * len(gained):
        return None
    worst = max(destroyed, key=lambda name: (base.points[name] - row.points[name], name))
    return Destruction(
        row, destroyed, gained, len(losses), worst, base.points[worst], row.points[worst]
    )


def _destroys(board: Board) -> list[Sentence]:
    found = [lost for row in board.rows if (lost := destruction(board, row)) is not None]
    if not found:
        return []
    parts: list[str | Name] = ["Batch statistics destroy biology here. "]
    # Methods with default parameters come first, then worse variants.
    worst = max(found, key=lambda lost: (not lost.row.params, len(lost.destroyed)))
    row, level = worst.row, level_of(worst.row)
    parts += [
        f"In {len(worst.destroyed)} of {worst.n} {plural(level)} ",
        Name(row.method),
        " loses more than half of what ERM has above chance",
        f" (most in {worst.worst}: {number(worst.before)} to {number(worst.after)})",
    ]
    if worst.gained:
        parts.append(f", in {len(worst.gained)} it gains as much")
    parts.append(f"; on average {difference(row)}")
    if row.verdict.startswith("cannot"):
        parts.append(f", an interval that holds 0 because the {plural(level)} differ so much")
    parts.append(".")
    others = [lost.row for lost in found if lost is not worst]
    if others:
        parts += [" So do ", *names_text(others), "."]
    return [Sentence("destroys", tuple(parts))]


def _leaks(board: Board) -> list[Sentence]:
    """Report leakage: the class can be predicted from the layout or from the batch."""
    made = []
    for row in board.rows:
        above = board.chance is not None and row.ci_low is not None and row.ci_low > board.chance
        if row.method_id in LEAKS and above and row.mean is not None:
            text = (
                f" reaches {number(row.mean)} from {LEAKS[row.method_id]}, with chance at "
                f"{number(board.chance)}: part of the class is given away without any image."
            )
            made.append(Sentence("leaks", (Name(row.method), text)))
    return made
