"""Methods that declare ``deterministic`` give the same output for every seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.api import Context
from bench.core.registry import Registry
from bench.testing.trial import Trial
from tests.helpers.extras import skip_without

if TYPE_CHECKING:
    from bench.core.types import Array

REGISTRY = Registry()
DECLARED = {
    entry.name: bool(entry.meta.get("deterministic", False))
    for entry in REGISTRY.entries("method")
    if entry.meta["level"] in ("profile", "classifier") and entry.provider == "labshift"
    # The encoder takes images; tests/training/test_encoders.py compares its features.
    if entry.name != "encoder"
}
RANDOM = {"fixed-forest", "harmony", "harmony-map", "harmony2", "scvi", "sysvi"}


def output(name: str, seed: int) -> Array:
    """Return profiles and logits of the evaluation rows of synthetic profiles."""
    cls = REGISTRY.entry("method", name).load()
    trial = Trial(cls, name, cls.Params(), "profiles", False)
    method = cls(cls.Params())
    context = Context(seed=seed, recipe=dict(trial.recipe))
    method.fit(trial.seen(trial.train, labels=True), trial.adapt(), context)
    result = trial.all(method, trial.seen(trial.test))
    return result.X if result.logits is None else np.hstack([result.X, result.logits])


def test_only_methods_with_random_numbers_are_not_deterministic() -> None:
    assert {name for name, declared in DECLARED.items() if not declared} == RANDOM


@pytest.mark.parametrize("name", [name for name, declared in DECLARED.items() if declared])
def test_the_seed_has_no_effect(name: str) -> None:
    skip_without(name)
    np.testing.assert_array_equal(output(name, 0), output(name, 1))


def test_a_random_method_depends_on_the_seed() -> None:
    assert not np.array_equal(output("fixed-forest", 0), output("fixed-forest", 1))
