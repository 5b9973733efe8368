"""Overview cards, claims and methods of the report page."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bench.boards.claims import MAX_REACH, STATUSES, claims_of
from bench.boards.overall import overall
from bench.boards.render.cells import TRACK_WORDS
from bench.boards.render.overall import notes_of, title_of
from bench.core.control_names import is_control_row
from bench.core.words import DASH, interval, number
from bench.output.report.board_view import reading
from bench.output.report.methods import MethodPage, page_of
from bench.output.report.summary import finding
from bench.output.report.text import SIGNS, subtitle, verdict_kind

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from bench.boards.board import Board, Row
    from bench.boards.claims import Judged
    from bench.core.registry import Registry
    from bench.records.record import Record

RESULTS = 25
"""Maximum rows of boards in the section of a method."""

FINDINGS = 24
"""Maximum boards of one kind of evidence that are summarised."""
OTHER = "Other runs"
EVIDENCE = {
    "real": "Real images",
    "tables": "Real tables",
    "simulated": "Simulated causes",
    "": OTHER,
}
"""Kinds of evidence, in their order on the page."""
CLAIMS_RULE = (
    "A published number is reproduced if the 95 % interval of our difference to it includes 0. "
    f"The interval is over trainings and must reach at most {MAX_REACH:g} to either side. "
    "Only records of real data with the settings and rows of the paper are compared. "
    "Fewer than three seeds count as not run."
)


def groups(
    main: Sequence[Board], tables: Container[str], anchors: Mapping[str, str]
) -> list[dict[str, object]]:
    """Return the boards at default settings by kind of evidence, each kind with its findings.

    Parameters
    ----------
    main
        The boards.
    tables
        Splits of tables; the others are of images.
    anchors
        Title of a board -> its anchor.
    """
    members: dict[str, list[Board]] = {title: [] for title in EVIDENCE.values()}
    for board in main:
        kind = "tables" if board.edition == "real" and board.split in tables else board.edition
        members[EVIDENCE.get(kind, OTHER)].append(board)
    return [
        {
            "title": title,
            "card": card(boards, anchors),
            "findings": [
                {
                    "board": board,
                    "sentences": finding(board).sentences,
                    "anchor": anchors[board.title],
                    "subtitle": subtitle(board),
                }
                for board in boards[:FINDINGS]
            ],
            "left_out": ""
            if len(boards) <= FINDINGS
            else f"The first {FINDINGS} of {len(boards)} boards are summarised.",
        }
        for title, boards in members.items()
        if boards
    ]


def overall_context(all_boards: Iterable[Board]) -> list[dict[str, object]]:
    """Return the comparison over all splits: one table per edition and kind of method."""
    return [
        {
            "title": title_of(result),
            "notes": notes_of(result),
            "rows": [
                {
                    "label": row.method,
                    "difference": number(row.mean_difference, sign=True),
                    "span": _span(list(row.differences.values())),
                    "n": row.n_datasets,
                    "verdicts": f"{row.n_improves} / {row.n_worsens} of {row.n_tested}",
                }
                for row in result.rows
                if row.n_splits
            ],
        }
        for result in overall(all_boards)
    ]


def _span(values: Sequence[float]) -> str:
    if len(values) < 2:
        return DASH
    return f"{number(min(values), sign=True)} … {number(max(values), sign=True)}"


def card(main: Sequence[Board], anchors: Mapping[str, str]) -> dict[str, object]:
    """Return a table of default methods by boards, with the difference to the baseline."""
    used = [board for board in main if any(row.difference is not None for row in _own(board.rows))]
    labels = dict.fromkeys(row.method for board in used for row in _own(board.rows))
    table = [{row.method: row for row in _own(board.rows)} for board in used]
    return {
        "columns": [
            {"split": b.split, "edition": _edition(b), "anchor": anchors[b.title]} for b in used
        ],
        "rows": [
            {"label": label, "cells": [_cell(column.get(label)) for column in table]}
            for label in labels
        ],
    }


def _own(rows: Iterable[Row]) -> list[Row]:
    return [
        row
        for row in rows
        if not is_control_row(row.track)
        and not row.params
        and row.mean is not None
        and row.method_id != "erm"
    ]


def _edition(board: Board) -> str:
    recipe = "" if board.recipe == "default" else f", {board.recipe} recipe"
    return f"{board.edition}{recipe}"


def _cell(row: Row | None) -> dict[str, str] | None:
    if row is None or row.difference is None:
        return None
    kind = verdict_kind(row)
    span = interval(row.difference_low, row.difference_high, sign=True)
    text = row.verdict or row.reason or "no interval"
    return {
        "kind": kind or "same",
        "sign": SIGNS[kind],
        "text": number(row.difference, sign=True),
        "words": text if span == DASH else f"{text} {span}",
    }


def claimed(runs: Sequence[Record]) -> list[Record]:
    """Return the runs that can be compared with a published number."""
    return [run for run in runs if run.edition == "real" and claims_of(run.split_id)]


def claims(judged: Sequence[Judged]) -> dict[str, object]:
    """Return the claims section of the page."""
    counts = Counter(judgement.status for judgement in judged)
    tested = [j for j in judged if j.status != "not run" or j.n_seeds]
    waiting = [j for j in judged if j not in tested and j.claim.comparable]
    other = [j for j in judged if not j.claim.comparable]
    groups = [
        {"title": "Measured", "rows": tested, "open": True},
        {"title": "Not run, with the command to reproduce", "rows": waiting, "open": False},
        {"title": "Not comparable, with the reason", "rows": other, "open": False},
    ]
    return {
        "counts": [(status, counts[status]) for status in STATUSES],
        "rule": CLAIMS_RULE,
        "groups": [group for group in groups if group["rows"]],
    }


def methods_context(
    boards: Sequence[Board], anchors: Mapping[str, str], registry: Registry
) -> dict[str, object]:
    """Return the methods section of the page."""
    pages = {entry.name: page_of(entry) for entry in registry.entries("method")}
    results: dict[str, list[dict[str, object]]] = {}
    for board in boards:
        for row in board.rows:
            for stage in dict.fromkeys(row.method_id.split("+")):
                if stage not in pages:
                    problem = "This method is not installed; only its records are available."
                    pages[stage] = MethodPage(stage, track=row.track, problem=problem)
                results.setdefault(stage, []).append(_result(board, row, anchors))
    methods = []
    for name in sorted(pages):
        rows = results.get(name, [])
        more = len(rows) - RESULTS
        methods.append(
            {
                "page": pages[name],
                "link": pages[name].url.startswith(("https://", "http://")),
                "results": rows[:RESULTS],
                "more": f"{more} further rows are on the boards." if more > 0 else "",
            }
        )
    order = [*TRACK_WORDS, ""]
    groups = {track: [p for _, p in sorted(pages.items()) if p.track == track] for track in order}
    return {
        "methods": methods,
        "index": [(track, group) for track, group in groups.items() if group],
    }


def _result(board: Board, row: Row, anchors: Mapping[str, str]) -> dict[str, object]:
    settings = {**board.settings, **board.overrides}
    text = ", ".join(f"{key}={settings[key]}" for key in sorted(settings))
    return {
        "split": board.split,
        "edition": board.edition,
        "recipe": f"{board.recipe}{f' ({text})' if text else ''}",
        "anchor": anchors[board.title],
        "label": row.method,
        "rank": DASH if row.rank is None else str(row.rank),
        "mean": number(row.mean),
        "diff": number(row.difference, sign=True),
        "reading": reading(row),
        "kind": verdict_kind(row),
    }
