"""What parts from outside are made of: what was kept of one is its own only while its code is the same."""

from __future__ import annotations

import inspect
import pickle
import secrets
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from recbole_attack.config.plugins import GROUP, plugin_hashes
from recbole_attack.config.registered import REGISTERED_CODE
from recbole_attack.utils.files import digest_of, read_text

_INSTALLED = frozenset({"recbole_attack", "recbole", "torch", "builtins", "abc", "typing"})

_FOLDERS = {"attack": "attack", "aggregator": "defense", "client_defense": "defense", "model": "model"}
"""Parameter that names a part -> the folder of that part's default parameters."""


def code_hash(part: Any) -> str:
    """Hash of the code of a part; one that cannot be read has another each time it is asked for.

    Of a function or a class, with all of the file it stands in, whose other functions it may call, and with the values
    of its module that it reads. What that file imports is not part of it, nor what its other functions read.
    """
    if not isinstance(part, type):
        return digest_of(code_of_function(part))
    file = getattr(sys.modules.get(part.__module__), "__file__", None)
    return digest_of([read_text(Path(file)) if file else secrets.token_hex(), *code_of_class(part)])


def own_code(parameters: Mapping[str, Any]) -> dict[str, str]:
    """What a run uses from outside -> hash of its code: plug-ins, and parts that were registered by none of them.

    A plug-in goes by its module, any other part by the name of its default parameters, such as ``defense/mine``. What
    an installed package offers is not part of it.

    Args:
        parameters: Of the run; its ``plugins`` are modules that were imported.
    """
    plugins = list(parameters.get("plugins") or ())
    chosen = [f"{folder}/{parameters.get(key)}" for key, folder in _FOLDERS.items()]
    covered = {name.partition(".")[0] for name in (*plugins, *_installed())}
    own = [key for key in chosen if key in REGISTERED_CODE and REGISTERED_CODE[key][0].partition(".")[0] not in covered]
    return code_of_names([*plugins, *sorted(own)])


@cache
def _installed() -> tuple[str, ...]:
    """Modules of plug-ins that installed packages offer."""
    return tuple(entry.module for entry in entry_points(group=GROUP))


def code_of_names(names: Collection[str]) -> dict[str, str]:
    """Hashes of what :func:`own_code` named, as the code is in this process; without parts that are not registered."""
    parts = {name: REGISTERED_CODE[name][1] for name in names if name in REGISTERED_CODE}
    return {**plugin_hashes(name for name in names if "/" not in name), **parts}


def code_of_class(cls: type) -> list[str]:
    """What a class is made of, with those it derives from: a class may be changed and keep its name.

    Their source, and what their methods were given where they were defined, but for classes of installed packages. Of
    a class without a source that could be read, something that is never the same again.
    """
    own = [each for each in cls.__mro__ if not _is_installed(each.__module__)]
    methods = [method for each in own for method in vars(each).values() if inspect.isfunction(method)]
    return [*_sources(own), *map(_enclosed, methods)]


def code_of_function(function: Callable[..., Any]) -> list[str]:
    """The same of a function, with all of the file it stands in, whose other functions it may call.

    Nothing of one of this package; what is no function, or stands in no file, has no source to be read.
    """
    space = getattr(function, "__globals__", {})
    if _is_installed(space.get("__name__", "")):  # a wrapper may call itself what it wraps
        return []
    if not isinstance(function, FunctionType) or "__file__" not in space:
        return [secrets.token_hex()]
    whole = read_text(Path(space["__file__"]))
    return [
        whole,
        *_sources([function.__code__]),
        _enclosed(function),
        _pickled(function.__defaults__),
        _pickled(function.__kwdefaults__),
    ]


def _is_installed(module: str) -> bool:
    return module.partition(".")[0] in _INSTALLED


def _sources(parts: Sequence[Any]) -> list[str]:
    """Their source, or what is never the same again where one has none."""
    try:
        return [inspect.getsource(part) for part in parts]
    except (OSError, TypeError):
        return [secrets.token_hex()]


def _enclosed(function: Callable[..., Any]) -> str:
    """What a function was given where it was defined, and the values of its module that it reads.

    Functions and classes among them are there by their source, as is the class whose method it is.
    """
    given = inspect.getclosurevars(function).nonlocals
    named = _names(function.__code__)
    read = {name: value for name, value in function.__globals__.items() if name in named and _is_value(value)}
    return _pickled(sorted((name, value) for name, value in {**read, **given}.items() if name != "__class__"))


def _names(code: CodeType) -> set[str]:
    """All names that a piece of code reads, and the functions inside it."""
    inner = [_names(each) for each in code.co_consts if isinstance(each, CodeType)]
    return set(code.co_names).union(*inner)


def _is_value(value: Any) -> bool:
    return not isinstance(value, (type, ModuleType)) and not callable(value)


def _pickled(value: Any) -> str:
    """What tells a value from others, or is never the same again where it cannot be written."""
    try:
        return pickle.dumps(value).hex()
    except (pickle.PicklingError, AttributeError, TypeError):
        return secrets.token_hex()
