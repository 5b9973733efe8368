"""Embeddings before and after a correction, by batch and by class."""

from __future__ import annotations

import hashlib
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.core.canonical import digest
from bench.output.canvas import Canvas, canvas
from bench.output.figures._runs import Group, group_stems, grouped, label
from bench.output.figures._scatter import chosen, key, scatter
from bench.output.figures._shared import nothing, slug
from bench.output.style import PAGE, sentence
from bench.records.embeddings import Embedding, embedding
from bench.records.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.core.meta import Meta
    from bench.output.figures import FigureInput
    from bench.records.record import Record

META: Meta = {
    "kind": "figure",
    "name": "umap",
    "title": "Embeddings before and after",
    "summary": "UMAP before and after each correction, coloured by batch and by class.",
    "needs": ["records", "predictions", "embeddings"],
}
BASES = ("erm", "identity")
"""Baselines of a single network, in order of preference; the first available one is used."""


@dataclass(frozen=True, eq=False)
class _View:
    """An embedding with the batches and classes of its rows, ordered by id."""

    name: str
    X: NDArray[np.float32]
    ids: NDArray[np.str_]
    batch: NDArray[np.str_]
    classes: NDArray[np.str_]
    level: str
    fold: str


def draw(inputs: FigureInput) -> list[Path]:
    """Draw one figure per method, for the lowest seed with stored embeddings."""
    store = Store(inputs.results) if inputs.results is not None else None
    work = []
    for group in grouped(inputs.records):
        embedded = {} if store is None else _kept(store, group)
        work += [(group, name, embedded) for name in group.in_order(embedded)]
    work = [(group, name, embedded) for group, name, embedded in work if _worth(name, embedded)]
    if not work:
        text = (
            "No run here keeps its embeddings in artifacts/ (published records do not, nor do runs "
            "of an earlier version). Make some with: "
            "python -m bench run --method erm,ben --split ottawa --if-exists rerun"
        )
        return nothing(inputs, text)
    from bench.output.layouts import MOST, RULE, layout

    places: dict[str, NDArray[np.float64]] = {}

    def placed(view: _View) -> NDArray[np.float64]:
        where = hashlib.sha256(view.X.tobytes()).hexdigest()  # ERM's is in many figures
        if where not in places:
            places[where] = layout(view.X)
        return places[where]

    files: list[Path] = []
    distinct = list({id(group): group for group, _, _ in work}.values())
    stems = dict(zip(map(id, distinct), group_stems(META["name"], distinct), strict=True))
    for group, name, embedded in work:
        assert store is not None
        record, after = embedded[name]
        before = _before(store, group, name, embedded)
        views = [stage for stage in (before, after) if stage is not None]
        shown = [_view(record, stage, MOST) for stage in views]
        if min(len(view.ids) for view in shown) < 4:
            continue
        stem = f"{stems[id(group)]}_{slug(name)}"
        mine = digest([record.run_id, record.predictions_sha256])
        with canvas(inputs.out, stem, mine, PAGE, 1.0 + 2.45 * len(shown)) as drawn:
            _page(drawn, shown, [placed(view) for view in shown], before is None)
            drawn.title(f"{META['title']}: {name} on {group.split}", group.subtitle)
            remarks = dict.fromkeys(view.remark for view in views if view.changed)
            drawn.notes([_note(record, shown[-1], RULE), *remarks], 130)
            for view, xy in zip(shown, [placed(view) for view in shown], strict=True):
                _rows(drawn, group, record, view, xy)
        files += drawn.files
    return files


def _kept(store: Store, group: Group) -> dict[str, tuple[Record, Embedding]]:
    """Return each method's first seed with a stored final embedding, and its first fold."""
    embedded: dict[str, tuple[Record, Embedding]] = {}
    for record in group.records:
        if label(record) in embedded:
            continue
        drawn = embedding(store, record, 0)
        if drawn is not None:
            embedded[label(record)] = (record, drawn)
    return embedded


def _worth(name: str, embedded: Mapping[str, tuple[Record, Embedding]]) -> bool:
    """Whether a method has a figure of its own; a baseline has one only if it is alone."""
    return name not in BASES or len(embedded) == 1


def _before(
    store: Store, group: Group, name: str, embedded: Mapping[str, tuple[Record, Embedding]]
) -> Embedding | None:
    """Return the output of a chain's first stage, or of the matching uncorrected run."""
    record, after = embedded[name]
    if "+" in after.method:
        return embedding(store, record, 0, stage=0)
    seed = record.seed
    for base in BASES:
        for other in group.records:
            if label(other) == base != name and other.seed == seed:
                drawn = embedding(store, other, 0)
                if drawn is not None:
                    return drawn
    return None


def _view(record: Record, stored: Embedding, most: int) -> _View:
    """Select rows, and look up their classes among the scored ones."""
    picked = chosen(stored.ids, most)
    ids = stored.ids[picked]
    predictions = record.predictions()
    names: dict[str, str] = {}
    if predictions is not None and record.score_unit == "row":
        classes = record.classes
        mine = predictions[predictions["fold"] == stored.fold]
        names = {
            row_id: classes[y]
            for row_id, y in zip(mine["id"], mine["y_true"].tolist(), strict=True)
            if y >= 0
        }
    labels = np.array([names.get(name, "") for name in ids.tolist()], dtype=str)
    return _View(
        stored.method,
        stored.X[picked],
        ids,
        stored.batch[picked],
        labels,
        stored.level,
        stored.fold,
    )


def _page(
    drawn: Canvas, shown: list[_View], places: list[NDArray[np.float64]], alone: bool
) -> None:
    axes = drawn.figure.subplots(len(shown), 4, squeeze=False, width_ratios=[3, 1.15, 3, 1.35])
    words = ["after"] if alone and len(shown) == 1 else ["before", "after"]
    for row, view, xy, word in zip(axes, shown, places, words, strict=True):
        scatter(row[0], xy, view.batch)
        heading = textwrap.fill(f"{word}: {view.name}, by {view.level or 'batch'}", 36)
        row[0].set_title(heading, parse_math=False)
        key(row[1], view.batch.tolist(), view.level or "batch")
        if (view.classes == "").all():
            sentence(row[2], "No class of these rows is on record.")
            row[3].set_axis_off()
            continue
        scatter(row[2], xy, view.classes)
        row[2].set_title("by class")
        key(row[3], view.classes.tolist(), "class", "not scored")


def _note(record: Record, view: _View, rule: str) -> str:
    folds = record.folds
    text = f"Test rows, seed {record.seed}"
    if len(folds) > 1:
        text += f", fold {view.fold} (the first of {len(folds)}: each has a model of its own)"
    return f"{text}. {rule[0].upper()}{rule[1:]}; distances between groups mean little."


def _rows(
    drawn: Canvas, group: Group, record: Record, view: _View, xy: NDArray[np.float64]
) -> None:
    facts = {**group.facts, "method": view.name, "run_id": record.run_id, "fold": view.fold}
    for k, name in enumerate(view.ids.tolist()):
        place = {"x": round(float(xy[k, 0]), 5), "y": round(float(xy[k, 1]), 5)}
        of = {"id": name, "batch": str(view.batch[k]), "class": str(view.classes[k])}
        drawn.table.append({**facts, **of, **place})
