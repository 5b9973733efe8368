"""Contents of a run's record besides its results."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from bench.core.control_names import is_control_row
from bench.data.units import count_units
from bench.records.schema import SCHEMA
from bench.records.selection import rule
from bench.records.tables import predictions_digest
from bench.runs import isolation, provenance

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.records.schema import Clusters, Code, Provenance, RunRecord, Spec, Status, Units
    from bench.runs.chain import Chain
    from bench.runs.job import Job
    from bench.scoring.result import Scored
    from bench.scoring.scorer import Scores


def outline(
    job: Job,
    spec: Spec,
    run_id: str,
    code: Code,
    environment: Provenance,
    *,
    status: Status = "ok",
    reason: str = "",
) -> RunRecord:
    """Return the record of a job without results.

    Parameters
    ----------
    environment
        From :func:`bench.runs.provenance.environment`.
    status, reason
        ``ok``, ``not-applicable`` or ``failed``, and the reason.
    """
    task, chain = job.task, job.chain
    unranked = _unranked(job)
    record: RunRecord = {
        "schema": SCHEMA,
        "run_id": run_id,
        "spec": spec,
        "method": chain.typed,
        "method_id": chain.method_id,
        "split": task.typed,
        "params": {stage.name: stage.changed() for stage in chain.stages},
        "level": chain.stages[-1].level,
        "track": _track(job),
        "access": job.access.words,
        "badges": chain.badges,
        "readout": chain.readout,
        "status": status,
        "reason": reason,
        "ranked": not unranked and status == "ok",
        "unranked_because": unranked,
        "metrics": {},
        "metrics_rest_on": {},
        "primary": job.primary,
        "lower_is_better": _lower_is_better(job),
        "clusters": _no_clusters(),
        "n_eval": 0,
        "n_excluded": 0,
        "excluded_classes": [],
        "n_classes": len(task.classes),
        "classes": list(task.classes),
        "chance": 1.0 / len(task.classes),
        "batches": {},
        "undeclared_adaptation": None,
        "notes": _notes(job),
        "cautions": [*job.cautions, *isolation.trusted(job)],
        "upstream": list(task.opened.upstream),
        "exposed": list(task.split.expose),
        "shift": task.split.shift,
        "deterministic": chain.deterministic,
        "held_out": task.split.hold_out or "",
        "units": cast("dict[str, Units]", count_units(task.split, task.opened, task.folds)),
        "cost": {"fit_s": 0.0, "apply_s": 0.0, "peak_bytes": 0, "steps": 0, "images_seen": 0},
        "predictions_sha256": "",
        "sources": method_sources(chain),
        "code": code,
        "provenance": {**environment, "recipe": dict(job.recipe)},
    }
    isolated = isolation.of_chain(chain)
    if isolated is not None:
        record["isolated"] = isolated
        record["badges"] = [*chain.badges, isolation.BADGES[isolated]]
    if task.opened.licence:
        record["licence"] = task.opened.licence
    if chain.is_classifier:
        record["classifier"] = True
    if chain.preprocess:
        record["preprocess"] = chain.preprocess
    if job.tuning is not None:
        record["tuning"] = {**job.tuning, **(job.tuning_facts or {})}
    return record


def method_sources(chain: Chain) -> dict[str, str]:
    """Return the SHA-256 of the files of a chain's methods, by portable name."""
    return provenance.source_digests(path for s in chain.stages for path in s.entry.sources)


def _track(job: Job) -> str:
    task, track = job.task, job.track
    if is_control_row(track):
        return track
    fitted_on_test = task.source_domain is not None and len(job.chain.stages) > 1
    if task.split.protocol == "unsupervised" or fitted_on_test:
        return "transductive"
    return track


def _unranked(job: Job) -> list[str]:
    """Return reasons why the run is unranked that are known before it starts."""
    reasons = ["smoke recipe"] if job.recipe_name == "smoke" else []
    if not rule(job.selection).ranked:
        reasons.append(f"{job.selection}: selected on the test rows")
    if job.task.opened.edition == "fixture":
        reasons.append("fixture edition")
    if job.grouping is not None:
        reasons.append(f"study: {job.grouping.words}")
    if job.masked:
        reasons.append("which rows are controls is a label here")
    return reasons


def _notes(job: Job) -> list[str]:
    task = job.task
    notes = [*task.warnings, *task.opened.notes]
    if job.masked:
        notes.append(
            "controls are classes here and the method knew which rows they are: scored on "
            "the treatment classes, without an official rank"
        )
    notes += job.cautions
    if is_control_row(job.track):
        return notes
    if task.split.protocol == "unsupervised":
        notes.append("no training set: every method was fitted on the rows that are scored")
    if task.source_domain is not None:
        notes.append(f"the encoder was trained on {task.source_domain.split} and not changed")
        notes += task.source_domain.opened.notes
        later = [stage.name for stage in job.chain.stages[1:]]
        if later:
            names = ", ".join(later)
            notes.append(f"{names}: fitted on the rows that are scored, without labels")
    return notes


def _lower_is_better(job: Job) -> list[str]:
    """Return metrics where lower is better, including those of plugins."""
    split = job.task.split
    names = dict.fromkeys((job.primary, split.metric, *split.metrics))
    metas = {name: job.registry.entry("metric", name).meta for name in names}
    return [name for name, meta in metas.items() if not meta.get("higher_is_better", True)]


def _no_clusters() -> Clusters:
    return {"level": "", "names": [], "n": [], "values": {}, "parts": {}, "weights": {}}


def add_results(record: RunRecord, scored: Scored, scores: Scores, notes: Iterable[str]) -> None:
    """Add scores and notes to a record."""
    if scored.undefined:
        record["undefined"] = scored.undefined
    record["readout"] = scored.readout
    record["metrics"] = scored.metrics()
    record["metrics_rest_on"] = scored.rests_on
    record["clusters"] = cast("Clusters", scored.clusters)
    record["n_eval"] = scored.n_eval
    record["n_excluded"] = scores.n_excluded
    record["excluded_classes"] = sorted(scores.excluded_classes)
    record["probe_C"] = scores.probe_c
    record["notes"] = [*record["notes"], *dict.fromkeys(notes), *scored.used]
    record["predictions_sha256"] = predictions_digest(scored.predictions)
