"""Build a leaderboard from records."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from bench.boards.board import MIN_SEEDS, PREFIXES, Board, Row
from bench.boards.claims import Judged, claims_of, judge, without_level
from bench.boards.notes import (
    board_title,
    cautions,
    chance_note,
    coverage,
    detectable,
    failed_notes,
    mixture,
    upstream,
)
from bench.boards.pairing import span_of_mean
from bench.boards.ranking import baseline, compared, equal_budgets, ranked, sorted_rows
from bench.boards.values import (
    budget_of,
    changed_params,
    label_of,
    methods_with_versions,
    metric_higher_is_better,
    readout_of,
    record_value,
    row_key,
    scores_of,
)
from bench.core.canonical import digest
from bench.records.record import Record
from bench.records.reproduce import command_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


# --------------------------------------------------------------------------- one board


def build_board(
    runs: list[dict[str, Any]],
    metric: str,
    readout: str,
    failures: Sequence[Mapping[str, Any]],
) -> Board | None:
    """Return the board of a group of runs and one metric."""
    scored = [run for run in runs if run.get("status", "ok") == "ok"]
    names = {name for run in scored for name in run["metrics"]}
    if scored and not any(f"{prefix}{metric}" in names for prefix in ("", *PREFIXES)):
        return None
    used = readout_of(scored, metric, readout)
    higher = metric_higher_is_better(metric) and not any(
        metric in (run.get("lower_is_better") or ()) for run in runs
    )
    notes: list[str] = []
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        if run.get("status", "ok") in ("ok", "not-applicable"):
            groups.setdefault(row_key(run), []).append(run)
    several_versions = methods_with_versions(groups)
    rows = [
        _row(groups[key], metric, used, key in several_versions, notes) for key in sorted(groups)
    ]
    base = baseline(rows)
    if base is not None:
        rows = [compared(row, base, higher=higher) for row in rows]
    rows = equal_budgets(rows, notes)
    first = runs[0]
    notes += upstream(runs)
    notes += cautions(scored)
    notes += coverage(rows)
    notes += detectable(rows)
    notes += mixture(scored)
    notes += failed_notes(runs, failures)
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
        chance=chance_note(first, metric),
        shift=str(first.get("shift", "")),
        title=board_title(first, metric, used, settings, overrides),
        runs_digest=digest(
            [[r["run_id"], r.get("predictions_sha256", ""), r.get("status")] for r in runs]
        ),
        run_ids=frozenset(str(run["run_id"]) for run in runs),
        rows=tuple(sorted_rows(ranked(rows, higher=higher), higher=higher)),
        notes=tuple(notes),
    )


def _row(
    runs: list[dict[str, Any]], metric: str, readout: str, versioned: bool, notes: list[str]
) -> Row:
    first, changed = runs[0], changed_params(runs[0])
    label = label_of(str(first["method_id"]), changed)
    if versioned:
        versions = first.get("versions", {})
        label += " " + "+".join(f"v{versions[stage]}" for stage in versions)
    if versioned and first.get("tuning"):
        label += f" [{budget_of(first)[0]} trials]"
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
        if run.get("status", "ok") == "ok" and record_value(run, metric, readout) is not None:
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
    scores, points = scores_of(by_seed, metric, readout)
    mean, sd = _mean_sd(scores.pooled)
    span = span_of_mean(scores)
    return Row(
        **common,  # type: ignore[arg-type]
        published=_reported(list(by_seed.values()), metric, readout),
        reason=_why_unranked(list(by_seed.values()), track),
        mean=mean,
        sd=sd,
        seeds=tuple(by_seed),
        values=scores.pooled,
        n_clusters=len(points),
        cluster_level=str((first.get("clusters") or {}).get("level", "")),
        points=points,
        ci_low=span.low,
        ci_high=span.high,
        cost=_cost(list(by_seed.values())),
        command=command_of(list(by_seed.values())),
        scores=scores,
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
    return tuple(
        judge(
            found,
            [Record(None, None, (json.dumps(run), json.dumps(run["clusters"]))) for run in runs],
        )
    )


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
