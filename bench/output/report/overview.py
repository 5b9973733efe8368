"""Overview cards, claims and methods of the report page."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bench.boards.claims import MAX_REACH, STATUSES, claims_of
from bench.boards.render.cells import (
    TRACK_WORDS,
)
from bench.core.words import DASH, interval, number
from bench.output.report.board_view import COLUMNS, reading
from bench.output.report.methods import MethodPage, page_of
from bench.output.report.text import SIGNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.boards.board import Board, Row
    from bench.boards.claims import Judged
    from bench.core.registry import Registry
    from bench.records.record import Record

STANDS = 25

CLAIMS_RULE = (
    "A number of a paper is reproduced if the 95 % interval of our difference from it, over "
    f"trainings, holds 0 and reaches no further than {MAX_REACH:g} to either side. Records of real "
    "data alone are compared, at the settings and on the rows of the paper; fewer than three seeds "
    "count as not run."
)


# --------------------------------------------------------------------------- at a glance


def card(main: Sequence[Board], anchors: Mapping[str, str]) -> dict[str, object]:
    """Return a table of default methods by boards, with the difference to ERM per cell."""
    fitting = [
        board for board in main if any(row.diff_to_erm is not None for row in _own(board.rows))
    ]
    used = fitting[:COLUMNS]
    labels: dict[str, None] = {}
    for board in used:
        labels.update((row.method, None) for row in _own(board.rows))
    table = [{row.method: row for row in _own(board.rows)} for board in used]
    return {
        "columns": [
            {"split": b.split, "edition": _edition(b), "anchor": anchors[b.title]} for b in used
        ],
        "rows": [
            {"label": label, "cells": [_cell(found.get(label)) for found in table]}
            for label in labels
        ],
        "left_out": ""
        if len(fitting) <= COLUMNS
        else f"The first {COLUMNS} of {len(fitting)} boards.",
    }


def _own(rows: Iterable[Row]) -> list[Row]:
    return [
        row
        for row in rows
        if row.track != "reference"
        and not row.params
        and row.mean is not None
        and row.method_id != "erm"
    ]


def _edition(board: Board) -> str:
    recipe = "" if board.recipe == "default" else f", {board.recipe} recipe"
    return f"{board.edition}{recipe}"


def _cell(row: Row | None) -> dict[str, str] | None:
    if row is None or row.diff_to_erm is None:
        return None
    kind = row.verdict if row.verdict in ("helps", "hurts") else "same"
    span = interval(row.diff_low, row.diff_high, sign=True)
    words = row.verdict or row.reason or "no interval"
    return {
        "kind": kind,
        "sign": SIGNS.get(row.verdict, "·"),
        "text": number(row.diff_to_erm, sign=True),
        "words": words if span == DASH else f"{words} {span}",
    }


# --------------------------------------------------------------------------- claims


def claimed(runs: Sequence[Record]) -> list[Record]:
    """Return the runs that can be compared with a published number."""
    return [run for run in runs if run.edition == "real" and claims_of(run.split_id)]


def claims(judged: Sequence[Judged]) -> dict[str, object]:
    """Return the claims section of the page."""
    counts = Counter(one.status for one in judged)
    tested = [one for one in judged if one.status != "not run" or one.n_seeds]
    waiting = [one for one in judged if one not in tested and one.claim.comparable]
    never = [one for one in judged if not one.claim.comparable]
    groups = [
        {"title": "Measured here", "rows": tested, "open": True},
        {"title": "Not run here, with the command that would tell", "rows": waiting, "open": False},
        {"title": "Never compared, and why", "rows": never, "open": False},
    ]
    return {
        "counts": [(status, counts[status]) for status in STATUSES],
        "rule": CLAIMS_RULE,
        "groups": [group for group in groups if group["rows"]],
    }


# --------------------------------------------------------------------------- methods


def methods_context(
    made: Sequence[Board], anchors: Mapping[str, str], registry: Registry
) -> dict[str, object]:
    """Return the methods section of the page."""
    pages = {entry.name: page_of(entry) for entry in registry.entries("method")}
    stands: dict[str, list[dict[str, object]]] = {}
    for board in made:
        for row in board.rows:
            for stage in dict.fromkeys(row.method_id.split("+")):
                if stage not in pages:
                    words = "It is known here from its records alone."
                    pages[stage] = MethodPage(stage, track=row.track, problem=words)
                stands.setdefault(stage, []).append(_standing(board, row, anchors))
    methods = []
    for name in sorted(pages):
        found = stands.get(name, [])
        more = len(found) - STANDS
        methods.append(
            {
                "page": pages[name],
                "link": pages[name].url.startswith(("https://", "http://")),
                "stands": found[:STANDS],
                "more": f"And {more} further rows on the boards." if more > 0 else "",
            }
        )
    order = [*TRACK_WORDS, ""]
    groups = {track: [p for _, p in sorted(pages.items()) if p.track == track] for track in order}
    return {
        "methods": methods,
        "index": [(track, found) for track, found in groups.items() if found],
    }


def _standing(board: Board, row: Row, anchors: Mapping[str, str]) -> dict[str, object]:
    settings = {**board.settings, **board.overrides}
    words = ", ".join(f"{key}={settings[key]}" for key in sorted(settings))
    return {
        "split": board.split,
        "edition": board.edition,
        "recipe": f"{board.recipe}{f' ({words})' if words else ''}",
        "anchor": anchors[board.title],
        "label": row.method,
        "rank": DASH if row.rank is None else str(row.rank),
        "mean": number(row.mean),
        "diff": number(row.diff_to_erm, sign=True),
        "reading": reading(row),
        "kind": row.verdict if row.verdict in ("helps", "hurts") else "",
    }
