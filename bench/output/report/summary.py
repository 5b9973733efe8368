"""Boards -> sentences: best methods, size of gains, ties, loss of biology.

Each sentence is built from numbers by a rule that the page states. Smoke runs and rows without a
rank are not mentioned. Sentences have at most 20 words, lists of methods aside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.boards.board import MIN_SEEDS, Board, Row
from bench.boards.pairing import pair
from bench.boards.stats.scores import MIN_CLUSTERS
from bench.boards.stats.tests import holm
from bench.core.control_names import is_control_row
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
from bench.output.report.text import verdict_kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.boards.pairing import Paired


ALPHA = 0.05
BATCH_TRACKS = ("test-batch", "transductive")
"""Tracks whose methods use statistics of unlabelled test rows."""
LOST = 0.5
"""Loss that counts as lost biology, as a fraction of ERM's margin over chance."""
MARGIN = 0.1
"""Minimum margin of ERM over chance; batches below it are ignored."""
LEAKS = {
    "position-only": "the position on the plate",
    "cell-count-only": "the number of cells",
    "batch-only": "the name of the batch",
}
RULES = (
    "Differences to the baseline (identity or pca for profile methods, erm for networks) are "
    "paired by seed and held-out batch. A method is better or worse if p, adjusted by Holm for "
    "all rows of the board, is below 0.05. "
    "Comparisons with the best method are paired tests, adjusted by Holm "
    f"(significance level {ALPHA:g}). "
    f"There is no verdict below {MIN_CLUSTERS} held-out batches or {MIN_SEEDS} seeds. "
    "A batch loses biology if a method loses more than half of ERM's margin over chance there. "
    f"Only batches where this margin is at least {MARGIN:g} count. "
    "The loss is reported from two such batches on, if at most half as many batches gain as much. "
    "The mean must fall, too."
)


def is_main(board: Board) -> bool:
    """Whether a board uses default data and recipe: no settings, no overrides, not smoke."""
    return not board.settings and not board.overrides and board.recipe != "smoke"


def finding(board: Board) -> Finding:
    """Return the summary of a board."""
    ranked = [row for row in board.rows if row.rank is not None]
    sentences: list[Sentence] = []
    if ranked:
        best = _best(ranked, higher=board.higher_is_better)
        sentences.append(_highest(board, best))
        sentences += _tracks(ranked, higher=board.higher_is_better)
        sentences += _ties(ranked, best)
        sentences += _verdicts(ranked)
    else:
        sentences.append(_nothing(board))
    sentences += _losses(board)
    sentences += _leaks(board)
    return Finding(board, tuple(sentences))


def _best(rows: Iterable[Row], *, higher: bool) -> Row:
    sign = -1 if higher else 1
    return min(rows, key=lambda row: (sign * (row.mean or 0.0), row.method))


def _highest(board: Board, best: Row) -> Sentence:
    word = "highest" if board.higher_is_better else "lowest"
    parts: list[str | Name] = [
        Name(best.method),
        f" has the {word} {metric(board)}: {score_text(best)}.",
    ]
    if best.method_id == "erm" and not best.params:
        parts.append(" No correction has a better score.")
    elif best.difference is not None:
        parts.append(f" Difference to {best.baseline}: {difference(best)}.")
    if best.track != "inductive":
        parts.append(f" Track {best.track}: {USES[best.track]}.")
    return Sentence("best", tuple(parts))


USES = {
    "test-controls": "it uses the controls of the test batch",
    "test-batch": "it uses the unlabelled rows of the test batch",
    "transductive": "it uses the unlabelled test set while fitting",
}


def _tracks(ranked: Sequence[Row], *, higher: bool) -> list[Sentence]:
    tracks = list(dict.fromkeys(row.track for row in ranked))
    if len(tracks) < 2:
        return []
    parts: list[str | Name] = ["Best per track: "]
    for k, track in enumerate(tracks):
        best = _best((row for row in ranked if row.track == track), higher=higher)
        parts += ["; " if k else "", f"{track} ", Name(best.method), f" {number(best.mean)}"]
    return [Sentence("tracks", (*parts, "."))]


def _ties(ranked: Sequence[Row], best: Row) -> list[Sentence]:
    """Name the rows that do not differ significantly from the best."""
    others = [row for row in ranked if row is not best]
    if not others:
        return []
    gaps = [
        pair(best.scores, row.scores)
        if best.scores is not None and row.scores is not None
        else None
        for row in others
    ]
    tested = [_is_tested(gap) for gap in gaps]
    if not any(tested):
        return [Sentence("same", (_too_few(best),))]
    adjusted = holm([gap.p if gap is not None else None for gap in gaps])
    ties = [
        row
        for row, p, is_tested in zip(others, adjusted, tested, strict=True)
        if not is_tested or (p or 0) >= ALPHA
    ]
    n = sum(tested)
    test = f"paired tests, Holm over {n} comparison{'s' * (n > 1)}"
    if not ties:
        return [Sentence("same", (f"It differs from all other ranked methods ({test}).",))]
    if len(ties) == len(others):
        return [Sentence("same", (f"No other method differs significantly from it ({test}).",))]
    return [Sentence("same", ("No significant difference to: ", *names_text(ties), f" ({test})."))]


