"""Spelling of values: the examples of the docstrings, and the ends of the ranges."""

from __future__ import annotations

import doctest

import pytest

from bench.core import words


def test_examples_are_true() -> None:
    assert doctest.testmod(words).failed == 0


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "unknown size"), (0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"),
     (99_949, "99.9 kB"), (123_456, "123 kB"), (999_600, "1.0 MB"), (5e12, "5000 GB")],
)  # fmt: skip
def test_sizes(size: float | None, text: str) -> None:
    assert words.file_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.00 s"), (89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_an_enumeration_with_its_own_separators() -> None:
    assert words.listed(["a, b", "c"], sep="; ", last="; ") == "a, b; c"
    assert words.listed("ab", 1) == "a and 1 more"


def test_an_interval_without_an_end_is_a_dash() -> None:
    assert words.interval(None, 1.0) == words.DASH
    assert words.interval(-0.5, 1, 1, sign=True) == "[\N{MINUS SIGN}0.5, +1.0]"
