"""What a parameter may be made of, whoever gives it: values that every file and checkpoint of a run can hold."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from math import isfinite
from typing import Any

import numpy as np

from recbole_attack.utils.errors import ConfigError, DataError, shown
from recbole_attack.utils.yaml_files import YamlLoader, parse_yaml

MAX_DEPTH, MAX_VALUES, MAX_TEXT = 8, 10_000, 50_000
"""Lists within lists, values and characters of a whole configuration; it has to be read back from a file."""

_FROM_NUMPY: dict[str, type] = {"b": bool, "i": int, "u": int, "f": float, "U": str}
"""NumPy's kinds of plain values, as Python's."""


def parse_value(text: str, names: bool = False) -> Any:
    """The value a text stands for on the command line: the Python literal it is, or what YAML reads.

    What YAML takes for text without quotes stays as it is written, whatever comments or spaces YAML would strip from
    it. Nothing is evaluated.

    >>> parse_value("(1, 2)"), parse_value("1e-3"), parse_value("true"), parse_value("1-2")
    ((1, 2), 0.001, True, '1-2')
    >>> parse_value("[Hit, NDCG]"), parse_value("{split: {LS: valid_only}}")
    (['Hit', 'NDCG'], {'split': {'LS': 'valid_only'}})

    Args:
        text: What was written.
        names: Whether YAML's single values are names, which are the text they are written as.
    """
    words = {"true": True, "false": False, "null": None, "~": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return _yaml_value(text, names)


def _yaml_value(text: str, names: bool) -> Any:
    """What a file would hold that says ``value: <text>``; the text where that is no more than text, or nothing."""
    try:
        values = parse_yaml(f"value: {text}", _NamesLoader if names else YamlLoader)
    except DataError:
        return text
    if not isinstance(values, dict) or [*values] != ["value"] or values["value"] is None:
        return text
    quoted = text.lstrip()[:1] in ("'", '"')
    return text if isinstance(values["value"], str) and not quoted else values["value"]


class _NamesLoader(YamlLoader):
    text_keys = frozenset({"value"})


def plain_values(given: Mapping[Any, Any]) -> dict[str, Any]:
    """Parameters with tuples and NumPy arrays as lists, and NumPy's scalars as Python's; the rest is as it was.

    Args:
        given: Parameters as a caller gave them. ``model`` may be a class.

    Raises:
        ConfigError: A value is, or holds, anything but text, numbers of 64 bits, truth values, ``None``, lists and
            mappings from text; or there is more of it than a configuration may hold.
    """
    reader = _Reader()
    return {
        reader.text("a parameter's name", key): value
        if key == "model" and isinstance(value, type)
        else reader.plain(key, value, 0)
        for key, value in given.items()
    }


class _Reader:
    """Turns values plain and counts them.

    Attributes:
        values: How many more there may be.
        characters: How many more there may be in their texts.
    """

    def __init__(self) -> None:
        self.values, self.characters = MAX_VALUES, MAX_TEXT

    def plain(self, name: str, value: Any, depth: int) -> Any:
        self.values -= 1
        if self.values < 0 or depth > MAX_DEPTH:
            raise ConfigError(
                f"the configuration holds too much (counted up to {name}): expected at most {MAX_VALUES} values, "
                f"nested {MAX_DEPTH} deep"
            )
        if isinstance(value, np.ndarray) and value.dtype.kind in {*_FROM_NUMPY, "O"} and value.size <= MAX_VALUES:
            value = value.tolist()
        if isinstance(value, np.generic) and value.dtype.kind in _FROM_NUMPY:
            value = _FROM_NUMPY[value.dtype.kind](value)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self.text(name, value)
        if isinstance(value, int):
            return _whole(name, value)
        if isinstance(value, float) and isfinite(value):
            return float(value)
        if isinstance(value, (list, tuple)):
            return [self.plain(name, item, depth + 1) for item in value]
        if isinstance(value, Mapping):
            return {self.text(f"a key of {name}", k): self.plain(name, v, depth + 1) for k, v in value.items()}
        raise ConfigError(
            f"{name} must be made of text, finite numbers, True, False, lists and mappings: "
            f"found {shown(value)} ({type(value).__name__})"
        )

    def text(self, name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise ConfigError(f"{name} must be text: found {shown(value)} ({type(value).__name__})")
        self.characters -= len(value)
        if self.characters < 0:
            raise ConfigError(
                f"the configuration holds too much (counted up to {name}): expected at most {MAX_TEXT} characters"
            )
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise ConfigError(f"{name} must be text that a file can hold: found {shown(value)}")
        return str.__str__(value)


def _whole(name: str, value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise ConfigError(
            f"{name} must be a number from -2**63 to 2**63 - 1: found an integer of {value.bit_length()} bits"
        )
    return int(value)
