"""Leaderboards, computed from records by a pure function.

A board contains comparable runs: same split, edition, data content, recipe, selection, metric and
readout. Each row is one method with its parameters, aggregated over seeds. Scores are never scaled
across methods, so adding a method does not change the numbers of another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.boards.stats.scores import MIN_CLUSTERS
from bench.boards.units import level_name
from bench.core.words import count
from bench.records.selection import RULES

if TYPE_CHECKING:
    from bench.boards.claims import Judged
    from bench.boards.pairing import Paired
    from bench.boards.stats.scores import Scores
    from bench.records.schema import CodeSummary, Tuning

__all__ = ["MIN_CLUSTERS", "MIN_SEEDS", "Board", "Row"]

MIN_SEEDS = 3
"""Rows with fewer seeds are marked and not ranked."""
TRACKS = ("inductive", "test-controls", "test-batch", "transductive", "reference")
READOUTS = ("auto", "head", "probe", "knn1")
PREFIXES = ("head.", "probe.", "knn1.")
EDITIONS = {"real": "real data", "simulated": "simulated data", "fixture": "fixture"}
SELECTIONS = {rule.name: rule.title for rule in RULES.values()}

COMPARISON_COLUMNS = (
    "diff_to_identity",
    "baseline",
    "difference",
    "difference_low",
    "difference_high",
    "p",
    "p_holm",
    "detectable",
    "verdict",
)
"""Fields of a row that compare it with its baseline, in the order of every table."""

Values = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method with its parameters on a board.

    Attributes
    ----------
    method
        Label: the chain with its non-default parameters.
    method_id, params
        The chain, and the non-default parameters by stage.
    track, access, level, readout, badges, tuning
        As in the records.
    status
        ``ok`` or ``not-applicable``.
    reason
        Why the row is not applicable or not ranked; empty otherwise.
    mean, sd
        Mean and standard deviation (n - 1) over seeds of the metric on all scored units.
    seeds, values
        The seeds and their values, in the same order.
    n_clusters, cluster_level
        Number of clusters behind the interval, and their level (plate, week, …).
    points
        Cluster name -> mean over seeds.
    ci_low, ci_high
        95 % interval over seeds crossed with clusters, centred on ``mean`` and cut at the range of
        the metric; None with one seed or fewer than :data:`MIN_CLUSTERS` clusters.
    baseline
        The chain that the method is compared with (``bench.boards.baselines``); empty if it has no
        row, and for baselines themselves.
    differences
        Paired difference to each baseline with a row: ``identity``, ``pca``, ``erm``, and the
        method's own baseline if that is another one.
    difference, difference_low, difference_high, p
        Difference to ``baseline``, its 95 % limits (not adjusted) and its p value
        (``bench.boards.pairing``).
    p_holm
        ``p``, adjusted for all rows of the board (Holm 1979); control rows are no tests.
    detectable
        Smallest difference to ``baseline`` that the test detects with power 0.8, at level 0.05
        divided by the number of tests.
    diff_to_erm, diff_low, diff_high, diff_p, diff_seeds
        The same for ``erm``, whatever the baseline, with the number of common seeds.
    verdict
        ``improves``, ``worsens`` or ``no detectable difference`` to ``baseline`` at 5 % after
        Holm's adjustment; empty without an interval, with fewer than :data:`MIN_SEEDS` seeds in
        common (deterministic methods excepted), or if the board gives no verdicts.
    rank
        Within the track, from 1; None if not ranked.
    cost
        ``fit_s`` and ``apply_s`` (means, seconds), ``steps`` and ``images_seen`` in training
        (means), ``peak_bytes`` (maximum).
    command
        Commands that reproduce exactly the runs of this row, one line per range of seeds. For a
        tuned row, the command as typed, since the search finds the values.
    typed
        The commands that created the records; they may have created other rows too.
    published
        Published numbers of this method on this split, each with its status given the runs of
        this row (``bench.boards.claims``).
    scores
        Values by seed and cluster, used for intervals and paired differences; None without a
        value.
    codes
        The distinct code versions of the runs. A row with more than one is not ranked.
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
    baseline: str = ""
    p_holm: float | None = None
    detectable: float | None = None
    verdict: str = ""
    rank: int | None = None
    cost: Mapping[str, float]
    command: str = ""
    typed: tuple[str, ...] = ()
    published: tuple[Judged, ...] = ()
    scores: Scores | None = field(default=None, repr=False, compare=False)
    differences: Mapping[str, Paired] = field(default_factory=dict, repr=False, compare=False)
    codes: tuple[CodeSummary, ...] = field(default=(), repr=False, compare=False)

    @property
    def n_seeds(self) -> int:
        """Number of seeds."""
        return len(self.seeds)

    @property
    def deterministic(self) -> bool:
        """Whether one seed represents all."""
        return self.scores is not None and self.scores.deterministic

    @property
    def versus(self) -> Paired | None:
        """The paired difference to the baseline."""
        return self.differences.get(self.baseline)

    @property
    def difference(self) -> float | None:
        """Mean difference to the baseline."""
        return None if self.versus is None else self.versus.difference

    @property
    def difference_low(self) -> float | None:
        """Lower 95 % limit of the difference to the baseline."""
        return None if self.versus is None else self.versus.low

    @property
    def difference_high(self) -> float | None:
        """Upper 95 % limit of the difference to the baseline."""
        return None if self.versus is None else self.versus.high

    @property
    def p(self) -> float | None:
        """P value of the difference to the baseline, not adjusted."""
        return None if self.versus is None else self.versus.p

    def difference_to(self, baseline: str) -> float | None:
        """Return the mean difference to ``identity``, ``pca`` or ``erm``."""
        gap = self.differences.get(baseline)
        return None if gap is None else gap.difference

    @property
    def diff_to_erm(self) -> float | None:
        """Mean difference to ERM."""
        return self.difference_to("erm")

    @property
    def diff_low(self) -> float | None:
        """Lower 95 % limit of the difference to ERM."""
        gap = self.differences.get("erm")
        return None if gap is None else gap.low

    @property
    def diff_high(self) -> float | None:
        """Upper 95 % limit of the difference to ERM."""
        gap = self.differences.get("erm")
        return None if gap is None else gap.high

    @property
    def diff_p(self) -> float | None:
        """P value of the difference to ERM, not adjusted."""
        gap = self.differences.get("erm")
        return None if gap is None else gap.p

    @property
    def diff_seeds(self) -> int:
        """Number of seeds shared with ERM."""
        gap = self.differences.get("erm")
        return 0 if gap is None else gap.n_seeds

    @property
    def clusters_in_words(self) -> str:
        """``n = 4 plates``."""
        return f"n = {count(self.n_clusters, level_name(self.cluster_level or 'cluster'))}"


@dataclass(frozen=True, kw_only=True)
class Board:
    """Rows that can be compared.

    Attributes
    ----------
    split, edition, recipe, metric, readout, selection
        Equal for all rows.
    settings
        Non-default settings of the data, such as a simulator's draw.
    chance
        Score of random guessing, or None.
    shift
        One sentence: how training and test data differ.
    release
        Name of the benchmark release that all rows belong to; empty outside a release.
    scope
        Restriction of the verdicts, such as ``within this laboratory``; empty if they refer to
        further new units (``bench.boards.units``).
    oracle
        Score of ``label-oracle`` if it is not the best possible one although the metric has that
        ceiling: the readout cannot reach the truth, and the board gives no verdicts. Else None.
    runs_digest
        Digest of the runs and predictions behind the board.
    rows
        Sorted by track, then rank; reference rows last.
    notes
        Sentences: coverage of the intervals, detectable differences, mixed hardware, failed runs,
        repeated seeds.
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
    release: str
    scope: str
    oracle: float | None
    title: str
    runs_digest: str
    run_ids: frozenset[str] = field(repr=False)
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


sorted_json = json.JSONEncoder(sort_keys=True, default=str).encode
