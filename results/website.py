"""Build the documentation site: pages of ``docs/``, generated documents, and a page per method.

Run as ``python results/website.py`` from the root of a checkout (extra ``docs``). The pages are
written to ``build/site-pages``, the site to ``build/site``; it works offline. Broken links fail the
build.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(HERE))

from bench.core.registry import Registry
from bench.output.report.methods import page_of
from bench.output.report.page import inline
from docs import own, table

if TYPE_CHECKING:
    from bench.core.entry import Entry
    from bench.output.report.methods import MethodPage

PAGES = ROOT / "build" / "site-pages"
OTHERS = {
    "results/FINDINGS.md": "findings.md",
    "results/STUDIES.md": "studies.md",
    "methods/README.md": "methods.md",
    "datasets/README.md": "datasets.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
"""Documents outside ``docs/``, with their names on the site."""
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def main() -> None:
    """Write the pages and build the site."""
    shutil.rmtree(PAGES, ignore_errors=True)
    write_pages(Registry())
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet"]
    # Without this, the theme prints an advertisement of its successor.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    subprocess.run(command, cwd=ROOT, check=True, env=environment)


def write_pages(registry: Registry) -> None:
    """Write all pages to :data:`PAGES`."""
    sources = {f"docs/{file.name}": file.name for file in (ROOT / "docs").glob("*.md")} | OTHERS
    for source, name in sources.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        if name == "methods.md":
            text = _with_method_links(text, {entry.name for entry in own(registry, "method")})
        _write(name, _with_links(text, ROOT / source, sources))
    for entry in own(registry, "method"):
        _write(f"methods/{entry.name}.md", _method(page_of(entry)))
    _write("metrics.md", _metrics(own(registry, "metric")))


def _with_method_links(text: str, names: set[str]) -> str:
    """Return the table of methods with links to their pages."""

    def linked(match: re.Match[str]) -> str:
        name = match[1]
        return f"| [`{name}`](methods/{name}.md) |" if name in names else match[0]

    return re.sub(r"^\| `([a-z0-9-]+)` \|", linked, text, flags=re.MULTILINE)


def _write(name: str, text: str) -> None:
    path = PAGES / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _with_links(text: str, source: Path, sources: dict[str, str]) -> str:
    """Return a page with links to other pages of the site; images are copied.

    Links to files that are not on the site become text.
    """

    def target(match: re.Match[str]) -> str:
        image, label, link, anchor = match[1], match[2], match[3], match[4] or ""
        if "://" in link or link.startswith("methods/"):
            return match[0]
        file = (source.parent / link).resolve()
        relative = file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else ""
        if relative in sources:
            return f"[{label}]({sources[relative]}{anchor})"
        if image and file.is_file():
            copied = PAGES / "images" / relative
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copied)
            return f"![{label}](images/{relative})"
        return label

    return LINK.sub(target, text)


def _method(page: MethodPage) -> str:
    """Return the page of a method from its META and docstring."""
    source = f"[{page.reference}]({page.url})" if page.url else page.reference
    lines = [f"# {page.name}", "", page.summary, ""]
    facts = [("track", page.track), ("kind", page.level), ("uses", ", ".join(page.access))]
    facts += [("source", source), ("version", str(page.version)), ("file", f"`{page.file}`")]
    lines += table(["", ""], [[key, value] for key, value in facts if value and value != "``"])
    for block in page.blocks:
        if block.kind == "verbatim":
            lines += ["```text", block.text, "```", ""]
        elif block.kind == "term":
            lines += [f"**{_markdown(block.head)}**: {_markdown(block.text)}", ""]
        else:
            lines += [_markdown(block.text), ""]
    if page.parameters:
        rows = [
            [f"`{p.name}`", f"`{p.default or repr('')}`", p.unit, _markdown(p.doc), p.allowed]
            for p in page.parameters
        ]
        lines += [
            "## Parameters",
            "",
            *table(["name", "default", "unit", "meaning", "range"], rows),
        ]
    return "\n".join(lines)


def _markdown(text: str) -> str:
    """Return text of a docstring with code and short formulas as Markdown code."""
    return "".join(f"`{part}`" if is_code else part for is_code, part in inline(text))


def _metrics(entries: list[Entry]) -> str:
    """Return the page of all metrics."""
    rows = [
        [
            f"`{entry.name}`",
            str(entry.meta.get("summary", "")),
            "higher" if entry.meta.get("higher_is_better", True) else "lower",
            str(entry.meta.get("reference", "")),
        ]
        for entry in entries
    ]
    return "\n".join(["# Metrics", "", *table(["metric", "summary", "better", "source"], rows)])


if __name__ == "__main__":
    main()
