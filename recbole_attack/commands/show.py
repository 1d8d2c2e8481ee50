"""Show what one part is: where it comes from, its parameters, and what was chosen differently.

A part is a scenario, a model, an attack, a backdoor, an aggregation rule, a client defence, a detector, a metric, or
anything else that "list" names. What several parts are called is shown of all of them.
"""

from __future__ import annotations

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("name", help="what it is called, such as dvfsr, krum, SASRec or ER")
    parser.add_argument("--json", action="store_true", help="print a list of the parts of this name as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Print it."""
    from recbole_attack.commands.parts import as_text, parts_called
    from recbole_attack.config.plugins import load_plugins

    load_plugins()
    parts = parts_called(arguments.name)
    print(json.dumps(parts, indent=2) if arguments.json else "\n\n\n".join(map(as_text, parts)))
