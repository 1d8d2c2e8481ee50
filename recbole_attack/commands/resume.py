"""Continue an interrupted run.

It goes on as it was configured. Plug-ins that are not installed are given again, with --plugins.
"""

from __future__ import annotations

import argparse

from recbole_attack.commands.run import FAIL_IF, train

INTERRUPTED = "interrupted before it went on: nothing is lost"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("folder", help="the run's folder, in which it has its config.yaml")
    parser.add_argument("--fail_if", metavar="GATES", help=FAIL_IF)
    parser.add_argument("--json", action="store_true", help="print the run's record in place of its table")


def run(arguments: argparse.Namespace) -> None:
    """Train what is left, and print the table."""
    gates = {"fail_if": arguments.fail_if} if arguments.fail_if is not None else {}
    train({"resume": arguments.folder, **gates}, arguments.json)
