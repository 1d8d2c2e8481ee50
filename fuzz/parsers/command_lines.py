"""The words of a command line, one a line; of commands that work, as far as their work begins."""

from __future__ import annotations

import os
from contextlib import redirect_stdout
from importlib import import_module

from contract import outcome

from recbole_attack import AttackConfig
from recbole_attack.commands import run as run_command
from recbole_attack.commands.main import COMMANDS, _parsed
from recbole_attack.utils.errors import lookup

_ANSWERS = ("list", "show")


def run(data: bytes) -> str:
    """Read the words; those of ``run`` become a configuration, ``list`` and ``show`` answer."""
    words = [os.fsdecode(word) for word in data.replace(b"\0", b"").split(b"\n")]

    def read() -> None:
        name = words.pop(0) if words and not words[0].startswith("-") else "run"
        lookup(COMMANDS, name, "command")
        command = import_module(COMMANDS[name])
        if name == "run":
            given = run_command._configured({**run_command.read(words).given, "plugins": "null"})
            del given["config_dict"]["plugins"]
            for flag in ("help", "json", "list", "version", "engine", "resume"):
                given["config_dict"].pop(flag, None)
            AttackConfig(**{**given, "config_file_list": []})
            return
        arguments = _parsed(name, command, list(words))
        if arguments is not None and name in _ANSWERS:
            command.run(arguments)

    with open(os.devnull, "w", encoding="utf-8", errors="replace") as nowhere, redirect_stdout(nowhere):
        return outcome(read)
