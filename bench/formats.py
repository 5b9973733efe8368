"""Boards -> text: a table for the terminal, Markdown, CSV, HTML, LaTeX and JSON.

The same boards give the same bytes. Names are text everywhere: what is markup in a format is
escaped in it.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, did_you_mean
from bench.leaderboard import MIN_CLUSTERS, Board, Row, to_json
from bench.selection import RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "FORMATS",
    "LEGEND",
    "TRACK_WORDS",
    "budget_in_words",
    "markdown_text",
    "notes_of",
    "number",
    "remark",
    "render",
    "reported",
    "seconds",
    "span_of",
]

DASH = "–"
PUBLISHED = "published (real data)"
TRACK_WORDS = {
    "inductive": "inductive: training data only",
    "test-controls": "test-controls: also the controls of the test batch",
    "test-batch": "test-batch: also the unlabelled test batch",
    "transductive": "transductive: also the unlabelled evaluation set while fitting",
    "reference": "reference lines: rows and leak baselines to compare with, not ranked",
}
LEGEND = (
    "Mean and SD (n - 1) over seeds. Intervals of 95 % over seeds crossed with clusters; with "
    f"fewer than {MIN_CLUSTERS} clusters the lowest and highest of them, and no interval. The "
    "difference to ERM is paired by seed and cluster; its p is not adjusted for the number of "
    "rows. Ranks are within a track."
)
EMPTY = "No boards: there are no records. Make some with `python -m bench run`.\n"


def render(made: Sequence[Board], form: str, *, width: int = 120, colour: bool = False) -> str:
    """Return boards as text.

    Parameters
    ----------
    made
        Boards, in the order to show.
    form
        One of :data:`FORMATS`.
    width, colour
        Of the terminal, for ``table``; narrow ones lose the columns of cost.

    Raises
    ------
    BenchError
        For an unknown format.
    """
    if form not in FORMATS:
        raise BenchError(did_you_mean(form, list(FORMATS), "format"))
    if form == "table":
        return _table(made, width, colour)
    return FORMATS[form](made)


# --------------------------------------------------------------------------- cells


def number(value: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """Return a number with a true minus sign; a dash for None."""
    if value is None:
        return DASH
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def span_of(low: float | None, high: float | None, *, sign: bool = False) -> str:
    """Return ``[0.372, 0.951]``; a dash where an end is None."""
    if low is None or high is None:
        return DASH
    return f"[{number(low, sign=sign)}, {number(high, sign=sign)}]"


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
    name
        Its head.
    cell
        What it says of a row.
    width
        Characters that a terminal must have for it to be shown there; other formats show all.
    text
        Whether it is aligned to the left, and may be wrapped.
    """

    name: str
    cell: Callable[[Row], str]
    width: int = 0
    text: bool = False


def _interval(row: Row) -> str:
    """Return the interval; with few clusters the lowest and the highest of them, in words."""
    if row.mean is None or row.ci_low is not None:
        return span_of(row.ci_low, row.ci_high)
    if 0 < row.n_clusters < MIN_CLUSTERS:
        lowest, highest = min(row.points.values()), max(row.points.values())
        span = f"{number(lowest)} … {number(highest)}" if len(row.points) > 1 else ""
        return f"{span}, {row.clusters_in_words}" if span else row.clusters_in_words
    return "one seed" if row.n_seeds == 1 else DASH


def _clusters(row: Row) -> str:
    return row.clusters_in_words.removeprefix("n = ") if row.n_clusters else DASH


