"""Groups of options that several commands share, each passed to a command as one object."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

import click

from bench.cli import arguments, completion
from bench.cli.output import json_only
from bench.cli.progress import waiting
from bench.core.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.core.registry import Isolate, Registry
    from bench.records.store import Store
    from bench.runs.experiment import Experiment


Command = Callable[..., object]
Decorator = Callable[[Command], Command]


def check(option: str, value: str, allowed: Iterable[str]) -> None:
    """Refuse a value that an option does not take."""
    values = list(allowed)
    if value not in values:
        raise BenchError(f"--{option}: {did_you_mean(value, values, option)}")


class _Path(click.ParamType):  # type: ignore[type-arg]  # generic in recent versions only
    """A path with ``~`` and environment variables replaced, also where the shell does not."""

    name = "path"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,  # noqa: ARG002 - signature of click
        ctx: click.Context | None,  # noqa: ARG002 - signature of click
    ) -> str:
        from bench.core.folders import expanded

        text = str(value)
        return text if "://" in text else str(expanded(text))


PATH = _Path()


def listed(*names: str, **attributes: Any) -> Decorator:  # noqa: ANN401 - attributes of click
    """Return an option that takes several values, separated by commas or by repeating it.

    The command gets them as one string separated by commas, or None.
    """

    def joined(
        context: click.Context,  # noqa: ARG001 - signature of click
        parameter: click.Parameter,  # noqa: ARG001 - signature of click
        values: tuple[str, ...],
    ) -> str | None:
        return ",".join(values) if values else None

    return click.option(*names, multiple=True, callback=joined, **attributes)


def bundle(name: str, kind: type, options: Sequence[Decorator]) -> Decorator:
    """Return a decorator that adds options and passes their values as one object."""
    names = [field.name for field in fields(kind)]

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def command(*args: object, **values: object) -> object:
            bundle = kind(**{key: values.pop(key) for key in names})
            values[name] = bundle
            if not (isinstance(bundle, Common) and bundle.as_json):
                return function(*args, **values)
            with json_only():
                return function(*args, **values)

        decorated: Command = command
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


@dataclass(frozen=True)
class Common:
    """Options of every command.

    Attributes
    ----------
    results
        ``--results``; None for the default folder.
    plugins
        Each ``--plugin``.
    as_json
        ``--json``: stdout gets one JSON document and nothing else.
    debug
        ``--debug``: errors keep their traceback.
    """

    results: str | None
    plugins: tuple[str, ...]
    as_json: bool
    debug: bool

    def registry(self, isolate: str = "plugins") -> Registry:
        """Return all registered names, plugins included.

        Parameters
        ----------
        isolate
            Methods and metrics that run in processes of their own: ``plugins``, ``all`` or
            ``none``.

        Raises
        ------
        BenchError
            If a plugin file is unusable or its name is taken.
        """
        from bench.core.registry import ISOLATE, open_registry

        check("isolate", isolate, ISOLATE)
        return open_registry(self.plugins).isolating(cast("Isolate", isolate))

    def store(self) -> Store:
        """Return the store of the results folder."""
        from bench.records.results import results_store

        return results_store(self.results)


common_options = bundle(
    "common",
    Common,
    [
        click.option(
            "--results",
            metavar="DIR",
            type=PATH,
            help="Results folder or URL [default: $BENCH_RESULTS or ./results].",
        ),
        click.option(
            "--plugin",
            "plugins",
            metavar="FILE",
            type=PATH,
            multiple=True,
            help="Python file with extensions. Repeatable.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print JSON only."),
        click.option("--debug", is_flag=True, help="Show the traceback of an error."),
    ],
)


output_option = functools.partial(click.option, "--output", metavar="FILE", type=PATH)
methods_option = functools.partial(
    listed, "--method", "-m", metavar="M[,M...]", shell_complete=completion.methods
)
splits_option = functools.partial(
    listed, "--split", "-s", metavar="S[,S...]", shell_complete=completion.splits
)


def choice_option(name: str, default: str, text: str, complete: completion.Completer) -> Decorator:
    """Return an option with a visible default and completion of its values."""
    return click.option(
        name, metavar="NAME", default=default, show_default=True, shell_complete=complete, help=text
    )


METHODS = methods_option(
    "methods", required=True, help="Methods; chains such as erm+tvn. Repeatable."
)
SPLITS = splits_option("splits", required=True, help="Splits, or FILE.toml[:NAME]. Repeatable.")
IF_EXISTS = click.option(
    "--if-exists",
    default="skip",
    show_default=True,
    shell_complete=completion.choices("IF_EXISTS"),
    metavar="WHAT",
    help="Existing runs: skip, refresh, rerun or verify.",
)


ISOLATE = click.option(
    "--isolate",
    is_flag=False,
    flag_value="all",
    default="plugins",
    metavar="[WHO]",
    shell_complete=completion.one_of("plugins", "all", "none"),
    help="Methods in processes of their own: plugins (files), all or none  [default: plugins].",
)


@dataclass(frozen=True)
class TrainingOptions:
    """Options of the commands that train.

    Attributes
    ----------
    seed, seeds
        ``--seed N`` and ``--seeds N``; None if not given.
    settings
        Each ``--set``, as ``[NAME.]KEY=VALUE``.
    """

    recipe: str
    edition: str
    device: str
    seed: str | None
    seeds: str | None
    settings: tuple[str, ...]
    isolate: str

    def experiment(
        self,
        methods: str | Sequence[str],
        splits: str,
        common: Common,
        say: Callable[[str], None],
        *,
        n_seeds: int | None = None,
        if_exists: str = "skip",
        metrics: str | None = None,
        network: str | None = None,
        standardise: str | None = None,
        rescale: bool = False,
    ) -> Experiment:
        """Check names and settings, and open the data.

        Parameters
        ----------
        say
            Receives one line per data set, naming its edition.
        n_seeds
            Number of seeds if neither ``--seed`` nor ``--seeds`` is given; None for the default of
            each split.
        if_exists, metrics, network, standardise, rescale
            Options that not every command has.

        Raises
        ------
        BenchError
            For an unknown name, a wrong value, an edition that is not available, or bad data.
        """
        from bench.runs.experiment import prepare

        with waiting(f"opening {splits}"):
            return prepare(
                methods,
                splits,
                seeds=arguments.seeds(self.seed, self.seeds, n_seeds),
                recipe=self.recipe,
                edition=self.edition,
                settings=self.settings,
                metrics=() if metrics is None else [metrics],
                network=network,
                standardise=standardise,
                rescale=rescale,
                device=self.device,
                if_exists=if_exists,
                isolate=self.isolate,
                results=common.results,
                plugins=common.plugins,
                say=say,
            )


training_options = bundle(
    "training",
    TrainingOptions,
    [
        choice_option(
            "--recipe",
            "default",
            "Training recipe: smoke, default or paper.",
            completion.choices("RECIPES"),
        ),
        choice_option(
            "--edition",
            "auto",
            "Data: auto, real, simulated or fixture.",
            completion.choices("EDITIONS"),
        ),
        choice_option(
            "--device",
            "auto",
            "Device of networks: auto, cpu or cuda.",
            completion.choices("DEVICES"),
        ),
        click.option("--seed", metavar="N", help="Run seed N only."),
        click.option(
            "--seeds", metavar="N", help="Run seeds 0 to N-1 [default: 3 on tables, 1 on images]."
        ),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="[NAME.]KEY=VALUE",
            help="Set METHOD.KEY, recipe.KEY or data.KEY. Repeatable.",
        ),
        ISOLATE,
    ],
)


def _single(
    context: click.Context,  # noqa: ARG001 - signature of click
    parameter: click.Parameter,
    values: tuple[str, ...],
) -> str | None:
    """Return the only value of an option; click would silently use the last of several."""
    if len(values) > 1:
        raise BenchError(f"{parameter.opts[0]} takes one value here, not {', '.join(values)}")
    return values[0] if values else None


SPLIT_FILTER = click.option(
    "--split",
    "-s",
    multiple=True,
    callback=_single,
    metavar="SPLIT",
    shell_complete=completion.splits,
    help="Name, alias or FILE.toml[:NAME] [default: all].",
)
REFERENCE = click.option("--reference", is_flag=True, help="Include the published records.")
