"""Names and ids in text: an id is the text it is written as, and quotes hold what would end it."""

from __future__ import annotations

import re
from numbers import Integral
from typing import Any

from recbole_attack.utils.errors import ConfigError, shown

RESERVED = {"ml-100k": "RecBole always reads its own", "synthetic": "it is made when it is asked for"}
"""Names of datasets whose folder would not be read, with the reason."""

_SPACE = re.compile(r"\s*")


def is_folder_name(value: str) -> bool:
    """Whether a text can name a folder inside another one, and its files, on any system."""
    return value not in ("", ".", "..") and not re.search(r"[/\\\r\n]", value) and len(value.encode()) <= 200


def check_free(name: str) -> None:
    """Refuse a name for a dataset that is to be written that is :data:`RESERVED`, or no folder's.

    Raises:
        ConfigError: It is.
    """
    if not is_folder_name(name):
        raise ConfigError(f"dataset must be the name of a folder, at most 200 bytes long: found {shown(name)}")
    if name in RESERVED:
        raise ConfigError(f"dataset name '{name}': expected another one, as {RESERVED[name]}")


def as_name(value: Any) -> Any:
    """A whole number as its digits; anything else as it is.

    A number with a point or an exponent has lost how it was written, so it names nothing.
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    return str(int(value)) if whole else value


def in_text(value: Any) -> Any:
    """The names in a text, see :func:`split_names`; anything else as it is."""
    return split_names(value) if isinstance(value, str) else value


def as_names(value: Any) -> Any:
    """The names in a text or a list, where a whole number stands for its digits; anything else as it is.

    >>> as_names("age, 'a, b'"), as_names("[012]"), as_names([12, "x"])
    (['age', 'a, b'], ['012'], ['12', 'x'])

    Raises:
        ConfigError: A quote of the text is not closed, or does not enclose a whole name.
    """
    names = in_text(value)
    return [as_name(name) for name in names] if isinstance(names, (list, tuple)) else names


def split_names(text: str) -> list[str]:
    """Names separated by commas, in brackets or not; each may be in quotes, and has to be where it holds a comma.

    Raises:
        ConfigError: A quote is not closed, or does not enclose a whole name.
    """
    text = text.strip()
    inner = text[1:-1] if text[:1] + text[-1:] in ("[]", "()") else text
    names, position = [], -1
    while position < len(inner):
        name, position = take_name(inner, position + 1, ",")
        names.append(name)
    return names


def take_name(text: str, start: int, stops: str) -> tuple[str, int]:
    """The name that starts somewhere in a text, without its quotes.

    Args:
        text: The text.
        start: Position of the name, or of spaces before it.
        stops: Characters that end a name outside quotes.

    Returns:
        The name, and the position of its stop or of the text's end.

    Raises:
        ConfigError: A quote is not closed, or does not enclose the whole name.
    """
    start = _spaces(text, start)
    if text[start : start + 1] not in ("'", '"') or start == len(text):
        stop = re.compile(f"[{re.escape(stops)}]").search(text, start)
        end = stop.start() if stop else len(text)
        return text[start:end].strip(), end
    closing = text.find(text[start], start + 1)
    end = _spaces(text, closing + 1)
    if closing < 0 or text[end : end + 1] not in ("", *stops):
        raise ConfigError(
            f"expected names separated by commas, each bare or wholly in quotes: found {shown(text[start:])}"
        )
    return text[start + 1 : closing], end


def _spaces(text: str, start: int) -> int:
    """Where the spaces from ``start`` on end."""
    match = _SPACE.match(text, start)
    return match.end() if match else start
