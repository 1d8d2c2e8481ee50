"""Inspect a model file you were given: whether it promotes an item, and how sure that is.

The file is one of torch.save (a checkpoint of RecBole's or of this package, or a state dict) or safetensors; nothing in
it is run. Whom its model shows each item is held against whom a model of your own shows it, on your interactions, and
against what clean models do. Any parameter of RecBole or of this package can follow as --key=value; they configure the
models that are trained for it. Exit code 0: nothing is flagged; 3: something is; 2: a mistake, or a file that cannot be
inspected.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from difflib import get_close_matches
from pathlib import Path

from recbole_attack.commands.parser import Parser
from recbole_attack.commands.run import read_arguments
from recbole_attack.utils.errors import ConfigError, GateError
from recbole_attack.utils.words import counted

INTERRUPTED = "interrupted; the clean models that are done are kept: the same command goes on from there"

_HELP = {
    "model": "the model's name (default: what the file says, or else SASRec)",
    "dataset": "your dataset, a RecBole dataset name, looked up below --data_path (default: ml-100k)",
    "config_files": "YAML files, separated by spaces",
}


def read(words: Sequence[str]) -> argparse.Namespace | None:
    """The arguments; any parameter of a configuration can be among them, so argparse does not know them."""
    asked = {"-h", "--help", "--version"} & set(words)
    if asked:
        _answer(sorted(asked)[-1])
        return None
    if not words or words[0].startswith("-"):
        found = f"'{words[0]}'" if words else "nothing"
        raise ConfigError(f"recbole_attack inspect: expected a model file first, found {found}")
    given = read_arguments(words[1:])
    return argparse.Namespace(file=words[0], given=given, plugins=given.get("plugins"))


def _answer(word: str) -> None:
    """Print the help, or the version."""
    from recbole_attack.config.defaults import load_defaults
    from recbole_attack.inspection.options import INSPECTION

    parser = Parser("inspect", __doc__)
    parser.usage = "recbole_attack inspect FILE [options] [--key=value ...]"
    parser.add_argument("file", metavar="FILE", help="the model file")
    for name, text in _HELP.items():
        parser.add_argument(f"--{name}", help=text)
    for name, default in load_defaults("inspect").items():
        parser.add_argument(f"--{name}", default=default, help=INSPECTION[name].help)
    parser.add_shared_arguments()
    try:
        parser.parse_args(["FILE", word])
    except SystemExit:
        return


def run(arguments: argparse.Namespace) -> None:
    """Print what is flagged, the verdict and where the rest is.

    Raises:
        GateError: An item is flagged.
    """
    from recbole_attack.config.defaults import load_defaults
    from recbole_attack.inspection import inspect_model

    given = dict(arguments.given)
    _check_names(given)
    options = {name: given.pop(name) for name in load_defaults("inspect") if name in given}
    named = {name: given.pop(name, None) for name in ("model", "dataset")}
    files = given.pop("config_files", "").split()
    with redirect_stdout(sys.stderr):
        found = inspect_model(Path(arguments.file), **named, config_file_list=files, config_dict=given, **options)
    if found.flagged:
        print(found.table())
    print(found.verdict, found.file, sep="\n", flush=True)
    if found.flagged:
        raise GateError(f"{counted(len(found.flagged), 'item')} flagged")


def _check_names(given: Mapping[str, str]) -> None:
    """A mistyped option of this command would be looked for among the parameters of a configuration."""
    from recbole_attack.config.defaults import load_defaults
    from recbole_attack.config.reading import find_option

    own = load_defaults("inspect")
    for name in given:
        near = get_close_matches(name, own, n=1, cutoff=0.8)
        if near and name not in own and find_option(name) is None:
            raise ConfigError(f"unknown option '--{name}'; did you mean '--{near[0]}'?")
