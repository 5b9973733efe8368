"""Named figures: records -> files. Each writes PDF, PNG and the CSV behind them.

What a figure lacks is said in a sentence in its place; it never fails for want of records.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, did_you_mean
from bench.leaderboard import Board, Row, boards
from bench.plots import (
    PAGE,
    Canvas,
    canvas,
    colour_of,
    label_ends,
    marker_of,
    sentence,
)
from bench.store import digest

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

__all__ = ["FIGURES", "NamedFigure", "draw"]

Records = Sequence[Mapping[str, Any]]
TESTS = {
    "coos7/test1": "test 1\nrandom\nhold-out",
    "coos7/test2": "test 2\nnew wells",
    "coos7/test3": "test 3\nnew plates\nand days",
    "coos7/test4": "test 4 (Ottawa)\nnew laboratory\nand microscope",
}
"""The tests of COOS-7 by how much is new in them."""
_LONGEST = 46
"""Characters of a name beside the axes; longer ones lose their track, or are wrapped."""


@dataclass(frozen=True)
class NamedFigure:
    """A figure that can be asked for by name.

    Attributes
    ----------
    name
        As typed.
    summary
        One sentence.
    function
        ``function(records, out) -> files``.
    """

    name: str
    summary: str
    function: Callable[[Records, Path], list[Path]]


def draw(records: Iterable[Mapping[str, Any]], names: Sequence[str], out: Path) -> list[Path]:
    """Draw named figures, all if none is named, and return the files.

    Parameters
    ----------
    records
        Committed runs, or mappings of the same form.
    names
        Keys of :data:`FIGURES`.
    out
        Folder, made if need be.

    Raises
    ------
    BenchError
        For an unknown name, or if the files cannot be written.
    """
    for name in names:
        if name not in FIGURES:
            raise BenchError(did_you_mean(name, list(FIGURES), "figure"))
    runs = list(records)
    files: list[Path] = []
    for name in dict.fromkeys(names or FIGURES):
        files += FIGURES[name].function(runs, out)
    return files


# --------------------------------------------------------------------------- shared


def _setting(board: Board) -> tuple[Any, ...]:
    """Return what must agree for boards to stand in one figure, beside the split."""
    return (
        board.edition,
        board.recipe,
        board.selection,
        digest({"data": dict(board.settings), "recipe": dict(board.overrides)}),
        board.metric,
    )


def _by_setting(made: Iterable[Board]) -> dict[tuple[Any, ...], list[Board]]:
    groups: dict[tuple[Any, ...], list[Board]] = {}
    for board in made:
        groups.setdefault(_setting(board), []).append(board)
    return groups


def _one_readout(records: Records, found: list[Board]) -> list[Board]:
    """Return the boards read out in one way, by probe if any of them cannot do otherwise."""
    used = {board.readout for board in found}
    if used != {"head", "probe"}:
        return found
    wanted = {(_setting(board), board.split) for board in found}
    again = boards(records, readout="probe")
    return [board for board in again if (_setting(board), board.split) in wanted]


def _stems(name: str, groups: Iterable[tuple[Any, ...]]) -> dict[tuple[Any, ...], str]:
    """Return a file name for each group: plain for one, with what tells them apart for more."""
    keys = list(groups)
    if len(keys) < 2:
        return dict.fromkeys(keys, name)
    words = {key: f"{name}_{_slug('_'.join(map(str, key[:2])))}" for key in keys}
    return {
        key: word if list(words.values()).count(word) == 1 else f"{word}_{digest(list(key), 8)}"
        for key, word in words.items()
    }


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-") or "unnamed"


def _metric_words(metric: str, readout: str) -> str:
    words = metric.replace("_", " ")
    return words if readout == "embedding" else f"{words} ({readout})"


def _subtitle(board: Board) -> str:
    """Return the part of a board's title that is not its split."""
    return " · ".join(board.title.split(" · ")[1:4])


def _methods(found: Iterable[Board]) -> list[str]:
    """Return the labels of all scored rows, reference rows last."""
    tracks: dict[str, bool] = {}
    for board in found:
        for row in board.rows:
            if row.mean is not None:
                tracks[row.method] = row.track == "reference"
    return sorted(tracks, key=lambda method: (tracks[method], method))


def _digest(found: Sequence[Board]) -> str:
    if len(found) == 1:
        return found[0].runs_digest
    return digest([board.runs_digest for board in found])


def _nothing(out: Path, name: str, title: str, text: str) -> list[Path]:
    """Write a figure that says in a sentence why there is none."""
    with canvas(out, name, digest([]), PAGE, 1.4) as made:
        ax = made.figure.subplots()
        ax.set_title(title)
        sentence(ax, text)
        made.table.append({"note": text})
    return made.files


