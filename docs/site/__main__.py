"""Build the documentation site.

Run as ``python docs/site`` from the root of a checkout (extra ``docs``). Pages are written to
``build/site-pages`` and the site to ``build/site``; it works offline. Pages of methods, data sets,
splits, metrics, studies, commands, modules and records are generated from the code and from the
published records. Broken links and failing tutorials fail the build. ``--quick`` neither runs the
tutorials nor draws the gallery.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import pictures
import tutorials
from entries import Site
from indexes import index_pages
from reference import api_pages, citation_page, command_pages, gallery, schema_page

PAGES = ROOT / "build" / "site-pages"
OTHERS = {
    "results/FINDINGS.md": "findings.md",
    "results/STUDIES.md": "studies.md",
    "methods/README.md": "methods.md",
    "datasets/README.md": "datasets.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "index.md",
}
"""Documents outside ``docs/``, with their names on the site."""
NAV = {
    "Start": ["index.md", "first-steps.md"],
    "Tutorials": [f"tutorials/{name}.md" for name in tutorials.ORDER],
    "Guides": [
        "tasks.md",
        "own-data.md",
        "corrections.md",
        "biology.md",
        "sweep.md",
        "score.md",
        "share.md",
        "extend.md",
        "gpu.md",
    ],
    "Concepts": ["concepts.md"],
    "Results": ["results.md", "findings.md", "studies.md", "gallery.md"],
    "Reference": [
        "methods.md",
        "datasets.md",
        "splits.md",
        "metrics.md",
        "commands.md",
        "api.md",
        "records.md",
        "schema.md",
    ],
    "Project": [
        "cite.md",
        "reproducibility.md",
        "reliability.md",
        "benchmarks.md",
        "contributing.md",
        "security.md",
        "changelog.md",
    ],
}
"""Pages of the navigation; other pages of ``docs/`` are added to the guides."""
GENERATED = ("methods", "datasets", "splits", "metrics", "studies", "commands", "api")
BOOST = {
    "tasks": 5,
    "tutorials": 2,
    "concepts": 3,
    "own-data": 2,
    "cite": 3,
    "changelog": 0.2,
    "contributing": 0.3,
    "api": 0.5,
    "splits": 0.5,
}
"""Weight of a page or a folder in the search; 1 by default."""
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
PICTURE = re.compile(r"<!-- picture: ([\w-]+) \| (.+?) -->")


def main() -> None:
    """Write the pages and build the site."""
    quick = "--quick" in sys.argv
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir(parents=True)
    site = Site()
    write_documents(set(site.methods), run=not quick)
    for name, lines in (*site.pages(), *index_pages(site), *command_pages(), *api_pages()):
        _write(name, "\n".join(lines))
    _write("cite.md", "\n".join(citation_page()))
    _write("schema.md", "\n".join(schema_page()))
    _write("gallery.md", "\n".join(gallery(site, PAGES, figures=not quick)))
    pictures.draw_all(site, PAGES / "pictures")
    for name in ("site.css", "iframe-worker.js"):
        shutil.copyfile(ROOT / "docs" / "site" / name, PAGES / name)
    config = ROOT / "build" / "mkdocs.yml"
    config.write_text(json.dumps(configuration(), indent=1), encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--config-file", str(config)]
    # Without this, the theme prints an advertisement of its successor.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    subprocess.run(command, cwd=ROOT, check=True, env=environment)


def configuration() -> dict[str, object]:
    """Return the configuration of MkDocs: the committed file with the navigation."""
    listed = {page for pages in NAV.values() for page in pages}
    more = sorted({file.name for file in (ROOT / "docs").glob("*.md")} - listed)
    nav = [{name: [*pages, *more * (name == "Guides")]} for name, pages in NAV.items()]
    return {
        "INHERIT": "../mkdocs.yml",
        "docs_dir": str(PAGES),
        "site_dir": str(ROOT / "build" / "site"),
        "nav": nav,
        "not_in_nav": "\n".join(f"{folder}/*" for folder in GENERATED),
    }


def write_documents(methods: set[str], *, run: bool) -> None:
    """Write the written documents; generated pages of the same name are written later."""
    files = (ROOT / "docs").rglob("*.md")
    pages = {file.relative_to(ROOT).as_posix(): _name(file) for file in files} | OTHERS
    for source, name in pages.items():
        if source == "README.md":
            continue
        text = (ROOT / source).read_text(encoding="utf-8")
        if name == "methods.md":
            text = with_links_to_methods(text, methods)
        elif name == "index.md":
            text += _from_readme()
        elif name == "commands.md":
            text = re.sub(r"^\| `([a-z-]+)` \|", r"| [`\1`](commands/\1.md) |", text, flags=re.M)
        elif name == "datasets.md":
            text = re.sub(r"^## ([\w-]+)$", r"## [\1](datasets/\1.md)", text, flags=re.M)
        elif run and name.startswith("tutorials/"):
            text = tutorials.with_outputs(text, name)
        page = _with_links(text, ROOT / source, name, pages)
        # The site has a page of splits by what is new; the repository has one of data sets.
        _write(name, page.replace("[Splits](datasets.md)", "[Splits](splits.md)"))


def _from_readme() -> str:
    """Return the figure of README and its table "Which method when"."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    figure = re.search(r"^!\[.*?\n\n\*.*?\*$", text, flags=re.MULTILINE)
    table = re.search(r"^## Which method when$.*?(?=^## )", text, flags=re.MULTILINE | re.DOTALL)
    parts = [match[0] for match in (figure, table) if match]
    parts.append("All published boards are in one [report](report.html).\n")
    return "\n" + "\n\n".join(parts).replace("](", "](../").replace("](../http", "](http")


def _name(file: Path) -> str:
    return file.relative_to(ROOT / "docs").as_posix()


def with_links_to_methods(text: str, names: set[str]) -> str:
    """Return the table of methods with links to their pages."""

    def linked(match: re.Match[str]) -> str:
        name = match[1]
        return f"| [`{name}`](methods/{name}.md) |" if name in names else match[0]

    return re.sub(r"^\| `([a-z0-9-]+)` \|", linked, text, flags=re.MULTILINE)


def _write(name: str, text: str) -> None:
    path = PAGES / name
    path.parent.mkdir(parents=True, exist_ok=True)
    # MkDocs makes a title of the file name where a link precedes the heading.
    title = re.search(r"^# (.+)$", text, flags=re.MULTILINE)
    assert title, f"{name} has no heading"
    boost = BOOST.get(name.partition("/")[0].removesuffix(".md"), 1)
    head = f"---\ntitle: {json.dumps(title[1])}\nsearch:\n  boost: {boost}\n---\n"
    path.write_text(head + text, encoding="utf-8")


def _with_links(text: str, source: Path, name: str, pages: dict[str, str]) -> str:
    """Return a page with links to other pages of the site; images are copied.

    Links to files that are not on the site become text.
    """
    up = "../" * name.count("/")

    def target(match: re.Match[str]) -> str:
        image, label, link, anchor = match[1], match[2], match[3], match[4] or ""
        if (
            "://" in link
            or link == "report.html"
            or (link.split("/")[0] in GENERATED and not link.endswith("README.md"))
        ):
            return match[0]
        file = (source.parent / link).resolve()
        relative = file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else ""
        if relative in pages:
            return f"[{label}]({up}{pages[relative]}{anchor})"
        if image and file.is_file():
            copied = PAGES / "images" / relative
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copied)
            return f"![{label}]({up}images/{relative})"
        return label

    text = LINK.sub(target, text)
    return PICTURE.sub(rf"![\2]({up}pictures/\1.png)", text)


if __name__ == "__main__":
    main()
