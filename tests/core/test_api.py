"""Parameters, access words and views: conversions, ranges, messages."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from bench.api import (
    Access,
    AccessError,
    BenchError,
    Context,
    Method,
    NotApplicable,
    Output,
    RunFailed,
    Samples,
    make_params,
    param,
    track_of,
)
from bench.core.control_names import is_control_row
from tests.helpers.errors import mentions, raises


@dataclass(frozen=True)
class Params:
    rows: str = param("all", "which rows", choices=("all", "controls"))
    size: int = param(8, "how many", unit="rows", low=1, high=64)
    rate: float = param(0.5, "how fast", low=0.0, high=1.0)
    open_end: float = param(1.0, "no range")
    flag: bool = param(False, "whether", phase="apply")
    shape: str = param("whole", "a number or a word", pattern=r"whole|[1-9][0-9]*")


@dataclass(frozen=True)
class Nothing:
    """No parameters."""


def made(**values: Any) -> Params:
    result = make_params("m", Params, values)
    assert isinstance(result, Params)
    return result


@pytest.mark.parametrize(
    "key, typed, expected",
    [
        ("size", "12", 12),
        ("size", 12.0, 12),
        ("size", np.int64(3), 3),
        ("rate", "0.25", 0.25),
        ("rate", 1, 1.0),
        ("rate", "1e-3", 1e-3),
        ("flag", "true", True),
        ("flag", "No", False),
        ("flag", 1, True),
        ("flag", True, True),
        ("rows", "controls", "controls"),
        ("shape", "16", "16"),
        ("shape", 16, "16"),
    ],
)
def test_values_take_the_type_of_their_default(key: str, typed: Any, expected: Any) -> None:
    value = getattr(made(**{key: typed}), key)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    "key, typed, names",
    [
        ("size", "many", ("m.size", "many")),
        ("size", "2.5", ()),
        ("size", 2.5, ()),
        ("size", None, ()),
        ("size", [1], ()),
        ("size", float("inf"), ()),
        ("size", "0", ("m.size", "1", "64", "0")),
        ("size", 65, ("1", "64")),
        ("rate", "fast", ()),
        ("rate", None, ()),
        ("rate", "nan", ()),
        ("open_end", "inf", ()),
        ("rate", "-0.1", ("0.0", "1.0")),
        ("flag", "maybe", ()),
        ("rows", "some", ("m.rows", "some")),
        ("shape", "0", ()),
        ("shape", "whole ", ()),
        ("sise", "3", ("sise", "size")),
    ],
)
def test_wrong_values_end_in_one_line(key: str, typed: Any, names: str) -> None:
    with pytest.raises(BenchError) as caught:
        made(**{key: typed})
    mentions(str(caught.value), *names)


def test_bounds_are_inclusive_and_defaults_stay() -> None:
    assert (made(size=1).size, made(size=64).size, made(rate=0).rate) == (1, 64, 0.0)
    assert made() == Params()


def test_a_method_without_parameters_says_so() -> None:
    with raises(BenchError, "rows"):
        make_params("m", Nothing, {"rows": "all"})


def test_a_phase_is_fit_or_apply() -> None:
    with raises(ValueError, "phase"):
        param(1, "x", phase="test")


def test_access_words_round_trip() -> None:
    both = Access.TRAIN_BATCH | Access.TEST_CONTROLS
    assert both.words == ["train-batch", "test-controls"]
    assert Access.parse(both.words) is both
    assert Access.parse([]) is Access.NONE
    with raises(BenchError, "test-rows"):
        Access.parse(["test-rows"])


@pytest.mark.parametrize(
    "access, track",
    [
        (Access.NONE, "inductive"),
        (Access.TRAIN_BATCH | Access.CONTROLS, "inductive"),
        (Access.CONTROLS | Access.TEST_CONTROLS, "test-controls"),
        (Access.TEST_CONTROLS | Access.TEST_BATCH, "test-batch"),
        (Access.TEST_BATCH | Access.ADAPT, "transductive"),
    ],
)
def test_the_weakest_claim_names_the_track(access: Access, track: str) -> None:
    assert track_of(access) == track


def test_every_error_is_one_line() -> None:
    for kind in (BenchError, AccessError, NotApplicable, RunFailed):
        assert str(kind("a\n  b")) == "a b"
        assert issubclass(kind, BenchError)


def samples(**changes: Any) -> Samples:
    fields: dict[str, Any] = {
        "ids": np.array(["a", "b", "c"]),
        "y": np.array([0, 1, -1]),
        "batch": np.array(["p", "p", "q"]),
        "n_classes": 2,
        "shape": (2,),
        "X": np.arange(6, dtype=np.float32).reshape(3, 2),
        "exposed": {"count": np.array(["1", "2", "3"])},
        **changes,
    }
    return Samples(**fields)


def test_taking_rows_takes_them_of_everything() -> None:
    mask = np.array([True, False, True])
    whole = samples(_controls=np.array([False, False, True]))
    for some in (whole.take(mask), whole.take(np.array([0, 2]))):
        assert len(some) == 2
        assert some.ids.tolist() == ["a", "c"]
        assert some.batch.tolist() == ["p", "q"]
        assert some.y.tolist() == [0, -1]
        assert some.exposed["count"].tolist() == ["1", "3"]
        assert some.controls().tolist() == [False, True]
        assert some.X is not None
        assert some.X.tolist() == [[0, 1], [4, 5]]


def test_what_was_not_declared_is_refused() -> None:
    with raises(AccessError, "controls"):
        samples().controls()
    with raises(BenchError, ".X"):
        samples().images(np.array([0]))


def test_views_and_outputs_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        samples().y = np.zeros(3, np.int64)  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        Output(np.zeros((1, 1), np.float32)).fallbacks = 3  # type: ignore[misc]


def test_generators_of_a_context_have_addresses() -> None:
    ctx = Context(seed=3, recipe={})
    draws = [ctx.generator(*a).random(4).tolist() for a in (("a",), ("a",), ("b",), ("a", 1))]
    assert draws[0] == draws[1]
    assert len({tuple(d) for d in draws}) == 3
    assert Context(seed=4, recipe={}).generator("a").random(4).tolist() != draws[0]


def test_a_method_is_known_by_what_it_does() -> None:
    from bench.core.registry import Registry

    registry = Registry()
    for entry in registry.entries("method"):
        if not is_control_row(entry.meta["level"]):
            assert isinstance(entry.load()(entry.load().Params()), Method), entry.name
