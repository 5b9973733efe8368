"""Index pages of splits, metrics and studies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from markdown_pages import ROOT, inline, slug

from bench.studies import known
from results.docs import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entries import Site

NEW = {
    "well": ("well", "wells"),
    "plate": ("plate", "plates"),
    "day, week or time": ("day", "days", "week", "weeks", "period", "time"),
    "batch or experiment": ("batch", "batches", "experiment", "experiments"),
    "stain or marker": ("stain", "staining", "stains", "marker", "markers", "labels"),
    "laboratory or hospital": ("laboratory", "laboratories", "hospital"),
    "microscope or scanner": ("microscope", "microscopes", "scanner"),
}
"""What can be new in a test set -> words of the sentence ``shift`` that say so."""


def index_pages(site: Site) -> Iterator[tuple[str, list[str]]]:
    """Yield the name and the lines of every index."""
    yield "splits.md", _splits(site)
    yield "metrics.md", _metrics(site)
    yield "studies.md", _studies()


def new_in(shift: str) -> set[str]:
    """Return what is new in a test set, from the sentence that says so."""
    words: set[str] = set()
    plain = re.sub(r"\(.*?\)", "", shift).replace("All is new: ", "All is new, ")
    for clause in re.split(r"[;:.](?:\s|$)", plain):
        text = re.split(r", (?:in|of|as in|where)\b", clause)[0].replace("_", " ").strip().lower()
        is_new = re.search(r"\b(new|another|with other|never seen|lack)\b|^each value of", text)
        if is_new and not text.startswith("nothing is new"):
            words.update(re.findall("[a-z]+", text))
    return {name for name, names in NEW.items() if words.intersection(names)}


def _splits(site: Site) -> list[str]:
    lines = ["# Splits", "", "A split says which rows train and which rows test. *Published*: "]
    lines[-1] += "records are in `results/reference/`, and the page has the boards."
    rows = []
    for name in NEW:
        members = [s.name for s in site.splits.values() if name in new_in(s.shift)]
        links = ", ".join(f"[`{split}`](splits/{slug(split)}.md)" for split in members)
        rows.append([name, links])
    lines += ["", "## What is new in the test set?", "", *table(["new", "splits"], rows)]
    for name in sorted({split.dataset for split in site.splits.values()}):
        title = f"[{name}](datasets/{name}.md)" if name in site.datasets else name
        members = [split for split in site.splits.values() if split.dataset == name]
        lines += ["", f"## {title}", "", *site.split_table(members, "")]
    return lines


def _metrics(site: Site) -> list[str]:
    rows = [
        [
            f"[`{entry.name}`](metrics/{entry.name}.md)",
            inline(entry.meta["summary"]),
            "higher" if entry.meta["higher_is_better"] else "lower",
            entry.meta["reference"],
        ]
        for entry in site.metrics.values()
    ]
    lines = ["# Metrics", "", *table(["metric", "summary", "better", "source"], rows)]
    return [*lines, "[How to extend labshift](extend.md#a-metric) explains how to add one.", ""]


def study_sections() -> dict[str, list[str]]:
    """Return the sections of ``STUDIES.md`` by study."""
    text = (ROOT / "results" / "STUDIES.md").read_text(encoding="utf-8")
    sections = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        body = re.sub(r"^### ", "## ", body, flags=re.MULTILINE)
        picture = r"\]\(reference/studies/([^/]+)/([^/]+)/.+?\.png\)"
        body = re.sub(picture, r"](../gallery/\1-\2.png)", body)
        sections[head.partition(":")[0]] = body.strip("\n").split("\n")
    return sections


def _studies() -> list[str]:
    """Return the index of all studies, with the introduction of ``STUDIES.md``."""
    text = (ROOT / "results" / "STUDIES.md").read_text(encoding="utf-8")
    published = study_sections()
    rows = [
        [f"[`{name}`](studies/{name}.md)", str(meta["question"]), "yes" * (name in published)]
        for name, meta in known().items()
    ]
    intro = text.partition("\n## ")[0].strip().split("\n")
    return [*intro, "", *table(["study", "question", "published"], rows)]
