"""One parameter as a text, ``key=value``: the small languages of names, selectors, groups, intervals and sizes."""

from __future__ import annotations

from contract import outcome, promise

from recbole_attack.config.checks import Option
from recbole_attack.config.host_options import OPTIONS_OF_RECBOLE
from recbole_attack.config.options import OPTIONS
from recbole_attack.config.reading import read_text, read_value
from recbole_attack.config.values import plain_values

ALL = {**OPTIONS_OF_RECBOLE, **OPTIONS}


def run(data: bytes) -> str:
    """Read ``data`` as the value of the parameter before the first ``=``; of an unknown one, of all of them."""
    name, _, text = data.decode("utf-8", "surrogateescape").partition("=")
    several = [name] if name in ALL else [key for key in ALL if ALL[key].parse or ALL[key].read]
    found = [outcome(lambda key=key: _read(key, ALL[key], text)) for key in several]
    return found[0] if len(found) == 1 else ("read" if "read" in found else "ConfigError")


def _read(name: str, option: Option, text: str) -> None:
    given = plain_values({name: text})[name]
    value = read_value(name, read_text(name, given))
    option.check(name, value)
    promise(repr(read_value(name, value)) == repr(value), "what was read is read as another value again")