def budget_in_words(tuning: Any) -> str:
    """Return what a search for parameters cost: ``20 trials, 153 s``; a dash for none.

    Parameters
    ----------
    tuning
        As in the record: None, a number of trials, or a mapping with ``trials`` (of each fold) and
        ``seconds`` (of all).
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
    """Return what papers reported, each number with its status."""
    found = dict.fromkeys(f"{one.claim.value:g} {one.status}" for one in row.published)
    return "; ".join(found) or DASH


def _peak(row: Row) -> str:
    peak = row.cost.get("peak_bytes")
    return f"{peak / 2**30:.1f}" if peak else DASH


COLUMNS = (
    Column("#", lambda row: DASH if row.rank is None else str(row.rank)),
    Column("method", lambda row: row.method, text=True),
    Column("mean", lambda row: number(row.mean)),
    Column("SD", lambda row: number(row.sd), width=110),
    Column("95 % interval", _interval),
    Column("seeds", lambda row: str(row.n_seeds) if row.n_seeds else DASH),
    Column("clusters", _clusters, width=150),
    Column("vs ERM", lambda row: number(row.diff_to_erm, sign=True)),
    Column("95 % interval", lambda row: span_of(row.diff_low, row.diff_high, sign=True), width=110),
    Column(PUBLISHED, reported, width=130, text=True),
    Column("remark", lambda row: remark(row), text=True),
    Column("tuning", lambda row: budget_in_words(row.tuning), width=180),
    Column("read-out", lambda row: row.readout if row.mean is not None else DASH, width=180),
    Column("fit s", lambda row: seconds(row.cost.get("fit_s")), width=140),
    Column("apply s", lambda row: seconds(row.cost.get("apply_s")), width=140),
    Column("GiB", _peak, width=140),
)


ONCE = ("seeds", "clusters", PUBLISHED, "tuning", "read-out", "GiB")
"""Columns that LaTeX leaves out, and says in a sentence, where all rows agree."""


def _cells(row: Row) -> list[str]:
    """Return the cells under :data:`COLUMNS`."""
    return [column.cell(row) for column in COLUMNS]


def remark(row: Row) -> str:
    """Return what is said of a row in words: its verdict, why it is not ranked, its badges."""
    parts = [row.verdict] if row.verdict else []
    if row.verdict and row.diff_p is not None:
        parts.append(f"p = {row.diff_p:.3f}" if row.diff_p >= 0.001 else "p < 0.001")
    if row.status != "ok":
        parts.append(f"not applicable: {row.reason}" if row.reason else "not applicable")
    elif row.reason:
        parts.append(f"not ranked: {row.reason}")
    parts += row.badges
    return "; ".join(parts)


def notes_of(board: Board) -> list[str]:
    """Return the sentences under a board."""
    notes = [f"Shift: {board.shift}"] if board.shift else []
    if board.chance is not None:
        notes.append(f"Chance: {board.chance:.3f}.")
    if not board.higher_is_better:
        notes.append(f"{board.metric}: lower is better.")
    return [*notes, *board.notes]


def _is_grey(board: Board) -> bool:
    """Whether nothing on a board may be ranked, whatever it says."""
    return board.selection in RULES and not RULES[board.selection].ranked


def _by_track(board: Board) -> list[tuple[str, list[Row]]]:
    groups: dict[str, list[Row]] = {}
    for row in board.rows:
        groups.setdefault(row.track, []).append(row)
    return [(TRACK_WORDS.get(track, track), rows) for track, rows in groups.items()]


# --------------------------------------------------------------------------- formats

_COLOURS = {"helps": "green", "hurts": "red"}


def _table(made: Sequence[Board], width: int, colour: bool) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not made:
        return EMPTY
    sink = io.StringIO()
    console = Console(
        file=sink,
        width=width,
        force_terminal=colour,
        no_color=not colour,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    known = any(row.published for board in made for row in board.rows)
    shown = [
        i
        for i, column in enumerate(COLUMNS)
        if width >= column.width and (known or column.name != PUBLISHED)
    ]
    for board in made:
        table = Table(box=box.SIMPLE_HEAD, title=None, pad_edge=False, padding=(0, 1))
        for i in shown:
            text = COLUMNS[i].text
            table.add_column(
                Text(COLUMNS[i].name),
                justify="left" if text else "right",
                overflow="fold",
                no_wrap=not text,
                min_width=10 if text else None,
            )
        for words, rows in _by_track(board):
            table.add_row("", Text(words.partition(":")[0], style="italic"))
            for row in rows:
                style = _COLOURS.get(row.verdict, "" if row.rank else "dim")
                style = "dim" if _is_grey(board) else style
                cells = _cells(row)
                table.add_row(*(Text(cells[i], style=style) for i in shown))
            table.add_section()
        console.print(Text(board.title, style="bold"))
        console.print(table)
        for note in notes_of(board):
            console.print(Text(note))
        console.print()
    tracks = dict.fromkeys(row.track for board in made for row in board.rows)
    for words in (TRACK_WORDS[track] for track in TRACK_WORDS if track in tracks):
        console.print(Text(words, style="dim"))
    console.print(Text(LEGEND, style="dim"))
    return "\n".join(line.rstrip() for line in sink.getvalue().split("\n"))


def markdown_text(text: str) -> str:
    """Escape what Markdown, or HTML inside it, would read as markup."""
    text = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", text)


def _markdown(made: Sequence[Board]) -> str:
    if not made:
        return EMPTY
    lines: list[str] = []
    head = ["track", *(column.name for column in COLUMNS)]
    rule = ["---", *("---" if column.text else "---:" for column in COLUMNS)]
    for board in made:
        lines += [f"### {markdown_text(board.title)}", ""]
        lines += [f"| {' | '.join(map(markdown_text, head))} |", f"|{'|'.join(rule)}|"]
        for row in board.rows:
            lines.append(f"| {' | '.join(map(markdown_text, [row.track, *_cells(row)]))} |")
        lines.append("")
        for note in notes_of(board):
            lines += [markdown_text(note), ""]
        lines += [f"Runs `{board.runs_digest}`.", ""]
    lines.append(markdown_text(LEGEND))
    return "\n".join(lines) + "\n"


_CSV_BOARD = ("split", "edition", "recipe", "selection", "metric", "readout", "runs_digest")
_CSV_ROW = (
    "method",
    "method_id",
    "track",
    "status",
    "rank",
    "mean",
    "sd",
    "n_seeds",
    "n_clusters",
    "cluster_level",
    "ci_low",
    "ci_high",
    "diff_to_erm",
    "diff_low",
    "diff_high",
    "diff_p",
    "diff_seeds",
    "verdict",
    "reason",
    "command",
)
_CSV_COST = ("fit_s", "apply_s", "peak_bytes", "steps", "images_seen")


def _csv(made: Sequence[Board]) -> str:
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    board_head = [*_CSV_BOARD, "dataset_settings", "recipe_overrides"]
    writer.writerow([*board_head, *_CSV_ROW, "published", "tuning", *_CSV_COST])
    for board in to_json(made)["boards"]:
        shared = [board[name] for name in _CSV_BOARD]
        shared += [
            json.dumps(board[name], sort_keys=True) if board[name] else ""
            for name in ("dataset_settings", "recipe_overrides")
        ]
        for row in board["rows"]:
            cost = [row["cost"].get(name) for name in _CSV_COST]
            claimed = [
                f"{one['value']:g} {one['status']} ({one['claim']})" for one in row["published"]
            ]
            budget = budget_in_words(row["tuning"])
            tuning = "" if budget == DASH else budget
            writer.writerow(
                [*shared, *(row[name] for name in _CSV_ROW), "; ".join(claimed), tuning, *cost]
            )
    return sink.getvalue()


_STYLE = """
:root { color-scheme: light dark; --fg: #1a1a1a; --bg: #fff; --line: #bbb; --soft: #666;
  --up: #00694d; --down: #a3330a }
@media (prefers-color-scheme: dark) { :root { --fg: #e8e8e8; --bg: #161616; --line: #555;
  --soft: #aaa; --up: #4fd0a5; --down: #ff9a6b } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--fg); background: var(--bg);
  margin: 1.5rem auto; max-width: 78rem; padding: 0 1rem }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100% }
th, td { padding: .2rem .6rem; text-align: right; white-space: nowrap }
th { border-bottom: 1px solid var(--line); font-weight: 600 }
.text { text-align: left }
td.remark { white-space: normal; min-width: 12rem }
tr.track th { text-align: left; font-weight: 400; font-style: italic; color: var(--soft);
  border-bottom: 0; padding-top: .7rem }
tr.helps td { color: var(--up) }
tr.hurts td { color: var(--down) }
tr.unranked td { color: var(--soft) }
p { margin: .3rem 0; color: var(--soft) }
"""


def _html(made: Sequence[Board]) -> str:
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>labshift leaderboard</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
        "<h1>labshift leaderboard</h1>",
    ]
    if not made:
        parts.append(f"<p>{html.escape(EMPTY.strip())}</p>")
    for board in made:
        parts.append(f"<section>\n<h2>{html.escape(board.title)}</h2>")
        parts.append('<div class="scroll"><table>\n<thead><tr>')
        for column in COLUMNS:
            kind = ' class="text"' if column.text else ""
            parts.append(f'<th scope="col"{kind}>{html.escape(column.name)}</th>')
        parts.append("</tr></thead>\n<tbody>")
        for words, rows in _by_track(board):
            parts.append(
                f'<tr class="track"><th scope="rowgroup" colspan="{len(COLUMNS)}">'
                f"{html.escape(words)}</th></tr>"
            )
            for row in rows:
                kind = row.verdict if row.verdict in _COLOURS else ""
                kind = kind or ("" if row.rank else "unranked")
                kind = "unranked" if _is_grey(board) else kind
                parts.append(f'<tr class="{kind}">' if kind else "<tr>")
                for column, cell in zip(COLUMNS, _cells(row), strict=True):
                    kind = "text" if column.text else ""
                    kind += " remark" if column.name == "remark" else ""
                    style = f' class="{kind}"' if kind else ""
                    parts.append(f"<td{style}>{html.escape(cell)}</td>")
                parts.append("</tr>")
        parts.append("</tbody></table></div>")
        parts += [f"<p>{html.escape(note)}</p>" for note in notes_of(board)]
        parts.append(f"<p>Runs <code>{html.escape(board.runs_digest)}</code>.</p>\n</section>")
    parts.append(f"<footer><p>{html.escape(LEGEND)}</p></footer>\n</body>\n</html>")
    return "\n".join(parts) + "\n"


_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "\N{MINUS SIGN}": r"\ensuremath{-}",
    "–": "--",
    "—": "---",
    "·": r"\textperiodcentered{}",
    "…": r"\ldots{}",
    "×": r"\ensuremath{\times}",
    "±": r"\ensuremath{\pm}",
    "µ": r"\ensuremath{\mu}",
    "≥": r"\ensuremath{\ge}",
    "≤": r"\ensuremath{\le}",
    "→": r"\ensuremath{\to}",
}


def _tex_text(text: str) -> str:
    """Escape LaTeX's special characters one by one, so that no escape is escaped again."""
    return "".join(_TEX.get(char, char) for char in " ".join(text.split()))


def _narrow(rows: Sequence[Row]) -> tuple[list[Column], list[str]]:
    """Return the columns of a printed page, and sentences for those that say one thing only.

    What is the same for every scored row stands once under the table, so that a page is wide
    enough for what differs.
    """
    scored = [row for row in rows if row.mean is not None]
    shown: list[Column] = []
    shared: list[str] = []
    for column in COLUMNS:
        values = {column.cell(row) for row in scored}
        if column.name in ONCE and len(values) == 1:
            value = values.pop()
            word = "none" if value == DASH else value
            shared.append(f"{column.name}: {word}")
        else:
            shown.append(column)
    return shown, [f"All rows: {'; '.join(shared)}."] if shared else []


def _latex(made: Sequence[Board]) -> str:
    lines = [r"% Needs \usepackage{booktabs}, \usepackage{graphicx} and \usepackage[T1]{fontenc}."]
    if not made:
        lines.append(f"% {EMPTY.strip()}")
    for board in made:
        shown, shared = _narrow(board.rows)
        head = " & ".join(_tex_text(column.name) for column in shown)
        kinds = "".join("l" if column.text else "r" for column in shown)
        # The last text column holds sentences, which must be broken into lines.
        kinds = r"p{0.27\linewidth}".join(kinds.rsplit("l", 1))
        lines += [
            f"% runs {board.runs_digest}",
            r"\begin{table}[htbp]",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{_tex_text(board.title)}}}",
            # A table that is wider than the page is made smaller, never cut.
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{kinds}}}",
            r"\toprule",
            rf"{head} \\",
        ]
        for words, rows in _by_track(board):
            lines.append(r"\midrule")
            lines.append(rf"\multicolumn{{{len(shown)}}}{{l}}{{\textit{{{_tex_text(words)}}}}} \\")
            for row in rows:
                cells = " & ".join(_tex_text(column.cell(row)) for column in shown)
                lines.append(rf"{cells} \\")
        lines += [r"\bottomrule", r"\end{tabular}}"]
        notes = " ".join(_tex_text(note) for note in [*shared, *notes_of(board), LEGEND])
        lines += [
            rf"\par\smallskip\parbox{{\linewidth}}{{\footnotesize {notes}}}",
            r"\end{table}",
            "",
        ]
    return "\n".join(lines) + "\n"


def _json(made: Sequence[Board]) -> str:
    """Return JSON with a line for each row: indented in full, ten thousand runs take seconds."""
    encode = json.JSONEncoder(allow_nan=False).encode
    texts = []
    for board in to_json(made)["boards"]:
        lines = []
        for key, value in board.items():
            if key == "rows":
                lines.append('"rows": [\n   ' + ",\n   ".join(map(encode, value)) + "\n  ]")
            else:
                lines.append(f"{encode(key)}: {encode(value)}")
        texts.append("{\n  " + ",\n  ".join(lines) + "\n }")
    return '{"boards": [' + ", ".join(texts) + "]}\n"


def _plain_table(made: Sequence[Board]) -> str:
    return _table(made, 120, False)


FORMATS: Mapping[str, Callable[[Sequence[Board]], str]] = {
    "table": _plain_table,
    "md": _markdown,
    "csv": _csv,
    "html": _html,
    "latex": _latex,
    "json": _json,
}
"""Formats by the name that the command line takes."""
