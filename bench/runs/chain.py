"""A chain of stages such as ``erm+tvn``: its code, parameters and access.

The first stage is a network, a classifier without a network, or ``identity`` (the table itself, or
fixed untrained features of images). Profile stages follow. A single profile method gets a default
first stage: ``erm`` on images, ``identity`` on a table.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.core.access import TRACKS, Access, track_of
from bench.core.control_names import is_control_row
from bench.core.errors import BenchError
from bench.core.params import make_params
from bench.runs.contract import check_class, check_declarations, checked_params
from bench.training.recipes import recipe_access

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.core.dataset import Opened
    from bench.core.entry import Entry
    from bench.core.registry import Registry
    from bench.core.types import JsonObject, Recipe, Values


@dataclass(frozen=True)
class Stage:
    """One method of a chain with its parameters.

    Attributes
    ----------
    level
        The batch level that it acts on, a column of the data set's index.
    also
        Access that the recipe adds, such as standardising by plate.
    shared
        Whether the split adds this stage before every method. It is then not in the method's name.
    """

    entry: Entry
    cls: Any
    params: Any
    level: str
    also: Access = Access.NONE
    shared: bool = False

    @property
    def name(self) -> str:
        """The method's name."""
        return self.entry.name

    @property
    def kind(self) -> str:
        """``network``, ``classifier``, ``profile`` or ``reference``."""
        return str(self.entry.meta["level"])

    @property
    def access(self) -> Access:
        """Access required with these parameters."""
        declared: Access = self.cls.access(self.params)
        return declared | self.also

    @property
    def per_batch(self) -> bool:
        """Whether each call of ``apply`` gets exactly one test batch."""
        return bool(self.access & (Access.TEST_BATCH | Access.TEST_CONTROLS))

    @property
    def sees_batches(self) -> bool:
        """Whether it uses batch labels in training or at test."""
        if is_control_row(self.kind):
            return bool(self.cls.sees_batches)
        seen = Access.TRAIN_BATCH | Access.TEST_BATCH | Access.TEST_CONTROLS | Access.ADAPT
        return bool(self.access & seen)

    @property
    def needs(self) -> frozenset[str]:
        """Required data, such as ``controls`` or ``images``, from the class method ``needs``."""
        stated: Callable[[Any], frozenset[str]] | None = getattr(self.cls, "needs", None)
        return frozenset() if stated is None else frozenset(stated(self.params))

    def changed(self, phase: str | None = None) -> JsonObject:
        """Return the parameters that differ from their defaults, of one phase or both."""
        return {
            f.name: getattr(self.params, f.name)
            for f in dataclasses.fields(self.params)
            if getattr(self.params, f.name) != f.default
            and (phase is None or f.metadata.get("phase", "fit") == phase)
            and not (self.entry.argument and f.name == "name")  # part of the method's name
        }

    @property
    def pinned(self) -> dict[str, str]:
        """Identity of inputs that are not data, such as pretrained weights; usually empty."""
        stated: Callable[[Any], dict[str, str]] | None = getattr(self.cls, "pinned", None)
        return {} if stated is None else stated(self.params)


@dataclass(frozen=True)
class Chain:
    """The stages of one method, as specified by the user."""

    typed: str
    stages: tuple[Stage, ...]

    @property
    def own(self) -> tuple[Stage, ...]:
        """The stages of the method itself, without shared preprocessing."""
        return tuple(stage for stage in self.stages if not stage.shared)

    @property
    def preprocess(self) -> str:
        """The split's shared preprocessing method, or an empty string."""
        return "+".join(stage.name for stage in self.stages if stage.shared)

    @property
    def method_id(self) -> str:
        """The full chain, such as ``erm+tvn``."""
        return "+".join(stage.name for stage in self.own)

    @property
    def access(self) -> Access:
        """The union of the stages' access."""
        access = Access.NONE
        for stage in self.stages:
            access |= stage.access
        return access

    @property
    def track(self) -> str:
        """The track; ``reference`` if the only stage is a reference."""
        if all(is_control_row(stage.kind) for stage in self.own):
            return TRACKS[-1]
        return track_of(self.access)

    @property
    def deterministic(self) -> bool:
        """Whether no stage draws random numbers, as its META declares."""
        return all(stage.entry.meta["deterministic"] for stage in self.stages)

    @property
    def readout(self) -> str:
        """``head`` for a single network or classifier, otherwise ``probe``."""
        alone = len(self.own) == 1 and self.own[0].kind in ("network", "classifier")
        return "head" if alone and not self.own[0].entry.argument else "probe"

    @property
    def is_classifier(self) -> bool:
        """Whether the chain is a single classifier, scored by its own head on every board."""
        return len(self.own) == 1 and self.own[0].kind == "classifier"

    @property
    def badges(self) -> list[str]:
        """Remarks that the track does not include."""
        if Access.CONTROLS in self.access and self.track == "inductive":
            return ["training controls"]
        return []


