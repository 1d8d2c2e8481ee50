"""What descriptions refer to: names that only a page of documentation can link, with what they are."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Collection, Mapping
from typing import Any

ROLE = re.compile(r":\w+(?::\w+)?:`~?((?:[\w.]+\.)?(\w+))`")
"""A reference in a docstring: all of it, and the name that is left of it."""

_SECTION = re.compile(r"\n\n(?:Args|Attributes|Returns|Raises):\n.*", re.DOTALL)


def described(part: Any) -> str:
    """A part's docstring, or itself where it is a description, without what only a page of documentation shows."""
    return ROLE.sub(r"\2", _doc(part)).replace("``", "`")


def referred_to(parts: Collection[Any], known: Collection[str]) -> dict[str, str]:
    """Name -> what it is, for all that descriptions refer to, and what these refer to in turn.

    Args:
        parts: Objects with docstrings; texts refer to nothing.
        known: Names that need no words, in lower case: ``show`` shows them.
    """
    found: dict[str, str] = {}
    waiting = [part for part in parts if not isinstance(part, str)]
    while waiting:
        part = waiting.pop(0)
        for path, name in ROLE.findall(_doc(part)):
            if name.lower() in known or name in found:
                continue
            thing = _found(path, part)
            if thing is not None and thing not in parts:
                found[name] = _words(thing)
                waiting.append(thing)
    return found


def _doc(part: Any) -> str:
    return inspect.cleandoc(part if isinstance(part, str) else inspect.getdoc(part) or "")


def _words(thing: Any) -> str:
    """What a name stands for: the names of a table, or a description without its arguments."""
    return f"one of {', '.join(thing)}" if isinstance(thing, Mapping) else _SECTION.sub("", described(thing))


def _found(path: str, part: Any) -> Any:
    """What a reference in the docstring of ``part`` means, in its own module or by its whole path.

    ``None`` where there is no such thing among what is loaded: parts from outside may refer to anything.
    """
    module, _, name = path.rpartition(".")
    return getattr(sys.modules.get(module or getattr(part, "__module__", "")), name, None)
