"""The command line: ``recbole_attack <command> ...``, and ``run_recbole_attack.py``, which is the same."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from recbole_attack.commands.parser import Parser
from recbole_attack.utils.errors import lookup
from recbole_attack.utils.exit_code import exit_code

COMMANDS: dict[str, str] = {
    "run": "recbole_attack.commands.run",
    "resume": "recbole_attack.commands.resume",
    "inspect": "recbole_attack.commands.inspect",
    "list": "recbole_attack.commands.list",
    "show": "recbole_attack.commands.show",
    "convert": "recbole_attack.commands.convert",
    "synthetic": "recbole_attack.commands.synthetic",
    "grid": "recbole_attack.commands.grid",
    "table": "recbole_attack.commands.table",
    "report": "recbole_attack.commands.report",
    "evaluate": "recbole_attack.commands.evaluate",
    "validate": "recbole_attack.commands.validate",
}
"""Command -> the module that does it, imported when it is asked for.

Its docstring is the help, the first line in short. ``add_arguments(parser)`` adds its options to those of every
command, and ``run(arguments)`` does the work and prints the result to stdout. It may bring ``read(words)``, which makes
the arguments where argparse cannot, and ``INTERRUPTED``, what to say when it is stopped. It is imported for its help
alone, too, so it leaves what takes long to load to its functions.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; ``sys.argv`` if absent. Without a command they are those of ``run``.

    Returns:
        Exit code, see :func:`~recbole_attack.utils.exit_code.exit_code`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that a terminal cannot show is no reason to stop
    words = list(sys.argv[1:] if argv is None else argv)
    name = words.pop(0) if words and not words[0].startswith("-") else "run"
    command = import_module(COMMANDS[name]) if name in COMMANDS else None
    return exit_code(lambda: _run(name, command, words), getattr(command, "INTERRUPTED", "interrupted"))


def _run(name: str, command: Any, words: list[str]) -> None:
    lookup(COMMANDS, name, "command")
    arguments = command.read(words) if hasattr(command, "read") else _parsed(name, command, words)
    if arguments is None:
        return
    if arguments.plugins is not None:
        from recbole_attack.config.plugins import load_plugins
        from recbole_attack.config.reading import read_value

        load_plugins(read_value("plugins", arguments.plugins))
    command.run(arguments)


def _parsed(name: str, command: Any, words: list[str]) -> Any:
    """The arguments of a command, ``None`` where argparse itself has answered, with help or the version."""
    parser = Parser(name, command.__doc__)
    command.add_arguments(parser)
    parser.add_shared_arguments()
    try:
        return parser.parse_args(words)
    except SystemExit:
        return None
