"""A figure being drawn, with its output files."""

from __future__ import annotations

import contextlib
import csv
import io
import textwrap
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.control_names import is_control_row
from bench.core.words import csv_cell, printable
from bench.output.style import FORMATS, colour_of, fitted, legend_shape, marker_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from matplotlib.figure import Figure

Table = list["Mapping[str, object]"]
"""Rows of the CSV of a figure."""

_wanted: ContextVar[tuple[str, ...]] = ContextVar("formats", default=FORMATS)
_shown: ContextVar[Callable[[Table], bool] | None] = ContextVar("shown", default=None)


@dataclass
class Canvas:
    """A figure being drawn, with the rows of its CSV and its output files.

    Attributes
    ----------
    table
        Rows for the CSV; all have the same keys.
    """

    figure: Figure
    table: Table
    stem: str
    out: Path
    runs_digest: str
    files: list[Path]

    def title(self, text: str, below: str) -> None:
        """Add a bold title, and below it the edition, recipe and selection."""
        # The empty second line reserves space for a line in a different font.
        self.figure.suptitle(
            f"{text}\n", x=0.01, ha="left", fontsize=9, fontweight="bold", parse_math=False
        )
        self.figure.text(
            0.01,
            1 - 0.2 / self.figure.get_figheight(),
            textwrap.shorten(below, 120, placeholder=" …"),
            va="top",
            fontsize=7.5,
            color="#444444",
            parse_math=False,
        )

    def legend(self, labels: Sequence[str], tracks: Mapping[str, str]) -> None:
        """Add the legend below the axes, in place of notes."""
        from matplotlib.lines import Line2D

        handles = [
            Line2D(
                [],
                [],
                linestyle="none",
                marker=marker_of(label),
                color=colour_of(label),
                markerfacecolor="white" if is_control_row(tracks[label]) else colour_of(label),
            )
            for label in labels
        ]
        columns, width = legend_shape(labels)
        names = [fitted(label, width, 3) for label in labels]
        legend = self.figure.legend(
            handles, names, loc="outside lower left", ncols=columns, handletextpad=0.1
        )
        for text in legend.get_texts():
            text.set_parse_math(False)

    def notes(self, sentences: Sequence[str], width: int) -> None:
        """Add sentences below the axes, wrapped at ``width`` characters."""
        lines = [line for text in sentences if text for line in textwrap.wrap(text, width)]
        if lines:
            self.figure.supxlabel(
                "\n".join(lines), x=0.01, ha="left", fontsize=6.5, color="#555555", parse_math=False
            )


@contextlib.contextmanager
def canvas(out: Path, stem: str, runs_digest: str, width: float, height: float) -> Iterator[Canvas]:
    """Open a figure in the project's style; on exit, write PDF, PNG and CSV.

    Parameters
    ----------
    stem
        File name without suffix; ``paper/table-1`` is written into the folder ``paper``.
    runs_digest
        Digest of the records, written to the metadata of the files. No date is written, so the
        same records give the same bytes.
    width, height
        Inches.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style = Path(__file__).with_name("labshift.mplstyle")
    with mpl.rc_context(fname=style):
        drawn = Canvas(Figure(figsize=(width, height)), [], stem, out, runs_digest, [])
        yield drawn
        _save(drawn)


@contextlib.contextmanager
def writing(*formats: str, shown: Callable[[Table], bool] | None = None) -> Iterator[None]:
    """Within the block, write figures only in the given :data:`FORMATS`.

    The report page needs no PDF, and embedding its fonts takes longer than drawing.

    Parameters
    ----------
    shown
        Whether a figure with this table is shown: otherwise only its CSV is written, since drawing
        takes most of the time. PNG files have low compression, because the page compresses them.
    """
    token, other = _wanted.set(formats), _shown.set(shown)
    try:
        yield
    finally:
        _shown.reset(other)
        _wanted.reset(token)


def is_drawn(table: Table) -> bool:
    """Whether a figure with this table is drawn, and not only its CSV written."""
    shown = _shown.get()
    return shown is None or shown(table)


def _save(drawn: Canvas) -> None:
    from bench.core.disk import write_files

    makers = {"pdf": _pdf, "png": _png, "csv": _csv}
    forms = [form for form in FORMATS if form in _wanted.get()]
    if is_drawn(drawn.table):
        _clean(drawn)
    else:
        forms = ["csv"]
    wanted = {form: makers[form](drawn) for form in forms}
    file = drawn.out / drawn.stem
    drawn.files += write_files(
        file.parent, {f"{file.name}.{form}": data for form, data in wanted.items()}
    )


def _clean(drawn: Canvas) -> None:
    """Replace control characters, which names in data can contain and fonts lack."""
    from matplotlib.text import Text

    for artist in drawn.figure.findobj(Text):
        text = artist.get_text()
        if (clean := printable(text)) != text:
            artist.set_text(clean)


def _about(drawn: Canvas) -> str:
    return f"labshift figure {drawn.stem}, runs {drawn.runs_digest}"


def _pdf(drawn: Canvas) -> bytes:
    sink = io.BytesIO()
    drawn.figure.savefig(
        sink,
        format="pdf",
        metadata={
            "CreationDate": None,
            "ModDate": None,
            "Producer": None,
            "Creator": "labshift",
            "Subject": _about(drawn),
        },
    )
    return sink.getvalue()


def _png(drawn: Canvas) -> bytes:
    sink = io.BytesIO()
    about = {"Software": None, "Description": _about(drawn)}
    how = {} if _shown.get() is None else {"compress_level": 1}
    if "pdf" not in _wanted.get():
        _lay_out(drawn)
    drawn.figure.savefig(sink, format="png", metadata=about, pil_kwargs=how)
    return sink.getvalue()


def _lay_out(drawn: Canvas) -> None:
    """Execute the layout of a figure that is saved once.

    ``savefig`` draws a figure that has a layout twice, the first time without pixels. The layout
    alone gives the same picture.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = drawn.figure
    engine = figure.get_layout_engine()
    if engine is not None:
        FigureCanvasAgg(figure)
        figure.set_dpi(mpl.rcParams["savefig.dpi"])
        engine.execute(figure)
        figure.set_layout_engine("none")


def _csv(drawn: Canvas) -> bytes:
    sink = io.StringIO()
    columns = list(dict.fromkeys(key for row in drawn.table for key in row))
    writer = csv.DictWriter(sink, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({key: csv_cell(value) for key, value in row.items()} for row in drawn.table)
    return sink.getvalue().encode()
