"""Format counts, lists, numbers, intervals, sizes and durations for display.

All messages, boards, figures and pages use these functions, so that values have the same format
everywhere.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


DASH = "\N{EN DASH}"
"""Printed for a missing value."""


_CONTROL = "\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Control characters except tab, newline and escape; characters that change the direction."""
_PLAIN = re.compile(f"[{_CONTROL}\x1b]")
_STYLED = re.compile(f"[{_CONTROL}]|\x1b(?!\\[[0-9;]*m)")
_USER = re.compile(r"(?<=://)[^\s/@\"']*@")
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?%?")


def without_user(text: str) -> str:
    """Return text with user names and passwords removed from its URLs.

    Examples
    --------
    >>> without_user("from https://me:secret@example.org/x")
    'from https://example.org/x'
    """
    return _USER.sub("", text)


def printable(text: str, *, styled: bool = False) -> str:
    """Return text for a terminal or a file, without control characters and passwords of URLs.

    Names in data and records come from others. Control characters in them could move the cursor,
    change the title of the terminal or hide text; each is replaced by ``�``.

    Parameters
    ----------
    styled
        Whether to keep codes of colours, which our own tables contain.
    """
    return without_user((_STYLED if styled else _PLAIN).sub("�", text))


def csv_cell(value: object) -> object:
    """Return a cell of a CSV file that a spreadsheet does not take for a formula.

    Text that begins like a formula and is no number gets an apostrophe, as OWASP recommends.

    Examples
    --------
    >>> csv_cell("=1+1"), csv_cell("-0.5"), csv_cell(-0.5)
    ("'=1+1", '-0.5', -0.5)
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def plural(noun: str) -> str:
    """Return the plural of a noun.

    Examples
    --------
    >>> [plural(noun) for noun in ("plate", "batch", "laboratory", "day")]
    ['plates', 'batches', 'laboratories', 'days']
    """
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def count(n: int, noun: str, many: str | None = None) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> count(1, "batch"), count(3, "batch"), count(0, "row")
    ('1 batch', '3 batches', '0 rows')
    """
    return f"{n} {noun if n == 1 else many or plural(noun)}"


def listed(
    items: Iterable[object], most: int | None = None, *, sep: str = ", ", last: str = " and "
) -> str:
    """Return an enumeration: ``a, b and c``.

    Parameters
    ----------
    most
        Maximum number of items to name; the others are counted. Default: all.
    sep, last
        Separator, and separator before the last item.

    Examples
    --------
    >>> listed(["a", "b", "c"]), listed("abcde", 2), listed(["a"]), listed([])
    ('a, b and c', 'a, b and 3 more', 'a', '')
    """
    names = [str(item) for item in items]
    if most is not None and len(names) > most:
        names = [*names[:most], f"{len(names) - most} more"]
    return last.join(filter(None, (sep.join(names[:-1]), *names[-1:])))


LONGEST = 20
"""Maximum number of words in a sentence for readers."""


def as_sentences(text: str, *, colons: bool = False) -> str:
    """Return a text in which clauses after a semicolon are sentences.

    Punctuation in brackets and in code is kept.

    Parameters
    ----------
    colons
        In clauses of more than :data:`LONGEST` words, make a sentence of the part after the last
        colon, too.

    Examples
    --------
    >>> as_sentences("the scanner is new; the stain (red; blue) is not")
    'the scanner is new. The stain (red; blue) is not'
    """
    sentences: list[str] = []
    for clause in _clauses(text, ";"):
        long = colons and len(clause.split()) > LONGEST
        parts = _clauses(clause, ":") if long else [clause]
        sentences += [": ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts
    return ". ".join([sentences[0], *(part[:1].upper() + part[1:] for part in sentences[1:])])


def _clauses(text: str, mark: str) -> list[str]:
    """Split a text at a punctuation mark before a blank, outside brackets and code."""
    parts: list[str] = []
    depth = start = 0
    code = False
    for place, character in enumerate(text):
        code ^= character == "`"
        depth += (character in "([{") - (character in ")]}")
        if character == mark and not depth and not code and text[place + 1 : place + 2].isspace():
            parts.append(text[start:place])
            start = place + 2
    return [*parts, text[start:]]


def number(value: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """Return a number with fixed decimals and a minus sign (U+2212); a dash for None.

    Examples
    --------
    >>> number(0.12345), number(0.5, 2, sign=True), number(None) == DASH
    ('0.123', '+0.50', True)
    """
    if value is None:
        return DASH
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def interval(low: float | None, high: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """Return an interval such as ``[0.372, 0.951]``; a dash if an end is None."""
    if low is None or high is None:
        return DASH
    return f"[{number(low, digits, sign=sign)}, {number(high, digits, sign=sign)}]"


def setting(value: object) -> str:
    """Return the value of a parameter as typed after ``--set``.

    Examples
    --------
    >>> setting(True), setting(0.1), setting("controls")
    ('true', '0.1', 'controls')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)


def file_size(n_bytes: float | None) -> str:
    """Return a size in decimal units; ``unknown size`` for None.

    Examples
    --------
    >>> file_size(512), file_size(7.43e9), file_size(207_100_000)
    ('512 bytes', '7.4 GB', '207 MB')
    """
    if n_bytes is None:
        return "unknown size"
    if n_bytes < 1000:
        return f"{n_bytes:.0f} bytes"
    value, unit = n_bytes / 1000, "kB"
    for larger in ("MB", "GB"):
        if value >= 999.5:
            value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"


def duration(seconds: float) -> str:
    """Return a duration to two or three digits.

    Examples
    --------
    >>> [duration(s) for s in (0.42, 7.25, 42, 720, 9000)]
    ['0.42 s', '7.2 s', '42 s', '12 min', '2.5 h']
    """
    if seconds < 90:
        return f"{seconds:.{2 if seconds < 1 else 1 if seconds < 10 else 0}f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
