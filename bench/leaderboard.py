"""Records -> boards: a pure function, without clock, network or a look at other records.

A board holds runs that may be compared: one split, edition, data content, recipe, selection,
metric and read-out. Within it a row is a method with its parameters, over seeds. Nothing is scaled
over the methods present, so that adding one never moves another's numbers.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.claims import Judged, claims_of, judge, without_level
from bench.errors import BenchError, did_you_mean
from bench.reproduce import command_of
from bench.selection import RULES
from bench.statistics import (
    MIN_CLUSTERS,
    Scores,
    interval,
    minimum_detectable_difference,
    paired_spread,
    printed_coverage,
    smallest_p,
)
from bench.store import Record, digest, is_derived, saw_test_batches, summarise

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "MIN_CLUSTERS",
    "MIN_SEEDS",
    "Board",
    "Comparison",
    "Row",
    "Table",
    "boards",
    "compare",
    "label_of",
    "plural",
    "to_json",
]

MIN_SEEDS = 3
"""With fewer seeds a row is marked and not ranked."""
TRACKS = ("inductive", "test-controls", "test-batch", "transductive", "reference")
BASELINE = "erm"
READOUTS = ("auto", "head", "probe", "knn1")
_PREFIXES = ("head.", "probe.", "knn1.")
EDITIONS = {"real": "real data", "simulated": "simulated data", "fixture": "fixture"}
SELECTIONS = {one.name: one.words for one in RULES.values()}

Values = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Table:
    """Values of a row by seed and by cluster, for intervals and for points.

    Attributes
    ----------
    names
        The clusters for which every seed has a value.
    values
        ``seed -> cluster -> value`` of the metric within the cluster.
    parts
        The same of what the pooled metric is the weighted mean of, where the record has it: a
        balanced accuracy is not the mean of the balanced accuracies of plates.
    sizes
        Weight of each cluster in that mean; the number of scored units where there are no parts.
    """

    seeds: tuple[int, ...]
    names: tuple[str, ...]
    values: Mapping[int, Mapping[str, float]]
    parts: Mapping[int, Mapping[str, float]] | None
    sizes: Mapping[str, float]

    def array(self, seeds: Sequence[int], names: Sequence[str]) -> NDArray[np.float64]:
        """Return ``(seeds, clusters)`` of what intervals are made of."""
        table = self.values if self.parts is None else self.parts
        return np.array([[table[seed][name] for name in names] for seed in seeds])

    def scores(self) -> Scores:
        """Return the table with its names, for paired comparisons."""
        return Scores(
            self.array(self.seeds, self.names), self.seeds, self.names, self.weights(self.names)
        )

    def weights(self, names: Sequence[str]) -> NDArray[np.float64] | None:
        """Return the clusters' weights, or None if one is not known."""
        if not all(self.sizes.get(name, 0) > 0 for name in names):
            return None
        return np.array([self.sizes[name] for name in names], dtype=np.float64)


