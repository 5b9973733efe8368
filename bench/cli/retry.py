"""Repeat failed runs, from what was recorded with their tracebacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.canonical import canonical_json
from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.core.registry import Registry
    from bench.records.record import Record
    from bench.records.store import Failure, Store
    from bench.runs.experiment import Experiment
    from bench.runs.progress import Progress


def failed_experiments(
    store: Store,
    registry: Registry,
    device: str,
    say: Callable[[str], None],
    isolate: str = "plugins",
) -> list[tuple[Experiment, list[Failure]]]:
    """Return the experiments that repeat the failed runs of a results folder.

    Parameters
    ----------
    say
        Receives one line per data set, and one per failed run that cannot be repeated: those of
        ``tune``, of studies, and of splits that can no longer be opened.

    Returns
    -------
    list of tuple
        Experiments with the failures that they repeat. Runs with the same split, settings and
        seed share an experiment.
    """
    from bench.runs.experiment import prepare

    groups: dict[str, list[Failure]] = {}
    for failure in store.failures():
        request = failure["about"]
        if request.get("origin") != "run":
            command = {"tune": "tune", "study": "study"}.get(str(request.get("origin")), "run")
            say(
                f"{request.get('method')} on {request.get('split')} is not repeated: call "
                f"`python -m bench {command}` again with the same options"
            )
            continue
        common = {key: value for key, value in request.items() if key != "method"}
        groups.setdefault(canonical_json(common), []).append(failure)
    experiments = []
    for failures in groups.values():
        request = failures[0]["about"]
        settings, seed, metrics = request["settings"], request["seed"], request["metrics"]
        assert isinstance(settings, dict)
        assert isinstance(seed, int)
        assert isinstance(metrics, list)
        try:
            experiment = prepare(
                [str(failure["about"]["method"]) for failure in failures],
                str(request["split"]),
                seeds=[seed],
                recipe=str(request["recipe"]),
                edition=str(request["edition"]),
                settings=settings,
                metrics=[str(name) for name in metrics],
                device=device,
                isolate=isolate,
                results=store.location,
                registry=registry,
                say=say,
            )
        except BenchError as error:
            say(f"{request['split']}: not repeated: {error}")
            continue
        experiments.append((experiment, failures))
    return experiments


def retry(
    experiment: Experiment, failures: list[Failure], store: Store, progress: Progress
) -> list[Record]:
    """Repeat failed runs; the traceback of a run that now succeeds is deleted."""
    records = experiment.run(progress=progress)
    by_method = {str(failure["about"]["method"]): failure for failure in failures}
    for record in records:
        if record.status != "failed" and record.method in by_method:
            store.drop_failure(by_method[record.method]["run_id"])
    return records
