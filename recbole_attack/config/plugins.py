"""Plug-ins: modules that register parts of one's own, imported wherever a run needs them.

A plug-in calls ``register_attack`` and the like when it is imported. It is imported because an installed package
offers it (entry-point group :data:`GROUP`), or because the parameter ``plugins`` names it: a module, or a ``.py`` file.

Whoever names code on the command line, in a configuration file of their own or from Python wants it to run. A run
folder or a checkpoint may come from anybody, and is read without running anything it holds. So a saved configuration
never names a file, only modules; and they are imported only where they could be anyway: from an installed package or a
folder Python looks in, and never from its standard library. Whatever else such a configuration asks for has to be
imported, or given again with ``--plugins``, before it is resumed or loaded.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from recbole_attack.config.checks import are_names
from recbole_attack.data.names import in_text
from recbole_attack.utils.errors import ConfigError, did_you_mean, shown
from recbole_attack.utils.files import sha256

GROUP = "recbole_attack.plugins"
"""Entry-point group in which an installed package names its plug-ins."""

FORM = "modules or .py files, such as my_parts or parts/mine.py, separated by commas"

REMEDY = "import it first, or give it again as --plugins=<module or .py file>"
"""What is to be done where a plug-in is missing that a saved configuration needs."""

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def load_plugins(plugins: Any = None) -> list[str]:
    """Import installed plug-ins and those that are named; what was imported before is not imported again.

    A name that no module has stands for the file of that name in the working directory. The folder of a file joins
    the folders Python looks in, as their last, so that processes started from this one find it, too.

    Args:
        plugins: Names in a list or a text, or ``None``.

    Returns:
        The modules that were named. A file is the module of its name.

    Raises:
        ConfigError: One cannot be found or imported, or its name belongs to another module.
    """
    _load_installed()
    return [_load(name) for name in plugin_names(plugins)]


def plugin_names(plugins: Any) -> list[str]:
    """The names in a value of the parameter ``plugins``.

    Raises:
        ConfigError: It is not made of names.
    """
    names = in_text(plugins) if plugins is not None else []
    if not are_names(names):
        raise ConfigError(f"plugins must be {FORM}: found {shown(plugins)}")
    return list(names)


def plugin_hashes(names: Iterable[str]) -> dict[str, str]:
    """Module of a plug-in -> SHA-256 of its source as it was imported, with all of it where it is a package.

    What it imports besides is not part of it.

    Args:
        names: Modules that were imported.
    """
    return {name: _source_hash(name) for name in names}


@cache
def _source_hash(name: str) -> str:
    """Taken once, when a module is imported: its file may change later, and its code in this process does not."""
    module = sys.modules[name]
    source = getattr(module, "__file__", None)
    files = [Path(source)] if source else []
    for folder in map(Path, getattr(module, "__path__", ())):
        files += sorted(folder.rglob("*.py"))
    return hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()


def plugin_files(names: Iterable[str]) -> list[str]:
    """Files of those plug-ins that are one, with which a new process can be told where they are.

    Args:
        names: Modules that were imported.
    """
    files = [getattr(sys.modules[name], "__file__", None) or "" for name in names]
    return [file for name, file in zip(names, files, strict=True) if Path(file).name == f"{name}.py"]


def check_saved_plugins(plugins: Any, where: object, remedy: str = REMEDY) -> None:
    """Refuse a saved configuration that would have anything imported but what is there for its own sake.

    Args:
        plugins: Its parameter ``plugins``.
        where: What it was saved in.
        remedy: What is to be done where one is missing.

    Raises:
        ConfigError: A plug-in is neither imported nor importable, or is of the standard library.
    """
    _load_installed()
    for name in plugin_names(plugins):
        builtin = name.split(".")[0] in sys.stdlib_module_names
        if builtin or not _MODULE.fullmatch(name) or not (name in sys.modules or _importable(name)):
            raise ConfigError(
                f"{where} was made with the plug-in {shown(name)}, which is not installed here: "
                f"to run its code, {remedy}"
            )


@cache
def _load_installed() -> None:
    for entry in entry_points(group=GROUP):
        _import(entry.module, f" (of {entry.dist.name})" if entry.dist else "")


def _load(name: str) -> str:
    if name.endswith(".py"):
        return _load_file(Path(name).resolve())
    if not _MODULE.fullmatch(name):
        raise ConfigError(f"plugins must be {FORM}: found {shown(name)}")
    file = Path(f"{name}.py").resolve()
    if name not in sys.modules and file.is_file() and not _importable(name):
        return _load_file(file)
    return _import(name)


def _load_file(file: Path) -> str:
    """Import a file as the module of its name."""
    name = file.stem
    if not file.is_file():
        near = did_you_mean(file.name, [path.name for path in file.parent.glob("*.py")])
        raise ConfigError(f"plug-in {file} not found: expected {FORM}{near}")
    if not name.isidentifier():
        raise ConfigError(f"plug-in {file}: expected a file name that can be a module's, found {shown(file.name)}")
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    importlib.invalidate_caches()
    found = _origin(name)
    if found is None or Path(found).resolve() != file:
        raise ConfigError(
            f"plug-in {file}: expected a name that no other module has, found '{name}' ({found or 'built in'})"
        )
    return _import(name)


def _origin(name: str) -> str | None:
    """The file of a module that can be imported, ``None`` if it has none."""
    module = sys.modules.get(name)
    if module is not None:
        return getattr(module, "__file__", None)
    spec = find_spec(name)
    return spec.origin if spec else None


def _importable(name: str) -> bool:
    importlib.invalidate_caches()
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # of the package it is in
        return False


def _import(name: str, where: str = "") -> str:
    try:
        importlib.import_module(name)
        _source_hash(name)
    except (Exception, SystemExit) as error:  # whatever the code of somebody else raises
        near = did_you_mean(name, [path.stem for path in Path().glob("*.py")]) if not _importable(name) else ""
        raise ConfigError(
            f"plug-in '{name}'{where} cannot be imported: {type(error).__name__}: {' '.join(str(error).split())}{near}"
        ) from error
    return name
