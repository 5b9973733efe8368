"""The in-distribution split that accompanies a run."""

from __future__ import annotations

from typing import Any


def companions_of(
    jobs: list[Any],
    records: list[dict[str, Any]],
    runner: Any,
    registry: Any,
    edition: str,
    data: dict[str, Any],
) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Score the companion of each split, which shares the training.

    A record gets the key ``new_batches``: whether its rows lie outside the batches of training.
    """
    from bench.data.catalog import find_split, known_splits
    from bench.data.opening import open_splits
    from bench.runs.plan import plan

    made = {
        (job.chain.typed, job.target.split.name, job.seed): record
        for job, record in zip(jobs, records, strict=True)
    }
    targets: dict[str, Any] = {}
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    for job in jobs:
        name = job.target.split.companion
        if not name or job.not_applicable:
            continue
        key = (job.chain.typed, name, job.seed)
        if key not in made:
            if name not in targets:
                [targets[name]] = open_splits([name], registry, edition, data, lambda line: None)
            options = _only(runner.options, job)
            [twin] = plan([job.chain.typed], [targets[name]], [job.seed], options, registry)
            made[key] = runner.run(twin)
        shares = find_split(name, known_splits(registry)).shares
        found[job.chain.typed, job.target.typed, job.seed] = {
            **made[key],
            "new_batches": job.target.opened.level not in shares,
        }
    return found


def _only(options: Any, job: Any) -> Any:
    """Keep the parameters of one chain, since the others would be called unused."""
    import dataclasses

    names = {stage.name for stage in job.chain.stages}
    values = {name: given for name, given in options.values.items() if name in names}
    return dataclasses.replace(options, values=values)
