"""Shell completion: names of methods, splits and other things, read without imports.

A completer takes what click passes and returns names. A broken plugin or an unreadable file must
not print a message while somebody types; there are then no completions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import click
    from click.shell_completion import CompletionItem

    from bench.core.registry import Registry

    Completer = Callable[[click.Context, click.Parameter, str], list[str]]


SHELLS = ("bash", "zsh", "fish")


def script(group: click.Group, shell: str) -> str:
    """Return the script that makes a shell complete the command ``labshift``."""
    from click.shell_completion import get_completion_class

    from bench.cli.main import COMPLETE
    from bench.core.errors import did_you_mean

    cls = get_completion_class(shell) if shell in SHELLS else None
    if cls is None:
        raise BenchError(did_you_mean(shell, list(SHELLS), "shell"))
    return cls(group, {}, "labshift", COMPLETE).source()


def one_of(*values: str) -> Completer:
    """Return a completer of fixed values."""
    return lambda context, parameter, typed: _starting(values, typed)


def choices(name: str) -> Completer:
    """Return a completer of the values of a constant in :mod:`bench.runs.experiment`."""

    def complete(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
        from bench.runs import experiment

        return _starting(getattr(experiment, name), typed)

    return complete


def methods(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Complete the last name of ``M[,M...]``, each a chain such as ``ben+tvn``."""
    return _last(typed, ",+", lambda: _registry().names("method"))


def splits(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Complete the last name of ``S[,S...]``; if none fits, the shell completes files."""
    from click.shell_completion import CompletionItem

    matches = _last(typed, ",", _split_names)
    return [CompletionItem(m) for m in matches] or [CompletionItem(typed, type="file")]


def kinds(kind: str) -> Completer:
    """Return a completer of the registered names of a kind, such as ``dataset``."""
    return lambda context, parameter, typed: _safe(
        lambda: _starting(_registry().names(kind), typed)
    )


def studies(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Complete the name of a study."""
    from bench.studies import known

    return _safe(lambda: _starting(known(), typed))


def suites(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Complete the name of a packaged suite; if none fits, the shell completes files."""
    from click.shell_completion import CompletionItem

    from bench.runs.sweeps.suite import packaged

    matches = _safe(lambda: _starting(packaged(), typed))
    return [CompletionItem(m) for m in matches] or [CompletionItem(typed, type="file")]


def figures(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Complete the name of a figure."""
    from bench.output.figures import all_figures

    return _safe(lambda: _starting(all_figures(_registry()), typed))


def names(
    context: click.Context, parameter: click.Parameter, typed: str
) -> list[str] | list[CompletionItem]:
    """Complete the name of ``show WHAT NAME`` for the WHAT that was typed."""
    what = context.params.get("what")
    if what in ("method", "dataset"):
        return kinds(what)(context, parameter, typed)
    return splits(context, parameter, typed) if what == "split" else []


def _registry() -> Registry:
    from bench.core.registry import Registry

    return Registry()


def _split_names() -> Iterable[str]:
    from bench.data.catalog import known_splits

    known = known_splits(_registry()).values()
    return [name for split in known for name in (split.name, split.alias) if name]


def _last(typed: str, separators: str, candidates: Callable[[], Iterable[str]]) -> list[str]:
    cut = max(typed.rfind(mark) for mark in separators) + 1
    before, last = typed[:cut], typed[cut:]
    return _safe(lambda: [before + name for name in _starting(candidates(), last)])


def _starting(values: Iterable[str], typed: str) -> list[str]:
    return sorted(value for value in values if value.startswith(typed))


def _safe(complete: Callable[[], list[str]]) -> list[str]:
    try:
        return complete()
    except BenchError:
        return []
