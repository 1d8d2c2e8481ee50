"""Continue an interrupted run.

It goes on as it was configured. Plug-ins that are not installed are given again, with --plugins.
"""

from __future__ import annotations

import argparse

from recbole_attack.commands.run import INTERRUPTED as INTERRUPTED
from recbole_attack.commands.run import train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("folder", help="the run's folder, in which it has its config.yaml")
    parser.add_argument("--json", action="store_true", help="print the run's record in place of its table")


def run(arguments: argparse.Namespace) -> None:
    """Train what is left, and print the table."""
    train({"resume": arguments.folder}, arguments.json)
