"""What a shell offers after TAB: names of methods, splits and so on, read without importing.

A function takes what click hands it and returns the words; broken plugins and unreadable files are
no reason for a message in the middle of somebody's typing, so they offer nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import click

    Completer = Callable[[click.Context, click.Parameter, str], list[Any]]

__all__ = ["figures", "kinds", "methods", "names", "one_of", "script", "splits"]

SHELLS = ("bash", "zsh", "fish")


def script(group: Any, shell: str) -> str:
    """Return what a shell must evaluate, once, to complete ``labshift``.

    Raises
    ------
    BenchError
        For an unknown shell.
    """
    from click.shell_completion import get_completion_class

    from bench.cli.main import COMPLETE
    from bench.core.errors import did_you_mean

    made = get_completion_class(shell) if shell in SHELLS else None
    if made is None:
        raise BenchError(did_you_mean(shell, list(SHELLS), "shell"))
    return made(group, {}, "labshift", COMPLETE).source()


def one_of(*words: str) -> Completer:
    """Return a completer of fixed words."""
    return lambda context, parameter, typed: _starting(words, typed)


def methods(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Complete the last name of ``M[,M...]``, each a chain such as ``ben+tvn``."""
    return _last(typed, ",+", lambda: _registry().names("method"))


def splits(context: click.Context, parameter: click.Parameter, typed: str) -> list[Any]:
    """Complete the last name of ``S[,S...]``; where none fits, the shell completes files."""
    from click.shell_completion import CompletionItem

    found = _last(typed, ",", _split_names)
    return list(found) if found else [CompletionItem(typed, type="file")]


def kinds(kind: str) -> Completer:
    """Return a completer of the registered names of a kind, such as ``dataset``."""
    return lambda context, parameter, typed: _safe(
        lambda: _starting(_registry().names(kind), typed)
    )


def figures(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Complete the name of a figure."""
    from bench.output.figures import all_figures

    return _safe(lambda: _starting(list(all_figures()), typed))


def names(context: click.Context, parameter: click.Parameter, typed: str) -> list[Any]:
    """Complete ``show WHAT NAME`` by what was typed for WHAT."""
    what = context.params.get("what")
    if what in ("method", "dataset"):
        return kinds(what)(context, parameter, typed)
    return splits(context, parameter, typed) if what == "split" else []


def _registry() -> Any:
    from bench.core.registry import Registry

    return Registry()


def _split_names() -> Iterable[str]:
    from bench.data.catalog import known_splits

    known = known_splits(_registry()).values()
    return [name for split in known for name in (split.name, split.alias) if name]


def _last(typed: str, separators: str, known: Callable[[], Iterable[str]]) -> list[str]:
    cut = max(typed.rfind(mark) for mark in separators) + 1
    before, last = typed[:cut], typed[cut:]
    return _safe(lambda: [before + name for name in _starting(known(), last)])


def _starting(words: Iterable[str], typed: str) -> list[str]:
    return sorted(word for word in words if word.startswith(typed))


def _safe(made: Callable[[], list[str]]) -> list[str]:
    try:
        return made()
    except BenchError:
        return []
