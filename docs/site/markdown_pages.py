"""Markdown from docstrings, tables and links."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import TYPE_CHECKING

from results.docs import table

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r"``(.+?)``|:math:`(.+?)`|:[a-z:]+:`~?(.+?)`|`([^`]+)`")


def slug(name: str) -> str:
    """Return the file name of an entry's page, without its suffix."""
    return re.sub(r"[^\w.+-]+", "-", name)


def facts(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Return a table of names and values; rows with an empty value are left out."""
    return table(["", ""], [[f"**{name}**", value] for name, value in rows if value])


def formula(tex: str, *, display: bool = False) -> str:
    """Return a TeX formula as MathML, which browsers typeset without a script."""
    from latex2mathml.converter import convert

    math = convert(" ".join(tex.split()), display="block" if display else "inline")
    # latex2mathml leaves no space after the name of a function without parentheses.
    math = re.sub(
        r"<mi>(log|exp)</mi>(?!<mo[^>]*>&#x00028;)", r'\g<0><mspace width="0.17em" />', math
    )
    return f'<div class="math">{math}</div>' if display else f'<span class="math">{math}</span>'


def inline(text: str, links: dict[str, str] | None = None) -> str:
    """Return a line of a docstring as Markdown.

    Parameters
    ----------
    text
        The line, with reStructuredText roles.
    links
        Code -> address; such code becomes a link.
    """
    parts, at = [], 0
    for match in CODE.finditer(text):
        parts.append(html.escape(text[at : match.start()], quote=False))
        at = match.end()
        if match[2] is not None:
            parts.append(formula(match[2]))
            continue
        code = match[1] or match[4] or match[3].rpartition(".")[2]
        address = (links or {}).get(code)
        parts.append(f"[`{code}`]({address})" if address else f"`{code}`")
    return "".join(parts) + html.escape(text[at:], quote=False)


def docstring(text: str, links: dict[str, str] | None = None) -> list[str]:
    """Return a docstring as Markdown lines: paragraphs, lists, terms, equations and listings."""
    lines: list[str] = []
    for block in re.split(r"\n\s*\n", text.strip()):
        part = block.strip("\n").split("\n")
        if part[0].startswith(".. math::"):
            size = next((i for i, line in enumerate(part) if i and not line.startswith(" ")), None)
            tex = " ".join([part[0].removeprefix(".. math::"), *part[1:size]])
            lines += [formula(tex, display=True), ""]
            part = part[size:] if size else []
        if not part:
            continue
        indented = [line.startswith(" ") for line in part]
        if part[0].startswith(("- ", "* ")):
            lines += [inline(line, links) for line in part]
        elif all(indented):
            lines += ["```text", *part, "```"]
        elif any(indented):
            lines += _terms(part, links)
        else:
            lines.append(inline(" ".join(line.strip() for line in part), links))
        lines.append("")
    return lines


def _terms(part: list[str], links: dict[str, str] | None) -> list[str]:
    """Return lines followed by indented text as a definition list."""
    terms: list[tuple[str, list[str]]] = []
    for line in part:
        if not line.startswith(" "):
            terms.append((line.strip(), []))
        elif terms:
            terms[-1][1].append(line.strip())
    lines = []
    for head, body in terms:
        lines += [inline(head, links)]
        lines += [f":   {inline(' '.join(body), links)}", ""] if body else [""]
    return lines
