"""The command line of ``run_recbole_attack.py``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

from recbole_attack.utils.errors import ConfigError
from recbole_attack.utils.exit_code import exit_code

_SHORT = {"-m": "--model", "-d": "--dataset", "-c": "--config_files", "-h": "--help"}
_FLAGS = {"--help", "--list"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; ``sys.argv`` if absent.

    Returns:
        Exit code, see :func:`~recbole_attack.utils.exit_code.exit_code`.
    """
    words = sys.argv[1:] if argv is None else argv
    return exit_code(lambda: _run(read_arguments(words)), "interrupted before anything was trained")


def _run(given: dict[str, str]) -> None:
    if "help" in given or "list" in given:
        from recbole_attack.commands import catalogue

        print(catalogue.usage() if "help" in given else catalogue.listing())
        return
    with _table_on_stdout():
        _train(given)


def _train(given: dict[str, str]) -> None:
    from recbole_attack.quick_start import run_recbole_attack

    if "resume" in given:
        if len(given) > 1:
            others = ", ".join(f"--{key}" for key in given if key != "resume")
            raise ConfigError(
                f"--resume continues a run as it was configured: expected no other option, found {others}"
            )
        run_recbole_attack(resume=given["resume"])
        return
    files = given.pop("config_files", "").split()
    model, dataset = given.pop("model", None), given.pop("dataset", None)
    run_recbole_attack(model=model, dataset=dataset, config_file_list=files, config_dict=given)


class _Listener(logging.Handler):
    """Keeps the tables of finished runs."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[str] = []

    def emit(self, record: Any) -> None:
        self.tables.append(record.table)


@contextmanager
def _table_on_stdout() -> Iterator[None]:
    """Print the run's table and nothing else, whatever the log's level; what RecBole's models print goes to stderr."""
    from recbole_attack.quick_start.run_folder import RESULTS

    listener, level = _Listener(), RESULTS.level
    RESULTS.addHandler(listener)
    RESULTS.setLevel(logging.INFO)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        RESULTS.removeHandler(listener)
        RESULTS.setLevel(level)
    for table in listener.tables:
        print(table, flush=True)


def read_arguments(argv: Sequence[str]) -> dict[str, str]:
    """``--key=value``, ``--key value`` and the short forms, as texts by key.

    Raises:
        ConfigError: A word is no option, an option has no value, or comes twice with different values.
    """
    given: dict[str, str] = {}
    words = list(argv)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        name = _SHORT.get(name, name)
        if not name.startswith("--") or len(name) == 2:
            raise ConfigError(f"expected an option such as --attack=dvfsr: found '{word}'")
        if name in _FLAGS:
            given[name[2:]] = ""
            continue
        if not equals:
            if not words or words[0].startswith("--"):
                raise ConfigError(f"option {name} needs a value: expected {name}=<value>")
            value = words.pop(0)
        if not value:
            raise ConfigError(f"option {name} needs a value: found nothing after '='; {name}=null stands for none")
        if given.get(name[2:], value) != value:
            raise ConfigError(f"option {name} is given twice: found '{given[name[2:]]}' and '{value}'")
        given[name[2:]] = value
    return given
