"""Words that go with numbers, and texts of others."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """A count with its noun, in the plural where there is not exactly one.

    >>> counted(1, "row"), counted(0, "row"), counted(2, "epoch")
    ('1 row', '0 rows', '2 epochs')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def printable(text: str) -> str:
    """A text with escapes, as ``repr`` writes them, for what ends a line or moves a terminal's cursor.

    >>> print(printable("\x1b[2J caf\u00e9"))
    \x1b[2J café
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
