"""``run --dry-run``: what would run, and what earlier records let expect of it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import click


def dry_run(jobs: list[Any], store: Any, as_json: bool) -> int:
    """Say what would run, and what earlier records let expect of it."""
    from bench.core.canonical import digest
    from bench.runs.estimate import estimate, total

    rows, waiting = [], []
    for job in jobs:
        spec = job.spec()
        run_id = digest(spec)
        state = "on record" if store.find(run_id) else job.not_applicable or "to run"
        rows.append(
            {
                "method_id": job.chain.method_id,
                "split_id": job.target.split.name,
                "seed": job.seed,
                "track": job.chain.track,
                "fits": len({s["fit_id"] for f in spec["folds"] for s in f["stages"]}),
                "state": state,
                "run_id": run_id,
            }
        )
        if state == "to run":
            waiting.append((rows[-1], job))
    # The published records come from another machine: better than nothing, and said.
    own = [record.summary for record in store.load_all()]
    published: list[Any] | None = None
    made = []
    for row, job in waiting:
        one = estimate(job, store, own)
        if one.fit_s is None:
            if published is None:
                published = [record.summary for record in store.load_reference()]
            one = estimate(job, store, published)
            if one.fit_s is not None:
                one = dataclasses.replace(one, basis=f"published {one.basis}, another machine's")
        made.append(one)
        row["estimate"] = dataclasses.asdict(one)
    whole = total([job for _, job in waiting], made, store)
    if as_json:
        document = {"runs": rows, "total": dataclasses.asdict(whole)}
        click.echo(json.dumps(document, indent=1, allow_nan=False))
        return 0
    for row in rows:
        click.echo(
            f"{row['method_id']} on {row['split_id']}, seed {row['seed']} ({row['track']}, "
            f"{row['fits']} fits): {row['state']}{_expected(row.get('estimate'))}"
        )
    if waiting:
        click.echo(_expected_in_all(whole, len(waiting)))
    return 0


def _expected(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    if found["fit_s"] is None:
        return f" ({found['basis']})"
    parts = [f"about {_duration(found['fit_s'] + found['apply_s'])} alone"]
    parts += [f"{_size(found['peak_bytes'])} memory"] if found["peak_bytes"] else []
    parts += [f"{_size(found['disk_bytes'])} disk"] if found["disk_bytes"] else []
    return f" ({', '.join(parts)}; {found['basis']})"


def _expected_in_all(whole: Any, n: int) -> str:
    known = n - whole.n_unknown
    if not known:
        return f"{n} to run; nothing on record says how long: try one seed first"
    text = f"{n} to run: about {_duration(whole.seconds)}, shared trainings counted once"
    text += f"; {_size(whole.peak_bytes)} memory" if whole.peak_bytes else ""
    text += f"; {_size(whole.disk_bytes)} disk" if whole.disk_bytes else ""
    if whole.n_unknown:
        text += f"; {whole.n_unknown} of them without an estimate and not counted"
    return text


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 else "1 s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _size(n: int) -> str:
    return f"{n / 1e6:.0f} MB" if n < 1e9 else f"{n / 1e9:.1f} GB"
