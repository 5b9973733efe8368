"""Pages of methods, data sets, splits, metrics and studies, from the registry and the records."""

from __future__ import annotations

import ast
import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING

from indexes import study_sections
from markdown_pages import ROOT, docstring, facts, inline, slug

from bench.boards.render.cells import notes_of
from bench.boards.select import boards
from bench.core.control_names import is_control_row
from bench.core.registry import Registry
from bench.core.split import Split
from bench.core.words import DASH, interval, listed, number
from bench.data.catalog import known_splits
from bench.output.report.methods import page_of
from bench.output.report.summary import is_main
from bench.records.store import Store
from bench.studies import known
from results.docs import own, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from bench.boards.board import Board, Row
    from bench.core.entry import Entry

MOST = 25
"""Maximum rows of boards on the page of a method."""
ACCESS = "../concepts.md#tracks"


class Site:
    """The registries and the published boards behind the generated pages."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.methods = {entry.name: entry for entry in own(self.registry, "method")}
        self.datasets = {entry.name: entry for entry in own(self.registry, "dataset")}
        self.metrics = {entry.name: entry for entry in own(self.registry, "metric")}
        self.records = Store(ROOT / "results").load_reference()

    @cached_property
    def boards(self) -> list[Board]:
        """The published boards; real data and default settings first."""
        order = {"real": 0, "simulated": 1}
        board = boards(self.records)
        return sorted(
            board, key=lambda b: (not is_main(b), order.get(b.edition, 2), b.split, b.title)
        )

    @cached_property
    def splits(self) -> dict[str, Split]:
        """Packaged splits, and splits of users with published records."""
        splits = {
            split.name: split
            for split in known_splits(self.registry).values()
            if split.dataset in self.datasets
        }
        for board in self.boards:
            if board.split not in splits:
                dataset = board.split.partition("/")[0]
                splits[board.split] = Split(
                    board.split, dataset, board.shift or "", metric=board.metric
                )
        return dict(sorted(splits.items()))

    def link(self, kind: str, name: str) -> str:
        """Return a link from the page of one entry to that of another, as code."""
        names: dict[str, object] = {**getattr(self, kind)}
        return f"[`{name}`](../{kind}/{slug(name)}.md)" if name in names else f"`{name}`"

    @cached_property
    def method_links(self) -> dict[str, str]:
        """Name of a method -> its page, from the page of another entry."""
        return {name: f"../methods/{name}.md" for name in self.methods}

    def pages(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the name and the lines of every page."""
        for entry in self.methods.values():
            yield f"methods/{entry.name}.md", self.method(entry)
        for entry in self.datasets.values():
            yield f"datasets/{entry.name}.md", self.dataset(entry)
        for split in self.splits.values():
            yield f"splits/{slug(split.name)}.md", self.split(split)
        for entry in self.metrics.values():
            yield f"metrics/{entry.name}.md", self.metric(entry)
        sections = study_sections()
        for name, meta in known().items():
            yield f"studies/{name}.md", self.study(name, meta, sections.get(name, []))

    # ----------------------------------------------------------------- methods

    def method(self, entry: Entry) -> list[str]:
        """Return the page of a method: claims, docstring, parameters, rows of boards."""
        page, meta = page_of(entry), entry.meta
        source = f"[{page.reference}]({page.url})" if page.url else page.reference
        lines = ["[Methods](../methods.md)", "", f"# {page.name}", "", inline(page.summary), ""]
        lines += facts(
            [
                ("track", f"[{page.track}]({ACCESS})"),
                ("kind", page.level),
                ("uses", ", ".join(page.access)),
                ("uses the fit of", self.link("methods", meta["fit"]) if meta.get("fit") else ""),
                ("claims to help with", ", ".join(meta["helps"])),
                ("claims to hurt with", ", ".join(meta["hurts"])),
                ("source", source),
                ("version", str(page.version)),
                ("file", f"`methods/{page.file}`" if page.file else ""),
            ]
        )
        chain = f"erm+{page.name}" if page.level == "profile" else page.name
        lines += ["```", f"python -m bench run --method {chain} --split ottawa", "```", ""]
        lines += ["## Description", "", *self.described(entry.path)]
        if page.parameters:
            rows = [
                [
                    f"`{p.name}`",
                    f"`{p.default or repr('')}`",
                    p.unit,
                    inline(p.doc),
                    p.allowed,
                    p.phase,
                ]
                for p in page.parameters
            ]
            head = ["name", "default", "unit", "meaning", "range", "phase"]
            lines += ["## Parameters", "", *table(head, rows)]
            lines += [
                f"`--set {page.name}.{page.parameters[0].name}=VALUE` sets one. A parameter of the "
                "phase *apply* needs no new training.",
                "",
            ]
        return [*lines, *self.rows_of(page.name)]

    def described(self, path: Path | None) -> list[str]:
        """Return the module docstring of a file as Markdown."""
        if path is None:
            return []
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        return docstring(text, self.method_links)

    def rows_of(self, name: str) -> list[str]:
        """Return the rows of a method on the published boards."""
        rows = [
            [f"{self.link('splits', board.split)} {board.edition}{_variant(board)}", *_cells(row)]
            for board in self.boards
            for row in board.rows
            if name in row.method_id.split("+") and row.mean is not None
        ]
        if not rows:
            return ["## Results", "", "No published record uses this method.", ""]
        lines = ["## Results", "", "Rows of the published boards, default settings first.", ""]
        lines += table(["board", *HEAD], rows[:MOST])
        if len(rows) > MOST:
            lines += [f"{len(rows) - MOST} further rows are on the pages of the splits.", ""]
        return lines

    # ----------------------------------------------------------------- data sets and splits

    def dataset(self, entry: Entry) -> list[str]:
        """Return the page of a data set."""
        meta = entry.meta
        url = meta["url"]
        source = f"[{meta['reference']}]({url})" if url else meta["reference"]
        lines = ["[Data sets](../datasets.md)", "", f"# {entry.name}", "", inline(meta["summary"])]
        lines += ["", *facts(
            [
                ("editions", ", ".join(meta["editions"])),
                ("batch levels", f"{', '.join(meta['levels'])} (smallest first)"),
                ("source", source),
                ("licence", meta["licence"]),
                ("size", meta.get("size", "")),
                ("files", meta.get("files", "")),
                ("version", str(meta["version"])),
            ]
        )]  # fmt: skip
        if "real" in meta["editions"]:
            lines += ["```", f"python -m bench data where {entry.name}", "```", ""]
        lines += ["## Description", "", *self.described(entry.path)]
        members = [split for split in self.splits.values() if split.dataset == entry.name]
        lines += ["## Splits", "", *self.split_table(members)]
        return lines

    def split_table(self, splits: Iterable[Split], folder: str = "../") -> list[str]:
        """Return the table of splits."""
        published = {board.split for board in self.boards}
        rows = [
            [
                f"[`{s.name}`]({folder}splits/{slug(s.name)}.md)" + (f" (`{s.alias}`)" * bool(s.alias)),
                s.shift,
                f"[`{s.metric}`]({folder}metrics/{s.metric}.md)",
                "yes" if s.name in published else "",
            ]
            for s in splits
        ]  # fmt: skip
        return table(["split", "shift between training and test", "metric", "published"], rows)

    def split(self, split: Split) -> list[str]:
        """Return the page of a split: its declaration and the published boards."""
        packaged = split.name in known_splits(self.registry)
        lines = ["[Splits](../splits.md)", "", f"# {split.name}", "", split.shift, ""]
        lines += facts(
            [
                ("data set", self.link("datasets", split.dataset)),
                ("alias", f"`{split.alias}`" if split.alias else ""),
                ("primary metric", self.link("metrics", split.metric)),
                *((n.replace("_", " "), v) for n, v in declared(split)),
                ("in-distribution test", self.link("splits", split.companion) if split.companion else ""),
            ]
        )  # fmt: skip
        if packaged:
            first = "identity,zscore" if split.task == "retrieve" else "erm,adabn"
            lines += [
                "```",
                f"python -m bench run --method {first} --split {split.name}",
                "```",
                "",
            ]
        else:
            lines += [
                "This split is declared in a TOML file of a user, not packaged. To repeat a row you "
                "need the table and that file.",
                "",
            ]
        result = [board for board in self.boards if board.split == split.name]
        if not result:
            return [*lines, "## Boards", "", "There are no published records.", ""]
        lines += ["## Boards", "", "Columns are explained in [Concepts](../concepts.md).", ""]
        for board in (board for board in result if is_main(board)):
            lines += [f"### {_title(board)}", "", *self.board(board)]
        others = [board for board in result if not is_main(board)]
        if others:
            lines += ["### Other settings", ""]
        for board in others:
            block = self.board(board)
            lines += [f'??? note "{_title(board)}"', ""]
            lines += [f"    {line}" if line else "" for line in block]
        return lines

    def board(self, board: Board) -> list[str]:
        """Return the table and the notes of a board."""
        rows = []
        for row in board.rows:
            stages = row.method_id.split("+")
            cells = _cells(row)
            label = cells[0] if stages[-1] not in self.methods else (
                f"[{cells[0]}](../methods/{stages[-1]}.md)"
            )  # fmt: skip
            rows.append([DASH if row.rank is None else str(row.rank), label, *cells[1:]])
        lines = table(["rank", *HEAD], rows)
        lines += [f"- {inline(note)}" for note in notes_of(board)]
        return [*lines, f"- Runs `{board.runs_digest}`.", ""]

    # ----------------------------------------------------------------- metrics and studies

    def metric(self, entry: Entry) -> list[str]:
        """Return the page of a metric."""
        meta = entry.meta
        low, high = meta["range"]
        lines = ["[Metrics](../metrics.md)", "", f"# {entry.name}", "", inline(meta["summary"]), ""]
        lines += facts(
            [
                ("range", f"{low} to {high}"),
                ("better", "higher" if meta["higher_is_better"] else "lower"),
                ("needs", str(meta["needs"])),
                (
                    "unchanged by",
                    ", ".join(["order of rows", *(IGNORED[k] for k in meta["ignores"])]),
                ),
                ("source", meta["reference"]),
                ("version", str(meta["version"])),
                ("file", f"`bench/metrics/{entry.path.name}`" if entry.path else ""),
            ]
        )
        lines += ["## Description", "", *self.described(entry.path)]
        lines += ["## Function", "", f"::: bench.metrics.{entry.name}.{meta['function']}", ""]
        used = [split.name for split in self.splits.values() if split.metric == entry.name]
        if used:
            links = ", ".join(self.link("splits", name) for name in used)
            lines += ["## Splits with this primary metric", "", links, ""]
        return lines

    def study(self, name: str, meta: dict[str, object], published: list[str]) -> list[str]:
        """Return the page of a study: question, docstring, published results."""
        methods, points = meta["methods"], meta["points"]
        assert isinstance(methods, list)
        assert isinstance(points, list)
        lines = ["[Studies](../studies.md)", "", f"# {name}", "", f"*{meta['question']}*", ""]
        lines += facts(
            [
                ("default methods", ", ".join(self.link("methods", method) for method in methods)),
                (f"`--points` ({meta['point']})", ", ".join(f"{point:g}" for point in points)),
                ("version", str(meta["version"])),
            ]
        )
        lines += ["```", f"python -m bench study {name} --split ottawa", "```", ""]
        file = ROOT / "bench" / "studies" / f"{name.replace('-', '_')}.py"
        lines += self.described(file)
        return [*lines, *(published or ["No published record uses this study.", ""])]


