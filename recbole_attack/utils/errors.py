"""Errors a user can act on, and the look-up that words them.

Every message names what was expected, what was found and, where a name was mistyped, the nearest valid one. It is one
printable line, whatever bytes of a file it quotes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from reprlib import Repr
from typing import TypeVar

from recbole_attack.utils.words import printable

T = TypeVar("T")


LONGEST_MESSAGE = 3000
"""Characters of the longest message; what is in the middle of a longer one is left out."""

LONGEST_NAME = 100
"""Characters of the longest name that is compared with others; comparing takes the square of that."""


class _OneLineError(ValueError):
    def __init__(self, message: object = "") -> None:
        super().__init__(_escaped(str(message)))


def _escaped(text: str) -> str:
    """A text in one printable line, and cut."""
    line = printable(text)
    half = (LONGEST_MESSAGE - len(" ... ")) // 2
    return line if len(line) <= LONGEST_MESSAGE else f"{line[:half]} ... {line[-half:]}"


class ConfigError(_OneLineError):
    """A parameter is unknown, has the wrong type or value, or contradicts another one."""


class DataError(_OneLineError):
    """An atomic file, a token or a stored artefact is missing or not what it should be."""


class TrainingError(_OneLineError):
    """Training diverged: an update or a score is not finite."""


class GateError(_OneLineError):
    """A run was done, and met a condition under which its command was to fail."""


_REPR = Repr()
_REPR.maxstring = _REPR.maxother = 200
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = _REPR.maxset = 20


def shown(value: object) -> str:
    """``repr(value)`` for a message: in one line, and cut where it is long."""
    return _REPR.repr(value)


def one_line(text: str, longest: int = 300) -> str:
    """What others said, for a message: in one line of printable characters, and cut where it is long.

    >>> one_line("\\x1b[2J red\\n  and blue")
    '[2J red and blue'
    """
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words if len(words) <= longest else f"{words[:longest]}..."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The clause ``; did you mean 'x'?`` for the name nearest to ``name``, or nothing when none is near."""
    candidates = {str(k).lower(): str(k) for k in known if len(str(k)) <= LONGEST_NAME}
    near = get_close_matches(str(name)[:LONGEST_NAME].lower(), candidates, n=1)
    return f"; did you mean '{candidates[near[0]]}'?" if near else ""


def lookup(table: Mapping[str, T], name: object, kind: str) -> T:
    """``table[name]``, or a :class:`ConfigError` that lists the known names.

    Args:
        table: The public table of one kind of part, e.g. ``ATTACKS``.
        name: What the user asked for.
        kind: The word for the part in the message, e.g. ``"attack"``.
    """
    if isinstance(name, str) and name in table:
        return table[name]
    raise ConfigError(
        f"unknown {kind} {shown(str(name))}: expected one of {', '.join(table)}{did_you_mean(str(name), table)}"
    )