def parse_chain(
    typed: str,
    registry: Registry,
    opened: Opened,
    values: Values,
    recipe: Recipe,
    preprocess: str = "",
) -> Chain:
    """Parse a chain such as ``ben+tvn`` and its parameters.

    Parameters
    ----------
    typed
        Method names joined by ``+``.
    opened
        The data set. It determines the default first stage and the default batch level.
    preprocess
        Profile method that the split applies before all others, or empty.

    Raises
    ------
    BenchError
        If a name is unknown, the order of stages is invalid, or a parameter is wrong.
    """
    names = [name.strip() for name in typed.split("+")]
    entries = [registry.entry("method", _with_argument(name, registry)) for name in names]
    for entry in entries:
        if entry.problem:
            entry.load()  # raises with the reason if the entry is broken
    kinds = [str(entry.meta["level"]) for entry in entries]
    if kinds[0] == "profile":
        parent = "erm" if opened.is_images else "identity"
        entries.insert(0, registry.entry("method", parent))
        kinds.insert(0, str(entries[0].meta["level"]))
    for k, (entry, kind) in enumerate(zip(entries, kinds, strict=True)):
        if k and kind != "profile":
            raise BenchError(
                f"invalid chain '{typed}': {entry.name} is a {kind} method and must come first, "
                "followed by profile methods, such as erm+zscore"
            )
    if is_control_row(kinds[0]) and len(entries) > 1 and entries[0].name != "identity":
        raise BenchError(
            f"invalid chain '{typed}': the control row {entries[0].name} cannot be followed by "
            "other stages"
        )
    stages = [_stage(e, opened, values, recipe) for e in entries]
    if preprocess:
        first = registry.entry("method", preprocess)
        if opened.is_images or first.meta["level"] != "profile":
            raise BenchError(
                f"preprocess = '{preprocess}' is not possible on {opened.name}: it requires a "
                "table and a profile method"
            )
        stages.insert(0, replace(_stage(first, opened, values, recipe), shared=True))
    return Chain(typed, tuple(stages))


def _with_argument(name: str, registry: Registry) -> str:
    """Return ``encoder:efficientnet-lite0`` for ``encoder``: the default is part of the name."""
    entry = registry.entry("method", name)
    default = entry.meta.get("argument", "")
    return f"{name}:{default}" if default and not entry.argument else name


def _stage(entry: Entry, opened: Opened, values: Values, recipe: Recipe) -> Stage:
    cls = entry.load()
    if entry.provider != "labshift":
        check_class(entry, cls)
    argument = {"name": entry.argument} if entry.argument else {}
    chosen = {**values.get(entry.name, {}), **argument}
    params = checked_params(entry, lambda: make_params(entry.name, cls.Params, chosen))
    declared = check_declarations(entry, cls, params)
    if Access.TEST_CONTROLS in declared and Access.CONTROLS not in declared:
        raise BenchError(
            f"{entry.name} declares test-controls but not controls, which are required to "
            "distinguish them: add Access.CONTROLS to its access"
        )
    level = getattr(params, "level", "") or opened.level
    if level not in opened.levels:
        raise BenchError(
            f"{entry.name}.level is '{level}', but the batch levels of {opened.name} are "
            f"{', '.join(opened.levels)}"
        )
    network = entry.meta["level"] == "network"
    if network and recipe.get("batches_per_step", 1) > 1:
        from bench.training.parallel.averaged import averaged

        cls = averaged(cls)
    if network and recipe.get("compile", False):
        from bench.training.compiled import compiled

        cls = compiled(cls)
    also = recipe_access(recipe) if network else Access.NONE
    return Stage(entry, cls, params, level, also)
