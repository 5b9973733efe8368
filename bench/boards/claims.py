"""Compare published numbers with our results and assign a status to each.

``published.csv`` lists the numbers, the source of each, and which of our records can match it.
Only records of real data are compared, run with the recipe that the claim names at its published
settings and without selection. Simulated data and fixtures never match.

Rule
----
Paper and records score the same rows, so two correct attempts differ only in training. The 95 %
interval is therefore over trainings, not over plates.

* The paper gives a standard deviation over n > 1 runs: Welch's t interval for the difference of
  the two means.
  Half a unit of the last printed digit is added to both sides.
* The paper gives a single number: it is treated as one more training. The prediction interval for
  one more training is ``t * SD * sqrt(1 + 1 / n)`` around our mean, with our standard deviation. A
  published proportion of ``n`` units is itself uncertain by the binomial interval of its count and
  by its rounding (``stats.proportions``); both intervals are combined. This is generous, because
  paper and records score the same units.

A claim is *reproduced* if the interval of the difference contains 0 and the half-width that comes
from trainings is at most 0.05: a wider one would agree with any number. With fewer than three seeds
the claim is *not run*. A published number that none of our methods can match is not a claim to
compare: it is in the reading list, with the reason.
"""

from __future__ import annotations

import csv
import functools
import json
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.boards.stats.proportions import difference_limits, published_limits
from bench.boards.values import is_deterministic
from bench.core.words import as_sentences
from bench.records.record import Record, as_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


MIN_SEEDS = 3
"""With fewer of our seeds a claim is *not run*."""
MAX_REACH = 0.05
"""Maximum half-width of the interval over trainings; a wider one cannot reproduce a number."""
STATUSES = ("reproduced", "not reproduced", "not run")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published number and the records that can match it.

    Attributes
    ----------
    name
        ``SOURCE/METHOD/WHERE-METRIC``, unique.
    reported_dataset, reported_split, reported_metric, reported_method
        As the source writes them.
    value, sd
        Proportions; ``sd`` is None where none is given.
    rounding
        Half a unit of the last printed digit.
    n_runs
        Number of trainings behind the value; None if not stated.
    source, grade, note
        Citation; ``P`` (read in the primary source) or ``S`` (quoted by another work); remarks.
    dataset, split_ids, metric, readout, method_id, params, level, recipe, n_eval
        Required values of a matching record. ``split_ids`` are alternatives; ``level`` is empty if
        it does not matter; ``recipe`` is ``any`` if nothing is trained; ``n_eval`` is the number of
        scored rows. All are empty if the claim is never compared.
    count
        Number of units behind the proportion; by default ``n_eval``.
    unmatched
        Why the claim is never compared; empty otherwise.
    """

    name: str
    reported_dataset: str
    reported_split: str
    reported_metric: str
    reported_method: str
    value: float
    sd: float | None
    rounding: float
    n_runs: int | None
    source: str
    grade: str
    note: str
    dataset: str
    split_ids: tuple[str, ...]
    metric: str
    readout: str
    method_id: str
    params: Mapping[str, Mapping[str, object]]
    level: str
    recipe: str
    n_eval: int | None
    count: int | None
    unmatched: str

    @property
    def comparable(self) -> bool:
        """Whether one of our records can match it."""
        return bool(self.method_id)

    @property
    def command(self) -> str:
        """The command that creates matching records; empty if there is none."""
        if not self.comparable:
            return ""
        command = ["python -m bench run --method", self.method_id, "--split", self.split_ids[0]]
        command += ["--edition real --seeds 3"]
        if self.recipe != "any":
            command += ["--recipe", self.recipe]
        settings = {
            **{f"{s}.{k}": v for s, values in self.params.items() for k, v in values.items()},
            **({f"{self.method_id}.level": self.level} if self.level else {}),
        }
        command += [f"--set {key}={settings[key]}" for key in sorted(settings)]
        return " ".join(command)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A claim compared with our results.

    Attributes
    ----------
    status
        ``reproduced``, ``not reproduced`` or ``not run``.
    mean, sd
        Over seeds of the matching records; ``sd`` (n - 1) is None with one seed, both with none.
    difference
        Measured minus published; None without records.
    interval
        95 % interval of the difference, ``(low, high)``; None with fewer than three seeds.
    """

    claim: Claim
    status: str
    mean: float | None
    sd: float | None
    n_seeds: int
    difference: float | None
    interval: tuple[float, float] | None
    reading: str
    run_ids: tuple[str, ...]


