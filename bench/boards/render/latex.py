"""Boards as LaTeX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.boards.render.cells import (
    COLUMNS,
    EMPTY,
    LEGEND,
    ONCE,
    Column,  # TC
    by_track,
    notes_of,
)
from bench.core.words import DASH, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.boards.board import Board, Row


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
    return "".join(_TEX.get(char, char) for char in printable(" ".join(text.split())))


def _narrow(rows: Sequence[Row]) -> tuple[list[Column], list[str]]:
    """Return the columns of a printed page, and sentences for constant columns.

    A value that is the same for every scored row is stated once below the table, so that the page
    has room for columns that differ.
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


def boards_latex(boards: Sequence[Board]) -> str:
    """Return boards as LaTeX tables."""
    lines = [r"% Needs \usepackage{booktabs}, \usepackage{graphicx} and \usepackage[T1]{fontenc}."]
    if not boards:
        lines.append(f"% {EMPTY.strip()}")
    for board in boards:
        shown, shared = _narrow(board.rows)
        head = " & ".join(_tex_text(column.name) for column in shown)
        kinds = "".join("l" if column.text else "r" for column in shown)
        # The last text column contains sentences, which need line breaks.
        kinds = r"p{0.27\linewidth}".join(kinds.rsplit("l", 1))
        lines += [
            f"% runs {board.runs_digest}",
            r"\begin{table}[htbp]",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{_tex_text(board.title)}}}",
            # A table wider than the page is scaled down, never cropped.
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{kinds}}}",
            r"\toprule",
            rf"{head} \\",
        ]
        for track, rows in by_track(board):
            lines.append(r"\midrule")
            lines.append(rf"\multicolumn{{{len(shown)}}}{{l}}{{\textit{{{_tex_text(track)}}}}} \\")
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