def _is_tested(gap: Paired | None) -> bool:
    return gap is not None and gap.p is not None and (gap.n_seeds >= MIN_SEEDS or gap.deterministic)


def _too_few(row: Row) -> str:
    """State why there is no test between rows."""
    if row.n_clusters >= MIN_CLUSTERS:
        return f"No significance test: fewer than {MIN_SEEDS} seeds in common."
    if not row.n_clusters:
        return "No significance test: the records have no scores per held-out batch."
    level = level_of(row) if row.n_clusters == 1 else plural(level_of(row))
    n = row.n_clusters
    return f"No significance test: {n} held-out {level}, at least {MIN_CLUSTERS} required."


def _verdicts(ranked: Sequence[Row]) -> list[Sentence]:
    sentences = []
    for kind in ("better", "worse"):
        rows = [row for row in ranked if verdict_kind(row) == kind]
        if rows:
            parts: list[str | Name] = [f"{kind.capitalize()} than the baseline: "]
            for k, row in enumerate(rows):
                against = f" {difference(row)} ({row.baseline})"
                parts += ["; " if k else "", Name(row.method), against]
            sentences.append(Sentence(kind, (*parts, ".")))
    same = [row for row in ranked if verdict_kind(row) == "same"]
    if same:
        parts = ["No detectable difference to the baseline: ", *names_text(same), "."]
        sentences.append(Sentence("same", tuple(parts)))
    return sentences


def _nothing(board: Board) -> Sentence:
    scored = [row for row in board.rows if row.mean is not None and not is_control_row(row.track)]
    if not scored:
        return Sentence("limits", ("No method has a score on this split.",))
    reasons = sorted({row.reason for row in scored if row.reason})
    return Sentence("limits", (f"No method is ranked: {'; '.join(reasons)}.",))


@dataclass(frozen=True)
class BiologyLoss:
    """Batches where a method loses class information that ERM keeps.

    Attributes
    ----------
    lost, gained
        Names of the batches that lose, or gain, more than :data:`LOST` of ERM's margin over
        chance.
    n
        Number of evaluated batches: those where ERM is at least :data:`MARGIN` above chance.
    worst, before, after
        The batch with the largest loss, and its scores with ERM and with the method.
    """

    row: Row
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    n: int
    worst: str
    before: float
    after: float

    @property
    def is_significant(self) -> bool:
        """Whether the board's verdict is that the method is worse than ERM."""
        return verdict_kind(self.row) == "worse"


def biology_loss(board: Board, row: Row) -> BiologyLoss | None:
    """Return where a method that uses test statistics loses biology, or None."""
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
    lost = tuple(name for name, loss in losses.items() if loss > LOST)
    gained = tuple(name for name, loss in losses.items() if loss < -LOST)
    if len(lost) < 2 or len(lost) < 2 * len(gained):
        return None
    worst = max(lost, key=lambda name: (base.points[name] - row.points[name], name))
    return BiologyLoss(row, lost, gained, len(losses), worst, base.points[worst], row.points[worst])


def _losses(board: Board) -> list[Sentence]:
    """Report lost biology; as a finding only if the mean difference is significant."""
    losses = [loss for row in board.rows if (loss := biology_loss(board, row)) is not None]
    if not losses:
        return []
    # Significant losses first, then methods with default parameters.
    worst = max(losses, key=lambda loss: (loss.is_significant, not loss.row.params, len(loss.lost)))
    row, level = worst.row, level_of(worst.row)
    parts: list[str | Name] = [
        Name(row.method),
        f" loses biology in {len(worst.lost)} of {worst.n} {plural(level)}.",
        f" Largest loss: {worst.worst}, from {number(worst.before)} to {number(worst.after)}.",
        f" Mean difference to ERM: {difference(row)}.",
    ]
    if worst.gained:
        parts.append(f" It gains as much in {len(worst.gained)}.")
    if not worst.is_significant:
        parts.append(" The mean difference is not significant.")
    others = [loss.row for loss in losses if loss is not worst]
    if others:
        parts += [" The same pattern: ", *names_text(others), "."]
    return [Sentence("lost" if worst.is_significant else "limits", tuple(parts))]


def _leaks(board: Board) -> list[Sentence]:
    """Report leakage: the class can be predicted from the layout or from the batch."""
    sentences = []
    for row in board.rows:
        above = board.chance is not None and row.ci_low is not None and row.ci_low > board.chance
        if row.method_id in LEAKS and above and row.mean is not None:
            text = (
                f" scores {number(row.mean)} (chance {number(board.chance)}): "
                f"{LEAKS[row.method_id]} alone predicts the class in part."
            )
            sentences.append(Sentence("leaks", (Name(row.method), text)))
    return sentences
