"""Show everything there is to choose from: scenarios, models, attacks, rules, metrics and so on."""

from __future__ import annotations

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--json", action="store_true", help="print names and descriptions as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Print it."""
    from recbole_attack.commands.catalogue import descriptions, listing
    from recbole_attack.config.plugins import load_plugins

    load_plugins()
    print(json.dumps(descriptions(), indent=2) if arguments.json else listing())
