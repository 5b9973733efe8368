"""Output files of a study: table, figure, reading."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, TypedDict

from bench.boards.board import EDITIONS
from bench.boards.pairing import TEST
from bench.core.disk import write_files
from bench.core.errors import BenchError
from bench.core.words import LONGEST, as_sentences, count
from bench.output.canvas import canvas
from bench.output.style import PAGE, sentence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import NotRequired

    from bench.core.meta import Meta
    from bench.studies._context import StudyContext
    from bench.studies._results import Cell, Finding


class StudyFacts(TypedDict):
    """The contents of ``study.json``."""

    study: str
    version: int
    question: str
    split: str
    title: str
    edition: str
    recipe: str
    metric: str
    readout: str
    seeds: list[int]
    methods: list[str]
    points: list[float]
    runs_digest: str
    runs: list[str]
    reading: list[str]
    left_out: dict[str, str]
    notes: list[str]
    shown: dict[str, str]
    test: NotRequired[str]


def folder_of(root: Path, name: str, context: StudyContext) -> Path:
    """Return ``studies/NAME/SPLIT``, with the settings that differ from their defaults."""
    parts = [context.task.split.name]
    if context.options.recipe != "default":
        parts.append(context.options.recipe)
    changed = {**context.task.opened.settings, **context.options.overrides}
    parts += [f"{key}={changed[key]}" for key in sorted(changed)]
    slug = re.sub(r"[^A-Za-z0-9.=-]+", "-", "_".join(parts).replace("_", "·").replace("·", "__"))
    return root / "studies" / name / slug.strip("-")


def subtitle(context: StudyContext) -> str:
    """Return edition, recipe and seeds, which are part of every title.

    Raises
    ------
    BenchError
        For a fixture, whose results are never shown.
    """
    opened, options = context.task.opened, context.options
    if opened.edition == "fixture":
        raise BenchError(
            f"{opened.name} is a fixture, for tests only: use --edition real or simulated"
        )
    changed = {**opened.settings, **options.overrides}
    parts = [EDITIONS.get(opened.edition, opened.edition), f"recipe {options.recipe}"]
    if changed:
        parts.append(", ".join(f"{key}={changed[key]}" for key in sorted(changed)))
    parts.append(count(len(context.seeds), "seed"))
    return " · ".join([*parts, f"{context.metric_text} by {context.readout}"])


def write(folder: Path, meta: Meta, context: StudyContext, finding: Finding) -> list[Path]:
    """Write table.csv, the figure (PNG, PDF, CSV), reading.md and study.json.

    No file contains a date: the same records give the same bytes.
    """
    name, below = meta["name"], subtitle(context)
    with canvas(folder, name, context.runs_digest, PAGE, finding.height) as page:
        if finding.draw is None:
            sentence(page.figure.subplots(), finding.reading[0])
            page.table.append({"note": finding.reading[0]})
        else:
            finding.draw(page)
        page.title(meta["question"], f"{context.task.split.name} · {below}")
    facts: StudyFacts = {
        "study": name,
        "version": meta["version"],
        "question": meta["question"],
        "split": context.task.split.name,
        "title": below,
        "edition": context.task.opened.edition,
        "recipe": context.options.recipe,
        "metric": context.metric,
        "readout": context.readout,
        "seeds": context.seeds,
        "methods": context.methods,
        "points": context.points,
        "runs_digest": context.runs_digest,
        "runs": context.run_ids,
        "reading": list(finding.reading),
        "left_out": context.left_out,
        "notes": list(finding.notes),
        "shown": dict(finding.shown),
        "test": TEST,
    }
    text = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    files = {
        "table.csv": _csv(finding.table).encode(),
        "reading.md": "\n".join(markdown(facts, finding.table)).encode(),
        "study.json": text.encode(),
    }
    return [*page.files, *write_files(folder, files)]


def markdown(facts: StudyFacts, table: Sequence[Mapping[str, Cell]]) -> list[str]:
    """Return the lines of reading.md: title, reading, table, skipped conditions."""
    lines = [f"# {facts['split']}: {facts['question']}", "", f"{facts['title']}", ""]
    lines += [" ".join(facts["reading"]), ""]
    shown = {k: v for k, v in facts["shown"].items() if any(cell_text(r.get(k)) for r in table)}
    if table:
        lines += ["| " + " | ".join(shown.values()) + " |", "|" + "---|" * len(shown)]
        lines += ["| " + " | ".join(cell_text(r.get(k), k) for k in shown) + " |" for r in table]
        lines.append("")
    lines += [_left_out(name, reason) for name, reason in facts["left_out"].items()]
    lines += [f"- {note}" for note in facts["notes"]]
    described = any(note.startswith("p:") for note in facts["notes"])
    if "p" in shown.values() and "test" in facts and not described:
        lines.append(f"- p: {facts['test']}, not adjusted for the number of rows.")
    lines += [f"- {facts['metric']} by {facts['readout']}; runs {facts['runs_digest']}.", ""]
    return lines


def _left_out(name: str, reason: str) -> str:
    """Return a line on a skipped condition; a long reason has sentences of its own."""
    line = f"- Left out: {name}: {reason}."
    if len(line.split()) <= LONGEST:
        return line
    return f"- Left out: {name}. {as_sentences(reason[:1].upper() + reason[1:], colons=True)}."


def cell_text(value: Cell, key: str = "") -> str:
    """Return a table value as text; empty for None. ``key`` is its column."""
    if value is None or value == "":
        return ""
    if (
        isinstance(value, float)
        and value < 0.0005
        and (key == "p_holm" or key.rsplit("_", maxsplit=1)[-1] == "p")
    ):
        return "<0.001"
    if isinstance(value, float):
        return f"{value:g}" if value == int(value) and abs(value) >= 2 else f"{value:.3f}"
    return str(value)


def _csv(table: Sequence[Mapping[str, Cell]]) -> str:
    sink = io.StringIO()
    columns = list(dict.fromkeys(key for row in table for key in row)) or ["note"]
    writer = csv.DictWriter(sink, columns, lineterminator="\n", restval="")
    writer.writeheader()
    for row in table:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    return sink.getvalue()
