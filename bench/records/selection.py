"""Selection rules: which candidate of a method is run, as a pure function of records.

A *candidate* is a method with its parameters and the recipe values set for it. Every candidate was
run on the same validation rows, which were carved out of the training rows
(``bench.runs.holdouts``), and those runs are records under a derived name,
``SPLIT~RULE.1of2@FOLD``. Choosing reads nothing else: the rows that a split is scored on are in
none of them.

``oracle`` is the exception, and says so: it reads the score on the test rows, to show how much a
better selection could gain. It is never ranked.
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

    from bench.core.types import Facts, JsonObject

__all__ = ["RULES", "Choice", "Derived", "Rule", "derived_name", "parse_derived", "rule", "select"]


@dataclass(frozen=True)
class Rule:
    """One way to choose among candidates.

    Attributes
    ----------
    name
        As typed, and as in ``spec["selection"]`` of a record.
    words
        For the title of a board.
    summary
        What the validation rows are.
    tuned
        Whether candidates are compared at all.
    ranked
        Whether rows chosen like this may be ranked.
    min_batches
        Batches that a training set needs for it.
    """

    name: str
    words: str
    summary: str
    tuned: bool = True
    ranked: bool = True
    min_batches: int = 0


RULES: dict[str, Rule] = {
    one.name: one
    for one in (
        Rule("last", "last step, no selection", "none: default parameters", tuned=False),
        Rule(
            "id-val",
            "tuned by id-val (random training wells)",
            "random wells of the training rows, or random rows where wells are not known",
        ),
        Rule(
            "ood-val",
            "tuned by ood-val (whole training batches held out)",
            "whole batches of the training rows, about a quarter of them at a time",
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
            "the test rows themselves: what a perfect selection would gain, no result",
            ranked=False,
        ),
    )
}


def rule(name: str) -> Rule:
    """Return a rule.

    Raises
    ------
    BenchError
        For an unknown name.
    """
    if name not in RULES:
        raise BenchError(did_you_mean(name, list(RULES), "selection rule"))
    return RULES[name]


# --------------------------------------------------------------------------- derived names


@dataclass(frozen=True)
class Derived:
    """What the name of a derived split says.

    Attributes
    ----------
    split
        The split that it was made of.
    kind
        A selection rule, or what ``bench.runs.holdouts`` held out.
    level
        Batch level; empty is the data set's own.
    part, parts
        Which of how many, from 1.
    fold
        The fold of the split whose training rows were carved; empty for all of them.
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
    """Return what a derived split's name says, or None for an ordinary split."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    said = found.groupdict()
    return Derived(
        said["split"],
        said["kind"],
        said["level"] or "",
        int(said["part"] or 1),
        int(said["parts"] or 1),
        said["fold"] or "",
    )


# --------------------------------------------------------------------------- choosing


@dataclass(frozen=True)
class Choice:
    """The candidate that a rule chose.

    Attributes
    ----------
    params
        Parameters that differ from their defaults, by stage.
    recipe
        Recipe values that were set.
    score, scores
        Mean over the validation parts, and each part's; None for ``last``.
    n_candidates
        Candidates that had a score on every part.
    run_ids
        Records that the choice rests on.
    """

    params: Mapping[str, Facts]
    recipe: Facts
    score: float | None
    scores: tuple[float, ...]
    n_candidates: int
    run_ids: tuple[str, ...]


def select(
    records: Iterable[Facts],
    name: str,
    split_id: str,
    method_id: str,
    *,
    seed: int = 0,
    level: str = "",
    fold: str = "",
    higher: bool = True,
) -> Choice:
    """Return what a rule chooses for one fold of a split.

    Only candidates that have a score on every validation part compete; of equal scores the one
    with fewer changed values wins, then the first in canonical order. The order of the records is
    of no consequence.

    Parameters
    ----------
    records
        Committed runs. Those of other splits, methods, rules and seeds are ignored.
    name
        One of :data:`RULES`.
    split_id, fold
        The split and the fold that is to be run; ``fold`` is empty for a split with one.
    method_id
        The chain.
    seed
        Of the validation runs.
    level
        Batch level of the rule, if it is not the data set's own.
    higher
        Direction of the primary metric.

    Raises
    ------
    BenchError
        For an unknown rule, or if no candidate has all scores.
    """
    chosen = rule(name)
    if not chosen.tuned:
        return Choice({}, {}, None, (), 0, ())
    found: dict[str, dict[int, tuple[float, str]]] = {}
    meant: dict[str, tuple[JsonObject, JsonObject]] = {}
    parts = 1
    for record in records:
        spec = record["spec"]
        if record["status"] != "ok" or (spec["method_id"], spec["seed"]) != (method_id, seed):
            continue
        where = parse_derived(str(spec["split_id"]))
        wanted = (split_id, name, level, fold)
        if where is None or (where.split, where.kind, where.level, where.fold) != wanted:
            continue
        parts = max(parts, where.parts)
        value = record["metrics"].get(record["primary"], {}).get("all")
        if value is None:
            continue
        params = {stage: dict(values) for stage, values in record["params"].items() if values}
        recipe = dict(spec["recipe_overrides"])
        key = canonical_json([params, recipe])
        meant[key] = (params, recipe)
        found.setdefault(key, {})[where.part] = (float(value), str(record["run_id"]))
    whole = {key: scores for key, scores in found.items() if len(scores) == parts}
    if not whole:
        raise BenchError(
            f"no candidate of {method_id} has a {name} score on {split_id}"
            + (f", fold {fold}" if fold else "")
            + ": tune it first"
        )

    def place(key: str) -> tuple[float, int, str]:
        mean = _mean([value for value, _ in whole[key].values()])
        params, recipe = meant[key]
        return (-mean if higher else mean, sum(map(len, params.values())) + len(recipe), key)

    best = min(whole, key=place)
    scores = tuple(whole[best][part][0] for part in sorted(whole[best]))
    runs = sorted(run for parts_of in whole.values() for _, run in parts_of.values())
    return Choice(*meant[best], _mean(scores), scores, len(whole), tuple(runs))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