_NO_TABLE = Table((), (), {}, None, {})


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
        Mean difference to ERM over the seeds that both have, its interval and p value.
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
        (``bench.claims``).
    table
        The values by seed and cluster that intervals and paired differences are made of.
    """

    method: str
    method_id: str
    params: Mapping[str, Values]
    track: str
    access: tuple[str, ...] = ()
    level: str = ""
    readout: str = ""
    badges: tuple[str, ...] = ()
    tuning: Any = None
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
    diff_to_erm: float | None = None
    diff_low: float | None = None
    diff_high: float | None = None
    diff_p: float | None = None
    diff_seeds: int = 0
    verdict: str = ""
    rank: int | None = None
    cost: Mapping[str, float]
    command: str = ""
    typed: tuple[str, ...] = ()
    published: tuple[Judged, ...] = ()
    table: Table = field(default=_NO_TABLE, repr=False, compare=False)

    @property
    def n_seeds(self) -> int:
        """Number of seeds."""
        return len(self.seeds)

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
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


# --------------------------------------------------------------------------- choosing records


def boards(
    records: Iterable[Mapping[str, Any]],
    *,
    split: str | None = None,
    metric: str | None = None,
    readout: str | None = None,
    edition: str | None = None,
    recipe: str | None = None,
    methods: Sequence[str] | None = None,
    failures: Iterable[Mapping[str, Any]] = (),
    studies: bool = False,
) -> list[Board]:
    """Return the boards of some records, sorted by split, edition and recipe.

    Parameters
    ----------
    records
        Committed runs (``Store.load_all``) or mappings of the same form. Those of fixtures are
        left out: no board is made of them.
    split
        Canonical name, or the name that was typed when the runs were made; all by default, without
        those that were made of another split's rows for validation or a study.
    metric
        Name of a metric, also as ``head.NAME``, ``probe.NAME`` or ``knn1.NAME``; each
        split's primary metric by default.
    readout
        ``head``, ``probe``, ``knn1`` (class of the nearest training profile), or ``auto``: by
        probe if any row of the board has no head, since like is compared with like.
    edition, recipe, methods
        Keep only these; methods by typed name or chain.
    failures
        As from ``Store.failures``: named in the notes, never shown as rows.
    studies
        Whether runs of studies, whose test rows were grouped in another way, have boards of their
        own. They never stand on the board of ordinary runs.

    Raises
    ------
    BenchError
        For a split, metric, edition, recipe or read-out that no record has.
    """
    chosen = readout or "auto"
    if chosen not in READOUTS:
        raise BenchError(did_you_mean(chosen, list(READOUTS), "read-out"))
    if metric is not None:
        prefix, _, bare = metric.partition(".")
        if f"{prefix}." in _PREFIXES and bare:
            metric, chosen = bare, prefix
    runs = [
        record.summary if isinstance(record, Record) else summarise(record) for record in records
    ]
    runs = [run for run in runs if run.get("edition") != "fixture"]
    if not studies:
        runs = [run for run in runs if not run.get("grouping")]
    runs.sort(key=lambda run: str(run["run_id"]))
    if split is not None:
        named = {str(run["split_id"]) for run in runs if split in (run["split_id"], run["split"])}
        known = {str(run["split_id"]) for run in runs}
        if not named and runs:
            raise BenchError(f"no runs: {did_you_mean(split, sorted(known), 'split')}")
        runs = [run for run in runs if run["split_id"] in named]
    else:
        runs = [run for run in runs if not is_derived(str(run["split_id"]))]
    runs = _only(runs, "edition", edition)
    runs = _only(runs, "recipe", recipe)
    if methods is not None:
        wanted = set(methods)
        runs = [run for run in runs if run["method"] in wanted or run["method_id"] in wanted]
    if metric is not None and runs:
        _check_metric(metric, runs)
    groups = _grouped(runs, metric)
    failed = list(failures)
    made = []
    for key in sorted(groups, key=lambda key: tuple(map(str, key))):
        board = _board(groups[key], str(key[0]), chosen, failed)
        if board is not None:
            made.append(board)
    return _distinct(made)


def _only(runs: list[dict[str, Any]], name: str, value: str | None) -> list[dict[str, Any]]:
    if value is None or not runs:
        return runs
    kept = [run for run in runs if run[name] == value]
    if not kept:
        raise BenchError(
            f"no runs: {did_you_mean(value, sorted({str(run[name]) for run in runs}), name)}"
        )
    return kept


def _bare(name: str) -> str:
    prefix, _, rest = name.partition(".")
    return rest if f"{prefix}." in _PREFIXES else name


def _check_metric(metric: str, runs: list[dict[str, Any]]) -> None:
    known = {_bare(name) for r in runs for name in r["metrics"]}
    if metric not in known and known:
        raise BenchError(f"no runs: {did_you_mean(metric, sorted(known), 'metric')}")


_SHOWN = (
    "split_id",
    "edition",
    "recipe",
    "selection",
    "dataset_settings",
    "recipe_overrides",
    "grouping",
)
_HIDDEN = ("split_digest", "data_digest", "recipe_digest", "standardise", "score_unit")


def _key(run: Mapping[str, Any], metric: str | None) -> tuple[Any, ...]:
    """Return all that must agree for two runs to stand on one board; the metric comes first."""
    name = metric or str(run.get("primary"))
    shown = [
        _sorted_json(value) if isinstance(value, dict) else value for value in map(run.get, _SHOWN)
    ]
    version = run.get("metric_versions", {}).get(name)
    return (name, *shown, *map(run.get, _HIDDEN), version)


def _grouped(
    runs: list[dict[str, Any]], metric: str | None
) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Return the runs of each board.

    Where runs of one split stand for different metrics, each of these has a board, on which the
    other runs stand too, with or without a value: what was told a label has no official score.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(_key(run, metric), []).append(run)
    alike: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for key in groups:
        alike.setdefault(key[1:-1], []).append(key)
    own = {key: list(members) for key, members in groups.items()}
    for keys in alike.values():
        for key in keys:
            for other in keys:
                if other[0] == key[0]:
                    continue
                groups[key] += [
                    run
                    for run in own[other]
                    if run.get("metric_versions", {}).get(key[0]) in (None, key[-1])
                ]
    return groups


def _distinct(made: list[Board]) -> list[Board]:
    """Sort the boards, and tell apart those whose titles agree although their data do not."""
    made.sort(key=lambda board: (board.split, board.edition, board.recipe, board.title))
    titles = [board.title for board in made]
    if len(set(titles)) == len(titles):
        return made
    return [
        dataclasses.replace(board, title=f"{board.title} · runs {board.runs_digest[:8]}")
        if titles.count(board.title) > 1
        else board
        for board in made
    ]


# --------------------------------------------------------------------------- one board


def _board(
    runs: list[dict[str, Any]],
    metric: str,
    readout: str,
    failures: Sequence[Mapping[str, Any]],
) -> Board | None:
    scored = [run for run in runs if run.get("status", "ok") == "ok"]
    names = {name for run in scored for name in run["metrics"]}
    if scored and not any(f"{prefix}{metric}" in names for prefix in ("", *_PREFIXES)):
        return None
    used = _readout(scored, metric, readout)
    higher = _higher_is_better(metric) and not any(
        metric in (run.get("lower_is_better") or ()) for run in runs
    )
    notes: list[str] = []
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        if run.get("status", "ok") in ("ok", "not-applicable"):
            groups.setdefault(_row_key(run), []).append(run)
    several_versions = _several_versions(groups)
    rows = [
        _row(groups[key], metric, used, key in several_versions, notes) for key in sorted(groups)
    ]
    base = _baseline(rows)
    if base is not None:
        rows = [_compared(row, rows[base], higher=higher) for row in rows]
    rows = _equal_budgets(rows, notes)
    first = runs[0]
    notes += _upstream(runs)
    notes += _cautions(scored)
    notes += _coverage(rows)
    if base is not None:
        notes += _detectable(rows, rows[base])
    notes += _mixture(scored)
    notes += _failed(runs, failures)
    settings = dict(first.get("dataset_settings") or {})
    overrides = dict(first.get("recipe_overrides") or {})
    return Board(
        split=str(first["split_id"]),
        edition=str(first["edition"]),
        recipe=str(first["recipe"]),
        metric=metric,
        readout=used,
        selection=str(first.get("selection", "last")),
        overrides=overrides,
        settings=settings,
        higher_is_better=higher,
        chance=_chance(first, metric),
        shift=str(first.get("shift", "")),
        title=_title(first, metric, used, settings, overrides),
        runs_digest=digest(
            [[r["run_id"], r.get("predictions_sha256", ""), r.get("status")] for r in runs]
        ),
        rows=tuple(_sorted(_ranked(rows, higher=higher), higher=higher)),
        notes=tuple(notes),
    )


def _readout(runs: Sequence[Mapping[str, Any]], metric: str, asked: str) -> str:
    """Return ``head``, ``probe``, or ``embedding`` for a metric that needs no read-out."""
    split = [
        run
        for run in runs
        if f"head.{metric}" in run["metrics"] or f"probe.{metric}" in run["metrics"]
    ]
    if not split:
        # Records write prefixed values for all that a read-out predicts, so a bare metric is one
        # of the profiles themselves, unless its own file says that it needs predictions.
        needs = _metric_meta(metric).get("needs")
        own = {str(run.get("readout")) for run in runs if metric in run["metrics"]}
        if needs == "embedding" or (needs is None and len(own) > 1):
            return "embedding"
        if asked != "auto":
            return asked
        return own.pop() if len(own) == 1 else "probe"
    if asked != "auto":
        return asked
    return "head" if all(f"head.{metric}" in run["metrics"] for run in runs) else "probe"


def _value(run: Mapping[str, Any], metric: str, readout: str) -> float | None:
    metrics = run["metrics"]
    if readout == "embedding":
        return metrics.get(metric)  # type: ignore[no-any-return]
    value = metrics.get(f"{readout}.{metric}")
    if value is None and run.get("readout") == readout:
        value = metrics.get(metric)
    return value  # type: ignore[no-any-return]


def _table(runs: Mapping[int, Mapping[str, Any]], metric: str, readout: str) -> Table:
    """Collect the clusters that every seed has a value for."""
    made: dict[str, dict[int, dict[str, float]]] = {"values": {}, "parts": {}, "weights": {}}
    sizes: dict[str, float] = {}
    for seed, run in runs.items():
        clusters = run.get("clusters") or {}
        names = [str(name) for name in clusters.get("names", ())]
        sizes.update(zip(names, clusters.get("n", ()), strict=False))
        for kind, found in made.items():
            columns = clusters.get(kind) or {}
            column = None
            if readout != "embedding":
                column = columns.get(f"{readout}.{metric}")
            if column is None and readout in ("embedding", run.get("readout")):
                column = columns.get(metric)
            pairs = zip(names, json.loads(column) if column else (), strict=False)
            found[seed] = {name: float(value) for name, value in pairs if value is not None}
    values, parts = made["values"], made["parts"]
    shared = set.intersection(*map(set, values.values())) if values else set()
    whole = bool(shared) and all(
        shared <= set(made[kind][seed]) for kind in ("parts", "weights") for seed in values
    )
    if whole:  # the weights come from the true classes of the rows: the same for every seed
        sizes = dict(next(iter(made["weights"].values())))
    return Table(
        tuple(sorted(values)), tuple(sorted(shared)), values, parts if whole else None, sizes
    )


def _row_key(run: Mapping[str, Any]) -> str:
    budget = [_budget(run)] if run.get("tuning") else []
    return _sorted_json([run["method_id"], _changed(run), run.get("versions", {}), *budget])


def _budget(run: Mapping[str, Any]) -> tuple[int, float, int]:
    """Return what could be spent on tuning a fold: trials finished, seconds, validation sets."""
    said = run["tuning"]
    return (
        int(said.get("trials", 0)),
        float(said.get("seconds_asked", 0.0)),
        int(said.get("validations", 1)),
    )


_sorted_json = json.JSONEncoder(sort_keys=True, default=str).encode


def _changed(run: Mapping[str, Any]) -> dict[str, Any]:
    return {stage: dict(params) for stage, params in (run.get("params") or {}).items() if params}


def _several_versions(groups: Mapping[str, list[dict[str, Any]]]) -> set[str]:
    """Return the rows that need their version in the label, since another version is there."""
    by_label: dict[str, list[str]] = {}
    for key, runs in groups.items():
        by_label.setdefault(label_of(runs[0]["method_id"], _changed(runs[0])), []).append(key)
    return {key for keys in by_label.values() if len(keys) > 1 for key in keys}


def label_of(method_id: str, params: Mapping[str, Values]) -> str:
    """Return ``ben(level=week,rows=controls)``, ``erm+tvn(rank=50)``: what a row is called.

    Parameters
    ----------
    method_id
        The chain, stages joined by ``+``.
    params
        Parameters that differ from their defaults, by stage.
    """
    stages = method_id.split("+")
    words = []
    for stage in [*stages, *sorted(set(params) - set(stages))]:
        values = params.get(stage) or {}
        inner = ",".join(f"{key}={_word(values[key])}" for key in sorted(values))
        words.append(f"{stage}({inner})" if inner else stage)
    return "+".join(words)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def _row(
    runs: list[dict[str, Any]], metric: str, readout: str, versioned: bool, notes: list[str]
) -> Row:
    first, changed = runs[0], _changed(runs[0])
    label = label_of(str(first["method_id"]), changed)
    if versioned:
        versions = first.get("versions", {})
        label += " " + "+".join(f"v{versions[stage]}" for stage in versions)
    if versioned and first.get("tuning"):
        label += f" [{_budget(first)[0]} trials]"
    track = str(first.get("track", ""))
    common = {
        "method": label,
        "method_id": str(first["method_id"]),
        "params": changed,
        "track": track,
        "access": tuple(first.get("access", ())),
        "level": str(first.get("level") or ""),
        "readout": readout,
        "badges": tuple(first.get("badges", ())),
        "tuning": first.get("tuning"),
        "typed": tuple(sorted({str(run["command"]) for run in runs if run.get("command")})),
    }
    by_seed: dict[int, dict[str, Any]] = {}
    repeated = 0
    for run in sorted(runs, key=lambda run: (str(run.get("created")), str(run["run_id"]))):
        if run.get("status", "ok") == "ok" and _value(run, metric, readout) is not None:
            repeated += int(run["seed"]) in by_seed
            by_seed[int(run["seed"])] = run  # the latest of a seed counts
    if repeated:
        notes.append(f"{label}: {repeated} earlier runs of the same seeds were left out.")
    if not by_seed:
        reason = next((str(r["reason"]) for r in runs if r.get("reason")), "")
        if any(run.get("status", "ok") == "ok" for run in runs):
            reason = f"has no {metric} by {readout}"
            known = [why for run in runs for why in run.get("unranked_because") or ()]
            reason = "; ".join([reason, *dict.fromkeys(known)])
        return Row(
            **common,  # type: ignore[arg-type]
            status="not-applicable",
            reason=reason,
            points={},
            cost={},
            command=command_of(runs),
        )
    by_seed = dict(sorted(by_seed.items()))
    values = [float(_value(run, metric, readout) or 0.0) for run in by_seed.values()]
    mean, sd = _mean_sd(values)
    table = _table(by_seed, metric, readout)
    span = _span(table.array(table.seeds, table.names), table.weights(table.names), mean)
    points = {
        name: math.fsum(table.values[seed][name] for seed in table.seeds) / len(table.seeds)
        for name in table.names
    }
    return Row(
        **common,  # type: ignore[arg-type]
        published=_reported(list(by_seed.values()), metric, readout),
        reason=_why_unranked(list(by_seed.values()), track),
        mean=mean,
        sd=sd,
        seeds=tuple(by_seed),
        values=tuple(values),
        n_clusters=len(table.names),
        cluster_level=str((first.get("clusters") or {}).get("level", "")),
        points=points,
        ci_low=span.low,
        ci_high=span.high,
        cost=_cost(list(by_seed.values())),
        command=command_of(list(by_seed.values())),
        table=table,
    )


def _reported(runs: Sequence[Mapping[str, Any]], metric: str, readout: str) -> tuple[Judged, ...]:
    """Return the published numbers of a row, judged by its runs alone.

    Simulated rows have them too: judged by the rule, as numbers of real data that were not run.
    """
    first = runs[0]
    method, params = first["method_id"], without_level(first)
    found = [
        claim
        for claim in claims_of(str(first["split_id"]))
        if (claim.method_id, claim.metric) == (method, metric)
        and claim.readout == readout
        and dict(claim.params) == params
        and (not claim.level or claim.level == first.get("level"))
    ]
    if not found:
        return ()
    return tuple(judge(found, [Record(None, None, json.dumps(run)) for run in runs]))


def _mean_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the standard deviation with n - 1; None for a single value."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def _why_unranked(runs: Sequence[Mapping[str, Any]], track: str) -> str:
    reasons: dict[str, None] = {}
    if track != "reference" and len(runs) < MIN_SEEDS:
        reasons[f"fewer than {MIN_SEEDS} seeds"] = None
    for run in runs:
        if run.get("recipe") == "smoke":
            reasons["smoke recipe"] = None
        if run.get("undeclared_adaptation"):
            reasons["undeclared adaptation"] = None
        reasons.update(dict.fromkeys(map(str, run.get("unranked_because") or ())))
        if run.get("ranked") is False and not reasons:
            reasons["its record says so"] = None
    return "; ".join(reasons)


def _cost(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    costs = [run.get("cost") or {} for run in runs]
    made: dict[str, float] = {}
    for name in ("fit_s", "apply_s", "steps", "images_seen"):
        known = [float(cost[name]) for cost in costs if cost.get(name) is not None]
        if known:
            made[name] = math.fsum(known) / len(known)
    peaks = [int(cost["peak_bytes"]) for cost in costs if cost.get("peak_bytes") is not None]
    if peaks:
        made["peak_bytes"] = max(peaks)
    return made


# --------------------------------------------------------------------------- comparing rows


def _baseline(rows: Sequence[Row]) -> int | None:
    """Return the position of ERM at its defaults; of several versions the last."""
    found = [
        i
        for i, row in enumerate(rows)
        if row.method_id == BASELINE and not row.params and row.seeds
    ]
    return found[-1] if found else None


@dataclass(frozen=True)
class Comparison:
    """A paired difference between two rows of a board, over the seeds and clusters of both.

    Attributes
    ----------
    difference
        Mean over the common seeds of the first minus the second.
    low, high, p
        Interval of 95 % over seeds crossed with clusters, and its p; None with one common seed or
        fewer than :data:`MIN_CLUSTERS` common clusters.
    n_seeds
        Number of common seeds.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None
    n_seeds: int


