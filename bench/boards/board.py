"""Records -> boards: a pure function, without clock, network or a look at other records.

A board holds runs that may be compared: one split, edition, data content, recipe, selection,
metric and read-out. Within it a row is a method with its parameters, over seeds. Nothing is scaled
over the methods present, so that adding one never moves another's numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.boards.stats.scores import MIN_CLUSTERS
from bench.core.words import plural
from bench.records.selection import RULES

if TYPE_CHECKING:
    from bench.boards.claims import Judged
    from bench.boards.pairing import Paired
    from bench.boards.stats.scores import Scores
    from bench.records.schema import CodeSummary, Tuning

__all__ = ["MIN_CLUSTERS", "MIN_SEEDS", "Board", "Row"]

MIN_SEEDS = 3
"""With fewer seeds a row is marked and not ranked."""
TRACKS = ("inductive", "test-controls", "test-batch", "transductive", "reference")
BASELINE = "erm"
READOUTS = ("auto", "head", "probe", "knn1")
PREFIXES = ("head.", "probe.", "knn1.")
EDITIONS = {"real": "real data", "simulated": "simulated data", "fixture": "fixture"}
SELECTIONS = {one.name: one.words for one in RULES.values()}

Values = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method with its parameters on a board.

    Attributes
    ----------
    method
        Label: the chain with the parameters that differ from their defaults.
    method_id, params
        The chain and those parameters by stage.
    track, access, level, readout, badges, tuning
        As in the records.
    status
        ``ok`` or ``not-applicable``.
    reason
        Why it is not applicable, or not ranked; empty otherwise.
    mean, sd
        Over seeds, of the metric over all evaluated units; ``sd`` has n - 1 in its denominator.
    seeds, values
        The seeds and their values, in the same order.
    n_clusters, cluster_level
        How many clusters (plates, weeks, …) the interval rests on.
    points
        Mean over seeds of each cluster, by its name.
    ci_low, ci_high
        Interval of 95 % over seeds crossed with clusters, centred on ``mean``; None with one
        seed or fewer than :data:`MIN_CLUSTERS` clusters.
    diff_to_erm, diff_low, diff_high, diff_p, diff_seeds
        Mean difference to ERM over the seeds that both have, its interval and p value
        (``bench.boards.pairing``).
    verdict
        ``helps``, ``hurts``, ``cannot be told apart from ERM``; empty without an interval or with
        fewer than :data:`MIN_SEEDS` seeds in common.
    rank
        Within the track, from 1; None if not ranked.
    cost
        ``fit_s`` and ``apply_s`` (means, seconds), ``steps`` and ``images_seen`` of the training
        (means), ``peak_bytes`` (largest).
    command
        What makes exactly this row's runs, one line for each stretch of seeds; for a row that was
        tuned what was typed, since its values are found by the search.
    typed
        The commands that the records were made with, which may have made other rows as well.
    published
        What papers reported of this method on this split, each with its status by this row's runs
        (``bench.boards.claims``).
    scores
        The values by seed and cluster that intervals and paired differences are computed from;
        None without a value.
    versus_erm
        The paired difference to ERM that the ``diff_`` values are read from.
    codes
        The different codes that made the runs; more than one is not ranked.
    """

    method: str
    method_id: str
    params: Mapping[str, Values]
    track: str
    access: tuple[str, ...] = ()
    level: str = ""
    readout: str = ""
    badges: tuple[str, ...] = ()
    tuning: Tuning | None = None
    status: str = "ok"
    reason: str = ""
    mean: float | None = None
    sd: float | None = None
    seeds: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    n_clusters: int = 0
    cluster_level: str = ""
    points: Mapping[str, float]
    ci_low: float | None = None
    ci_high: float | None = None
    verdict: str = ""
    rank: int | None = None
    cost: Mapping[str, float]
    command: str = ""
    typed: tuple[str, ...] = ()
    published: tuple[Judged, ...] = ()
    scores: Scores | None = field(default=None, repr=False, compare=False)
    versus_erm: Paired | None = field(default=None, repr=False, compare=False)
    codes: tuple[CodeSummary, ...] = field(default=(), repr=False, compare=False)

    @property
    def n_seeds(self) -> int:
        """Number of seeds."""
        return len(self.seeds)

    @property
    def diff_to_erm(self) -> float | None:
        """Mean difference to ERM."""
        return None if self.versus_erm is None else self.versus_erm.difference

    @property
    def diff_low(self) -> float | None:
        """Lower 95 % limit of the difference to ERM."""
        return None if self.versus_erm is None else self.versus_erm.low

    @property
    def diff_high(self) -> float | None:
        """Upper 95 % limit of the difference to ERM."""
        return None if self.versus_erm is None else self.versus_erm.high

    @property
    def diff_p(self) -> float | None:
        """P value of the difference to ERM."""
        return None if self.versus_erm is None else self.versus_erm.p

    @property
    def diff_seeds(self) -> int:
        """Number of seeds that the row and ERM have in common."""
        return 0 if self.versus_erm is None else self.versus_erm.n_seeds

    @property
    def clusters_in_words(self) -> str:
        """``n = 4 plates``."""
        level = self.cluster_level or "cluster"
        return f"n = {self.n_clusters} {level if self.n_clusters == 1 else plural(level)}"


@dataclass(frozen=True, kw_only=True)
class Board:
    """Rows that may be compared.

    Attributes
    ----------
    split, edition, recipe, metric, readout, selection
        What is equal for all rows.
    overrides
        Recipe values that were set by hand.
    settings
        Settings of the data, such as a simulator's draw, that differ from their defaults.
    higher_is_better
        Direction of the metric.
    chance
        Score of guessing, or None.
    shift
        What differs between training and test data, a sentence.
    title
        All of this in words.
    runs_digest
        Identity of the runs and predictions that the board was made of.
    run_ids
        Ids of these runs.
    rows
        By track, in order of rank; reference rows last.
    notes
        Sentences: coverage of the intervals, what differences could be found at all, mixed
        hardware, failed runs, repeated seeds.
    """

    split: str
    edition: str
    recipe: str
    metric: str
    readout: str
    selection: str
    overrides: Values
    settings: Values
    higher_is_better: bool
    chance: float | None
    shift: str
    title: str
    runs_digest: str
    run_ids: frozenset[str] = field(repr=False)
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


sorted_json = json.JSONEncoder(sort_keys=True, default=str).encode