def _row_facts(board: Board, row: Row) -> dict[str, Any]:
    return {
        "split": board.split,
        "edition": board.edition,
        "recipe": board.recipe,
        "metric": board.metric,
        "readout": board.readout,
        "method": row.method,
        "track": row.track,
    }


def _chance(ax: Axes, found: Sequence[Board], *, vertical: bool = False) -> None:
    """Draw the score of guessing, if it is one number for all boards."""
    chances = {board.chance for board in found}
    if len(chances) != 1 or None in chances:
        return
    (chance,) = chances
    assert chance is not None
    line = ax.axvline if vertical else ax.axhline
    line(chance, color="#888888", linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)


def _interval_words(rows: Iterable[Row]) -> str:
    """Say what the bars are, or why there are none."""
    known = [row for row in rows if row.mean is not None]
    with_interval = [row for row in known if row.ci_low is not None]
    without = sorted({row.clusters_in_words for row in known if row.ci_low is None})
    words = []
    if with_interval:
        words.append("Bars: 95 % interval over seeds crossed with clusters.")
    if without:
        words.append(f"No interval where there are few clusters or seeds ({', '.join(without)}).")
    return " ".join(words)


# --------------------------------------------------------------------------- degradation


def degradation(records: Records, out: Path) -> list[Path]:
    """Draw the score over the four tests of COOS-7, one line a method, a point a seed."""
    name = "degradation"
    found = [board for board in boards(records) if board.split in TESTS]
    if not found:
        text = (
            "There are no records of COOS-7. Make some with: "
            "python -m bench run --method erm,ben --split ottawa"
        )
        return _nothing(out, name, "Accuracy over increasingly different tests", text)
    files: list[Path] = []
    groups = _by_setting(found)
    stems = _stems(name, groups)
    for key, members in groups.items():
        members = _one_readout(records, members)
        height = max(3.5, 1.6 + 0.13 * len(_methods(members)))  # room for the names at the ends
        with canvas(out, stems[key], _digest(members), PAGE, height) as made:
            _draw_degradation(made, members)
        files += made.files
    return files


def _draw_degradation(made: Canvas, found: Sequence[Board]) -> None:
    by_split = {board.split: board for board in found}
    ax = made.figure.subplots()
    tests = list(TESTS)
    labels = _methods(found)
    ends: dict[str, tuple[float, float]] = {}
    for k, label in enumerate(labels):
        colour, marker = colour_of(label), marker_of(label)
        offset = (k - (len(labels) - 1) / 2) * min(0.06, 0.4 / max(len(labels), 1))
        line: list[tuple[float, float]] = []
        for position, split in enumerate(tests):
            board = by_split.get(split)
            row = next((r for r in board.rows if r.method == label), None) if board else None
            if board is None or row is None or row.mean is None:
                line.append((position + offset, float("nan")))  # a gap, not a bridge
                continue
            line.append((position + offset, row.mean))
            ends[label] = (position + offset, row.mean)
            ax.scatter(
                [position + offset] * row.n_seeds,
                row.values,
                s=7,
                color=colour,
                alpha=0.45,
                linewidths=0,
                zorder=2,
            )
            if row.ci_low is not None and row.ci_high is not None:
                ax.vlines(position + offset, row.ci_low, row.ci_high, color=colour, linewidth=0.9)
            for seed, value in zip(row.seeds, row.values, strict=True):
                entry = {"seed": seed, "value": value, "mean": row.mean}
                span = {"ci_low": row.ci_low, "ci_high": row.ci_high}
                made.table.append({**_row_facts(board, row), **entry, **span})
        xs, ys = zip(*line, strict=True)
        reference = all(r.track == "reference" for b in found for r in b.rows if r.method == label)
        style = (0, (1, 1.5)) if reference else "-"
        ax.plot(xs, ys, color=colour, marker=marker, linestyle=style, zorder=3)
    _chance(ax, found)
    ax.set_xlim(-0.35, len(tests) - 0.65)
    ax.set_xticks(range(len(tests)), list(TESTS.values()))
    first = found[0]
    ax.set_ylabel(_metric_words(first.metric, first.readout))
    data = "simulated" if first.edition == "simulated" else "real images"
    made.title(f"COOS-7 ({data}): from a random hold-out to another laboratory", _subtitle(first))
    if first.chance is not None:
        ax.text(-0.33, first.chance, " chance", fontsize=6.5, color="#777777", va="bottom")
    label_ends(ax, ends, {label: colour_of(label) for label in labels})
    missing = [TESTS[split].split("\n")[0] for split in tests if split not in by_split]
    notes = [_interval_words(row for board in found for row in board.rows)]
    if missing:
        notes.append(f"No records for {', '.join(missing)}: a gap.")
    notes.append("Small points: seeds.")
    made.notes([" ".join(notes)], 130)


# --------------------------------------------------------------------------- ranking


