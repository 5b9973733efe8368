"""Helpers of the figures: boards of one figure, file names, labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from bench.boards.board import EDITIONS
from bench.boards.select import boards
from bench.core.canonical import digest
from bench.core.control_names import is_control_row
from bench.output.canvas import canvas, is_drawn
from bench.output.style import PAGE, colour_of, fitted, marker_of, sentence

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from bench.boards.board import Board, Row
    from bench.output.figures import FigureInput

Records = Sequence[Mapping[str, object]]
LONGEST = 46
"""Maximum characters of an axis label; longer labels lose their track, then their end."""
LONGEST_PAGE = 9.0
"""Maximum height of panels per page in inches; a longer panel has its own page."""
Member = TypeVar("Member")


def setting_of(board: Board) -> tuple[object, ...]:
    """Return the settings that boards of one figure must share, except the split."""
    return (
        board.edition,
        board.recipe,
        board.selection,
        digest({"data": dict(board.settings), "recipe": dict(board.overrides)}),
        board.metric,
    )


def setting_without_metric(board: Board) -> tuple[object, ...]:
    return setting_of(board)[:-1]


def one_readout(records: Records, members: list[Board]) -> list[Board]:
    """Return the boards with one readout: the probe if any board requires it."""
    used = {board.readout for board in members}
    if used != {"head", "probe"}:
        return members
    wanted = {(setting_of(board), board.split) for board in members}
    again = boards(records, readout="probe")
    return [board for board in again if (setting_of(board), board.split) in wanted]


def stems_for(name: str, groups: Iterable[tuple[object, ...]]) -> dict[tuple[object, ...], str]:
    """Return a file name per group: plain for one group, with the differences for several."""
    keys = list(groups)
    if len(keys) < 2:
        return dict.fromkeys(keys, name)
    words = {key: f"{name}_{slug('_'.join(map(str, key[:2])))}" for key in keys}
    return {
        key: word if list(words.values()).count(word) == 1 else f"{word}_{digest(list(key), 8)}"
        for key, word in words.items()
    }


def named_groups(
    name: str, members: Iterable[Member], setting: Callable[[Member], tuple[object, ...]]
) -> Iterator[tuple[str, list[Member]]]:
    """Yield the file name and the members of each setting."""
    groups: dict[tuple[object, ...], list[Member]] = {}
    for member in members:
        groups.setdefault(setting(member), []).append(member)
    stems = stems_for(name, groups)
    for key, group in groups.items():
        yield stems[key], group


def ordered_groups(
    name: str, members: Iterable[Board], splits: Iterable[str]
) -> Iterator[tuple[str, list[Board]]]:
    """Yield the file name and the boards of each setting, in the order of the splits."""
    order = list(splits)
    for stem, group in named_groups(name, members, setting_of):
        yield stem, sorted(group, key=lambda board: order.index(board.split))


def pages(
    groups: Iterable[tuple[str, list[Member]]], height_of: Callable[[Member], float]
) -> Iterator[tuple[str, list[Member], list[float]]]:
    """Distribute the panels of groups over printable pages.

    Yields
    ------
    tuple
        File name, panels of the page, and their heights in inches.
    """
    for stem, members in groups:
        distributed: list[tuple[list[Member], list[float]]] = []
        for member in members:
            height = height_of(member)
            if not distributed or sum(distributed[-1][1]) + height > LONGEST_PAGE:
                distributed.append(([], []))
            distributed[-1][0].append(member)
            distributed[-1][1].append(height)
        for number, (page, heights) in enumerate(distributed, start=1):
            yield stem if len(distributed) == 1 else f"{stem}_page-{number}", page, heights


def slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-") or "unnamed"


def metric_words(metric: str, readout: str) -> str:
    words = metric.replace("_", " ")
    return words if readout == "embedding" else f"{words} ({readout})"


def shared_subtitle(board: Board) -> str:
    """Return what boards of one figure share: edition, recipe and selection."""
    parts = board.title.split(" · ")
    start = next((k for k, part in enumerate(parts) if part in EDITIONS.values()), 1)
    return " · ".join(parts[start : start + 3])


def subtitle(board: Board) -> str:
    """Return the title of a board without its split."""
    return " · ".join(board.title.split(" · ")[1:4])


def methods_of(members: Iterable[Board]) -> list[str]:
    """Return the labels of all scored rows, reference rows last."""
    tracks: dict[str, bool] = {}
    for board in members:
        for row in board.rows:
            if row.mean is not None:
                tracks[row.method] = is_control_row(row.track)
    return sorted(tracks, key=lambda method: (tracks[method], method))


def runs_digest(members: Sequence[Board]) -> str:
    if len(members) == 1:
        return members[0].runs_digest
    return digest([board.runs_digest for board in members])


def nothing(inputs: FigureInput, text: str) -> list[Path]:
    """Write a figure that only states why it cannot be drawn."""
    with canvas(inputs.out, inputs.meta["name"], digest([]), PAGE, 1.4) as drawn:
        drawn.table.append({"note": text})
        if is_drawn(drawn.table):
            ax = drawn.figure.subplots()
            ax.set_title(inputs.meta["title"])
            sentence(ax, text)
    return drawn.files


def row_facts(board: Board, row: Row) -> dict[str, object]:
    return {
        "split": board.split,
        "edition": board.edition,
        "recipe": board.recipe,
        "metric": board.metric,
        "readout": board.readout,
        "method": row.method,
        "track": row.track,
    }


def chance_line(ax: Axes, members: Sequence[Board], *, vertical: bool = False) -> None:
    """Draw the score of random guessing, if it is the same for all boards."""
    chances = {board.chance for board in members}
    if len(chances) != 1 or None in chances:
        return
    (chance,) = chances
    assert chance is not None
    line = ax.axvline if vertical else ax.axhline
    line(chance, color="#888888", linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)


def control_lines(ax: Axes, rows: Sequence[Row]) -> int:
    """Draw the means of control rows as vertical lines, and their names above the panel's rows.

    Names of lines that are close to each other share a column of text.

    Parameters
    ----------
    ax
        Axes with the scores of the methods; row k of the panel is at y = k. Its limits are
        extended to the control rows.

    Returns
    -------
    int
        Number of lines of text above the rows.
    """
    scored = sorted((row for row in rows if row.mean is not None), key=lambda row: row.mean or 0.0)
    low, high = ax.get_xlim()
    margin = 0.02 * (high - low)
    values = [row.mean or 0.0 for row in scored]
    low = min([low, *(value - margin for value in values)])
    high = max([high, *(value + margin for value in values)])
    groups: list[list[Row]] = []
    for row in scored:
        ax.axvline(row.mean or 0.0, color=colour_of(row.method), linewidth=0.9, zorder=1)
        close = groups and (row.mean or 0.0) - (groups[-1][-1].mean or 0.0) < 0.16 * (high - low)
        if close:
            groups[-1].append(row)
        else:
            groups.append([row])
    for group in groups:
        middle = sum(row.mean or 0.0 for row in group) / len(group)
        side = (middle - low) / (high - low)
        ax.text(
            middle,
            -0.6,
            "\n".join(f"{row.method.removeprefix('identity+')} {row.mean:.3f}" for row in group),
            fontsize=5.5,
            color="#777777",
            ha="left" if side < 0.1 else "right" if side > 0.9 else "center",
            va="bottom",
            parse_math=False,
        )
    ax.set_xlim(low, high)
    return max(map(len, groups), default=0)


def interval_words(rows: Iterable[Row]) -> str:
    """Return a sentence that explains the bars, or why there are none."""
    scored = [row for row in rows if row.mean is not None]
    without = sorted({row.clusters_in_words for row in scored if row.ci_low is None})
    sentences = []
    if any(row.ci_low is not None for row in scored):
        sentences.append("Bars: 95 % interval over seeds crossed with clusters.")
    if without:
        sentences.append(f"No interval with few clusters or seeds ({', '.join(without)}).")
    return " ".join(sentences)


def mark(ax: Axes, row: Row, x: float, y: float) -> None:
    """Draw the marker of a row; reference rows are hollow."""
    colour = colour_of(row.method)
    face = "white" if is_control_row(row.track) else colour
    ax.plot([x], [y], marker=marker_of(row.method), color=colour, markerfacecolor=face)


def name_rows(ax: Axes, rows: Sequence[Row], above: float = 0.0) -> None:
    """List the methods with their tracks on the left, and draw a vertical grid.

    ``above`` is free space above the first row, in rows.
    """
    names = [f"{row.method}  ({row.track})" for row in rows]
    names = [
        name if len(name) <= LONGEST else fitted(row.method, LONGEST)
        for name, row in zip(names, rows, strict=True)
    ]
    name_lines(ax, names)
    for tick, row in zip(ax.get_yticklabels(), rows, strict=True):
        tick.set_color("#222222" if row.rank else "#888888")
    ax.set_ylim(len(rows) - 0.5, -0.5 - above)


def name_lines(
    ax: Axes,
    names: Sequence[str],
    **style: Any,  # noqa: ANN401 - attributes of matplotlib
) -> None:
    """Name the lines of a panel on the left, and draw a vertical grid."""
    ax.set_yticks(range(len(names)), names, **style)
    for tick in ax.get_yticklabels():
        tick.set_parse_math(False)
    vertical_grid(ax)


def vertical_grid(ax: Axes) -> None:
    ax.grid(visible=False, axis="y")
    ax.grid(visible=True, axis="x")