IGNORED = {
    "names": "names of classes and batches",
    "scale": "scale of profiles",
    "rotation": "rotation of profiles",
    "translation": "translation of profiles",
    "monotone": "increasing functions of the scores of a row",
}
"""Value of a metric's ``ignores`` -> words."""
HEAD = ("method", "track", "mean ± SD", "95 % interval", "vs baseline", "verdict")


def _cells(row: Row) -> list[str]:
    """Return the cells of a row under :data:`HEAD`."""
    score = number(row.mean) + (f" ± {number(row.sd)}" if row.sd is not None else "")
    gap = DASH
    if row.difference is not None:
        gap = f"{number(row.difference, sign=True)} {row.baseline}"
        if row.difference_low is not None:
            gap += f" {interval(row.difference_low, row.difference_high, sign=True)}"
    score, gap = (text.replace(" ", "\u00a0") for text in (score, gap))
    verdict = row.verdict or row.reason
    if is_control_row(row.track):
        verdict = row.reason
    span = interval(row.ci_low, row.ci_high).replace(" ", "\u00a0")
    return [f"`{row.method}`", row.track, score, span, gap, verdict]


def _title(board: Board) -> str:
    return " · ".join(board.title.split(" · ")[1:])


def _variant(board: Board) -> str:
    settings = {**board.settings, **board.overrides}
    text = ", ".join(f"{key}={settings[key]}" for key in sorted(settings))
    recipe = "" if board.recipe == "default" else f", {board.recipe} recipe"
    return recipe + (f", {text}" if text else "")


def declared(split: Split) -> Iterator[tuple[str, str]]:
    """Yield the fields of a split that differ from their defaults, as text."""
    skipped = {"name", "dataset", "shift", "metric", "alias", "companion"}
    for field in dataclasses.fields(split):
        value = getattr(split, field.name)
        if field.name in skipped or value in (field.default, None, ()):
            continue
        if isinstance(value, dict):
            text = "; ".join(
                f"`{column}` = {listed(list(values), 8) if not isinstance(values, str) else values}"
                for column, values in value.items()
            )
        else:
            text = ", ".join(value) if isinstance(value, tuple) else str(value)
        yield field.name, text
