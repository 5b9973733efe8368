"""Groups of runs, for figures that need more than a leaderboard."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from bench.boards.board import EDITIONS, SELECTIONS
from bench.boards.values import label_of
from bench.core.canonical import canonical_json, digest
from bench.core.control_names import is_control_row
from bench.output.figures._shared import slug

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

    from bench.boards.board import Board
    from bench.records.record import Record

_key = attrgetter(
    "split_id",
    "edition",
    "recipe",
    "selection",
    "dataset_settings",
    "recipe_overrides",
    "split_digest",
    "data_digest",
    "recipe_digest",
    "standardise",
    "score_unit",
)


@dataclass(frozen=True, eq=False)
class Group:
    """Scored runs with the same split, edition, recipe and data content.

    Attributes
    ----------
    records
        Runs sorted by label and seed.
    """

    records: Sequence[Record]

    @property
    def split(self) -> str:
        """Canonical name of the split."""
        return self.records[0].split_id

    @property
    def subtitle(self) -> str:
        """Edition, recipe and selection, for the title of a figure."""
        first = self.records[0]
        data = EDITIONS.get(first.edition, first.edition)
        if first.dataset_settings:
            data += f" ({_pairs(first.dataset_settings)})"
        recipe = f"recipe {first.recipe}"
        if first.recipe_overrides:
            recipe += f" with {_pairs(first.recipe_overrides)}"
        return f"{data} · {recipe} · {SELECTIONS.get(first.selection, first.selection)}"

    @property
    def facts(self) -> dict[str, object]:
        """First columns of each row of a CSV."""
        first = self.records[0]
        return {"split_id": first.split_id, "edition": first.edition, "recipe": first.recipe}

    @property
    def runs_digest(self) -> str:
        """Digest of the runs and their predictions."""
        return digest(sorted([record.run_id, record.predictions_sha256] for record in self.records))

    def boards(self, boards: Iterable[Board]) -> list[Board]:
        """Return the leaderboards that contain runs of the group."""
        run_ids = {record.run_id for record in self.records}
        return [board for board in boards if not run_ids.isdisjoint(board.run_ids)]

    def by_label(self) -> dict[str, list[Record]]:
        """Return the records per method and parameters, sorted by seed."""
        groups: dict[str, list[Record]] = {}
        for record in self.records:
            groups.setdefault(label(record), []).append(record)
        return groups

    def only(self, labels: Iterable[str]) -> Group:
        """Return the runs of the given methods."""
        wanted = set(labels)
        return Group([record for record in self.records if label(record) in wanted])

    def in_order(self, labels: Iterable[str]) -> list[str]:
        """Return labels sorted by name: ERM first, reference rows last."""
        controls = {label(record) for record in self.records if is_control_row(record.track)}
        return sorted(labels, key=lambda name: (name in controls, name != "erm", name))


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{key}={values[key]}" for key in sorted(values))


def label(record: Record) -> str:
    """Return the label of the run's row on a leaderboard."""
    params = {stage: values for stage, values in record.params.items() if values}
    return label_of(record.method_id, params)


def grouped(records: Iterable[Record]) -> list[Group]:
    """Return groups of the scored runs, sorted by split; fixtures are skipped."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record.edition != "fixture" and record.ok:
            key = canonical_json(list(_key(record)))
            groups.setdefault(key, []).append(record)
    return [
        Group(sorted(groups[key], key=lambda record: (label(record), record.seed, record.run_id)))
        for key in sorted(groups)
    ]


def group_stems(name: str, groups: Sequence[Group]) -> list[str]:
    """Return one file name per group; groups of the same split get distinct names."""
    plain = [f"{name}_{slug(group.split)}" for group in groups]
    stems = []
    for stem, group in zip(plain, groups, strict=True):
        variant = ""
        if plain.count(stem) > 1:
            first = group.records[0]
            variant = f"_{slug(f'{first.edition}_{first.recipe}')}_{group.runs_digest[:8]}"
        stems.append(stem + variant)
    return stems


def predictions_of(record: Record) -> pd.DataFrame | None:
    """Return the predicted classes of a run, or None if none are stored."""
    table = record.predictions()
    return table if table is not None and "y_pred" in table else None


def with_predictions(groups: Iterable[Group]) -> list[tuple[Group, dict[str, list[pd.DataFrame]]]]:
    """Return the groups with stored predictions, each with the tables of every method's seeds."""
    pairs = []
    for group in groups:
        tables: dict[str, list[pd.DataFrame]] = {}
        for name, records in group.by_label().items():
            stored = [table for record in records if (table := predictions_of(record)) is not None]
            if stored:
                tables[name] = stored
        if tables:
            pairs.append((group.only(tables), tables))
    return pairs


def mixing_value(record: Record, metric: str) -> float:
    """Return a metric of embeddings over all rows, or its mean over folds; NaN if not available.

    Embeddings of two folds come from two models, so they are never pooled.
    """
    value = record.metrics.get(metric)
    if value is not None:
        return float(value)
    folds = [v for key, v in record.subsets(metric, "embedding").items() if key.startswith("fold=")]
    return float(np.mean(folds)) if folds else float("nan")