def compare(row: Row, other: Row) -> Comparison | None:
    """Return the paired difference between two rows of one board, or None without a common seed.

    Parameters
    ----------
    row, other
        From the same board: rows of different boards have nothing in common to pair.
    """
    mine = dict(zip(row.seeds, row.values, strict=True))
    theirs = dict(zip(other.seeds, other.values, strict=True))
    seeds = [seed for seed in row.seeds if seed in theirs]
    if not seeds:
        return None
    difference = math.fsum(mine[seed] - theirs[seed] for seed in seeds) / len(seeds)
    table, base = row.table, other.table
    theirs_too = set(base.names)
    names = [name for name in table.names if name in theirs_too]
    if (table.parts is None) != (base.parts is None):
        names = []  # a part of a pooled metric and a value cannot be subtracted
    gaps = table.array(seeds, names) - base.array(seeds, names)
    span = _span(gaps, table.weights(names), difference)
    return Comparison(difference, span.low, span.high, span.p, len(seeds))


def _compared(row: Row, base: Row, *, higher: bool) -> Row:
    """Add the paired difference to ERM over the seeds and clusters that both have."""
    if row is base or row.mean is None:
        return row
    found = compare(row, base)
    if found is None:
        return row
    verdict = ""
    if found.low is not None and found.high is not None and found.n_seeds >= MIN_SEEDS:
        if found.low <= 0 <= found.high:
            verdict = "cannot be told apart from ERM"
        else:
            verdict = "helps" if (found.low > 0) == higher else "hurts"
    return dataclasses.replace(
        row,
        diff_to_erm=found.difference,
        diff_low=found.low,
        diff_high=found.high,
        diff_p=found.p,
        diff_seeds=found.n_seeds,
        verdict=verdict,
    )


