"""Boards, sentences, figures and methods -> one HTML file under a limit of bytes.

Where all of it would be too large, what is left out is said: first pictures from the end, then
boards from the end, which are the variants of settings.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import __version__
from bench.claims import MAX_REACH, STATUSES, claims_of, judge, published
from bench.formats import (
    DASH,
    LEGEND,
    TRACK_WORDS,
    budget_in_words,
    notes_of,
    number,
    remark,
    reported,
    seconds,
    span_of,
)
from bench.leaderboard import Board, Row, boards, plural
from bench.plots import colour_of
from bench.report.methods import MethodPage, page_of, plain
from bench.report.pictures import Picture, pictures
from bench.report.summary import RULES, Finding, finding, is_main, level_of, overview
from bench.store import Record, digest, summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bench.claims import Judged
    from bench.registry import Registry

    Run = Mapping[str, Any]

__all__ = ["LIMIT", "Report", "build"]

LIMIT = 3_000_000
"""Bytes that a page may have: what can be sent by mail."""
BOARDS_LIMIT = 2_050_000
"""Bytes that boards may take of them, as estimated."""
DRAWN = 8
DRAWN_ROWS = 120
"""Boards that figures are drawn of, and their rows: with more they take minutes."""
FINDINGS = 24
COLUMNS = 10
STANDS = 25
TEMPLATES = Path(__file__).with_name("templates")
TITLE = "labshift report"

CLAIMS_RULE = (
    "A number of a paper is reproduced if the 95 % interval of our difference from it, over "
    f"trainings, holds 0 and reaches no further than {MAX_REACH:g} to either side. Records of real "
    "data alone are compared, at the settings and on the rows of the paper; fewer than three seeds "
    "count as not run."
)


@dataclass(frozen=True)
class Report:
    """A page and what it holds.

    Attributes
    ----------
    html
        The whole file.
    n_runs, n_boards, n_pictures
        Runs that were read, boards and figures that are on the page.
    """

    html: str
    n_runs: int
    n_boards: int
    n_pictures: int


def build(
    records: Iterable[Run],
    registry: Registry,
    *,
    split: str | None = None,
    failures: Iterable[Mapping[str, Any]] = (),
    figures: bool = True,
    results: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """Return the page of some records.

    Parameters
    ----------
    records
        Committed runs (``Store.load_all``) or mappings of the same form.
    registry
        What is known of methods; their files are read, never imported.
    split
        Canonical or typed name of the only split to show.
    failures
        As from ``Store.failures``.
    figures
        Whether to draw them; without them a page takes a fraction of the time.
    results
        The results folder, for figures of what lies beside the runs.
    say
        Called with a line before each long step.

    Raises
    ------
    BenchError
        For a split that no record has.
    """
    runs = list(records)
    facts = [run.summary if isinstance(run, Record) else summarise(run) for run in runs]
    say("boards")
    made = boards(runs, split=split, failures=failures)
    made.sort(key=_place)
    drawn, first, rest = _to_draw(runs, facts, made)
    images: list[Picture] = []
    if figures and made:
        say("figures")
        images = pictures(first, rest, results=results)
    say("page")
    judged = judge(published(), _claimed(runs, facts))
    context = {
        "counted": _counted(runs, made),
        "claims": _claims(judged),
        "drawn": _drawn_words(drawn, made),
    }
    return _fitted(context, len(runs), made, images, registry)


def _place(board: Board) -> tuple[Any, ...]:
    """Real data before simulated, boards of the defaults before variants of them."""
    edition = {"real": 0, "simulated": 1}.get(board.edition, 2)
    return (not is_main(board), edition, board.split, board.recipe, board.title)


def _fitted(
    context: dict[str, Any],
    n_runs: int,
    made: Sequence[Board],
    images: Sequence[Picture],
    registry: Registry,
) -> Report:
    """Render with as many boards and pictures as fit."""
    anchors = _anchors(made)
    views = [_board(board, anchors[board.title]) for board in made]
    shown: list[dict[str, Any]] = []
    size = 0
    for view in views:
        size += view["weight"]
        if shown and size > BOARDS_LIMIT:
            break
        shown.append(view)
    found = [image for image in images if image.png]
    notes = [image for image in images if image.note]
    context |= _context(made, shown, anchors, registry)
    context["boards_left_out"] = _left_out(
        len(views) - len(shown), "board", "`report --split NAME` shows those of one split"
    )
    keep = len(found)
    while True:
        context |= {
            "pictures": found[:keep],
            "notes": notes,
            "figures_left_out": _left_out(
                len(found) - keep, "figure", "`python -m bench figures` draws all"
            ),
        }
        html = _environment().get_template("page.html").render(context)
        over = len(html.encode()) - LIMIT
        if over < 0 or not keep:
            return Report(html, n_runs, len(shown), keep)
        while keep and over >= 0:
            keep -= 1
            over -= found[keep].weight


def _left_out(n: int, word: str, cure: str) -> str:
    if not n:
        return ""
    words = f"1 further {word} is" if n == 1 else f"{n} further {word}s are"
    return f"{words} left out to keep this page under {LIMIT / 1e6:g} MB: {cure}."


@functools.cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.globals.update(colour=colour_of, inline=inline, pieces=pieces)
    return made


def pieces(label: str) -> list[str]:
    """Cut a label where a line may break: after a bracket, a comma or a plus sign."""
    return re.findall(r"[^(,+]*[(,+]?", label)[:-1] or [label]


_CODE = re.compile(r"``(.+?)``|:math:`(.+?)`|:[a-z:]+:`(.+?)`|`([^`]+)`")


def inline(text: str) -> list[tuple[bool, str]]:
    """Cut a line at its code: ``(is code, text)``, in order."""
    parts: list[tuple[bool, str]] = []
    at = 0
    for match in _CODE.finditer(text):
        parts.append((False, text[at : match.start()]))
        code = next(group for group in match.groups() if group is not None)
        parts.append((True, plain(code) if match[2] is not None else code))
        at = match.end()
    return [(kind, part) for kind, part in [*parts, (False, text[at:])] if part]


# --------------------------------------------------------------------------- the whole page


def _context(
    made: Sequence[Board],
    shown: Sequence[Mapping[str, Any]],
    anchors: Mapping[str, str],
    registry: Registry,
) -> dict[str, Any]:
    from markupsafe import Markup

    script = (TEMPLATES / "script.js").read_text(encoding="utf-8")
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    main = [board for board in made if is_main(board)] or list(made)
    findings = [_found(finding(board), anchors) for board in main[:FINDINGS]]
    ids = {row.method: row.method_id.split("+")[-1] for board in made for row in board.rows}
    views = [view["board"] for view in shown]
    return {
        "title": TITLE,
        # The style and the script are files of this package; nothing of a record is in them.
        "style": Markup(style),
        "script": Markup(script),
        "script_hash": f"sha256-{hashed}",
        "data": _json({"boards": [view["details"] for view in shown]}),
        "page_of": lambda label: ids.get(label, label),
        "overview": overview(made),
        "card": _card(main, anchors),
        "findings": findings,
        "findings_left_out": ""
        if len(main) <= FINDINGS
        else f"Of {len(main)} boards the first {FINDINGS} are told here; all stand below.",
        "rules": RULES,
        "boards": shown,
        "options": {
            "data": sorted({_data(board) for board in views}),
            "edition": sorted({board.edition for board in views}),
            "track": [t for t in TRACK_WORDS if any(r.track == t for b in views for r in b.rows)],
            "variants": sum(bool(view["variant"]) for view in shown),
        },
        "tracks": [
            (track, words.partition(": ")[2])
            for track, words in TRACK_WORDS.items()
            if any(row.track == track for board in views for row in board.rows)
        ],
        "legend": LEGEND,
        **_methods(made, anchors, registry),
        "version": __version__,
        "records_digest": digest([board.runs_digest for board in made]),
    }


def _json(data: Any) -> Any:
    """Return JSON that no parser of HTML can take for markup."""
    from markupsafe import Markup

    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)


def _counted(runs: Sequence[Run], made: Sequence[Board]) -> str:
    if not made:
        return ""
    methods = {row.method_id for board in made for row in board.rows if row.track != "reference"}
    splits: dict[str, set[str]] = {}
    for board in made:
        splits.setdefault(board.edition, set()).add(board.split)
    words = {"real": "of real data", "simulated": "simulated"}
    parts = [f"{len(found)} {words.get(name, name)}" for name, found in sorted(splits.items())]
    n_runs, n_methods, n_splits = len(runs), len(methods), len(set().union(*splits.values()))
    return (
        f"{n_runs} run{'s' * (n_runs != 1)} of {n_methods} method{'s' * (n_methods != 1)} on "
        f"{n_splits} split{'s' * (n_splits != 1)}: {', '.join(parts)}."
    )


def _anchors(made: Sequence[Board]) -> dict[str, str]:
    """Return an address for each board by its title: its split, and more where that is shared."""
    splits = Counter(board.split for board in made if is_main(board))
    return {
        board.title: f"board/{board.split}"
        if is_main(board) and splits[board.split] == 1
        else f"board/{board.split}~{digest(board.title, 8)}"
        for board in made
    }


def _data(board: Board) -> str:
    return board.split.split("/")[0]


def _subtitle(board: Board) -> str:
    return " · ".join(board.title.split(" · ")[1:])


def _found(it: Finding, anchors: Mapping[str, str]) -> dict[str, Any]:
    return {
        "board": it.board,
        "sentences": it.sentences,
        "anchor": anchors[it.board.title],
        "subtitle": _subtitle(it.board),
    }


# --------------------------------------------------------------------------- at a glance

_SIGNS = {"helps": "▲", "hurts": "▼", "cannot be told apart from ERM": "≈", "": "·"}


def _card(main: Sequence[Board], anchors: Mapping[str, str]) -> dict[str, Any]:
    """Return methods at their defaults by boards, with the difference to ERM in each cell."""
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
    span = span_of(row.diff_low, row.diff_high, sign=True)
    words = row.verdict or row.reason or "no interval"
    return {
        "kind": kind,
        "sign": _SIGNS.get(row.verdict, "·"),
        "text": number(row.diff_to_erm, sign=True),
        "words": words if span == DASH else f"{words} {span}",
    }


# --------------------------------------------------------------------------- claims


def _claimed(runs: Sequence[Run], facts: Sequence[Run]) -> list[Run]:
    """Return the runs that a published number may be compared with."""
    return [
        run
        for run, known in zip(runs, facts, strict=True)
        if known.get("edition") == "real" and claims_of(str(known["split_id"]))
    ]


def _claims(judged: Sequence[Judged]) -> dict[str, Any]:
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


# --------------------------------------------------------------------------- boards


def _board(board: Board, anchor: str) -> dict[str, Any]:
    """Return what the template and the script need of a board."""
    low, high = _axis(board)
    erm = next(
        (i for i, r in enumerate(board.rows) if r.method_id == "erm" and not r.params and r.seeds),
        None,
    )
    names = sorted({name for row in board.rows for name in row.points})
    levels = {level_of(row) for row in board.rows if row.points}
    details = {
        "metric": board.metric.replace("_", " "),
        "readout": board.readout,
        "level": levels.pop() if len(levels) == 1 else "batch",
        "names": names,
        "erm": erm,
        "rows": [_details(row, names) for row in board.rows],
    }
    rows = [_row(row, low, high) for row in board.rows]
    notes = [note for note in notes_of(board) if not note.startswith("Shift: ")]
    return {
        "board": board,
        "anchor": anchor,
        "variant": not is_main(board),
        "data": _data(board),
        "subtitle": _subtitle(board),
        "axis": (number(low, 2), number(high, 2)),
        # Off the drawing where there is nothing to show.
        "chance_at": -999 if board.chance is None else _at(board.chance, low, high),
        "erm_at": -999 if erm is None else _at(board.rows[erm].mean or 0.0, low, high),
        "published": any(row.published for row in board.rows),
        "tuned": any(row.tuning is not None for row in board.rows),
        "rows": rows,
        "notes": notes,
        "details": details,
        "weight": len(_json(details)) + 600 * len(rows) + 2400,
    }


def _axis(board: Board) -> tuple[float, float]:
    """Return round limits that hold every score, interval and batch of a board."""
    values = [value for row in board.rows for value in (row.mean, row.ci_low, row.ci_high)]
    values += [value for row in board.rows if row.ci_low is None for value in row.points.values()]
    values += [value for row in board.rows for value in row.values]
    known = [value for value in [*values, board.chance] if value is not None]
    if not known:
        return 0.0, 1.0
    step = 0.1 if max(known) - min(known) > 0.12 else 0.02
    low = math.floor(min(known) / step + 1e-9) * step
    high = math.ceil(max(known) / step - 1e-9) * step
    return round(low, 2), round(max(high, low + step), 2)


def _at(value: float, low: float, high: float) -> float:
    return round(100 * (value - low) / (high - low), 1)


def _row(row: Row, low: float, high: float) -> dict[str, Any]:
    kinds = [row.verdict] if row.verdict in ("helps", "hurts") else []
    kinds += ["reference"] if row.track == "reference" else []
    kinds += ["unranked"] if row.rank is None else []
    span = None
    points: list[float] = []
    if row.ci_low is not None and row.ci_high is not None:
        start = _at(row.ci_low, low, high)
        span = (start, round(_at(row.ci_high, low, high) - start, 1))
    elif row.mean is not None:
        shown = list(row.points.values()) or list(row.values)
        points = sorted({_at(value, low, high) for value in shown})
    return {
        "row": row,
        "kind": " ".join(kinds),
        "rank": DASH if row.rank is None else str(row.rank),
        "span": span,
        "points": points,
        "at": 0 if row.mean is None else _at(row.mean, low, high),
        "mean": number(row.mean),
        "sd": "" if row.sd is None else number(row.sd),
        "n": _sizes(row),
        "diff": number(row.diff_to_erm, sign=True),
        "diff_span": ""
        if row.diff_low is None
        else span_of(row.diff_low, row.diff_high, sign=True),
        "reading": _reading(row),
        "published": reported(row),
        "tuning": budget_in_words(row.tuning),
        "fit": seconds(row.cost.get("fit_s")),
    }


def _reading(row: Row) -> str:
    """Return a row's remark with a sign before its verdict, for eyes that see no colour."""
    words = remark(row)
    if row.verdict:
        words = f"{_SIGNS[row.verdict]} {words.replace(' from ERM', '')}"
    return words or DASH


