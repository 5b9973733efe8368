"""Selection rules: how the candidate of a method is selected, as a pure function of records.

A *candidate* is a method with its parameters and recipe overrides. All candidates are run on the
same validation rows, which are a part of the training rows (``bench.runs.holdouts``). These runs
are stored as records under a derived name, ``SPLIT~RULE.1of2@FOLD``. Selection reads these records
only, and they contain no test rows of the split.

``oracle`` is the exception: it reads the score on the test rows, to show how much a better
selection rule could gain. It is never ranked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.canonical import canonical_json
from bench.core.errors import BenchError, did_you_mean
from bench.records.summary import DERIVED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.records.record import Record
    from bench.records.schema import Json, Params


@dataclass(frozen=True)
class Rule:
    """A rule for selecting among candidates.

    Attributes
    ----------
    name
        Name on the command line, and in ``spec["selection"]`` of a record.
    tuned
        Whether several candidates are compared.
    """

    name: str
    title: str
    summary: str
    tuned: bool = True
    ranked: bool = True
    min_batches: int = 0


RULES: dict[str, Rule] = {
    entry.name: entry
    for entry in (
        Rule("last", "last step, no selection", "none: default parameters", tuned=False),
        Rule(
            "id-val",
            "tuned by id-val (random training wells)",
            "random wells of the training rows, or random rows where wells are not known",
        ),
        Rule(
            "ood-val",
            "tuned by ood-val (complete training batches held out)",
            "complete batches of the training rows, about a quarter of them at a time",
            min_batches=3,
        ),
        Rule(
            "leave-one-batch-out",
            "tuned by leave-one-batch-out of the training batches",
            "each batch of the training rows once",
            min_batches=3,
        ),
        Rule(
            "oracle",
            "oracle: selected on the TEST rows, never ranked",
            "the test rows themselves: an upper bound for any selection rule, not a result",
            ranked=False,
        ),
    )
}


def rule(name: str) -> Rule:
    """Return the rule with a name."""
    if name not in RULES:
        raise BenchError(did_you_mean(name, list(RULES), "selection rule"))
    return RULES[name]


@dataclass(frozen=True)
class Derived:
    """Components of the name of a derived split.

    Attributes
    ----------
    split
        The split that it is derived from.
    kind
        A selection rule, or a kind of hold-out of ``bench.runs.holdouts``.
    level
        Batch level; empty for the default of the data set.
    part, parts
        Number of this part, from 1, and the number of parts.
    fold
        The fold whose training rows are partitioned; empty for all folds.
    """

    split: str
    kind: str
    level: str = ""
    part: int = 1
    parts: int = 1
    fold: str = ""


_NAME = re.compile(
    r"(?P<split>[^~]+)~(?P<kind>[a-z-]+)(:(?P<level>[^.~@]+))?"
    r"(\.(?P<part>\d+)of(?P<parts>\d+))?(@(?P<fold>.+))?"
)


def derived_name(derived: Derived) -> str:
    """Return ``SPLIT~KIND[:LEVEL][.PARTofPARTS][@FOLD]``."""
    text = f"{derived.split}{DERIVED}{derived.kind}"
    text += f":{derived.level}" if derived.level else ""
    text += f".{derived.part}of{derived.parts}" if derived.parts > 1 else ""
    return text + (f"@{derived.fold}" if derived.fold else "")


def parse_derived(name: str) -> Derived | None:
    """Parse the name of a derived split; return None for an ordinary split."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return Derived(
        match["split"],
        match["kind"],
        match["level"] or "",
        int(match["part"] or 1),
        int(match["parts"] or 1),
        match["fold"] or "",
    )


@dataclass(frozen=True)
class Choice:
    """The candidate selected by a rule.

    Attributes
    ----------
    params
        Parameters that differ from their defaults, by stage.
    score, scores
        Mean over the validation parts, and the score of each part. None for ``last``.
    """

    params: Mapping[str, Mapping[str, Json]]
    recipe: Mapping[str, Json]
    score: float | None
    scores: tuple[float, ...]
    n_candidates: int
    run_ids: tuple[str, ...]


def select(
    records: Iterable[Record],
    name: str,
    split_id: str,
    method_id: str,
    *,
    seed: int = 0,
    level: str = "",
    fold: str = "",
    higher: bool = True,
) -> Choice:
    """Select a candidate for one fold of a split.

    Only candidates with a score on every validation part are compared. Ties are broken by the
    smaller number of changed values, then by canonical order. The order of the records is
    ignored.

    Parameters
    ----------
    records
        Committed runs. Those of other splits, methods, rules and seeds are ignored.
    name
        One of :data:`RULES`.
    split_id, fold
        The split and the fold to run. ``fold`` is empty for a split with one fold.
    seed
        Seed of the validation runs.
    level
        Batch level of the rule; empty for the default of the data set.
    higher
        Whether a higher value of the primary metric is better.

    Raises
    ------
    BenchError
        If the rule is unknown, or no candidate has all scores.
    """
    chosen = rule(name)
    if not chosen.tuned:
        return Choice({}, {}, None, (), 0, ())
    scores: dict[str, dict[int, tuple[float, str]]] = {}
    values: dict[str, tuple[Params, dict[str, Json]]] = {}
    parts = 1
    for record in records:
        if not record.ok or (record.method_id, record.seed) != (method_id, seed):
            continue
        derived = parse_derived(record.split_id)
        key_of_rule = (split_id, name, level, fold)
        if derived is None or (
            (derived.split, derived.kind, derived.level, derived.fold) != key_of_rule
        ):
            continue
        parts = max(parts, derived.parts)
        score = record.value()
        if score is None:
            continue
        params = {stage: dict(changed) for stage, changed in record.params.items() if changed}
        recipe = dict(record.recipe_overrides)
        key = canonical_json([params, recipe])
        values[key] = (params, recipe)
        scores.setdefault(key, {})[derived.part] = (score, record.run_id)
    complete = {key: by_part for key, by_part in scores.items() if len(by_part) == parts}
    if not complete:
        raise BenchError(
            f"no candidate of {method_id} has a {name} score on {split_id}"
            + (f", fold {fold}" if fold else "")
            + ": tune it first"
        )

    def order(key: str) -> tuple[float, int, str]:
        mean = _mean([score for score, _ in complete[key].values()])
        params, recipe = values[key]
        return (-mean if higher else mean, sum(map(len, params.values())) + len(recipe), key)

    best = min(complete, key=order)
    by_part = tuple(complete[best][part][0] for part in sorted(complete[best]))
    runs = sorted(run for runs in complete.values() for _, run in runs.values())
    return Choice(*values[best], _mean(by_part), by_part, len(complete), tuple(runs))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
