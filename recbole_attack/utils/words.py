"""Words that go with numbers."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """A count with its noun, in the plural where there is not exactly one.

    >>> counted(1, "row"), counted(0, "row"), counted(2, "epoch")
    ('1 row', '0 rows', '2 epochs')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"