@dataclass(frozen=True)
class _Span:
    low: float | None = None
    high: float | None = None
    p: float | None = None


def _span(values: NDArray[np.float64], weights: NDArray[np.float64] | None, centre: float) -> _Span:
    """Return the interval over seeds crossed with clusters, moved to ``centre``, and its p.

    Without parts that add up to it, the clusters' mean is close to the pooled metric, but not it:
    the width comes from the clusters, the centre is the number that the board shows. With one
    seed there is no interval, since how much another training would differ is not known.
    """
    if values.size == 0 or values.shape[0] < 2 or values.shape[1] < MIN_CLUSTERS:
        return _Span()
    found = interval(values, weights)
    if found.low is None or found.high is None or found.se is None or found.df is None:
        return _Span()
    from scipy.special import stdtr

    half = (found.high - found.low) / 2
    p = 2 * float(stdtr(found.df, -abs(centre) / found.se))
    return _Span(centre - half, centre + half, p)


def _equal_budgets(rows: Sequence[Row], notes: list[str]) -> list[Row]:
    """Say what each tuned row could spend, and rank none that could spend another amount.

    The budget of most rows counts; of equally many the largest.
    """
    tuned = [row for row in rows if row.tuning and row.mean is not None]
    if not tuned:
        return list(rows)
    budgets = [_budget({"tuning": row.tuning}) for row in tuned]
    usual = max(budgets, key=lambda budget: (budgets.count(budget), budget))
    spent = [f"{row.method} {float(row.tuning.get('seconds', 0)):.0f} s" for row in tuned]
    notes.append(
        f"Budget of each fold: {_budget_words(usual)}; training and scoring of all trials took "
        f"{', '.join(spent)}."
    )
    made = []
    for row in rows:
        if row.tuning and row.mean is not None and _budget({"tuning": row.tuning}) != usual:
            mine = _budget_words(_budget({"tuning": row.tuning}))
            why = f"unequal budget: {mine}, others {_budget_words(usual)}"
            row = dataclasses.replace(row, reason="; ".join(filter(None, (row.reason, why))))
        made.append(row)
    return made