def _sizes(row: Row) -> str:
    if not row.n_seeds:
        return DASH
    if not row.n_clusters:
        return str(row.n_seeds)
    level = level_of(row)
    return f"{row.n_seeds} × {row.n_clusters} {level if row.n_clusters == 1 else plural(level)}"


def _details(row: Row, names: Sequence[str]) -> dict[str, Any]:
    """Return what opening a row shows beyond its cells; short keys, since there are thousands."""
    cost = [row.cost.get(name) for name in ("apply_s", "steps", "images_seen", "peak_bytes")]
    made: dict[str, Any] = {
        "k": [None if value is None else round(value, 2) for value in cost],
        "c": row.command,
    }
    pages = list(dict.fromkeys(row.method_id.split("+")))
    if pages != [row.method]:
        made["m"] = pages
    if row.ci_low is not None and row.ci_high is not None:
        made["i"] = span_of(row.ci_low, row.ci_high)
    if row.access:
        made["a"] = ", ".join(row.access)
    if row.published:
        made["r"] = " ".join(one.reading for one in row.published)
    if row.seeds:
        made["s"], made["v"] = list(row.seeds), [round(value, 4) for value in row.values]
    if row.points:
        made["p"] = [round(row.points[name], 4) if name in row.points else None for name in names]
    if row.typed and row.typed != (row.command,):
        made["t"] = list(row.typed)
    return made


