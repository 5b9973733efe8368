"""Documentation of a method: its docstring, sources and parameters."""

from __future__ import annotations

import ast
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.control_names import CONTROL, is_control_row
from bench.core.describe import parameters
from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.core.describe import Parameter
    from bench.core.entry import Entry


GREEK = {
    unicodedata.name(letter).split()[-1].lower().replace("lamda", "lambda"): letter
    for letter in map(chr, range(0x3B1, 0x3CA))
}
"""Names of small Greek letters, such as ``alpha``."""


@dataclass(frozen=True)
class Block:
    """A block of a docstring: ``kind`` is ``text``, ``term`` or ``verbatim``.

    A ``term`` is a line followed by indented text; ``head`` is that line.
    """

    kind: str
    text: str
    head: str = ""


@dataclass(frozen=True)
class MethodPage:
    """Description of a method in the report.

    Attributes
    ----------
    name, summary, reference, url, level, version, provider
        As in the META of its file.
    track, access
        Information that it uses with default parameters.
    file
        Name of the file; empty for a reference row or a method without a readable file.
    blocks
        Its docstring: the equation, the source and deviations from it.
    problem
        One sentence: why no more is available; empty otherwise.
    """

    name: str
    summary: str = ""
    reference: str = ""
    url: str = ""
    level: str = ""
    version: int | None = None
    provider: str = ""
    track: str = ""
    access: tuple[str, ...] = ()
    file: str = ""
    blocks: tuple[Block, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    problem: str = ""


def page_of(entry: Entry) -> MethodPage:
    """Return the description of a registered method; its file is imported."""
    from bench.core.access import Access, track_of

    meta = entry.meta
    track = ""
    if is_control_row(meta["level"]):
        track = CONTROL
    elif meta["level"]:
        track = track_of(Access.parse(meta["access"]))
    problem = ""
    blocks: tuple[Block, ...] = ()
    rows: tuple[Parameter, ...] = ()
    if entry.problem:
        problem = f"It {entry.problem}."
    elif not entry.resolved:
        problem = f"It comes from {entry.provider} and was not loaded."
    elif entry.path is not None:
        text = entry.path.read_text(encoding="utf-8")
        blocks = tuple(blocks_of(ast.get_docstring(ast.parse(text)) or ""))
        try:
            rows = tuple(parameters(entry.load().Params))
        except BenchError as error:
            problem = f"{error}."
        except (AttributeError, TypeError) as error:  # a plugin without a dataclass Params
            problem = f"The parameters of {entry.origin} cannot be read: {error}."
    return MethodPage(
        name=entry.name,
        summary=meta["summary"],
        reference=meta["reference"],
        url=meta["url"],
        level=meta["level"],
        version=meta["version"] if entry.resolved else None,
        provider=entry.provider,
        track=track,
        access=tuple(meta["access"]),
        file=entry.path.name if entry.path is not None else "",
        blocks=blocks,
        parameters=rows,
        problem=problem,
    )


def blocks_of(text: str) -> list[Block]:
    """Split a docstring into paragraphs, terms, and indented verbatim text.

    Parameters
    ----------
    text
        Cleaned as by :func:`inspect.cleandoc`.
    """
    blocks: list[Block] = []
    for part in text.split("\n\n"):
        lines = part.strip("\n").split("\n")
        if not "".join(lines).strip():
            continue
        if lines[0].strip() == ".. math::":
            lines = lines[1:]
        indented = [line.startswith(" ") for line in lines]
        if all(indented):
            width = min((len(line) - len(line.lstrip()) for line in lines), default=0)
            if lines:
                blocks.append(Block("verbatim", "\n".join(plain(line[width:]) for line in lines)))
        elif not any(indented):
            blocks.append(Block("text", " ".join(line.strip() for line in lines)))
        else:
            blocks += _terms(lines)
    return blocks


_SIGNS = {
    **GREEK,
    **{"Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Sigma": "Σ", "Phi": "Φ"},
    **{"min": "min", "max": "max", "log": "log", "exp": "exp"},
    **{"propto": "∝", "Vert": "|", "lVert": "|", "rVert": "|"},
    **{"top": "T", "sum": "∑", "prod": "∏", "cdot": "·", "times": "×", "in": "∈", "le": "≤"},
    **{"ge": "≥", "neq": "≠", "approx": "≈", "infty": "∞", "partial": "∂", "nabla": "∇"},
    **{"leftarrow": "←", "rightarrow": "→", "to": "→", "sim": "∼", "pm": "±", "odot": "⊙"},
}
_ARGUMENT = r"\{((?:[^{}]|\{[^{}]*\})*)\}"
"""An argument of a TeX command, with braces inside at most."""
_MARKS = {"bar": "\u0304", "hat": "\u0302", "tilde": "\u0303"}


def plain(tex: str) -> str:
    """Return a short formula as plain text, without TeX commands.

    Unknown commands are unchanged.
    """
    tex = re.sub(r"\\t?frac(\d)(\d)", r"\1/\2", tex).replace(r"\tfrac", r"\frac")
    tex = re.sub(r"\\(?:mathrm|text|mathbf|operatorname)\{([^{}]*)\}", r"\1", tex)
    for name, mark in _MARKS.items():
        tex = re.sub(rf"\\{name}(?:\{{(\\?\w+)\}}|\s*(\\[A-Za-z]+|\w))", rf"\1\2{mark}", tex)
    for _ in range(3):  # fractions and roots can be nested
        tex = re.sub(rf"\\frac{_ARGUMENT}{_ARGUMENT}", r"(\1) / (\2)", tex)
        tex = re.sub(r"\\sqrt\{([^{}]*)\}", r"√(\1)", tex)
    tex = re.sub(r"\\([A-Za-z]+)", lambda match: _SIGNS.get(match[1], match[0]), tex)
    tex = re.sub(r"(?<=[_^])\{(\w+)\}", r"\1", tex)
    tex = re.sub(r"\((\w+)\)(?= / )|(?<= / )\((\w+)\)", r"\1\2", tex)
    tex = re.sub(r"\\(?:left|right|quad|qquad)(?![A-Za-z])", " ", tex)
    return " ".join(re.sub(r"\\[,;:! ]", " ", tex).split())


def plain_docstring(text: str) -> str:
    """Return a docstring with its formulas as plain text, for a terminal."""
    block = re.compile(r"^\.\. math::(.*(?:\n +.+)*)", flags=re.MULTILINE)
    text = block.sub(lambda match: f"    {plain(match[1])}", text)
    return re.sub(r":math:`(.+?)`", lambda match: plain(match[1]), text, flags=re.DOTALL)


def _terms(lines: Iterable[str]) -> list[Block]:
    terms: list[tuple[str, list[str]]] = []
    for line in lines:
        if not line.startswith(" "):
            terms.append((line.strip(), []))
        elif terms:
            terms[-1][1].append(line.strip())
        else:
            terms.append(("", [line.strip()]))
    return [
        Block("term", " ".join(below), head) if below else Block("text", head)
        for head, below in terms
    ]
