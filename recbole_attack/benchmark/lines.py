"""Files of JSON objects, one a line, that are whole or absent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recbole_attack.utils.errors import DataError
from recbole_attack.utils.files import plain, write_text
from recbole_attack.utils.shapes import Shape, misfit

WAY_OUT = "remove that line, and the same grid makes it again, or use another store"
"""What to do about a line that cannot be read."""


def write_lines(path: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    """Write objects in their order, keys as they are; numbers that are not finite become ``null``."""
    write_text(path, "".join(json.dumps(plain(value), allow_nan=False) + "\n" for value in objects))


def read_lines(path: Path, shape: Shape) -> list[dict[str, Any]]:
    """The objects of a file, none if there is no such file.

    Args:
        path: The file.
        shape: What each object must have at least, see :data:`~recbole_attack.utils.shapes.Shape`.

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
        wrong = misfit(value, shape)
        if wrong:
            raise DataError(f"{path}, line {number}: expected {wrong}; {WAY_OUT}")
        found.append(value)
    return found
