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
from typing import TYPE_CHECKING

from bench.errors import BenchError, did_you_mean
from bench.leaderboard import MIN_CLUSTERS, Board, Row, to_json
from bench.selection import RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["FORMATS", "markdown_text", "render"]

DASH = "–"
TRACK_WORDS = {
    "inductive": "inductive: training data only",
    "test-controls": "test-controls: also the controls of the test batch",
    "test-batch": "test-batch: also the unlabelled test batch",
    "transductive": "transductive: also the unlabelled evaluation set while fitting",
    "reference": "reference lines: not ranked",
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


def _number(value: float | None, digits: int = 3, *, sign: bool = False) -> str:
    if value is None:
        return DASH
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def _span(low: float | None, high: float | None, *, sign: bool = False) -> str:
    if low is None or high is None:
        return DASH
    return f"[{_number(low, sign=sign)}, {_number(high, sign=sign)}]"


def _seconds(value: float | None) -> str:
    if value is None:
        return DASH
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


HEAD = ("#", "method", "mean", "SD", "95 % interval", "seeds", "vs ERM", "95 % interval", "remark")
COST = ("fit s", "apply s", "GiB")
_TEXT_COLUMNS = (1, 8)
_WIDE_ONLY = (3, 7)


def _cells(row: Row) -> list[str]:
    """Return the cells under :data:`HEAD` and :data:`COST`."""
    interval = _span(row.ci_low, row.ci_high)
    if row.mean is not None and row.ci_low is None:
        if 0 < row.n_clusters < MIN_CLUSTERS:
            lowest, highest = min(row.points.values()), max(row.points.values())
            span = f"{_number(lowest)} … {_number(highest)}" if len(row.points) > 1 else ""
            interval = f"{span}, {row.clusters_in_words}" if span else row.clusters_in_words
        elif row.n_seeds == 1:
            interval = "one seed"
    peak = row.cost.get("peak_bytes")
    return [
        DASH if row.rank is None else str(row.rank),
        row.method,
        _number(row.mean),
        _number(row.sd),
        interval,
        str(row.n_seeds) if row.n_seeds else DASH,
        _number(row.diff_to_erm, sign=True),
        _span(row.diff_low, row.diff_high, sign=True),
        _remark(row),
        _seconds(row.cost.get("fit_s")),
        _seconds(row.cost.get("apply_s")),
        DASH if not peak else f"{peak / 2**30:.1f}",
    ]


def _remark(row: Row) -> str:
    parts = [row.verdict] if row.verdict else []
    if row.verdict and row.diff_p is not None:
        parts.append(f"p = {row.diff_p:.3f}" if row.diff_p >= 0.001 else "p < 0.001")
    if row.status != "ok":
        parts.append(f"not applicable: {row.reason}" if row.reason else "not applicable")
    elif row.reason:
        parts.append(f"not ranked: {row.reason}")
    parts += row.badges
    return "; ".join(parts)


def _notes(board: Board) -> list[str]:
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
    head = [*HEAD, *COST] if width >= 140 else list(HEAD)
    shown = [i for i in range(len(head)) if width >= 110 or i not in _WIDE_ONLY]
    for board in made:
        table = Table(box=box.SIMPLE_HEAD, title=None, pad_edge=False, padding=(0, 1))
        for i in shown:
            text = i in _TEXT_COLUMNS
            table.add_column(
                Text(head[i]),
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
        for note in _notes(board):
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
    head = ["track", *HEAD, *COST]
    rule = ["---" if i in (0, 2, 9) else "---:" for i in range(len(head))]
    for board in made:
        lines += [f"### {markdown_text(board.title)}", ""]
        lines += [f"| {' | '.join(map(markdown_text, head))} |", f"|{'|'.join(rule)}|"]
        for row in board.rows:
            lines.append(f"| {' | '.join(map(markdown_text, [row.track, *_cells(row)]))} |")
        lines.append("")
        for note in _notes(board):
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
)
_CSV_COST = ("fit_s", "apply_s", "peak_bytes", "steps", "images_seen")


def _csv(made: Sequence[Board]) -> str:
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    board_head = [*_CSV_BOARD, "dataset_settings", "recipe_overrides"]
    writer.writerow([*board_head, *_CSV_ROW, *_CSV_COST])
    for board in to_json(made)["boards"]:
        shared = [board[name] for name in _CSV_BOARD]
        shared += [
            json.dumps(board[name], sort_keys=True) if board[name] else ""
            for name in ("dataset_settings", "recipe_overrides")
        ]
        for row in board["rows"]:
            cost = [row["cost"].get(name) for name in _CSV_COST]
            writer.writerow([*shared, *(row[name] for name in _CSV_ROW), *cost])
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
        for i, name in enumerate((*HEAD, *COST)):
            kind = ' class="text"' if i in _TEXT_COLUMNS else ""
            parts.append(f'<th scope="col"{kind}>{html.escape(name)}</th>')
        parts.append("</tr></thead>\n<tbody>")
        for words, rows in _by_track(board):
            parts.append(
                f'<tr class="track"><th scope="rowgroup" colspan="{len(HEAD) + len(COST)}">'
                f"{html.escape(words)}</th></tr>"
            )
            for row in rows:
                kind = row.verdict if row.verdict in _COLOURS else ""
                kind = kind or ("" if row.rank else "unranked")
                kind = "unranked" if _is_grey(board) else kind
                parts.append(f'<tr class="{kind}">' if kind else "<tr>")
                for i, cell in enumerate(_cells(row)):
                    style = {1: ' class="text"', 8: ' class="text remark"'}.get(i, "")
                    parts.append(f"<td{style}>{html.escape(cell)}</td>")
                parts.append("</tr>")
        parts.append("</tbody></table></div>")
        parts += [f"<p>{html.escape(note)}</p>" for note in _notes(board)]
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


def _latex(made: Sequence[Board]) -> str:
    lines = [r"% Needs \usepackage{booktabs} and \usepackage[T1]{fontenc}."]
    if not made:
        lines.append(f"% {EMPTY.strip()}")
    for board in made:
        head = " & ".join(map(_tex_text, HEAD))
        lines += [
            f"% runs {board.runs_digest}",
            r"\begin{table}[htbp]",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{_tex_text(board.title)}}}",
            r"\begin{tabular}{rlrrrrrrp{0.24\linewidth}}",
            r"\toprule",
            rf"{head} \\",
        ]
        for words, rows in _by_track(board):
            lines.append(r"\midrule")
            lines.append(rf"\multicolumn{{{len(HEAD)}}}{{l}}{{\textit{{{_tex_text(words)}}}}} \\")
            for row in rows:
                cells = " & ".join(_tex_text(cell) for cell in _cells(row)[: len(HEAD)])
                lines.append(rf"{cells} \\")
        lines += [r"\bottomrule", r"\end{tabular}"]
        notes = " ".join(_tex_text(note) for note in [*_notes(board), LEGEND])
        lines += [
            rf"\par\smallskip\parbox{{\linewidth}}{{\footnotesize {notes}}}",
            r"\end{table}",
            "",
        ]
    return "\n".join(lines) + "\n"


def _json(made: Sequence[Board]) -> str:
    return json.dumps(to_json(made), indent=1, allow_nan=False) + "\n"


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
