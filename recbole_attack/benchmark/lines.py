"""Files of JSON objects, one a line, that are whole or absent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recbole_attack.utils.errors import DataError
from recbole_attack.utils.files import plain, write_text


def write_lines(path: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    """Write objects in their order, keys as they are; numbers that are not finite become ``null``."""
    write_text(path, "".join(json.dumps(plain(value), allow_nan=False) + "\n" for value in objects))


def read_lines(path: Path, fields: Mapping[str, type]) -> list[dict[str, Any]]:
    """The objects of a file, none if there is no such file.

    Args:
        path: The file.
        fields: What each object must have at least: name -> type of the value.

    Raises:
        DataError: A line is no such object.
    """
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number} is not valid JSON: {error}") from error
        for name, kind in fields.items():
            if not isinstance(value, dict) or not isinstance(value.get(name), kind):
                raise DataError(f"{path}, line {number}: expected an object with a {kind.__name__} '{name}'")
        found.append(value)
    return found