def ranking(records: Records, out: Path) -> list[Path]:
    """Draw the methods by their primary metric, a panel for each split, with intervals."""
    name, title = "ranking", "Methods by primary metric"
    found = boards(records)
    if not found:
        return _nothing(out, name, title, "There are no records to rank: run some first.")
    files: list[Path] = []
    groups: dict[tuple[Any, ...], list[Board]] = {}
    for board in found:
        groups.setdefault(_setting(board)[:4], []).append(board)
    stems = _stems(name, groups)
    for key, members in groups.items():
        lines = [max(1, sum(row.mean is not None for row in board.rows)) for board in members]
        total = sum(0.19 * n + 0.42 for n in lines) + 0.95
        with canvas(out, stems[key], _digest(members), PAGE, total) as made:
            axes = made.figure.subplots(
                len(members), 1, squeeze=False, height_ratios=[n + 0.6 for n in lines]
            )[:, 0]
            for ax, board in zip(axes, members, strict=True):
                _draw_ranking(made, ax, board)
            _share_scale(axes, members)
            made.title(title, _subtitle(members[0]))
            words = _interval_words(row for board in members for row in board.rows)
            made.notes([f"{words} Small points: seeds. Names in grey are not ranked."], 130)
        files += made.files
    return files


def _share_scale(axes: Iterable[Axes], members: Sequence[Board]) -> None:
    """Give panels of one metric one scale, so that splits can be compared by eye."""
    drawn = [(ax, b.metric) for ax, b in zip(axes, members, strict=True) if ax.axison]
    for metric in {metric for _, metric in drawn}:
        same = [ax for ax, name in drawn if name == metric]
        low, high = min(ax.get_xlim()[0] for ax in same), max(ax.get_xlim()[1] for ax in same)
        for ax in same:
            ax.set_xlim(low, high)


def _draw_ranking(made: Canvas, ax: Axes, board: Board) -> None:
    rows = [row for row in board.rows if row.mean is not None]
    rows.sort(
        key=lambda row: ((row.mean or 0.0) * (-1 if board.higher_is_better else 1), row.method)
    )
    ax.set_title(f"{board.split} · {_metric_words(board.metric, board.readout)}", fontsize=8, pad=3)
    if not rows:
        sentence(ax, "No method could be scored on this split.")
        return
    for place, row in enumerate(rows):
        colour = colour_of(row.method)
        if row.ci_low is not None and row.ci_high is not None:
            ax.hlines(place, row.ci_low, row.ci_high, color=colour, linewidth=1.4)
        ax.scatter(row.values, [place] * row.n_seeds, s=7, color=colour, alpha=0.45, linewidths=0)
        _mark(ax, row, row.mean or 0.0, place)
        entry = {"mean": row.mean, "sd": row.sd, "n_seeds": row.n_seeds, "rank": row.rank}
        entry |= {"ci_low": row.ci_low, "ci_high": row.ci_high, "n_clusters": row.n_clusters}
        made.table.append({**_row_facts(board, row), **entry})
    _chance(ax, [board], vertical=True)
    _name_rows(ax, rows)


def _mark(ax: Axes, row: Row, x: float, y: float) -> None:
    """Draw a row's own marker; reference rows are hollow."""
    colour = colour_of(row.method)
    face = "white" if row.track == "reference" else colour
    ax.plot([x], [y], marker=marker_of(row.method), color=colour, markerfacecolor=face)


def _name_rows(ax: Axes, rows: Sequence[Row]) -> None:
    """Put the methods down the left side, with their tracks, and the grid upright."""
    names = [f"{row.method}  ({row.track})" for row in rows]
    names = [
        name if len(name) <= _LONGEST else textwrap.fill(row.method, _LONGEST)
        for name, row in zip(names, rows, strict=True)
    ]
    ax.set_yticks(range(len(rows)), names)
    for tick, row in zip(ax.get_yticklabels(), rows, strict=True):
        tick.set_parse_math(False)
        tick.set_color("#222222" if row.rank else "#888888")
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    ax.grid(visible=True, axis="x")


# --------------------------------------------------------------------------- per batch


def per_batch(records: Records, out: Path) -> list[Path]:
    """Draw a point for each held-out batch and method, lines between the methods."""
    name, title = "per-batch", "Held-out batches, one by one"
    found = [board for board in boards(records) if any(len(row.points) > 1 for row in board.rows)]
    if not found:
        text = "No record has a score for more than one held-out batch."
        return _nothing(out, name, title, text)
    files: list[Path] = []
    stems = {id(board): f"{name}_{_slug(board.split)}" for board in found}
    for board in found:
        stem = stems[id(board)]
        if list(stems.values()).count(stem) > 1:
            stem = f"{stem}_{_slug(f'{board.edition}_{board.recipe}')}_{board.runs_digest[:8]}"
        rows = [row for row in board.rows if len(row.points) > 1]
        with canvas(out, stem, board.runs_digest, PAGE, 1.35 + 0.27 * len(rows)) as made:
            _draw_per_batch(made, board, rows)
        files += made.files
    return files


