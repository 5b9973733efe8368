"""Boards as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.boards.pairing import TEST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.boards.board import Board, Row
    from bench.core.types import JsonObject


def to_json(boards: Iterable[Board]) -> JsonObject:
    """Return the boards as JSON types, as printed by ``leaderboard --json``."""
    return {"boards": [_board_json(board) for board in boards]}


def _board_json(board: Board) -> JsonObject:
    return {
        "split": board.split,
        "edition": board.edition,
        "recipe": board.recipe,
        "metric": board.metric,
        "readout": board.readout,
        "selection": board.selection,
        "runs_digest": board.runs_digest,
        "rows": [_row_json(row) for row in board.rows],
        "title": board.title,
        "recipe_overrides": dict(board.overrides),
        "dataset_settings": dict(board.settings),
        "higher_is_better": board.higher_is_better,
        "chance": board.chance,
        "shift": board.shift,
        "release": board.release,
        "scope": board.scope,
        "label_oracle": board.oracle,
        "notes": list(board.notes),
        "test": TEST,
    }


def _row_json(row: Row) -> dict[str, object]:
    return {
        "method": row.method,
        "track": row.track,
        "mean": row.mean,
        "sd": row.sd,
        "n_seeds": row.n_seeds,
        "n_clusters": row.n_clusters,
        "ci_low": row.ci_low,
        "ci_high": row.ci_high,
        "diff_to_erm": row.diff_to_erm,
        "rank": row.rank,
        "cost": dict(row.cost),
        "method_id": row.method_id,
        "params": {stage: dict(values) for stage, values in row.params.items()},
        "access": list(row.access),
        "readout": row.readout,
        "status": row.status,
        "reason": row.reason,
        "seeds": list(row.seeds),
        "values": list(row.values),
        "cluster_level": row.cluster_level,
        "points": dict(row.points),
        "diff_low": row.diff_low,
        "diff_high": row.diff_high,
        "diff_p": row.diff_p,
        "diff_seeds": row.diff_seeds,
        "diff_to_identity": row.difference_to("identity"),
        "baseline": row.baseline,
        "difference": row.difference,
        "difference_low": row.difference_low,
        "difference_high": row.difference_high,
        "p": row.p,
        "p_holm": row.p_holm,
        "detectable": row.detectable,
        "deterministic": row.deterministic,
        "verdict": row.verdict,
        "badges": list(row.badges),
        "tuning": row.tuning,
        "published": [
            {
                "claim": judged.claim.name,
                "value": judged.claim.value,
                "sd": judged.claim.sd,
                "source": judged.claim.source,
                "status": judged.status,
                "reading": judged.reading,
            }
            for judged in row.published
        ],
        "command": row.command,
        "typed": list(row.typed),
    }
