"""Table cells of boards, for the terminal, Markdown, CSV, HTML, LaTeX and JSON.

The same boards give the same bytes. Names are plain text: every format escapes its markup.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.boards.baselines import IMPROVES, WORSENS
from bench.boards.pairing import TEST
from bench.boards.readouts import READOUT_RULE
from bench.boards.stats.scores import MIN_CLUSTERS
from bench.core.words import DASH, interval, number
from bench.records.selection import RULES

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.boards.board import Board, Row

__all__ = ["LEGEND", "TRACK_WORDS", "budget_in_words", "notes_of", "remark", "reported", "seconds"]

PUBLISHED = "published (real data)"
TRACK_WORDS = {
    "inductive": "inductive: training data only",
    "test-controls": "test-controls: also the controls of the test batch",
    "test-batch": "test-batch: also the unlabelled test batch",
    "transductive": "transductive: also the unlabelled evaluation set while fitting",
    "reference": "control rows: no correction, chance and leaks, not ranked",
}
LEGEND = (
    "The score of a split with several held-out batches is the mean over them. "
    f"{READOUT_RULE} "
    "Mean and SD (n - 1) are over seeds. Deterministic methods count as all seeds. Intervals are "
    "95 % intervals over seeds crossed with clusters. With fewer than "
    f"{MIN_CLUSTERS} clusters there is no interval, but the lowest and highest score. They are "
    "corrected after Nadeau and Bengio if folds share training rows. The baseline is no "
    "correction: identity or pca for profile methods, erm for networks. Differences to it are "
    f"paired by seed and cluster. p is that of a {TEST}. In brackets it is adjusted for all rows "
    "of the board (Holm). Verdicts use the adjusted p. Intervals are not adjusted. Ranks are "
    "within a track."
)
NARROW = 110
"""Terminals below this width in characters show fewer columns."""
WITH_P = 130
"""Terminals from this width on show p values in the remarks."""
EMPTY = "No boards: there are no records. Make some with `python -m bench run`.\n"


def seconds(value: float | None) -> str:
    """Return seconds with about three digits; a dash for None."""
    if value is None:
        return DASH
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


@dataclass(frozen=True)
class Column:
    """A column of a board.

    Attributes
    ----------
    width
        Minimum terminal width in characters that shows the column; other formats show all.
    """

    name: str
    cell: Callable[[Row], str]
    width: int = 0
    text: bool = False


def _interval(row: Row) -> str:
    """Return the interval; with few clusters, the range over clusters as text."""
    if row.mean is None or row.ci_low is not None:
        return interval(row.ci_low, row.ci_high)
    if 0 < row.n_clusters < MIN_CLUSTERS:
        lowest, highest = min(row.points.values()), max(row.points.values())
        span = f"{number(lowest)} … {number(highest)}" if len(row.points) > 1 else ""
        return f"{span}, {row.clusters_in_words}" if span else row.clusters_in_words
    return "one seed" if row.n_seeds == 1 and not row.deterministic else DASH


def _seeds(row: Row) -> str:
    if row.n_seeds == 1 and row.deterministic:
        return "all"
    return str(row.n_seeds) if row.n_seeds else DASH


def _difference(row: Row) -> str:
    """Return the difference to the baseline, with its name."""
    if row.difference is None:
        return DASH
    return f"{number(row.difference, sign=True)} {row.baseline}"


def _clusters(row: Row) -> str:
    return row.clusters_in_words.removeprefix("n = ") if row.n_clusters else DASH


def budget_in_words(tuning: object) -> str:
    """Return the cost of a parameter search: ``20 trials, 153 s``; a dash for none.

    Parameters
    ----------
    tuning
        As in the record: None, a number of trials, or a mapping with ``trials`` (per fold) and
        ``seconds`` (total).
    """
    if isinstance(tuning, Mapping):
        spent = tuning.get("seconds")
        tuning = tuning.get("trials", tuning.get("n_trials"))
        if tuning is not None and spent is not None:
            return f"{tuning} trials, {spent:.0f} s"
    if tuning is None or isinstance(tuning, bool):
        return DASH
    return f"{tuning} trials" if isinstance(tuning, int) else str(tuning)


def reported(row: Row) -> str:
    """Return the published numbers, each with its status."""
    texts = dict.fromkeys(f"{claim.claim.value:g} {claim.status}" for claim in row.published)
    return "; ".join(texts) or DASH


def _peak(row: Row) -> str:
    peak = row.cost.get("peak_bytes")
    return f"{peak / 2**30:.1f}" if peak else DASH


COLUMNS = (
    Column("#", lambda row: DASH if row.rank is None else str(row.rank)),
    Column("method", lambda row: row.method, text=True),
    Column("mean", lambda row: number(row.mean)),
    Column("SD", lambda row: number(row.sd), width=NARROW),
    Column("95 % interval", _interval),
    Column("seeds", _seeds, width=NARROW),
    Column("clusters", _clusters, width=170),
    Column("vs baseline", _difference),
    Column(
        "95 % interval",
        lambda row: interval(row.difference_low, row.difference_high, sign=True),
        width=NARROW,
    ),
    Column("vs identity", lambda row: number(row.difference_to("identity"), sign=True), width=180),
    Column("vs erm", lambda row: number(row.difference_to("erm"), sign=True), width=180),
    Column(PUBLISHED, reported, width=130, text=True),
    Column("remark", lambda row: remark(row), text=True),  # noqa: PLW0108 - defined below
    Column("tuning", lambda row: budget_in_words(row.tuning), width=180),
    Column("read-out", lambda row: row.readout if row.mean is not None else DASH, width=180),
    Column("fit s", lambda row: seconds(row.cost.get("fit_s")), width=140),
    Column("apply s", lambda row: seconds(row.cost.get("apply_s")), width=140),
    Column("GiB", _peak, width=140),
)


ONCE = ("seeds", "clusters", PUBLISHED, "tuning", "read-out", "GiB")
"""Columns that LaTeX replaces by a sentence if all rows agree."""


def row_cells(row: Row) -> list[str]:
    """Return the cells under :data:`COLUMNS`."""
    return [column.cell(row) for column in COLUMNS]


def remark(row: Row) -> str:
    """Return the remarks on a row: verdict, reason for not being ranked, badges."""
    parts = [row.verdict] if row.verdict else []
    if row.verdict and row.p is not None and row.p_holm is not None:
        parts.append(f"{_p(row.p)} ({_p(row.p_holm).removeprefix('p ').removeprefix('= ')})")
    if row.status != "ok":
        parts.append(f"not applicable: {row.reason}" if row.reason else "not applicable")
    elif row.reason:
        parts.append(f"not ranked: {row.reason}")
    parts += row.badges
    return "; ".join(parts)


def _p(p: float) -> str:
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"


def notes_of(board: Board) -> list[str]:
    """Return the sentences below a board."""
    notes = [f"Shift: {board.shift}"] if board.shift else []
    if board.scope and any(row.verdict for row in board.rows):
        notes.append(f"All verdicts: {board.scope}.")
    if board.chance is not None:
        notes.append(f"Chance: {board.chance:.3f}.")
    if not board.higher_is_better:
        notes.append(f"{board.metric}: lower is better.")
    return [*notes, *board.notes]


def is_grey(board: Board) -> bool:
    """Whether the rows of a board are never ranked."""
    return board.selection in RULES and not RULES[board.selection].ranked


def by_track(board: Board) -> list[tuple[str, list[Row]]]:
    groups: dict[str, list[Row]] = {}
    for row in board.rows:
        groups.setdefault(row.track, []).append(row)
    return [(TRACK_WORDS.get(track, track), rows) for track, rows in groups.items()]


COLOURS = {IMPROVES: "green", WORSENS: "red"}
"""Verdict -> colour in a terminal."""