def _draw_per_batch(made: Canvas, board: Board, rows: Sequence[Row]) -> None:
    ax = made.figure.subplots()
    names = sorted({name for row in rows for name in row.points})
    for name in names:
        xs = [row.points.get(name, float("nan")) for row in rows]
        ax.plot(xs, range(len(rows)), color="#C4C4C4", linewidth=0.6, zorder=1)
    for place, row in enumerate(rows):
        values = [row.points[name] for name in names if name in row.points]
        ax.scatter(
            values,
            [place] * len(values),
            s=16,
            color=colour_of(row.method),
            marker=marker_of(row.method),
            facecolors="white" if row.track == "reference" else None,
            linewidths=0.8 if row.track == "reference" else 0,
            zorder=2,
        )
        mean = sum(values) / len(values)
        ax.vlines(mean, place - 0.32, place + 0.32, color="#222222", linewidth=1.3, zorder=3)
        for name in names:
            if name in row.points:
                where = {"cluster_level": row.cluster_level, "cluster": name}
                value = {"value": row.points[name], "n_seeds": row.n_seeds}
                made.table.append({**_row_facts(board, row), **where, **value})
    _chance(ax, [board], vertical=True)
    _name_rows(ax, rows)
    ax.set_xlabel(_metric_words(board.metric, board.readout))
    made.title(f"{board.split}: held-out batches, one by one", _subtitle(board))
    levels = {row.cluster_level for row in rows}
    level = levels.pop() if len(levels) == 1 else "cluster"
    text = f"A point: one {level}, mean over seeds. A line joins the same {level}. Bar: their mean."
    if board.chance is not None:
        text += " Dashed: chance."
    made.notes([text], 130)


# --------------------------------------------------------------------------- cost


def cost(records: Records, out: Path) -> list[Path]:
    """Draw the score over the seconds that fitting took, a panel for each split."""
    name, title = "cost", "Accuracy and the time to fit"
    found = [
        board
        for board in boards(records)
        if any(row.mean is not None and row.cost.get("fit_s") is not None for row in board.rows)
    ]
    if not found:
        return _nothing(out, name, title, "No record says how long its fit took.")
    files: list[Path] = []
    groups: dict[tuple[Any, ...], list[Board]] = {}
    for board in found:
        groups.setdefault(_setting(board)[:4], []).append(board)
    stems = _stems(name, groups)
    for key, members in groups.items():
        columns = min(3, len(members))
        lines = -(-len(members) // columns)
        labels = _methods(members)
        legend_lines = -(-len(labels) // 4)
        height = 2.1 * lines + 0.8 + 0.16 * legend_lines
        with canvas(out, stems[key], _digest(members), PAGE, height) as made:
            axes = made.figure.subplots(lines, columns, squeeze=False)
            for ax in axes.flat[len(members) :]:
                ax.set_axis_off()
            for ax, board in zip(axes.flat, members, strict=False):
                _draw_cost(made, ax, board)
            made.legend(labels, {r.method: r.track for b in members for r in b.rows})
            below = "means over seeds; seconds of all stages of a chain, as if run alone"
            made.title(title, f"{_subtitle(members[0])} · {below}")
        files += made.files
    return files


def _draw_cost(made: Canvas, ax: Axes, board: Board) -> None:
    ax.set_title(f"{board.split}", fontsize=8)
    ax.set_xscale("symlog", linthresh=1.0, linscale=0.4)
    slowest = 10.0
    for row in board.rows:
        seconds = row.cost.get("fit_s")
        if row.mean is None or seconds is None:
            continue
        slowest = max(slowest, seconds)
        _mark(ax, row, seconds, row.mean)
        entry = {"mean": row.mean, "fit_s": seconds, "apply_s": row.cost.get("apply_s")}
        made.table.append({**_row_facts(board, row), **entry})
    ax.set_xlim(-0.2, slowest * 2)
    ticks = [0, *(10**k for k in range(9) if 10**k <= slowest * 2)]
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel("seconds to fit")
    ax.set_ylabel(_metric_words(board.metric, board.readout))
    ax.margins(y=0.12)


FIGURES: dict[str, NamedFigure] = {
    figure.name: figure
    for figure in (
        NamedFigure(
            "degradation",
            "Accuracy over the four tests of COOS-7, one line a method.",
            degradation,
        ),
        NamedFigure("ranking", "Methods by primary metric on each split.", ranking),
        NamedFigure("per-batch", "A point for each held-out batch and method.", per_batch),
        NamedFigure("cost", "Accuracy against the seconds to fit.", cost),
    )
}
"""Figures by name."""
