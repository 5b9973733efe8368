"""The number of threads of a fit."""

from __future__ import annotations

import pytest

from bench.core.errors import BenchError
from bench.runs.device import threads


def test_one_thread_unless_asked_for_more(monkeypatch):
    monkeypatch.delenv("BENCH_THREADS", raising=False)
    assert threads() == 1
    monkeypatch.setenv("BENCH_THREADS", "3")
    assert threads() == 3


@pytest.mark.parametrize("text", ["0", "-1", "two", "²", "1.5", "99999"])
def test_a_number_of_threads_that_is_not_one_is_refused(monkeypatch, text):
    monkeypatch.setenv("BENCH_THREADS", text)
    with pytest.raises(BenchError):
        threads()