def _budget_words(budget: tuple[int, float, int]) -> str:
    trials, seconds, validations = budget
    words = f"{trials} trials"
    words += f" begun within {seconds:g} s" if seconds else ""
    return f"{words} on {validations} validation set{'s' if validations > 1 else ''}"


def _ranked(rows: Sequence[Row], *, higher: bool) -> list[Row]:
    """Give ranks within each track; equal means share a rank."""
    made = []
    for row in rows:
        rank = None
        if _is_ranked(row):
            better = [
                other
                for other in rows
                if _is_ranked(other)
                and other.track == row.track
                and (other.mean > row.mean if higher else other.mean < row.mean)  # type: ignore[operator]
            ]
            rank = len(better) + 1
        made.append(dataclasses.replace(row, rank=rank))
    return made


def _is_ranked(row: Row) -> bool:
    return row.mean is not None and not row.reason and row.track != "reference"


def _sorted(rows: Sequence[Row], *, higher: bool) -> list[Row]:
    def place(row: Row) -> tuple[Any, ...]:
        track = TRACKS.index(row.track) if row.track in TRACKS else len(TRACKS) - 2
        score = math.inf if row.mean is None else (-row.mean if higher else row.mean)
        return (track, row.mean is None, row.rank or math.inf, score, row.method)

    return sorted(rows, key=place)


