"""Train a victim, clean and attacked, and show what the attack did."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from recbole_attack import __version__
from recbole_attack.utils.errors import ConfigError, did_you_mean, lookup, shown

INTERRUPTED = "interrupted before anything was trained"

FAIL_IF = "exit with code 3 if the result meets one of these: 'er@10 > 0.05, delta hit@10 < -0.02'"

_SHORT = {"-m": "--model", "-d": "--dataset", "-c": "--config_files", "-h": "--help"}
_FLAGS = frozenset({"--help", "--json", "--list", "--version"})


def read(words: Sequence[str]) -> argparse.Namespace:
    """The arguments; any parameter of a configuration can be among them, so argparse does not know them."""
    given = read_arguments(words)
    return argparse.Namespace(given=given, plugins=given.get("plugins"))


def run(arguments: argparse.Namespace) -> None:
    """Train and print the table, or what was asked for in its place."""
    given = dict(arguments.given)
    as_json = given.pop("json", None) is not None
    if "version" in given:
        print(f"recbole_attack {__version__}")
    elif "help" in given:
        from recbole_attack.commands.usage import usage

        print(usage())
    elif "list" in given:
        from recbole_attack.commands import list as catalogue

        catalogue.run(argparse.Namespace(json=as_json))
    else:
        train(given, as_json)


def train(given: Mapping[str, str], as_json: bool = False) -> None:
    """Train, and print the table of the run or its record.

    Args:
        given: Options as texts.
        as_json: Print the content of ``result.json`` in place of the table.

    Raises:
        GateError: The run meets a condition of ``fail_if``.
    """
    others = dict(given)
    gates = _gates(others.pop("fail_if"), others) if "fail_if" in given else ()
    with _results_on_stdout(tables=not as_json):
        result = _train(others)
    if as_json:
        print(_as_json(result), end="", flush=True)
    if gates:
        from recbole_attack.report.gate import check_passed

        check_passed(gates, {"": [result.record]})


def _gates(text: str, given: Mapping[str, str]) -> tuple[Any, ...]:
    from recbole_attack.config import AttackConfig
    from recbole_attack.config.defaults import load_defaults
    from recbole_attack.quick_start.arm import arms_of
    from recbole_attack.quick_start.quick_start import resumed_config
    from recbole_attack.report.gate import gates_of

    of_engine = {"engine", *load_defaults("engine/flower")}
    others = {key: value for key, value in given.items() if key not in of_engine}
    config = resumed_config(_resumed(others)) if "resume" in others else AttackConfig(**_configured(others))
    return gates_of(text, [(config, arms_of(config))])


def _as_json(result: Any) -> str:
    """The run's record: its file, which is elsewhere where its server is."""
    file = Path(result["result_file"])
    return file.read_text(encoding="utf-8") if file.is_file() else json.dumps(result.record, indent=2) + "\n"


def _train(given: Mapping[str, str]) -> Any:
    others = dict(given)
    engine = lookup(ENGINES, others.pop("engine", "in_process"), "engine")
    return engine(others)


def _in_process(given: Mapping[str, str]) -> Any:
    from recbole_attack.quick_start import run_recbole_attack

    if "resume" in given:
        return run_recbole_attack(resume=_resumed(given))
    return run_recbole_attack(**_configured(given))


def _on_flower(given: dict[str, str]) -> Any:
    """A run on the nodes of a federation; Flower may be missing, and is looked for before it is imported."""
    from recbole_attack.config import AttackConfig
    from recbole_attack.config.defaults import load_defaults
    from recbole_attack.flower.engine import engine_parameters

    chosen = engine_parameters({key: given.pop(key) for key in load_defaults("engine/flower") if key in given})
    from recbole_attack.flower.launch import run_on_flower
    from recbole_attack.quick_start.quick_start import resumed_config

    if "resume" not in given:
        return run_on_flower(AttackConfig(**_configured(given)), chosen)
    folder = _resumed(given)
    return run_on_flower(resumed_config(folder), chosen, resume=str(Path(folder).resolve()))


ENGINES = {"in_process": _in_process, "flower": _on_flower}
"""Where clients are computed, by the name ``--engine`` takes."""


def _resumed(given: Mapping[str, str]) -> str:
    """The folder to resume, with which nothing that configures may be given."""
    others = ", ".join(f"--{key}" for key in given if key not in ("resume", "plugins"))
    if others:
        raise ConfigError(f"--resume continues a run as it was configured: expected no other option, found {others}")
    return given["resume"]


def _configured(given: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of a configuration."""
    named = {"model", "dataset", "config_files"}
    return {
        "model": given.get("model"),
        "dataset": given.get("dataset"),
        "config_file_list": given.get("config_files", "").split(),
        "config_dict": {key: value for key, value in given.items() if key not in named},
    }


class _Listener(logging.Handler):
    """Keeps the tables of finished runs."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[str] = []

    def emit(self, record: Any) -> None:
        self.tables.append(record.table)


@contextmanager
def _results_on_stdout(tables: bool) -> Iterator[None]:
    """Print the run's table and nothing else, whatever the log's level; what RecBole's models print goes to stderr.

    Args:
        tables: Whether to print it; otherwise it goes nowhere.
    """
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
    for table in listener.tables if tables else ():
        print(table, flush=True)


def read_arguments(argv: Sequence[str], flags: Set[str] = _FLAGS) -> dict[str, str]:
    """``--key=value``, ``--key value`` and the short forms, as texts by key.

    Args:
        argv: The words.
        flags: Options without a value.

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
        if name in flags:
            if equals:
                raise ConfigError(f"option {name} takes no value: found {shown(value)}")
            given[name[2:]] = ""
            continue
        if not equals:
            if not words or words[0].startswith("--"):
                raise ConfigError(f"option {name} needs a value: expected {name}=<value>{did_you_mean(name, flags)}")
            value = words.pop(0)
        if not value:
            raise ConfigError(f"option {name} needs a value: found nothing after '='; {name}=null stands for none")
        if given.get(name[2:], value) != value:
            raise ConfigError(f"option {name} is given twice: found '{given[name[2:]]}' and '{value}'")
        given[name[2:]] = value
    return given
