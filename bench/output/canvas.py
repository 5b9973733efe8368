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

from bench.output.style import FORMATS, colour_of, fitted, legend_shape, marker_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.figure import Figure

__all__ = ["Canvas", "canvas", "writing"]
_wanted: ContextVar[tuple[str, ...]] = ContextVar("formats", default=FORMATS)
_quickly: ContextVar[bool] = ContextVar("quickly", default=False)


@dataclass
class Canvas:
    """A figure being drawn, with the rows of its CSV and its output files.

    Attributes
    ----------
    figure
        The matplotlib figure.
    table
        Rows for the CSV; all have the same keys.
    """

    figure: Figure
    table: list[Mapping[str, object]]
    stem: str
    out: Path
    runs_digest: str
    files: list[Path]

    def title(self, text: str, below: str) -> None:
        """Put a bold title on the figure, and under it the edition, recipe and selection."""
        # The empty second line keeps the place of a line in a font of its own.
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
        """Put the legend below the axes, where notes would be."""
        from matplotlib.lines import Line2D

        handles = [
            Line2D(
                [],
                [],
                linestyle="none",
                marker=marker_of(label),
                color=colour_of(label),
                markerfacecolor="white" if tracks[label] == "reference" else colour_of(label),
            )
            for label in labels
        ]
        columns, width = legend_shape(labels)
        names = [fitted(label, width, 3) for label in labels]
        made = self.figure.legend(
            handles, names, loc="outside lower left", ncols=columns, handletextpad=0.1
        )
        for text in made.get_texts():
            text.set_parse_math(False)

    def notes(self, sentences: Sequence[str], width: int) -> None:
        """Put sentences below the axes, wrapped at ``width`` characters."""
        lines = [line for text in sentences if text for line in textwrap.wrap(text, width)]
        if lines:
            self.figure.supxlabel(
                "\n".join(lines), x=0.01, ha="left", fontsize=6.5, color="#555555", parse_math=False
            )


@contextlib.contextmanager
def canvas(out: Path, stem: str, runs_digest: str, width: float, height: float) -> Iterator[Canvas]:
    """Open a figure in the project's style; on leaving, write PDF, PNG and CSV.

    Parameters
    ----------
    out
        Output folder, created if missing.
    stem
        File name without suffix; ``paper/table-1`` is written into the folder ``paper``.
    runs_digest
        Identity of the records, written to the files' metadata. No date is written: the same
        records give the same bytes.
    width, height
        Inches.

    Raises
    ------
    BenchError
        If the files cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style = Path(__file__).with_name("labshift.mplstyle")
    with mpl.rc_context(fname=style):
        made = Canvas(Figure(figsize=(width, height)), [], stem, out, runs_digest, [])
        yield made
        _save(made)


@contextlib.contextmanager
def writing(*formats: str, quickly: bool = False) -> Iterator[None]:
    """Write figures in some of :data:`FORMATS` only, within the block.

    A page needs no PDF, and embedding its fonts takes longer than drawing.

    Parameters
    ----------
    formats
        Of :data:`FORMATS`.
    quickly
        Hardly compress pictures, which are made small afterwards, and draw none of a figure whose
        table is a sentence alone.
    """
    token, other = _wanted.set(formats), _quickly.set(quickly)
    try:
        yield
    finally:
        _quickly.reset(other)
        _wanted.reset(token)


def _save(made: Canvas) -> None:
    from bench.core.disk import write_files

    makers = {"pdf": _pdf, "png": _png, "csv": _csv}
    forms = [form for form in FORMATS if form in _wanted.get()]
    if _quickly.get() and made.table and all(list(row) == ["note"] for row in made.table):
        forms = ["csv"]
    wanted = {form: makers[form](made) for form in forms}
    file = made.out / made.stem
    made.files += write_files(
        file.parent, {f"{file.name}.{form}": data for form, data in wanted.items()}
    )


def _about(made: Canvas) -> str:
    return f"labshift figure {made.stem}, runs {made.runs_digest}"


def _pdf(made: Canvas) -> bytes:
    sink = io.BytesIO()
    made.figure.savefig(
        sink,
        format="pdf",
        metadata={
            "CreationDate": None,
            "ModDate": None,
            "Producer": None,
            "Creator": "labshift",
            "Subject": _about(made),
        },
    )
    return sink.getvalue()


def _png(made: Canvas) -> bytes:
    sink = io.BytesIO()
    about = {"Software": None, "Description": _about(made)}
    how = {"compress_level": 1} if _quickly.get() else {}
    made.figure.savefig(sink, format="png", metadata=about, pil_kwargs=how)
    return sink.getvalue()


def _csv(made: Canvas) -> bytes:
    sink = io.StringIO()
    columns = list(dict.fromkeys(key for row in made.table for key in row))
    writer = csv.DictWriter(sink, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(made.table)
    return sink.getvalue().encode()