# --------------------------------------------------------------------------- words


def _title(
    run: Mapping[str, Any], metric: str, readout: str, settings: Values, overrides: Values
) -> str:
    edition = str(run["edition"])
    data = EDITIONS.get(edition, edition)
    if settings:
        data += f" ({_pairs(settings)})"
    recipe = f"recipe {run['recipe']}"
    if overrides:
        recipe += f" with {_pairs(overrides)}"
    selection = str(run.get("selection", "last"))
    study = [f"study ({_pairs(run['grouping'])})"] if run.get("grouping") else []
    words = [
        str(run["split_id"]),
        *study,
        data,
        recipe,
        SELECTIONS.get(selection, selection),
        f"{metric} by {readout}",
    ]
    return " · ".join(words)


def _pairs(values: Values) -> str:
    return ", ".join(f"{key}={_word(values[key])}" for key in sorted(values))


def plural(level: str) -> str:
    """Return the plural of a batch level: plates, batches, laboratories."""
    if level.endswith(("s", "x", "ch")):
        return f"{level}es"
    return f"{level[:-1]}ies" if level.endswith("y") else f"{level}s"


def _chance(run: Mapping[str, Any], metric: str) -> float | None:
    """Return the score of guessing, where the number of classes says it."""
    chance = run.get("chance")
    known = ("accuracy", "balanced_accuracy")
    return float(chance) if chance is not None and metric in known else None


