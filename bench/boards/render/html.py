"""Boards as HTML."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from bench.boards.render.cells import (
    COLOURS,
    COLUMNS,
    EMPTY,
    LEGEND,
    by_track,
    is_grey,
    notes_of,
    row_cells,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.boards.board import Board


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
tr.improves td { color: var(--up) }
tr.worsens td { color: var(--down) }
tr.unranked td { color: var(--soft) }
p { margin: .3rem 0; color: var(--soft) }
"""


def boards_html(boards: Sequence[Board]) -> str:
    """Return boards as one HTML page."""
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>labshift leaderboard</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
        "<h1>labshift leaderboard</h1>",
    ]
    if not boards:
        parts.append(f"<p>{html.escape(EMPTY.strip())}</p>")
    for board in boards:
        parts.append(f"<section>\n<h2>{html.escape(board.title)}</h2>")
        parts.append('<div class="scroll"><table>\n<thead><tr>')
        for column in COLUMNS:
            kind = ' class="text"' if column.text else ""
            parts.append(f'<th scope="col"{kind}>{html.escape(column.name)}</th>')
        parts.append("</tr></thead>\n<tbody>")
        for track, rows in by_track(board):
            parts.append(
                f'<tr class="track"><th scope="rowgroup" colspan="{len(COLUMNS)}">'
                f"{html.escape(track)}</th></tr>"
            )
            for row in rows:
                kind = row.verdict if row.verdict in COLOURS else ""
                kind = kind or ("" if row.rank else "unranked")
                kind = "unranked" if is_grey(board) else kind
                parts.append(f'<tr class="{kind}">' if kind else "<tr>")
                for column, cell in zip(COLUMNS, row_cells(row), strict=True):
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
