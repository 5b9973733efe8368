"""What a method's file says of itself, read without importing it: sources and parameters.

A report is made where torch may be missing and must open in seconds, so that ``Params`` is read
from the syntax tree: its fields, those of the classes it inherits from, and the constants that
they name, through relative imports and those of ``bench``.
"""

from __future__ import annotations

import ast
import copy
import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from bench.core.checkout import ROOT
from bench.core.describe import Parameter, allowed_values, value_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from bench.core.entry import Entry

__all__ = ["Block", "MethodPage", "blocks_of", "page_of", "parameters_of", "plain"]

GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho "
    "final sigma tau upsilon phi chi psi omega"
).split()
"""In the order of Unicode, which has a second, final sigma."""
HARNESS = ROOT / "bench"


@dataclass(frozen=True)
class Block:
    """A part of a docstring: ``kind`` is ``text``, ``term`` or ``verbatim``.

    A ``term`` is a line that explains the indented text below it; ``head`` is that line.
    """

    kind: str
    text: str
    head: str = ""


@dataclass(frozen=True)
class MethodPage:
    """What a report says of a method beside its numbers.

    Attributes
    ----------
    name, summary, reference, url, level, version, provider
        As in the literal of its file.
    track, access
        What it sees at its defaults.
    file
        Name of the file; empty for a reference row or a method that is not read.
    blocks
        Its docstring: the equation, the source and what differs from it.
    parameters
        Fields of ``Params``.
    problem
        Why nothing more is known of it, a sentence; empty otherwise.
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
    """Return the page of a registered method, without importing its file."""
    from bench.core.access import Access, track_of

    meta = entry.meta
    access = tuple(meta.get("access", ()))
    track = ""
    if meta.get("level") == "reference":
        track = "reference"
    elif "level" in meta:
        track = track_of(Access.parse(list(access)))
    problem = ""
    blocks: tuple[Block, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    if entry.problem:
        problem = f"It {entry.problem}."
    elif not entry.resolved:
        problem = f"It comes from {entry.provider} and was not loaded."
    elif entry.path is not None:
        blocks = tuple(blocks_of(ast.get_docstring(_tree(entry.path)) or ""))
        parameters = tuple(parameters_of(entry.path, str(meta.get("class", ""))))
    return MethodPage(
        name=entry.name,
        summary=str(meta.get("summary", "")),
        reference=str(meta.get("reference", "")),
        url=str(meta.get("url", "")),
        level=str(meta.get("level", "")),
        version=meta.get("version"),
        provider=entry.provider,
        track=track,
        access=access,
        file=entry.path.name if entry.path is not None else "",
        blocks=blocks,
        parameters=parameters,
        problem=problem,
    )


# --------------------------------------------------------------------------- docstrings


def blocks_of(text: str) -> list[Block]:
    """Cut a docstring into paragraphs, explained terms, and indented text kept as it stands.

    Parameters
    ----------
    text
        Cleaned as by :func:`inspect.cleandoc`.
    """
    made: list[Block] = []
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
                made.append(Block("verbatim", "\n".join(plain(line[width:]) for line in lines)))
        elif not any(indented):
            made.append(Block("text", " ".join(line.strip() for line in lines)))
        else:
            made += _terms(lines)
    return made


_SIGNS = {
    **{name: chr(0x3B1 + k) for k, name in enumerate(GREEK)},
    **{"Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Sigma": "Σ", "Phi": "Φ"},
    **{"top": "T", "sum": "∑", "prod": "∏", "cdot": "·", "times": "×", "in": "∈", "le": "≤"},
    **{"ge": "≥", "neq": "≠", "approx": "≈", "infty": "∞", "partial": "∂", "nabla": "∇"},
    **{"leftarrow": "←", "rightarrow": "→", "to": "→", "sim": "∼", "pm": "±", "odot": "⊙"},
}
_MARKS = {"bar": "\u0304", "hat": "\u0302", "tilde": "\u0303"}


def plain(tex: str) -> str:
    """Return a short formula without the commands of TeX, for those who read it as text.

    What it does not know it leaves as it is.
    """
    tex = re.sub(r"\\(?:mathrm|text|mathbf|operatorname)\{([^{}]*)\}", r"\1", tex)
    for name, mark in _MARKS.items():
        tex = re.sub(rf"\\{name}(?:\{{(\\?\w+)\}}|\s*(\\?\w))", rf"\1\2{mark}", tex)
    for _ in range(3):  # fractions and roots may stand in each other
        tex = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"(\1) / (\2)", tex)
        tex = re.sub(r"\\sqrt\{([^{}]*)\}", r"√(\1)", tex)
    tex = re.sub(r"\\([A-Za-z]+)", lambda match: _SIGNS.get(match[1], match[0]), tex)
    return re.sub(r"\\[,;:! ]", " ", tex)


def _terms(lines: Iterable[str]) -> list[Block]:
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if not line.startswith(" "):
            found.append((line.strip(), []))
        elif found:
            found[-1][1].append(line.strip())
        else:
            found.append(("", [line.strip()]))
    return [
        Block("term", " ".join(below), head) if below else Block("text", head)
        for head, below in found
    ]


# --------------------------------------------------------------------------- parameters


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def parameters_of(path: Path, name: str) -> list[Parameter]:
    """Return the parameters of the class ``name`` in a file, inherited ones first.

    Parameters
    ----------
    path
        The method's file.
    name
        Its class; one without ``Params``, or that cannot be followed, has no parameters.
    """
    owner = _params_class(path, name)
    return [] if owner is None else list(_fields(*owner).values())


def _params_class(path: Path, name: str) -> tuple[Path, ast.ClassDef] | None:
    """Return the class that ``Params`` stands for in a method, looked for in its bases too."""
    found = _find_class(path, name)
    if found is None:
        return None
    file, node = found
    for statement in node.body:
        target: ast.expr | None = None
        if isinstance(statement, ast.Assign):
            target, value = statement.targets[0], statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target, value = statement.target, statement.value
        elif isinstance(statement, ast.ClassDef) and statement.name == "Params":
            return file, statement
        if isinstance(target, ast.Name) and target.id == "Params" and isinstance(value, ast.Name):
            return _find_class(file, value.id)
    for base in _bases(node):
        owner = _params_class(file, base)
        if owner is not None:
            return owner
    return None


def _bases(node: ast.ClassDef) -> list[str]:
    return [base.id for base in node.bases if isinstance(base, ast.Name)]


def _find_class(path: Path, name: str) -> tuple[Path, ast.ClassDef] | None:
    found = _find(path, name)
    if found is None or not isinstance(found[1], ast.ClassDef):
        return None
    return found[0], found[1]


def _find(path: Path, name: str) -> tuple[Path, ast.stmt | ast.expr] | None:
    """Return what a name stands for in a module: a class, a function, the value of a constant."""
    for statement in _tree(path).body:
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef)) and statement.name == name:
            return path, statement
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return path, statement.value
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                if (alias.asname or alias.name) == name:
                    file = _module_file(path, statement)
                    return None if file is None else _find(file, alias.name)
    return None


def _module_file(path: Path, node: ast.ImportFrom) -> Path | None:
    """Return the file of a relative import or of a module of the harness, if it is there."""
    parts = (node.module or "").split(".")
    if node.level:
        file = path.parents[node.level - 1].joinpath(*parts)
    elif parts[0] == "bench":
        file = HARNESS.joinpath(*parts[1:])
    else:
        return None
    for candidate in (file.with_suffix(".py"), file / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _fields(path: Path, node: ast.ClassDef) -> dict[str, Parameter]:
    """Return the fields of a dataclass in the order in which ``dataclasses.fields`` has them."""
    made: dict[str, Parameter] = {}
    for base in reversed(_bases(node)):
        owner = _find_class(path, base)
        if owner is not None:
            made.update(_fields(*owner))
    for statement in node.body:
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        if statement.value is not None and "ClassVar" not in ast.unparse(statement.annotation):
            name = statement.target.id
            made[name] = _parameter(path, name, statement.value)
    return made


def _parameter(path: Path, name: str, value: ast.expr) -> Parameter:
    if not _is_param(value):
        path, value = _unfolded(path, value)
    if not _is_param(value):
        return Parameter(name, _typed(path, value))
    given: dict[str, ast.expr] = dict(zip(("default", "doc"), value.args, strict=False))
    given.update((word.arg, word.value) for word in value.keywords if word.arg)
    known = {key: _value(path, node) for key, node in given.items() if key != "default"}
    return Parameter(
        name,
        _typed(path, given["default"]) if "default" in given else "",
        doc=value_text(known.get("doc")),
        unit=value_text(known.get("unit")),
        phase=value_text(known.get("phase")) or "fit",
        allowed=allowed_values(known),
    )


def _is_param(node: ast.expr) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "param"


def _unfolded(path: Path, value: ast.expr) -> tuple[Path, ast.expr]:
    """Return what a helper such as ``_crop(0.08)`` returns, with its arguments put in."""
    if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Name)):
        return path, value
    found = _find(path, value.func.id)
    if found is None:
        return path, value
    file, function = found
    if not isinstance(function, ast.FunctionDef):
        return path, value
    last = function.body[-1]
    if not isinstance(last, ast.Return) or last.value is None:
        return path, value
    names = [argument.arg for argument in function.args.args]
    given = dict(zip(names, value.args, strict=False))
    given.update((word.arg, word.value) for word in value.keywords if word.arg)
    return file, _Filled(given).visit(copy.deepcopy(last.value))


class _Filled(ast.NodeTransformer):
    """Put the arguments of a call in the place of a function's parameters."""

    def __init__(self, given: Mapping[str, ast.expr]) -> None:
        self._given = given

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._given.get(node.id, node)


def _value(path: Path, node: ast.expr) -> Any:
    """Return the value of a literal or of a constant, here or where it was imported from."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        pass
    if isinstance(node, ast.Name):
        found = _find(path, node.id)
        if found is not None and isinstance(found[1], ast.expr):
            return _value(found[0], found[1])
    if isinstance(node, (ast.Tuple, ast.List)):
        return tuple(_value(path, item) for item in node.elts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        parts = _value(path, node.left), _value(path, node.right)
        if all(isinstance(part, (int, float)) for part in parts) and parts[1]:
            return parts[0] / parts[1]
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("tuple", "list", "sorted"):
        inner = _value(path, node.args[0])
        if isinstance(inner, (tuple, list, dict)):
            return tuple(inner)
    return ast.unparse(node)


def _typed(path: Path, node: ast.expr) -> str:
    value = _value(path, node)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
