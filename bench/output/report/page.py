"""Combine boards, sentences, figures and methods into one HTML file of limited size.

If the page would be too large, content is dropped and the page states so: first pictures from the
end, then boards from the end, which are the variants with other settings.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.boards.claims import judge, published
from bench.boards.render.cells import LEGEND, TRACK_WORDS
from bench.boards.select import boards
from bench.core.canonical import digest
from bench.core.control_names import is_control_row
from bench.core.version import __version__
from bench.core.words import as_sentences, count
from bench.output.report.across import overview
from bench.output.report.board_view import BoardView, board_context
from bench.output.report.linked_data import linked_data
from bench.output.report.methods import plain
from bench.output.report.overview import (
    claimed,
    claims,
    groups,
    methods_context,
    overall_context,
)
from bench.output.report.pictures import Drawn, Picture, pictures
from bench.output.report.summary import RULES, is_main
from bench.output.report.text import CODE, data_context, pieces, script_json
from bench.output.style import colour_of
from bench.records.record import Record, as_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from jinja2 import Environment

    from bench.boards.board import Board
    from bench.core.registry import Registry


LIMIT = 3_000_000
"""Maximum size of a page in bytes, so that it can be sent by e-mail."""
BOARDS_LIMIT = 2_050_000
"""Maximum estimated size of the boards in bytes."""
DRAWN = 8
DRAWN_ROWS = 120
"""Maximum number of boards in figures, and of their rows; more take minutes."""
TEMPLATES = Path(__file__).with_name("templates")
TITLE = "labshift report"
LINK, SECTION = "<!-- figures: link -->\n", "<!-- figures: section -->\n"
"""Places of the figures in the page, which is rendered once, before they are drawn."""


@dataclass(frozen=True)
class Report:
    """A page and its contents.

    Attributes
    ----------
    html
        The complete file.
    n_runs, n_boards, n_pictures
        Number of runs read, and of boards and figures on the page.
    pictures
        All figures drawn, also those that were left out of the page.
    """

    html: str
    n_runs: int
    n_boards: int
    n_pictures: int
    pictures: tuple[Picture, ...] = ()


def build(
    records: Iterable[Record | Mapping[str, object]],
    registry: Registry,
    *,
    split: str | None = None,
    failures: Iterable[Mapping[str, object]] = (),
    figures: bool = True,
    every_picture: bool = False,
    results: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """Return the report page of a set of records.

    Parameters
    ----------
    records
        Committed runs (``Store.load_all``) or mappings of the same form.
    registry
        Methods to describe; their modules are imported, but not torch.
    split
        Canonical or typed name of a split; all splits by default.
    failures
        As from ``Store.failures``.
    figures
        Whether to draw figures; much faster without.
    every_picture
        Whether to draw for :attr:`Report.pictures` also the figures that the page has no room for.
    results
        Results folder, for figures that need files next to the runs.
    say
        Called with the name of each long step.

    Raises
    ------
    BenchError
        If no record has the split.
    """
    runs = [as_record(record) for record in records]
    say("boards")
    all_boards = boards(runs, split=split, failures=failures)
    all_boards.sort(key=_place)
    drawn = _to_draw(all_boards)
    judged = judge(published(), claimed(runs))
    context: dict[str, object] = {
        "counted": _counted(runs, all_boards),
        "claims": claims(judged),
        "drawn": _drawn_note(drawn, all_boards),
    }
    about_boards, n_boards = _boards_context(all_boards, registry, _tables(runs))
    context |= about_boards
    page = _environment().get_template("page.html").render(**context)
    images: list[Picture] = []
    if figures and all_boards:
        say("figures")
        room = math.inf if every_picture else LIMIT - len(page.encode())
        larger = _runs_of(drawn, all_boards, runs)
        splits = {board.split for board in all_boards}
        images += pictures(*larger, results=results, registry=registry, splits=splits, room=room)
    say("page")
    html, n_pictures = _fitted(page, images, str(context["drawn"]))
    shown = tuple(image for image in images if image.png)
    return Report(html, len(runs), n_boards, n_pictures, shown)


def _place(board: Board) -> tuple[object, ...]:
    """Sort key: real data before simulated, default settings before variants."""
    edition = {"real": 0, "simulated": 1}.get(board.edition, 2)
    return (not is_main(board), edition, board.split, board.recipe, board.title)


def _boards_context(
    all_boards: Sequence[Board], registry: Registry, tables: set[str]
) -> tuple[dict[str, object], int]:
    """Return the context of as many boards as fit, and their number."""
    anchors = _anchors(all_boards)
    views = [board_context(board, anchors[board.title]) for board in all_boards]
    shown: list[BoardView] = []
    size = 0
    for view in views:
        size += view["weight"]
        if shown and size > BOARDS_LIMIT:
            break
        shown.append(view)
    context = _context(all_boards, shown, anchors, registry, tables)
    n_left_out = len(views) - len(shown)
    context["boards_left_out"] = (
        f"Left out to keep this page under {LIMIT / 1e6:g} MB: {count(n_left_out, 'board')}. "
        "`report --split NAME` writes the boards of one split."
        if n_left_out
        else ""
    )
    return context, len(shown)


def _with_figures(page: str, images: Sequence[Picture], n_shown: int, drawn_note: str) -> str:
    """Return the page with the first pictures."""
    drawn = [image for image in images if image.png]
    notes = [image for image in images if image.note]
    left_out = sum(image.left_out for image in images)
    shown = drawn[:n_shown]
    if not shown and not notes:
        return page.replace(LINK, "").replace(SECTION, "")
    fewer = (
        f"Further figures are left out to keep this page under {LIMIT / 1e6:g} MB: "
        "`python -m bench figures` draws all."
    )
    section = (
        _environment()
        .get_template("figures.html")
        .render(
            pictures=shown,
            notes=notes,
            drawn=drawn_note,
            figures_left_out=fewer if n_shown < len(drawn) + left_out else "",
        )
    )
    link = '<a href="#figures">Figures</a>'
    return page.replace(LINK, link).replace(SECTION, f"{section}\n")


def _fitted(page: str, images: Sequence[Picture], drawn_note: str) -> tuple[str, int]:
    """Add as many pictures as fit; return the page and their number."""
    drawn = [image for image in images if image.png]
    keep = len(drawn)
    while True:
        html = _with_figures(page, images, keep, drawn_note)
        over = len(html.encode()) - LIMIT
        if over < 0 or not keep:
            return html, keep
        while keep and over >= 0:
            keep -= 1
            over -= drawn[keep].weight


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals.update(colour=colour_of, inline=inline, pieces=pieces)
    environment.filters["prose"] = as_sentences
    environment.filters["plain"] = functools.partial(as_sentences, colons=True)
    return environment


def inline(text: str) -> list[tuple[bool, str]]:
    """Split a line at its code spans: ``(is code, text)``, in order."""
    parts: list[tuple[bool, str]] = []
    at = 0
    for match in CODE.finditer(text):
        parts.append((False, text[at : match.start()]))
        code = next(group for group in match.groups() if group is not None)
        parts.append((True, plain(code) if match[2] is not None else code))
        at = match.end()
    return [(kind, part) for kind, part in [*parts, (False, text[at:])] if part]


def _context(
    all_boards: Sequence[Board],
    shown: Sequence[BoardView],
    anchors: Mapping[str, str],
    registry: Registry,
    tables: set[str],
) -> dict[str, object]:
    from markupsafe import Markup

    script = (TEMPLATES / "script.js").read_text(encoding="utf-8")
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    main = [board for board in all_boards if is_main(board)] or list(all_boards)
    ids = {row.method: row.method_id.split("+")[-1] for board in all_boards for row in board.rows}
    views = [view["board"] for view in shown]
    records_digest = digest([board.runs_digest for board in all_boards])
    return {
        "title": TITLE,
        # The style and the script are files of this package and contain no record data.
        "style": Markup(style),
        "script": Markup(script),
        "script_hash": f"sha256-{hashed}",
        "data": script_json({"boards": [view["details"] for view in shown]}),
        "page_of": lambda label: ids.get(label, label.rpartition("+")[2]),
        "overview": overview(all_boards),
        "overall": overall_context(all_boards),
        "groups": groups(main, tables, anchors),
        "rules": RULES,
        "boards": shown,
        "options": {
            "data": sorted({data_context(board) for board in views}),
            "edition": sorted({board.edition for board in views}),
            "track": [t for t in TRACK_WORDS if any(r.track == t for b in views for r in b.rows)],
        },
        "tracks": [
            (track, text.partition(": ")[2])
            for track, text in TRACK_WORDS.items()
            if any(row.track == track for board in views for row in board.rows)
        ],
        "legend": LEGEND,
        **methods_context(all_boards, anchors, registry),
        "version": __version__,
        "records_digest": records_digest,
        "linked_data": script_json(linked_data(TITLE, all_boards, records_digest)),
    }


def _tables(runs: Sequence[Record]) -> set[str]:
    """Return the splits of tables: profiles without a first stage, or an MLP as the network."""
    first = {run.split_id: run for run in reversed(runs)}
    tables = {run.split_id for run in runs if run.method_id.startswith("identity+")}
    for split, run in first.items():
        provenance = run.get("provenance")
        recipe = provenance.get("recipe") if isinstance(provenance, dict) else None
        if isinstance(recipe, dict) and recipe.get("network") == "mlp":
            tables.add(split)
    return tables


def _counted(runs: Sequence[Record], all_boards: Sequence[Board]) -> str:
    if not all_boards:
        return ""
    methods = {
        row.method_id for board in all_boards for row in board.rows if not is_control_row(row.track)
    }
    splits: dict[str, set[str]] = {}
    for board in all_boards:
        splits.setdefault(board.edition, set()).add(board.split)
    kinds = {"real": "real", "simulated": "simulated"}
    parts = [f"{len(group)} {kinds.get(name, name)}" for name, group in sorted(splits.items())]
    n_runs, n_methods, n_splits = len(runs), len(methods), len(set().union(*splits.values()))
    return (
        f"{n_runs} run{'s' * (n_runs != 1)} of {n_methods} method{'s' * (n_methods != 1)} on "
        f"{n_splits} split{'s' * (n_splits != 1)}: {', '.join(parts)}."
    )


def _anchors(all_boards: Sequence[Board]) -> dict[str, str]:
    """Return an anchor per board by title: its split, with a suffix if several boards share it."""
    splits = Counter(board.split for board in all_boards if is_main(board))
    return {
        board.title: f"board/{board.split}"
        if is_main(board) and splits[board.split] == 1
        else f"board/{board.split}~{digest(board.title, 8)}"
        for board in all_boards
    }


def _to_draw(boards: Sequence[Board]) -> list[Board]:
    """Select the boards that figures show."""
    main = [board for board in boards if is_main(board)] or list(boards)
    # Tests of one data set belong in one figure, so each data set is drawn completely.
    order = {data_context(board): -len(board.rows) for board in reversed(main)}
    ordered = sorted(main, key=lambda board: (order[data_context(board)], board.split))
    drawn: list[Board] = []
    for board in ordered[:DRAWN]:
        if drawn and sum(len(other.rows) for other in [*drawn, board]) > DRAWN_ROWS:
            break
        drawn.append(board)
    return drawn


def _runs_of(
    drawn: Sequence[Board], boards: Sequence[Board], runs: Sequence[Record]
) -> list[Drawn]:
    """Return runs at default settings, at all settings, and those of all boards at default ones."""
    some = {(board.split, board.edition, board.recipe) for board in drawn}

    def select(wanted: set[tuple[str, str, str]] | None, *, variants: bool) -> Drawn:
        records = [
            run
            for run in runs
            if (wanted is None or (run.split_id, run.edition, run.recipe) in wanted)
            and (variants or not (run.dataset_settings or run.recipe_overrides))
        ]
        members = [
            board
            for board in boards
            if (wanted is None or (board.split, board.edition, board.recipe) in wanted)
            and (variants or not (board.settings or board.overrides))
        ]
        members.sort(key=lambda board: (board.split, board.edition, board.recipe, board.title))
        return Drawn(records, members)

    return [
        select(some, variants=False),
        select(some, variants=True),
        select(None, variants=False),
    ]


def _drawn_note(drawn: Sequence[Board], all_boards: Sequence[Board]) -> str:
    total = len({(board.split, board.edition) for board in all_boards})
    shown = len({(board.split, board.edition) for board in drawn})
    if shown == total:
        return ""
    return f"Figures show {shown} of {total} splits; `python -m bench figures` draws all."