@functools.cache
def _published() -> tuple[Claim, ...]:
    from importlib.resources import files

    text = files("bench.boards").joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(_claim(row) for row in csv.DictReader(text.splitlines()))


def published() -> list[Claim]:
    """Return all published numbers, in the order of their sources.

    Those with ``comparable`` are claims that a recipe here can reproduce; the others are a reading
    list.
    """
    return list(_published())


@functools.cache
def claims_of(split_id: str) -> tuple[Claim, ...]:
    """Return the claims that records of a split can match."""
    return tuple(claim for claim in _published() if split_id in claim.split_ids)


def _claim(row: Mapping[str, str]) -> Claim:
    whole, _, decimals = row["value"].partition(".")
    return Claim(
        **{key: row[key] for key in ("name", "source", "grade", "note", "unmatched")},
        **{key: row[key] for key in row if key.startswith("reported_")},
        **{key: row[key] for key in ("dataset", "metric", "readout", "method_id")},
        value=float(f"{whole}.{decimals or 0}"),
        rounding=0.5 * 10.0 ** -len(decimals),
        sd=float(row["sd"]) if row["sd"] else None,
        n_runs=int(row["n_runs"]) if row["n_runs"] else None,
        split_ids=tuple(row["split_id"].split("|")) if row["split_id"] else (),
        params=json.loads(row["params"] or "{}"),
        level=row["level"],
        recipe=row["recipe"],
        n_eval=int(row["n_eval"]) if row["n_eval"] else None,
        count=int(count) if (count := row["count"] or row["n_eval"]) else None,
    )


def judge(
    claims: Iterable[Claim], records: Iterable[Record | Mapping[str, object]]
) -> list[Judged]:
    """Return each claim with its status, in the order given.

    Parameters
    ----------
    records
        Committed runs (``Store.load_all``) or mappings of the same form. Runs that match no claim
        are ignored.
    """
    by_split: dict[str, list[Record]] = {}
    for run in map(as_record, records):
        if _may_count(run):
            by_split.setdefault(run.split_id, []).append(run)
    return [
        _judged(claim, [run for name in claim.split_ids for run in by_split.get(name, ())])
        for claim in claims
    ]


def _may_count(run: Record) -> bool:
    """Return whether a run can be compared with published numbers: real data, not tuned."""
    return (
        run.edition == "real"
        and run.ok
        and run.recipe != "smoke"
        and run.selection == "last"
        and not run.recipe_overrides
        and not run.dataset_settings
        and not run.undeclared_adaptation
    )


def without_level(run: Record) -> dict[str, dict[str, object]]:
    """Return a run's non-default parameters by stage; its batch level is compared separately."""
    params: dict[str, dict[str, object]] = {
        stage: {key: value for key, value in values.items() if key != "level"}
        for stage, values in run.params.items()
    }
    return {stage: values for stage, values in params.items() if values}


def _matches(claim: Claim, run: Record) -> bool:
    return (
        run.method_id == claim.method_id
        and without_level(run) == dict(claim.params)
        and (not claim.level or run.level == claim.level)
        and claim.recipe in ("any", run.recipe)
        and (claim.n_eval is None or run.n_eval == claim.n_eval)
        and run.has(claim.metric, claim.readout)
    )


