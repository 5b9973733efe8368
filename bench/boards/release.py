"""Releases of the benchmark: named suites with the digests of their splits.

``releases/NAME.toml`` fixes everything that a published score depends on besides the method: suite,
splits with the digests of their rows and data, recipes, metric versions and numerics. A run belongs
to a release if it agrees in all of them; nothing in the record states it. ``results/release.py``
writes the file.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.canonical import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.core.types import Facts
    from bench.records.record import Record

FOLDER = Path(__file__).with_name("releases")
Key = tuple[str, str, str]
"""Split, edition and JSON of the data settings."""


@dataclass(frozen=True)
class Release:
    """A named state of the benchmark.

    Attributes
    ----------
    name, title
        Name such as ``2026.1``, and one line.
    doi
        DOI of the deposited records; empty until there is one.
    suite
        Name of the suite of ``sweep`` that produces its runs.
    numerics
        Version of the numerics.
    metrics
        Metric -> version.
    recipes
        Recipe -> digests of its resolved values, one per kind of data.
    splits
        Split, edition and settings -> digests of the split's rows and of the data.
    """

    name: str
    title: str
    doi: str
    suite: str
    numerics: int
    metrics: Mapping[str, int]
    recipes: Mapping[str, tuple[str, ...]]
    splits: Mapping[Key, tuple[str, str]]

    def why_not(self, run: Record, metric: str) -> str:
        """Return why a run's score does not belong to the release; empty if it does.

        Parameters
        ----------
        run
            A record.
        metric
            Name without a readout.
        """
        key = (run.split_id, run.edition, canonical_json(run.dataset_settings))
        if key not in self.splits:
            names = {split for split, *_ in self.splits}
            what = "edition or settings" if run.split_id in names else "split"
            return f"the {what} of {run.split_id} is not in it"
        if self.splits[key] != (run.split_digest, run.data_digest):
            return f"the rows or data of {run.split_id} are others"
        if run.numerics != self.numerics:
            return f"numerics {run.numerics} instead of {self.numerics}"
        if run.recipe_digest not in self.recipes.get(run.recipe, ()) or run.recipe_overrides:
            return f"recipe {run.recipe}{' with changes' if run.recipe_overrides else ''}"
        if run.grouping:
            return "it is a study"
        version = run.metric_versions.get(metric)
        if version is not None and version != self.metrics.get(metric):
            return f"version {version} of {metric}"
        return ""


def parse(name: str, data: Facts) -> Release:
    """Return the release that a TOML file describes."""
    return Release(
        name=name,
        title=str(data["title"]),
        doi=str(data["doi"]),
        suite=str(data["suite"]),
        numerics=int(data["numerics"]),
        metrics=dict(data["metrics"]),
        recipes={recipe: tuple(digests) for recipe, digests in data["recipes"].items()},
        splits={
            (s["name"], s["edition"], canonical_json(s.get("settings", {}))): (
                s["rows"],
                s["data"],
            )
            for s in data["split"]
        },
    )


@functools.cache
def releases() -> tuple[Release, ...]:
    """Return the packaged releases, the newest first."""
    return tuple(
        parse(file.stem, tomllib.loads(file.read_text(encoding="utf-8")))
        for file in sorted(FOLDER.glob("*.toml"), reverse=True)
    )


def release_of(run: Record, metric: str) -> str:
    """Return the name of the newest release that a run's score belongs to, or ``""``."""
    return next((r.name for r in releases() if not r.why_not(run, metric)), "")


def release_note(run: Record, metric: str) -> str:
    """Return one sentence about the release of a board."""
    name = release_of(run, metric)
    for release in releases():
        if release.name == name:
            return f"Benchmark release {name} (DOI: {release.doi or 'none yet'})."
    newest = next(iter(releases()), None)
    if newest is None:
        return ""
    return f"Not part of benchmark release {newest.name}: {newest.why_not(run, metric)}."
