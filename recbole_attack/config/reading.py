"""How any parameter is read: this package's, RecBole's, and those of registered parts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from recbole_attack.config.checks import Option
from recbole_attack.config.host_options import OPTIONS_OF_RECBOLE
from recbole_attack.config.options import OPTIONS
from recbole_attack.config.registered import registered_options
from recbole_attack.config.values import parse_value
from recbole_attack.utils.yaml_files import YamlLoader


def all_options() -> dict[str, Option]:
    """Every parameter with a check, this package's, RecBole's and registered ones, by name."""
    return {**registered_options(), **OPTIONS_OF_RECBOLE, **OPTIONS}


def find_option(name: str) -> Option | None:
    """The check of a parameter, if it has one."""
    return OPTIONS.get(name) or OPTIONS_OF_RECBOLE.get(name) or registered_options().get(name)


def text_keys() -> frozenset[str]:
    """Parameters made of text as it is written: names, ids, and what has a language of its own."""
    return frozenset(name for name, option in all_options().items() if option.names or option.kind is str)


def config_loader() -> type[YamlLoader]:
    """The YAML of configuration files: an id is the text it is written as, of registered parameters, too."""
    return _loader(text_keys())


@cache
def _loader(keys: frozenset[str]) -> type[YamlLoader]:
    return type("_ConfigLoader", (YamlLoader,), {"text_keys": keys})


def read_value(name: str, given: Any) -> Any:
    """The value a parameter has when ``given`` is given for it; see :meth:`Option.value`."""
    option = find_option(name)
    return option.value(name, given) if option else given


def with_floats(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters with 1.0 for 1 where a float is meant: what was stored with one is found with the other.

    Args:
        values: All parameters of a configuration, checked.
        defaults: A float among them means a float, as does an option of this kind.
    """
    return {
        key: float(value) if type(value) is int and _is_of_floats(key, defaults.get(key)) else value
        for key, value in values.items()
    }


def _is_of_floats(name: str, default: Any) -> bool:
    option = find_option(name)
    return type(default) is float or (default is None and option is not None and option.kind is float)


def read_text(name: str, text: str) -> Any:
    """The value a text given for a parameter spells, as a configuration file would; names are the text they are."""
    option = find_option(name)
    return parse_value(text, option is not None and option.names) if option is None or option.literal else text