def _judged(claim: Claim, runs: Sequence[Record]) -> Judged:
    chosen = _one_setting([run for run in runs if _matches(claim, run)])
    values = [run.value(claim.metric, claim.readout) or 0.0 for run in chosen]
    if is_deterministic(chosen):  # one run represents all seeds
        values = [values[0]] * max(len(values), MIN_SEEDS)
    n = len(values)
    mean = math.fsum(values) / n if n else None
    sd = statistics.stdev(values) if n > 1 else None
    difference = None if mean is None else mean - claim.value
    span = None
    status = "not run"
    if n >= MIN_SEEDS and difference is not None and sd is not None:
        reach = _reach(claim, sd, n)
        span = _limits(claim, difference, reach)
        agrees = span[0] <= 0 <= span[1] and reach <= MAX_REACH
        status = "reproduced" if agrees else "not reproduced"
    return Judged(
        claim=claim,
        status=status,
        mean=mean,
        sd=sd,
        n_seeds=n,
        difference=difference,
        interval=span,
        reading=_reading(claim, status, mean, sd, n, difference, span),
        run_ids=tuple(run.run_id for run in chosen),
    )


def _one_setting(runs: Sequence[Record]) -> list[Record]:
    """Return the latest run per seed, for the setting with the most seeds.

    Runs that differ in data, method version, recipe or code are never averaged.
    """
    settings: dict[str, dict[int, Record]] = {}
    for run in sorted(runs, key=lambda run: (run.created, run.run_id)):
        key = json.dumps(
            [
                run.split_id,
                run.recipe,
                run.recipe_digest,
                run.data_digest,
                run.standardise,
                run.versions,
                run.code["digest"],
            ],
            sort_keys=True,
        )
        settings.setdefault(key, {})[run.seed] = run
    if not settings:
        return []
    best = max(sorted(settings), key=lambda key: len(settings[key]))
    return [settings[best][seed] for seed in sorted(settings[best])]


def _reach(claim: Claim, sd: float, n: int) -> float:
    """Return the half-width of the 95 % interval of the difference over trainings."""
    from scipy.special import stdtrit

    ours = sd**2 / n
    if claim.sd is not None and claim.n_runs is not None and claim.n_runs > 1:
        theirs = claim.sd**2 / claim.n_runs
        spread = ours**2 / (n - 1) + theirs**2 / (claim.n_runs - 1)
        df = (ours + theirs) ** 2 / spread if spread > 0 else n - 1.0
        return float(stdtrit(df, 0.975)) * math.sqrt(ours + theirs)
    return float(stdtrit(n - 1.0, 0.975)) * sd * math.sqrt(1 + 1 / n)


def _limits(claim: Claim, difference: float, reach: float) -> tuple[float, float]:
    """Return the 95 % interval of the difference, with the rounding and count of the claim."""
    if claim.count is None or (claim.sd is not None and (claim.n_runs or 0) > 1):
        half = reach + claim.rounding
        return difference - half, difference + half
    limits = published_limits(claim.value, claim.rounding, claim.count)
    return difference_limits(claim.value + difference, reach, claim.value, limits)


def _reading(
    claim: Claim,
    status: str,
    mean: float | None,
    sd: float | None,
    n: int,
    difference: float | None,
    span: tuple[float, float] | None,
) -> str:
    note = f" {_sentence(claim.note)}" if claim.note else ""
    reported = f"Reported {claim.value:g}.{note}"
    if not claim.comparable:
        return f"{reported} Never compared. Reason: {as_sentences(claim.unmatched)}."
    if mean is None:
        return f"{reported} Not run. To reproduce: `{claim.command}`."
    if span is None:
        return (
            f"{reported} {n} of {MIN_SEEDS} seeds run, with mean {mean:.3f}. This is too few to "
            "compare."
        )
    text = (
        f"{reported} Measured {mean:.3f} (SD {sd:.3f}, {n} seeds). The 95 % interval of the "
        f"difference {difference:+.3f} is [{span[0]:+.3f}, {span[1]:+.3f}]"
    )
    if status == "reproduced":
        return f"{text}, which includes 0."
    if span[0] <= 0 <= span[1]:
        return f"{text}, which is too wide for a comparison."
    return f"{text}, which excludes 0."


def _sentence(note: str) -> str:
    text = as_sentences(note)
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
