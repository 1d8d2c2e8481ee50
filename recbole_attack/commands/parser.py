"""Argparse as this package speaks: a mistake is one line with the nearest valid choice, help shows the defaults."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from recbole_attack import __version__
from recbole_attack.utils.errors import ConfigError, did_you_mean, shown


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent = action.default is None or action.default is False or action.default == []
        return action.help if silent else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """The parser of one command.

    Args:
        command: Its name.
        description: What it does, the first line in short.
    """

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            prog=f"recbole_attack {command}",
            description=description,
            formatter_class=_Formatter,
            allow_abbrev=False,
            add_help=False,
        )

    def add_shared_arguments(self) -> None:
        """Options every command has."""
        group = self.add_argument_group("of every command")
        group.add_argument("--plugins", help="modules or .py files of your own to import first, separated by commas")
        group.add_argument("--version", action="version", version=f"recbole_attack {__version__}", help="the version")
        group.add_argument("-h", "--help", action="help", help="this text")

    def parse_args(self, words: Sequence[str], namespace: Any = None) -> argparse.Namespace:  # type: ignore[override]
        """The values of the words of a command line.

        Raises:
            ConfigError: A word is not one of the command's, or has no valid value.
        """
        known = {option: action for action in self._actions for option in action.option_strings}
        end = words.index("--") if "--" in words else len(words)
        for word in words[:end]:  # before argparse, which names what is missing first and not what was mistyped
            option, given, value = word.partition("=")
            if option.startswith("--") and option not in known:
                raise self._mistake(f"unknown option {shown(option)}: expected one of {', '.join(known)}", option)
            if given and option in known and known[option].nargs == 0:
                raise self._mistake(f"option {option} takes no value: found {shown(value)}", "")
        arguments, others = self.parse_known_args(words, namespace)
        if others:
            raise self._mistake(f"expected no more words: found {shown(others[0])}", others[0])
        return arguments

    def error(self, message: str) -> NoReturn:
        """Raise a :class:`ConfigError`, where argparse would end the program."""
        raise self._mistake(message, "")

    def _mistake(self, message: str, word: str) -> ConfigError:
        known = [option for action in self._actions for option in action.option_strings if option[:2] == "--"]
        near = did_you_mean(word, known) if word.startswith("-") else ""
        return ConfigError(f"{self.prog}: {message}{near}")
