"""Build a leaderboard from records."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.boards.baselines import compared
from bench.boards.board import MIN_SEEDS, Board, Row
from bench.boards.claims import Judged, claims_of, judge, without_level
from bench.boards.notes import (
    board_title,
    cautions,
    chance_note,
    coverage,
    detectable,
    failed_notes,
    missing_baselines,
    mixture,
    other_code,
    pooled_scores,
    upstream,
    without_verdicts,
)
from bench.boards.pairing import span_of_mean
from bench.boards.ranking import equal_budgets, ranked, sorted_rows
from bench.boards.readouts import readout_of, row_readout
from bench.boards.release import release_note, release_of
from bench.boards.units import new_units
from bench.boards.values import (
    best_possible,
    budget_of,
    changed_params,
    codes_of,
    in_range,
    is_deterministic,
    label_of,
    methods_with_versions,
    metric_higher_is_better,
    row_key,
    scores_of,
)
from bench.core.canonical import digest
from bench.core.control_names import is_control_row
from bench.records.reproduce import command_of
from bench.records.schema import NOT_RUN_HERE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.records.record import Record


ORACLE_TOLERANCE = 0.0005
"""``label-oracle`` must be 1.000 to three digits."""


def build_board(
    runs: Sequence[Record], metric: str, readout: str, failures: Sequence[Mapping[str, object]]
) -> Board | None:
    """Return the board of one metric for a group of runs, or None if no run has the metric."""
    scored = [run for run in runs if run.ok]
    if scored and not any(metric in run.metric_names for run in scored):
        return None
    used = readout_of(scored, metric, readout)
    higher = metric_higher_is_better(metric) and not any(
        metric in run.lower_is_better for run in runs
    )
    notes: list[str] = []
    groups: dict[str, list[Record]] = {}
    for run in runs:
        if run.status in ("ok", "not-applicable"):
            groups.setdefault(row_key(run), []).append(run)
    several_versions = methods_with_versions(groups)
    rows = [
        _row(groups[key], metric, used, key in several_versions, notes) for key in sorted(groups)
    ]
    oracle = _oracle(rows, metric)
    rows = compared(rows, higher=higher, verdicts=oracle is None)
    rows = equal_budgets(rows, notes)
    first = runs[0]
    units = new_units((scored or list(runs))[0])
    notes += filter(None, [release_note(first, metric)])
    notes += without_verdicts(oracle)
    notes += pooled_scores(scored)
    notes += upstream(runs)
    notes += cautions(scored)
    if any(row.ci_low is not None for row in rows):
        notes.append(units.population)
    notes += coverage(rows)
    notes += detectable(rows)
    notes += missing_baselines(rows)
    notes += mixture(scored)
    notes += other_code(rows)
    notes += failed_notes(runs, failures)
    return Board(
        split=first.split_id,
        edition=first.edition,
        recipe=first.recipe,
        metric=metric,
        readout=used,
        selection=first.selection,
        overrides=dict(first.recipe_overrides),
        settings=dict(first.dataset_settings),
        higher_is_better=higher,
        chance=chance_note(first, metric),
        shift=first.shift,
        release=release_of(first, metric),
        scope=units.scope,
        oracle=oracle,
        title=board_title(first, metric, used, units),
        runs_digest=digest([[run.run_id, run.predictions_sha256, run.status] for run in runs]),
        run_ids=frozenset(run.run_id for run in runs),
        rows=tuple(sorted_rows(ranked(rows, higher=higher), higher=higher)),
        notes=tuple(notes),
    )


def _oracle(rows: Sequence[Row], metric: str) -> float | None:
    """Return the score of ``label-oracle`` if it should be the best possible one and is not."""
    best = best_possible(metric)
    for row in rows:
        if row.method_id == "label-oracle" and row.mean is not None and best is not None:
            return row.mean if abs(row.mean - best) >= ORACLE_TOLERANCE else None
    return None


def _row(
    runs: Sequence[Record], metric: str, readout: str, versioned: bool, notes: list[str]
) -> Row:
    first, changed = runs[0], changed_params(runs[0])
    readout = row_readout(first, readout)
    label = label_of(first.method_id, changed)
    if versioned:
        label += " " + "+".join(f"v{version}" for version in first.versions.values())
    if versioned and first.tuning:
        label += f" [{budget_of(first.tuning)[0]} trials]"
    latest: dict[int, Record] = {}
    repeated = 0
    for run in sorted(runs, key=lambda run: (run.created, run.run_id)):
        if run.ok and run.value(metric, readout) is not None:
            repeated += run.seed in latest
            latest[run.seed] = run
    if repeated:
        notes.append(f"{label}: {repeated} earlier runs of the same seeds were left out.")
    by_seed = dict(sorted(latest.items()))
    row = Row(
        method=label,
        method_id=first.method_id,
        params=changed,
        track=first.track,
        access=tuple(first.access),
        level=first.level or "",
        readout=readout,
        badges=tuple(dict.fromkeys(badge for run in runs for badge in run.badges)),
        tuning=first.tuning,
        typed=tuple(sorted({run.command for run in runs if run.command})),
        points={},
        cost={},
        command=command_of(list(by_seed.values()) or runs),
    )
    if not by_seed:
        return replace(row, status="not-applicable", reason=_why_empty(runs, metric, readout))
    scores, points = scores_of(by_seed, metric, readout)
    mean, sd = _mean_sd(scores.pooled)
    span = span_of_mean(scores)
    low, high = in_range(metric, span.low, span.high)
    used = list(by_seed.values())
    return replace(
        row,
        published=_reported(used, metric, readout),
        reason=_why_unranked(used, first.track),
        mean=mean,
        sd=sd,
        seeds=tuple(by_seed),
        values=scores.pooled,
        n_clusters=len(points),
        cluster_level=first.clusters["level"],
        points=points,
        ci_low=low,
        ci_high=high,
        cost=_cost(used),
        scores=scores,
        codes=codes_of(used),
    )


def _why_empty(runs: Sequence[Record], metric: str, readout: str) -> str:
    """Return why a row has no value."""
    if not any(run.ok for run in runs):
        return next((run.reason for run in runs if run.reason), "")
    reasons = [reason for run in runs for reason in run.unranked_because]
    return "; ".join([f"has no {metric} by {readout}", *dict.fromkeys(reasons)])


def _reported(runs: Sequence[Record], metric: str, readout: str) -> tuple[Judged, ...]:
    """Return the published numbers of a row, with their status given only the runs of this row.

    Simulated rows have published numbers too; their status is always *not run*, because
    published numbers come from real data.
    """
    first = runs[0]
    method, params = first.method_id, without_level(first)
    claims = [
        claim
        for claim in claims_of(first.split_id)
        if (claim.method_id, claim.metric) == (method, metric)
        and claim.readout == readout
        and dict(claim.params) == params
        and (not claim.level or claim.level == first.level)
    ]
    return tuple(judge(claims, runs)) if claims else ()


def _mean_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Return mean and standard deviation (n - 1); the latter is None for a single value."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def _why_unranked(runs: Sequence[Record], track: str) -> str:
    reasons: dict[str, None] = {}
    if not is_control_row(track) and len(runs) < MIN_SEEDS and not is_deterministic(runs):
        reasons[f"fewer than {MIN_SEEDS} seeds"] = None
    if len(codes_of(runs)) > 1:
        reasons["seeds were run by different code: repeat them with --if-exists refresh"] = None
    for run in runs:
        if run.recipe == "smoke":
            reasons["smoke recipe"] = None
        if run.undeclared_adaptation:
            reasons["undeclared adaptation"] = None
        reasons.update(dict.fromkeys(run.unranked_because))
        if not run.ranked and not reasons:
            reasons["marked unranked in run.json"] = None
    return "; ".join(reasons)


def _cost(runs: Sequence[Record]) -> dict[str, float]:
    """Return the mean cost of a row; empty if it was computed elsewhere."""
    if any(NOT_RUN_HERE in run.badges for run in runs):
        return {}
    costs, n = [run.cost for run in runs], len(runs)
    return {
        "fit_s": math.fsum(cost["fit_s"] for cost in costs) / n,
        "apply_s": math.fsum(cost["apply_s"] for cost in costs) / n,
        "steps": math.fsum(cost["steps"] for cost in costs) / n,
        "images_seen": math.fsum(cost["images_seen"] for cost in costs) / n,
        "peak_bytes": max(int(cost["peak_bytes"]) for cost in costs),
    }
