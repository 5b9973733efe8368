"""Selection rules are pure functions of records."""

from __future__ import annotations

from typing import Any

import pytest

from bench.boards.select import boards
from bench.core.errors import BenchError
from bench.records.selection import RULES, Derived, derived_name, parse_derived, rule, select
from tests.helpers.errors import raises
from tests.helpers.factories import as_records, make_record


def trial(value: float, part: int = 1, parts: int = 2, **changes: Any) -> dict[str, Any]:
    """Return a validation run of ben on one part of the training rows."""
    kind = changes.pop("rule", "ood-val")
    fold = changes.pop("fold", "")
    params = {"ben": changes.pop("params", {})}
    name = derived_name(Derived("s/weeks", kind, changes.pop("level", ""), part, parts, fold))
    return make_record("ben", changes.pop("seed", 0), value, split=name, params=params, **changes)


def both(first: float, second: float, **changes: Any) -> list[dict[str, Any]]:
    return [trial(first, 1, **dict(changes)), trial(second, 2, **dict(changes))]


def test_the_highest_mean_over_all_parts_wins() -> None:
    runs = both(0.5, 0.5) + both(0.9, 0.3, params={"rows": "treated"})
    choice = select(as_records(runs), "ood-val", "s/weeks", "ben")
    assert choice.params == {"ben": {"rows": "treated"}}
    assert choice.score == pytest.approx(0.6)
    assert choice.scores == (0.9, 0.3)
    assert choice.n_candidates == 2
    assert sorted(run["run_id"] for run in runs) == list(choice.run_ids)


def test_lower_can_be_better() -> None:
    runs = both(0.5, 0.5) + both(0.9, 0.3, params={"rows": "treated"})
    choice = select(as_records(runs), "ood-val", "s/weeks", "ben", higher=False)
    assert choice.params == {}


def test_of_equal_scores_the_defaults_win_whatever_the_order() -> None:
    runs = both(0.5, 0.5) + both(0.5, 0.5, params={"rows": "treated"})
    for order in (runs, runs[::-1]):
        assert select(as_records(order), "ood-val", "s/weeks", "ben").params == {}


def test_a_candidate_without_a_score_on_every_part_cannot_win() -> None:
    runs = [*both(0.5, 0.5), trial(0.99, 1, params={"rows": "treated"})]
    choice = select(as_records(runs), "ood-val", "s/weeks", "ben")
    assert choice.params == {}
    assert choice.n_candidates == 1


@pytest.mark.parametrize(
    "other",
    [
        {"rule": "id-val"},
        {"fold": "w1"},
        {"level": "week"},
        {"status": "failed"},
        {"seed": 1},
        {"method_id": "adabn"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_records_of_something_else_are_not_looked_at(other: dict[str, Any]) -> None:
    runs = both(0.5, 0.5) + both(0.9, 0.9, params={"rows": "treated"}, **other)
    assert select(as_records(runs), "ood-val", "s/weeks", "ben").params == {}


def test_scores_on_the_test_rows_are_not_looked_at() -> None:
    test = make_record("ben", 0, 0.99, split="s/weeks", params={"ben": {"rows": "treated"}})
    runs = [*both(0.5, 0.5), test]
    assert select(as_records(runs), "ood-val", "s/weeks", "ben").params == {}


def test_recipe_values_are_part_of_a_candidate() -> None:
    runs = both(0.5, 0.5) + both(0.6, 0.6, recipe_overrides={"lr": 0.01})
    choice = select(as_records(runs), "ood-val", "s/weeks", "ben")
    assert (choice.params, choice.recipe) == ({}, {"lr": 0.01})


def test_last_looks_at_nothing() -> None:
    assert select([], "last", "s/weeks", "ben").params == {}


def test_nothing_to_choose_from_and_unknown_rules_are_explained() -> None:
    with raises(BenchError, "ben", "ood-val", "s/weeks"):
        select([], "ood-val", "s/weeks", "ben")
    with raises(BenchError, "ood-val"):
        rule("ood")


@pytest.mark.parametrize(
    "derived",
    [
        Derived("coos7/test4", "ood-val"),
        Derived("a/b", "leave-one-batch-out", "meta_week", 3, 9, "Week 1.2@x"),
        Derived("a/b", "held-out", "plate"),
    ],
)
def test_names_are_read_back(derived: Derived) -> None:
    assert parse_derived(derived_name(derived)) == derived


def test_a_name_has_only_what_differs_from_the_defaults() -> None:
    assert derived_name(Derived("s/weeks", "ood-val")) == "s/weeks~ood-val"
    full = Derived("s/weeks", "ood-val", "plate", 2, 3, "w1")
    assert derived_name(full) == "s/weeks~ood-val:plate.2of3@w1"
    assert parse_derived("s/weeks~ood-val") == Derived("s/weeks", "ood-val", "", 1, 1, "")
    assert parse_derived("s/weeks") is None


def test_only_the_oracle_is_not_ranked_and_batches_are_needed_for_batches() -> None:
    assert [name for name, entry in RULES.items() if not entry.ranked] == ["oracle"]
    assert [name for name, entry in RULES.items() if not entry.tuned] == ["last"]
    needed = {name: entry.min_batches for name, entry in RULES.items() if entry.min_batches}
    assert needed == {"ood-val": 3, "leave-one-batch-out": 3}


def test_of_equal_scores_the_fewest_changed_values_win() -> None:
    few = {"recipe_overrides": {"lr": 0.01}}
    many = {"params": {"rows": "treated", "level": "week"}}
    for worse, better in ((few, {}), (many, few), ({**many, **few}, many)):
        for order in (1, -1):
            runs = both(0.5, 0.5, **dict(worse)) + both(0.5, 0.5, **dict(better))
            choice = select(as_records(runs[::order]), "ood-val", "s/weeks", "ben")
            expected = better.get("params", {})
            assert choice.params == ({"ben": expected} if expected else {})
            assert choice.recipe == better.get("recipe_overrides", {})


def test_a_part_without_a_score_excludes_its_candidate() -> None:
    runs = both(0.5, 0.5) + both(0.9, 0.9, params={"rows": "treated"})
    runs[3]["metrics"] = {}
    choice = select(as_records(runs), "ood-val", "s/weeks", "ben")
    assert choice.params == {}
    assert choice.n_candidates == 1


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_rule_stands_in_the_title_of_a_board(name: str) -> None:
    budget = {"trials": 5, "seconds_asked": 0.0, "validations": 2, "seconds": 1.0}
    tuning = {"tuning": budget} if RULES[name].tuned else {}
    runs = [
        make_record("erm", seed, 0.5, edition="real", selection=name, **tuning) for seed in range(3)
    ]
    [board] = boards(as_records(runs))
    assert RULES[name].title in board.title
    assert board.selection == name
