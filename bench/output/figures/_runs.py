"""Runs by what they share, for figures that need more than a board holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.boards.board import EDITIONS, SELECTIONS
from bench.boards.values import label_of
from bench.core.canonical import canonical_json, digest
from bench.output.figures._shared import slug
from bench.records.record import Record, as_record, flat

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

    from bench.boards.board import Board

_KEY = (
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
    """Runs of one split, edition, recipe and content of the data.

    Attributes
    ----------
    records
        Sorted by label and seed.
    summaries
        What boards need of each, in the same order.
    """

    records: Sequence[Record]
    summaries: Sequence[Mapping[str, Any]]

    @property
    def split(self) -> str:
        """The canonical name of the split."""
        return str(self.summaries[0]["split_id"])

    @property
    def subtitle(self) -> str:
        """Edition, recipe and selection in words."""
        first = self.summaries[0]
        data = EDITIONS.get(str(first["edition"]), str(first["edition"]))
        if first.get("dataset_settings"):
            data += f" ({_pairs(first['dataset_settings'])})"
        recipe = f"recipe {first['recipe']}"
        if first.get("recipe_overrides"):
            recipe += f" with {_pairs(first['recipe_overrides'])}"
        selection = str(first.get("selection", "last"))
        return f"{data} · {recipe} · {SELECTIONS.get(selection, selection)}"

    @property
    def facts(self) -> dict[str, Any]:
        """Columns that each row of a CSV begins with."""
        return {key: self.summaries[0][key] for key in ("split_id", "edition", "recipe")}

    @property
    def runs_digest(self) -> str:
        """Identity of the runs and their predictions."""
        runs = [[s["run_id"], s.get("predictions_sha256", "")] for s in self.summaries]
        return digest(sorted(runs))

    def boards(self, boards: Iterable[Board]) -> list[Board]:
        """Return the leaderboards that contain runs of the group."""
        run_ids = {str(summary["run_id"]) for summary in self.summaries}
        return [board for board in boards if not run_ids.isdisjoint(board.run_ids)]

    def by_label(self) -> dict[str, list[Record]]:
        """Return the records of each method with its parameters, in order of seeds."""
        found: dict[str, list[Record]] = {}
        for record, summary in zip(self.records, self.summaries, strict=True):
            found.setdefault(label(summary), []).append(record)
        return found

    def only(self, labels: Iterable[str]) -> Group:
        """Return the runs of some methods alone."""
        wanted = set(labels)
        pairs = zip(self.records, self.summaries, strict=True)
        kept = [(record, one) for record, one in pairs if label(one) in wanted]
        return Group([record for record, _ in kept], [one for _, one in kept])


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={values[key]}" for key in sorted(values))


def label(summary: Mapping[str, Any]) -> str:
    """Return what a row of a board would be called."""
    params = {stage: values for stage, values in (summary.get("params") or {}).items() if values}
    return label_of(str(summary["method_id"]), params)


def grouped(records: Iterable[Mapping[str, Any]]) -> list[Group]:
    """Return groups of the runs that were scored, sorted by split; fixtures are left out."""
    groups: dict[str, list[tuple[str, int, str, Record, Any]]] = {}
    for record in map(as_record, records):
        one = flat(record)
        if one.get("edition") == "fixture" or one.get("status", "ok") != "ok":
            continue
        key = canonical_json([one.get(name) for name in _KEY])
        row = (label(one), int(one["seed"]), str(one["run_id"]), record, one)
        groups.setdefault(key, []).append(row)
    made = []
    for key in sorted(groups):
        rows = sorted(groups[key], key=lambda row: row[:3])
        made.append(Group([row[3] for row in rows], [row[4] for row in rows]))
    return made


def group_stems(name: str, groups: Sequence[Group]) -> list[str]:
    """Return a file name for each group, with what tells apart those of one split."""
    plain = [f"{name}_{slug(group.split)}" for group in groups]
    made = []
    for stem, group in zip(plain, groups, strict=True):
        if plain.count(stem) > 1:
            first = group.summaries[0]
            where = slug(f"{first['edition']}_{first['recipe']}")
            stem = f"{stem}_{where}_{group.runs_digest[:8]}"
        made.append(stem)
    return made


def predictions_of(record: Record) -> pd.DataFrame | None:
    """Return the predicted classes of a run, or None if it keeps none."""
    table = record.predictions()
    return table if table is not None and "y_pred" in table else None


def with_predictions(groups: Iterable[Group]) -> list[tuple[Group, dict[str, list[pd.DataFrame]]]]:
    """Return the groups that keep predictions, each with the tables of a method's seeds."""
    found = []
    for group in groups:
        tables: dict[str, list[pd.DataFrame]] = {}
        for name, records in group.by_label().items():
            kept = [table for one in records if (table := predictions_of(one)) is not None]
            if kept:
                tables[name] = kept
        if tables:
            found.append((group.only(tables), tables))
    return found


def in_order(labels: Iterable[str], summaries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return labels by name: ERM first, reference rows last."""
    reference = {label(one) for one in summaries if one.get("track") == "reference"}
    return sorted(labels, key=lambda name: (name in reference, name != "erm", name))


def mixing_value(record: Record, summary: Mapping[str, Any], metric: str) -> float:
    """Return a metric of embeddings over all rows, or its mean over folds; NaN if it has none.

    Embeddings of two folds come from two models, so they are never pooled.
    """
    value = summary["metrics"].get(metric)
    if value is not None:
        return float(value)
    folds = [v for key, v in record.subsets(metric, "embedding").items() if key.startswith("fold=")]
    return float(np.mean(folds)) if folds else float("nan")
