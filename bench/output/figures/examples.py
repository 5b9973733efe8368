"""Example images per laboratory, from sheets saved when the data were available."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.boards.board import EDITIONS
from bench.core.canonical import digest
from bench.output.canvas import canvas
from bench.output.examples import fill, load_sheets
from bench.output.figures._shared import nothing, slug
from bench.output.style import PAGE

if TYPE_CHECKING:
    from pathlib import Path

    from bench.core.meta import Meta
    from bench.output.figures import FigureInput

META: Meta = {
    "kind": "figure",
    "name": "examples",
    "title": "Example images per class and plate",
    "summary": "Example images; one column per class, one row per laboratory and plate.",
    "needs": ["examples"],
}


def draw(inputs: FigureInput) -> list[Path]:
    """Draw each sheet in ``examples/`` of the results folder."""
    sheets = [] if inputs.results is None else load_sheets(inputs.results / "examples")
    sheets = [sheet for sheet in sheets if sheet.edition != "fixture"]
    if not sheets:
        text = (
            "No example images are kept here: they need the data once. Make them with: "
            "python -m bench figures examples --split ottawa"
        )
        return nothing(inputs, text)
    files: list[Path] = []
    for sheet in sheets:
        columns = len(sheet.classes)
        side = (PAGE - 1.35) / max(columns, 1)
        height = (side + 0.04) * len(sheet.places) + 1.15
        stem = f"{META['name']}_{slug(f'{sheet.name}_{sheet.edition}{sheet.settings}')}"
        with canvas(inputs.out, stem, digest(sheet.images.tobytes().hex()), PAGE, height) as drawn:
            fill(drawn.figure, sheet, font=7)
            data = EDITIONS.get(sheet.edition, sheet.edition)
            drawn.title(f"{sheet.name}: {META['title'].lower()}", f"{data}{sheet.settings}")
            drawn.notes([sheet.caption[0].upper() + sheet.caption[1:] + "."], 130)
            for k, place in enumerate(sheet.places):
                for j, kind in enumerate(sheet.classes):
                    drawn.table.append(
                        {
                            "data": sheet.name,
                            "edition": sheet.edition,
                            "place": place.replace("\n", ", "),
                            "class": kind,
                            "id": sheet.ids[k, j],
                            "range": sheet.spans[k],
                        }
                    )
        files += drawn.files
    return files
