"""Recompute the figures of a board's entry from its store, and say what differs.

Ends with exit code 0 if nothing does, and with 3 and one line that names what does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from recbole_attack.utils.errors import ConfigError, GateError, shown
from recbole_attack.utils.words import counted

SHOWN = 3
"""Differences that are named; of more, their number is said."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("entry", type=Path, help="the entry's YAML file")
    parser.add_argument("--store", type=Path, help="the store it was made from; default the folder it stands in")
    parser.add_argument("--evaluation", type=Path, help="the YAML file of an evaluation of one's own, where it is one")
    parser.add_argument("--data_path", help="folder that holds the datasets' folders")


def run(arguments: argparse.Namespace) -> None:
    """Compare, and print that nothing differs.

    Raises:
        ConfigError: The entry asks for a part or an evaluation there is not.
        DataError: A file is missing or damaged, or the store lacks runs.
        GateError: Something differs.
    """
    from recbole_attack.config.plugins import load_plugins
    from recbole_attack.evaluation import VERSIONS, differences, read_ensemble, read_entry

    entry, folder = read_entry(arguments.entry), arguments.store or arguments.entry.parent
    version = entry["evaluation"]["name"]
    if arguments.evaluation is None and version not in VERSIONS:
        raise ConfigError(
            f"{arguments.entry} is of an evaluation of its author's own, {shown(version)}: "
            "expected --evaluation=<its YAML file>, found none"
        )
    ensemble = read_ensemble(str(arguments.evaluation or version))
    found = differences(entry, ensemble, folder, load_plugins(arguments.plugins), arguments.data_path)
    if found:
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise GateError(f"{arguments.entry}: {counted(len(found), 'difference')}: {'; '.join(found[:SHOWN])}{more}")
    print(f"{arguments.entry} agrees with {folder}")
