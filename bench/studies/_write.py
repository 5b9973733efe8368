"""What a study leaves behind: table, figure, reading; and what it prints."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any

from bench.boards.board import EDITIONS
from bench.boards.pairing import TEST
from bench.core.disk import write_files
from bench.core.errors import BenchError
from bench.output.canvas import canvas
from bench.output.style import PAGE, sentence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.studies._cells import Finding
    from bench.studies._lab import Lab

__all__ = ["cell_text", "folder_of", "markdown", "subtitle", "write"]


def folder_of(root: Path, name: str, lab: Lab) -> Path:
    """Return ``studies/NAME/SPLIT``; what differs from the defaults stands behind the split."""
    words = [lab.target.split.name]
    if lab.options.recipe != "default":
        words.append(lab.options.recipe)
    changed = {**lab.target.opened.settings, **lab.options.overrides}
    words += [f"{key}={changed[key]}" for key in sorted(changed)]
    slug = re.sub(r"[^A-Za-z0-9.=-]+", "-", "_".join(words).replace("_", "·").replace("·", "__"))
    return root / "studies" / name / slug.strip("-")


def subtitle(lab: Lab) -> str:
    """Return edition, recipe and seeds: no title stands without them."""
    opened, options = lab.target.opened, lab.options
    if opened.edition == "fixture":
        raise BenchError(
            f"{opened.name} is a fixture: no sentence or figure is made of it; use --edition "
            "real or simulated"
        )
    data = EDITIONS.get(opened.edition, opened.edition)
    changed = {**opened.settings, **options.overrides}
    words = [data, f"recipe {options.recipe}"]
    if changed:
        words.append(", ".join(f"{key}={changed[key]}" for key in sorted(changed)))
    n = len(lab.seeds)
    words.append(f"{n} seed{'s' if n > 1 else ''}")
    return " · ".join([*words, f"{lab.metric_words} by {lab.readout}"])


def write(folder: Path, meta: Mapping[str, Any], lab: Lab, finding: Finding) -> list[Path]:
    """Write table.csv, the figure (PNG, PDF, CSV), reading.md and study.json.

    No file holds a date: the same records give the same bytes.
    """
    name, below = str(meta["name"]), subtitle(lab)
    with canvas(folder, name, lab.runs_digest, PAGE, finding.height) as made:
        if finding.draw is None:
            sentence(made.figure.subplots(), finding.reading[0])
            made.table.append({"note": finding.reading[0]})
        else:
            finding.draw(made)
        made.title(str(meta["question"]), f"{lab.target.split.name} · {below}")
    facts = {
        "study": name,
        "version": meta["version"],
        "question": meta["question"],
        "split": lab.target.split.name,
        "title": below,
        "edition": lab.target.opened.edition,
        "recipe": lab.options.recipe,
        "metric": lab.metric,
        "readout": lab.readout,
        "seeds": lab.seeds,
        "methods": lab.methods,
        "points": lab.points,
        "runs_digest": lab.runs_digest,
        "runs": lab.run_ids,
        "reading": list(finding.reading),
        "left_out": lab.left_out,
        "notes": list(finding.notes),
        "shown": dict(finding.shown),
        "test": TEST,
    }
    text = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    derived = {
        "table.csv": _csv(finding.table).encode(),
        "reading.md": "\n".join(markdown(facts, finding.table)).encode(),
        "study.json": text.encode(),
    }
    return [*made.files, *write_files(folder, derived)]


def markdown(facts: Mapping[str, Any], table: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of reading.md: title, three sentences, table, what was left out."""
    lines = [f"# {facts['split']}: {facts['question']}", "", f"{facts['title']}", ""]
    lines += [" ".join(facts["reading"]), ""]
    shown = {k: v for k, v in facts["shown"].items() if any(cell_text(row.get(k)) for row in table)}
    if table:
        lines += ["| " + " | ".join(shown.values()) + " |", "|" + "---|" * len(shown)]
        lines += ["| " + " | ".join(cell_text(row.get(k)) for k in shown) + " |" for row in table]
        lines.append("")
    lines += [f"- Left out: {what}: {why}." for what, why in facts["left_out"].items()]
    lines += [f"- {note}" for note in facts["notes"]]
    if "p" in shown.values():
        lines.append(f"- p: {facts['test']}, not adjusted for the number of rows.")
    lines += [f"- {facts['metric']} by {facts['readout']}; runs {facts['runs_digest']}.", ""]
    return lines


def cell_text(value: Any) -> str:
    """Return a value of a table as text; empty for None."""
    if value is None or value == "":
        return ""
    if isinstance(value, float):
        return f"{value:g}" if value == int(value) and abs(value) >= 2 else f"{value:.3f}"
    return str(value)


def _csv(table: Sequence[Mapping[str, Any]]) -> str:
    sink = io.StringIO()
    columns = list(dict.fromkeys(key for row in table for key in row)) or ["note"]
    writer = csv.DictWriter(sink, columns, lineterminator="\n", restval="")
    writer.writeheader()
    for row in table:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    return sink.getvalue()
