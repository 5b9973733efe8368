"""Pictures of the concepts, drawn from synthetic profiles and from the published records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import style
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

import bench.output
from bench import Corrector
from bench.boards.board import EDITIONS
from bench.core.words import plural
from bench.output.report.sentence import level_of
from bench.output.report.summary import is_main
from bench.output.style import OTHERS, PAGE, colour_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from entries import Site
    from numpy.typing import NDArray

    from bench.boards.board import Board

    Array = NDArray[np.float64]

STYLE = Path(bench.output.__file__).with_name("labshift.mplstyle")
COLOURS = OTHERS[:4]
MARKERS = "osD"


def draw_all(site: Site, folder: Path) -> None:
    """Write all pictures as PNG."""
    folder.mkdir(exist_ok=True)
    drawings = {
        "batch-effect": batch_effect,
        "tracks": tracks,
        "intervals": lambda: intervals(site.boards),
        "leakage": leakage,
        "position": position,
    }
    with style.context(STYLE):
        for name, draw in drawings.items():
            draw().savefig(folder / f"{name}.png", metadata={"Software": None})


def _figure(height: float, columns: int, **options: object) -> tuple[Figure, Sequence]:
    figure = Figure(figsize=(PAGE, height))
    return figure, figure.subplots(1, columns, squeeze=False, **options)[0]


def _screen(per_class: int = 8, shift: float = 4.0) -> tuple[Array, Array, Array]:
    """Return profiles ``(n, 2)``, plates and classes; class -1 is a negative control."""
    rng = np.random.default_rng(3)
    effects = np.array([[2.0, 0.0], [-1.2, 1.6], [-0.8, -1.8], [0.0, 0.0]])
    moves = rng.normal(0, shift, (3, 2))
    plate = np.repeat(np.arange(3), 4 * per_class)
    kind = np.tile(np.repeat([0, 1, 2, -1], per_class), 3)
    X = effects[kind] + moves[plate] + rng.normal(0, 0.45, (len(plate), 2))
    return X, plate, kind


def batch_effect() -> Figure:
    """Draw profiles of three plates before and after a correction by their controls."""
    X, plate, kind = _screen()
    corrected = Corrector("center").fit_transform(X, batch=plate.astype(str), controls=kind == -1)
    figure, axes = _figure(2.9, 2)
    titles = ("No correction: plates form the clusters", "center: treatments form the clusters")
    for ax, values, title in zip(axes, (X, corrected), titles, strict=True):
        for k, name in (
            (0, "treatment A"),
            (1, "treatment B"),
            (2, "treatment C"),
            (-1, "control"),
        ):
            colour = "#9A9A9A" if k == -1 else COLOURS[k]
            for p in range(3):
                rows = (kind == k) & (plate == p)
                label = f"{name}, plate {p + 1}"
                ax.plot(*values[rows].T, MARKERS[p], color=colour, ls="", alpha=0.8, label=label)
        ax.set(title=title, xlabel="feature 1", ylabel="feature 2")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def tracks() -> Figure:
    """Draw which rows a method of each track sees."""
    rows = ("inductive", "test-controls", "test-batch", "transductive")
    blocks = ("training rows,\nlabelled", "controls of\nthe test batch", "other rows of\nthe test batch",
              "other test\nbatches")  # fmt: skip
    figure, [ax] = _figure(2.2, 1)
    for y in range(len(rows)):
        for x, block in enumerate(blocks):
            seen = x <= y
            colour = COLOURS[1] if x == 0 else COLOURS[3] if seen else "#F2F2F2"
            ax.barh(y, 0.94, left=x, height=0.8, color=colour)
            text = "seen" if seen else "not seen"
            ax.text(x + 0.47, y, text, ha="center", va="center", color="w" if seen else "#666666")
            if y == 0:
                ax.text(x + 0.47, -0.62, block, ha="center", va="bottom")
    ax.set_yticks(range(len(rows)), rows)
    ax.set(xticks=[], xlim=(0, 4), ylim=(3.5, -1.3))
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    return figure


def intervals(boards: Sequence[Board]) -> Figure:
    """Draw the paired differences per held-out batch of a published board, with intervals."""
    board = next(
        board
        for board in boards
        if is_main(board) and sum(row.difference_low is not None for row in board.rows) > 1
    )
    tested = [
        row for row in board.rows if row.difference_low is not None and row.rank and not row.params
    ]
    tested = tested[:8]
    points = {row.method: row.points for row in board.rows}
    figure, [ax] = _figure(0.7 + 0.32 * len(tested), 1)
    for y, row in enumerate(tested):
        base = points.get(row.baseline, {})
        gaps = [value - base[name] for name, value in row.points.items() if name in base]
        colour = colour_of(row.method)
        ax.plot(gaps, [y + 0.18] * len(gaps), "|", color=colour, alpha=0.7)
        ax.plot([row.difference_low, row.difference_high], [y, y], color=colour)
        ax.plot(row.difference, y, "o", color=colour)
    ax.axvline(0, color="#444444", lw=0.8)
    ax.set_yticks(range(len(tested)), [row.method for row in tested])
    level = plural(level_of(tested[0]))
    ax.set(
        title=f"{board.split} ({EDITIONS[board.edition]}): {tested[0].n_clusters} held-out {level}",
        xlabel="difference to the baseline: mean, 95 % interval, and each held-out batch (|)",
        ylim=(len(tested) - 0.4, -0.5),
    )
    ax.grid(axis="x")
    return figure


def leakage() -> Figure:
    """Draw the accuracy on random rows and on a new plate, with classes confounded with plates."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, KFold, cross_val_score

    rng = np.random.default_rng(0)
    plate = np.repeat(np.arange(8), 30)
    scores = []
    for confounded in (0.0, 0.5, 0.9):
        own = rng.integers(0, 3, 8)[plate]
        kind = np.where(rng.random(240) < confounded, own, rng.integers(0, 3, 240))
        X = rng.normal(0, 1, (240, 6)) + rng.normal(0, 1.5, (8, 6))[plate]
        X += rng.normal(0, 0.6, (3, 6))[kind]
        model = LogisticRegression(max_iter=2000)
        random = cross_val_score(model, X, kind, cv=KFold(8, shuffle=True, random_state=0)).mean()
        new = cross_val_score(model, X, kind, groups=plate, cv=GroupKFold(8)).mean()
        scores.append((confounded, random, new))
    figure, [ax] = _figure(2.3, 1)
    for x, (_, random, new) in enumerate(scores):
        ax.bar(x - 0.18, random, 0.34, color=COLOURS[3], label="random rows" if x == 0 else None)
        ax.bar(x + 0.18, new, 0.34, color=COLOURS[0], label="a new plate" if x == 0 else None)
    ax.axhline(1 / 3, color="#444444", lw=0.8, ls="--", label="chance")
    names = [f"{share:.0%} of the rows have\nthe class of their plate" for share, _, _ in scores]
    ax.set_xticks(range(3), names)
    ax.set(ylabel="accuracy", ylim=(0, 1), title="The same model, tested in two ways (synthetic)")
    figure.legend(loc="outside right upper")
    return figure


def position() -> Figure:
    """Draw a plate with an edge effect, and two layouts."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:8, :12]
    edge = np.minimum(np.minimum(y, 7 - y), np.minimum(x, 11 - x))
    intensity = 1 + 0.25 * np.exp(-edge) + rng.normal(0, 0.03, edge.shape)
    fixed = x // 3
    random = rng.permutation(fixed.ravel()).reshape(fixed.shape)
    figure, axes = _figure(2.2, 3)
    axes[0].imshow(intensity, cmap="viridis")
    axes[0].set_title("Edge effect on intensity")
    for ax, layout, title in (
        (axes[1], fixed, "Same layout on all plates"),
        (axes[2], random, "Random layout"),
    ):
        ax.imshow(layout, cmap=ListedColormap(COLOURS))
        ax.set_title(title)
    for ax in axes:
        ax.set_yticks(range(8), "ABCDEFGH")
        ax.set_xticks(range(0, 12, 3), ["1", "4", "7", "10"])
        ax.grid(visible=False)
    return figure
