"""Evaluate an aggregation rule by the standard ensemble of attacks: the worst case, what it costs, and flags.

usage: recbole_attack evaluate [--aggregator=<rule>] [--version=cheap|standard|plus] [--key=value ...]
       recbole_attack evaluate --attack=<attack> [--aggregator=<rule>] [...]
       recbole_attack evaluate --board=<folder of entries> [--out=results/board.md] [...]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from recbole_attack import __version__
from recbole_attack.commands.run import read_arguments
from recbole_attack.utils.errors import ConfigError, shown

INTERRUPTED = "interrupted: the same command goes on from there"

_FLAGS = frozenset({"--help", "--dry_run"})

OPTIONS = {
    "version": "cheap, standard or plus, or a YAML file of your own (default cheap); without a value, the package's",
    "store": "folder of the results; default saved/evaluate-<rule>-<version>",
    "jobs": "arms trained at once, a thread each; default one a core",
    "dry_run": "try the rule on updates made up, show what would be trained, and train nothing",
    "plugins": "modules or .py files of your own to import first, separated by commas",
    "board": "write the board of the entries in this folder, and evaluate nothing",
    "out": "file of the board, which ends in .md; its HTML stands beside it (default board.md)",
    "claims": "with --board: grids with what papers printed, separated by commas, whose runs are in --store",
    "strong": "with --claims: grids on strong victims, separated by commas",
    "help": "this text",
}
"""What the command takes beside parameters of what is evaluated."""

_OF_BOARD = {"board", "out", "claims", "strong", "store", "plugins"}

_HELP = """\

What can be said of what is evaluated, as --key=value: aggregator (default mean), pre_aggregator, client_defense and
what they read (`recbole_attack show <rule>`), per_item, client_weighting, learner, learning_rate, lr_decay_step and
lr_decay_gamma; model, dataset, data_path, use_gpu and gpu_id; and attack, with what it reads. Everything else is fixed
by the version.
"""


def read(words: Sequence[str]) -> argparse.Namespace:
    """The arguments; ``--version`` names an ensemble here, and the package's version only where nothing follows it."""
    after = dict(pairwise([*words, "--"]))
    if after.get("--version", "").startswith("--"):
        return argparse.Namespace(given={"print_version": ""}, plugins=None)
    given = read_arguments(words, _FLAGS)
    return argparse.Namespace(given=given, plugins=given.get("plugins"))


def run(arguments: argparse.Namespace) -> None:
    """Evaluate and print the tables, or do what was asked for in their place.

    Raises:
        ConfigError: A parameter is not valid, or not one of the rule's.
        DataError: A file is missing or damaged, or somebody else uses the store.
        TrainingError: An arm failed; all others are kept.
    """
    given = dict(arguments.given)
    if "print_version" in given:
        print(f"recbole_attack {__version__}")
    elif "help" in given:
        print(usage())
    elif "board" in given:
        _board(given)
    else:
        _evaluate(given)


def usage() -> str:
    """The text of ``--help``."""
    title, _, rest = __doc__.strip().partition("\n")
    options = [f"  --{name:<12}{text}" for name, text in OPTIONS.items()]
    return "\n".join([rest.strip(), "", title, "", "options", *options, _HELP])


def _evaluate(given: dict[str, str]) -> None:
    from recbole_attack.evaluation import described, prepare, run_prepared

    own = {key: given.pop(key) for key in OPTIONS if key in given}
    for key in ("out", "claims", "strong"):
        if key in own:
            raise ConfigError(f"--{key} goes with --board: expected one, found none")
    jobs = own.get("jobs")
    if jobs is not None and not jobs.isdecimal():
        raise ConfigError(f"jobs must be an integer at least 1: found {shown(jobs)}")
    count = None if jobs is None else int(jobs)
    prepared = prepare(own.get("version", "cheap"), own.get("store"), count, own.get("plugins"), given)
    if "dry_run" in own:
        print(described(prepared))
        return
    found = run_prepared(prepared, _log)
    print(found, f"\nkept in {found.folder}: evaluation.json, evaluation.md, entry.yaml", sep="\n", flush=True)


def _board(given: Mapping[str, str]) -> None:
    from recbole_attack.evaluation import board_files, read_entries
    from recbole_attack.utils.files import write_text

    others = [key for key in given if key not in _OF_BOARD]
    if others:
        raise ConfigError(f"--board evaluates nothing: expected one of {_listed(_OF_BOARD)}, found --{others[0]}")
    if "strong" in given and "claims" not in given:
        raise ConfigError("--strong goes with --claims: expected one, found none")
    out = Path(given.get("out", "board.md"))
    if out.suffix != ".md":
        raise ConfigError(f"out must be a file whose name ends in .md: found {out}")
    files = board_files(read_entries(Path(given["board"])), out, _claims(given))
    for file, text in files.items():
        write_text(file, text)
    print(*files, sep="\n")


def _claims(given: Mapping[str, str]) -> list[Any]:
    if "claims" not in given:
        return []
    if "store" not in given:
        raise ConfigError("--claims needs --store, which holds the runs of its grids: expected one, found none")
    from recbole_attack.evaluation import claims_section

    grids, strong = ([Path(grid) for grid in given.get(key, "").split(",") if grid] for key in ("claims", "strong"))
    return [claims_section(Path(given["store"]), grids, strong)]


def _listed(names: Any) -> str:
    return ", ".join(f"--{name}" for name in sorted(names))


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
