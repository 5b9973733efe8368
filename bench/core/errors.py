"""The exceptions that people see: one line, what is wrong, where, and how to mend it."""

from __future__ import annotations


class BenchError(Exception):
    """Wrong usage or bad input. The command line prints it on one line and exits with 2."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class AccessError(BenchError):
    """A method asked for something that its declared access does not include."""


class NotApplicable(BenchError):
    """The split lacks something that the method needs; decided before any training."""


class RunFailed(BenchError):
    """A method raised, diverged or returned something unusable. Exit code 1."""


def did_you_mean(name: str, known: list[str], what: str) -> str:
    """Return a sentence about an unknown name, with the nearest known ones.

    Parameters
    ----------
    name
        What was typed.
    known
        The names that exist.
    what
        The noun, such as ``method``.
    """
    import difflib

    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    # Of equally near names the one that begins alike comes first: fingers slip later in a word.
    near.sort(
        key=lambda other: (
            -round(difflib.SequenceMatcher(None, name, other).ratio(), 2),
            other[:1] != name[:1],
        )
    )
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(sorted(known))}."
    return f"unknown {what} '{name}'. {hint}"