def _coverage(rows: Sequence[Row]) -> list[str]:
    """Say how often intervals such as these hold the truth, as simulated."""
    sizes = sorted({(row.n_clusters, row.n_seeds) for row in rows if row.ci_low is not None})
    return list(dict.fromkeys(printed_coverage(*size).sentence for size in sizes))


def _detectable(rows: Sequence[Row], base: Row) -> list[str]:
    """Say which difference to ERM the board could have found, from the spread of those it has."""
    found: list[float] = []
    n = 0
    for row in rows:
        if row is base or row.track == "reference" or not (row.table.names and base.table.names):
            continue
        try:
            sd, shared = paired_spread(row.table.scores(), base.table.scores())
        except BenchError:  # no seed or cluster in common
            continue
        if sd is not None and sd > 0:
            n = shared
            found.append(minimum_detectable_difference(sd, n))
    if not found:
        return []
    found.sort()
    middle = found[len(found) // 2]
    span = f" ({found[0]:.3f} to {found[-1]:.3f} by method)" if len(found) > 1 else ""
    return [
        f"Smallest difference to ERM that {n} clusters find in 4 of 5 experiments (paired t test, "
        f"5 %): {middle:.3f}{span}. Smallest p that flips of {n} signs can give: "
        f"{smallest_p(n):.2g}."
    ]


def _mixture(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what the runs of a board do not share, and which rows have what: it may move digits."""
    notes = []
    for key, noun in (
        ("device", "devices"),
        ("precision", "precisions"),
        ("threads", "numbers of threads"),
        ("torch", "versions of torch"),
        ("platform", "platforms"),
    ):
        values = {(run.get("machine") or {}).get(key) for run in runs} - {None}
        if len(values) < 2:
            continue
        found: dict[str, set[str]] = {}
        for run in runs:
            value = (run.get("machine") or {}).get(key)
            if value is not None:
                label = label_of(str(run["method_id"]), _changed(run))
                found.setdefault(str(value), set()).add(label)
        words = (f"{value} ({_few(found[value])})" for value in sorted(found))
        notes.append(f"Mixed {noun}: {', '.join(words)}.")
    return notes


def _few(names: Iterable[str]) -> str:
    """Name up to three rows, or say how many there are."""
    known = sorted(names)
    return ", ".join(known) if len(known) <= 3 else f"{len(known)} rows"


def _upstream(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what had been done to the data before any method saw them, which no track counts."""
    done = dict.fromkeys(str(step) for run in runs for step in run.get("upstream") or ())
    if not done:
        return []
    text = f"Done to the data before any method saw them: {'; '.join(done)}."
    if saw_test_batches(done):
        text += " What was fitted over all batches has seen the test batches, whatever a row's"
        text += " track says."
    return [text]


def _cautions(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what the data set says about some of the methods, and which these are."""
    about: dict[str, dict[str, None]] = {}
    for run in runs:
        for sentence in run.get("cautions") or ():
            label = label_of(str(run["method_id"]), _changed(run))
            about.setdefault(str(sentence), {})[label] = None
    return [f"{', '.join(sorted(labels))}: {text}." for text, labels in sorted(about.items())]


def _failed(runs: Sequence[Mapping[str, Any]], failures: Sequence[Mapping[str, Any]]) -> list[str]:
    names = {str(run[key]) for run in runs for key in ("split_id", "split")}
    notes = [
        f"Failed and not shown: {run['method']}, seed {run['seed']} ({run.get('reason', '')})."
        for run in runs
        if run.get("status") == "failed"
    ]
    for failure in failures:
        about = failure.get("about") or {}
        if str(about.get("split")) in names:
            notes.append(
                f"Failed and not shown: {about.get('method')}, seed {about.get('seed')} "
                f"({failure.get('error', '')})."
            )
    return sorted(notes)


@functools.cache
def _metric_meta(metric: str) -> dict[str, Any]:
    """Return the literal of a metric's file, read without importing it; empty if unknown."""
    from bench.registry import read_meta

    file = Path(__file__).parent / "metrics" / f"{metric}.py"
    return read_meta(file) if file.is_file() else {}


def _higher_is_better(metric: str) -> bool:
    return bool(_metric_meta(metric).get("higher_is_better", True))


# --------------------------------------------------------------------------- JSON


def to_json(made: Iterable[Board]) -> dict[str, Any]:
    """Return the boards as JSON's own types; see the command line's ``leaderboard --json``."""
    return {"boards": [_board_json(board) for board in made]}


def _board_json(board: Board) -> dict[str, Any]:
    return {
        "split": board.split,
        "edition": board.edition,
        "recipe": board.recipe,
        "metric": board.metric,
        "readout": board.readout,
        "selection": board.selection,
        "runs_digest": board.runs_digest,
        "rows": [_row_json(row) for row in board.rows],
        "title": board.title,
        "recipe_overrides": dict(board.overrides),
        "dataset_settings": dict(board.settings),
        "higher_is_better": board.higher_is_better,
        "chance": board.chance,
        "shift": board.shift,
        "notes": list(board.notes),
    }


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "method": row.method,
        "track": row.track,
        "mean": row.mean,
        "sd": row.sd,
        "n_seeds": row.n_seeds,
        "n_clusters": row.n_clusters,
        "ci_low": row.ci_low,
        "ci_high": row.ci_high,
        "diff_to_erm": row.diff_to_erm,
        "rank": row.rank,
        "cost": dict(row.cost),
        "method_id": row.method_id,
        "params": {stage: dict(values) for stage, values in row.params.items()},
        "access": list(row.access),
        "readout": row.readout,
        "status": row.status,
        "reason": row.reason,
        "seeds": list(row.seeds),
        "values": list(row.values),
        "cluster_level": row.cluster_level,
        "points": dict(row.points),
        "diff_low": row.diff_low,
        "diff_high": row.diff_high,
        "diff_p": row.diff_p,
        "diff_seeds": row.diff_seeds,
        "verdict": row.verdict,
        "badges": list(row.badges),
        "tuning": row.tuning,
        "published": [
            {
                "claim": one.claim.name,
                "value": one.claim.value,
                "sd": one.claim.sd,
                "source": one.claim.source,
                "status": one.status,
                "reading": one.reading,
            }
            for one in row.published
        ],
        "command": row.command,
        "typed": list(row.typed),
    }
