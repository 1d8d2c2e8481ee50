"""How one parameter is read and checked; the tables of parameters are in ``options.py`` and ``host_options.py``."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import Any

from recbole_attack.utils.errors import ConfigError, lookup, shown

LARGEST = 2**31 - 1
"""Largest integer where an option names no other."""

LAST_SEED = 2**32 - 1
"""Largest seed that all random number generators take."""

MANY = 100_000
"""Most of what is counted in memory: far above what is of use, and below what exhausts a machine."""


@dataclass(frozen=True)
class Option:
    """The valid values of one parameter.

    Attributes:
        help: One line for ``--help``.
        kind: Python type; ``float`` takes integers too.
        choices: The valid names, if the value is a name.
        parse: Raises a :class:`ConfigError` for what is not valid, if the value is written in a language of its own.
        form: What is valid then, in words.
        low: Smallest valid number.
        high: Largest valid number.
        above: Number the value must exceed.
        optional: Whether ``None`` is valid.
        names: Whether the value holds names or ids, which are the text they are written as.
        read: From what was given to the value that stands for it; what it cannot read it returns as it is.
    """

    help: str
    kind: type = object
    choices: Collection[str] = ()
    low: float | None = None
    high: float | None = None
    above: float | None = None
    optional: bool = False
    parse: Callable[[Any], object] | None = None
    form: str = ""
    names: bool = False
    read: Callable[[Any], Any] | None = None

    @property
    def literal(self) -> bool:
        """Whether text is to be read as a Python literal; otherwise it stands for itself."""
        return self.kind is dict or not (self.names or self.kind is str)

    def value(self, name: str, given: Any) -> Any:
        """What ``given`` stands for as the parameter ``name``.

        Raises:
            ConfigError: It cannot be read.
        """
        if self.optional and isinstance(given, str) and (given.lower() == "null" or given in ("None", "~")):
            return None
        try:
            return given if self.read is None or given is None else self.read(given)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from error

    def check(self, name: str, value: Any) -> None:
        """Raise :class:`ConfigError` unless ``value`` is valid for the parameter ``name``."""
        if value is None and self.optional:
            return
        if self.choices:
            lookup(dict.fromkeys(self.choices), value, name)
            return
        if self.kind is dict and isinstance(value, dict) and spaced(value) != value:
            raise ConfigError(
                f"{name} must be {self.expected}: found {shown(value)}, whose colons have no space behind them; did "
                f"you mean {flow(spaced(value))}?"
            )
        number = is_number(value)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not {float: number, int: whole}.get(self.kind, isinstance(value, self.kind)):
            raise ConfigError(f"{name} must be {self.expected}: found {shown(value)}")
        if whole and self.kind is int and self.high is None and value > LARGEST:
            raise ConfigError(f"{name} must be {self.expected} and at most {LARGEST}: found {shown(value)}")
        inside = (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
        )
        if not inside:
            raise ConfigError(f"{name} must be {self.expected}: found {shown(value)}")
        if self.parse:
            self.parse(value)

    @property
    def expected(self) -> str:
        """What is valid, in words."""
        if self.form:
            return self.form
        words = {
            bool: "True or False",
            int: "an integer",
            float: "a number",
            str: "a string",
            dict: "a mapping",
            list: "a list",
        }.get(self.kind, "any value")
        bounds = [
            f"{sign} {bound:.16g}"
            for sign, bound in (("at least", self.low), ("above", self.above), ("at most", self.high))
            if bound is not None
        ]
        return " ".join([words, " and ".join(bounds)]).strip()


def spaced(value: Any) -> Any:
    """A mapping as it was meant where YAML took ``name:value`` for one word, there being no space behind the colon.

    >>> spaced({"top_row:0.5": None, "clone": 0.9, "norm": None})
    {'top_row': '0.5', 'clone': 0.9, 'norm': None}
    """
    if not isinstance(value, dict):
        return value
    words = [
        key.partition(":") if part is None and isinstance(key, str) and ":" in key else (key, "", part)
        for key, part in value.items()
    ]
    return {key: spaced(part) for key, _, part in words}


def flow(value: Any) -> str:
    """A mapping as YAML writes it in one line.

    >>> flow({"top_row": "0.5", "split": {"LS": "valid_only"}})
    '{top_row: 0.5, split: {LS: valid_only}}'
    """
    if not isinstance(value, dict):
        return str(value)
    return f"{{{', '.join(f'{key}: {flow(part)}' for key, part in value.items())}}}"


def is_number(value: Any) -> bool:
    """Whether ``value`` is a finite number and no truth value."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
    except OverflowError:  # an integer beyond the range of floats
        return False


def names_form(of: str) -> str:
    """The words for a list of names."""
    return f"a list of {of}, such as [age, 'a, b']"


def are_names(value: Any) -> bool:
    """Whether ``value`` is a list of names, none of them empty."""
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)


_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_INTERVAL = re.compile(rf"\s*([\[(])\s*({_NUMBER}|-inf)\s*,\s*({_NUMBER}|\+?inf)\s*([\])])\s*", re.ASCII)
INTERVAL_FORM = "an interval such as '[5,inf)' or '(0,3.5]', or several joined by ';'"


def is_interval(text: Any) -> bool:
    """Whether RecBole reads ``text`` as intervals, none of them empty; what it cannot read it takes for no filter."""
    if not isinstance(text, str):
        return False
    for part in text.split(";"):
        match = _INTERVAL.fullmatch(part)
        if not match:
            return False
        low, high, closed = float(match[2]), float(match[3]), match[1] + match[4] == "[]"
        if low > high or (low == high and not closed):
            return False
    return True


def check_that(name: str, form: str, valid: Callable[[Any], object]) -> Callable[[Any], None]:
    """The check of the parameter ``name``, which must be ``form``, by whether ``valid`` says so of a value."""

    def check(value: Any) -> None:
        if not valid(value):
            raise ConfigError(f"{name} must be {form}: found {shown(value)}")

    return check


def of_fields(name: str, form: str, valid: Callable[[Any], bool]) -> Callable[[Any], None]:
    """The check of a mapping from field names to values.

    Args:
        name: The parameter.
        form: What a value must be, in words.
        valid: Whether a value is.
    """

    def check(value: Any) -> None:
        for field, part in value.items():
            if not field or not valid(part):
                raise ConfigError(f"{name} must hold {form} for each field: found {shown({field: part})}")

    return check


def check_each(options: Mapping[str, Option], values: Mapping[str, Any]) -> None:
    """Check every parameter that is there on its own.

    Raises:
        ConfigError: Names the parameter, what was expected and what was found.
    """
    for name, option in options.items():
        if name in values:
            option.check(name, values[name])