# --------------------------------------------------------------------------- methods


def _methods(
    made: Sequence[Board], anchors: Mapping[str, str], registry: Registry
) -> dict[str, Any]:
    pages = {entry.name: page_of(entry) for entry in registry.entries("method")}
    stands: dict[str, list[dict[str, Any]]] = {}
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


def _standing(board: Board, row: Row, anchors: Mapping[str, str]) -> dict[str, Any]:
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
        "reading": _reading(row),
        "kind": row.verdict if row.verdict in ("helps", "hurts") else "",
    }


# --------------------------------------------------------------------------- figures


def _to_draw(
    runs: Sequence[Run], facts: Sequence[Run], made: Sequence[Board]
) -> tuple[list[Board], list[Run], list[Run]]:
    """Return the boards that figures are drawn of, their runs, and those of variants of them."""
    main = [board for board in made if is_main(board)] or list(made)
    # Tests of one data set belong together in a figure, so that a data set is drawn whole.
    order = {_data(board): -len(board.rows) for board in reversed(main)}
    ordered = sorted(main, key=lambda board: (order[_data(board)], board.split))
    drawn: list[Board] = []
    for board in ordered[:DRAWN]:
        if drawn and sum(len(other.rows) for other in [*drawn, board]) > DRAWN_ROWS:
            break
        drawn.append(board)
    wanted = {(board.split, board.edition, board.recipe) for board in drawn}
    first: list[Run] = []
    rest: list[Run] = []
    for run, known in zip(runs, facts, strict=True):
        if (known["split_id"], known["edition"], known["recipe"]) not in wanted:
            continue
        changed = known.get("dataset_settings") or known.get("recipe_overrides")
        (rest if changed else first).append(run)
    return drawn, first, rest


def _drawn_words(drawn: Sequence[Board], made: Sequence[Board]) -> str:
    total = len({(board.split, board.edition) for board in made})
    shown = len({(board.split, board.edition) for board in drawn})
    if shown == total:
        return ""
    return f"Drawn of {shown} of {total} splits; `python -m bench figures` draws all."
