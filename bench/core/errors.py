"""Exceptions with one-line messages: what is wrong, where, and how to fix it."""

from __future__ import annotations


class BenchError(Exception):
    """Wrong usage or bad input. The command line prints it on one line and exits with 2."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class AccessError(BenchError):
    """A method accessed an input that it did not declare."""


class NotApplicable(BenchError):
    """The split lacks something that the method requires; raised before any training."""


class RunFailed(BenchError):
    """A method raised, diverged or returned something unusable. Exit code 1."""


def did_you_mean(name: str, names: list[str], noun: str) -> str:
    """Return a message about an unknown name, with the closest known names."""
    import difflib

    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    # Break ties by common prefix.
    near.sort(
        key=lambda other: (
            -round(difflib.SequenceMatcher(None, name, other).ratio(), 2),
            other[:1] != name[:1],
        )
    )
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(sorted(names))}."
    return f"unknown {noun} '{name}'. {hint}"
