"""Files of JSON objects, one a line, that are whole or absent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_attack.utils.errors import DataError
from recbole_attack.utils.files import plain, write_text

WAY_OUT = "remove that line, and the same grid makes it again, or use another store"
"""What to do about a line that cannot be read."""


def write_lines(path: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    """Write objects in their order, keys as they are; numbers that are not finite become ``null``."""
    write_text(path, "".join(json.dumps(plain(value), allow_nan=False) + "\n" for value in objects))


def read_lines(path: Path, fields: Mapping[str, type]) -> list[dict[str, Any]]:
    """The objects of a file, none if there is no such file.

    Args:
        path: The file.
        fields: What each object must have at least: name -> type of the value, which for ``object`` may be any. The
            name ``a.b`` stands for ``b`` in the object ``a``.

    Raises:
        DataError: A line is no such object.
    """
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            value = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number} is not valid JSON: {error}; {WAY_OUT}") from error
        for name, kind in fields.items():
            if not _has(value, name.split("."), kind):
                what = f"a {kind.__name__} '{name}'" if kind is not object else f"'{name}'"
                raise DataError(f"{path}, line {number}: expected an object with {what}; {WAY_OUT}")
        found.append(value)
    return found


def _has(value: Any, names: Sequence[str], kind: type) -> bool:
    """Whether an object has a value of a kind where ``names`` lead to."""
    for name in names:
        if not isinstance(value, dict) or name not in value:
            return False
        value = value[name]
    return isinstance(value, kind)
