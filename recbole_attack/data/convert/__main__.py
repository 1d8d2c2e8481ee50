"""The command ``python -m recbole_attack.data.convert <name> <raw folder> <out folder>``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from recbole_attack.data.convert import CONVERSIONS, convert
from recbole_attack.utils.errors import ConfigError
from recbole_attack.utils.exit_code import exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """Convert one dataset and print what was written.

    Args:
        argv: Arguments without the program's name; ``sys.argv`` if absent.

    Returns:
        Exit code, see :func:`~recbole_attack.utils.exit_code.exit_code`; all but 0 with no file written.
    """
    parser = argparse.ArgumentParser("python -m recbole_attack.data.convert", description="Make RecBole atomic files.")
    parser.add_argument("name", help=", ".join(CONVERSIONS))
    parser.add_argument("raw", type=Path, help="folder with the raw files, named as their publisher names them")
    parser.add_argument("out", type=Path, help="folder in which to put the folder <name>")
    parser.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="FILE=A,B,...",
        help="the columns of a raw file in its own order, where it is not as published",
    )
    given = parser.parse_args(argv)
    return exit_code(lambda: _convert(given), "interrupted: nothing was written")


def _convert(given: argparse.Namespace) -> None:
    counts = convert(given.name, given.raw, given.out, dict(_read_columns(text) for text in given.columns))
    for file, (written, read, cut) in counts.items():
        print(f"{given.out / given.name / file}: {written} rows from {read}")
        if cut:
            print("  its raw file ends without a line end: if it should not, it is not complete")


def _read_columns(text: str) -> tuple[str, list[str]]:
    file, equals, names = text.partition("=")
    if not equals or not all(names.split(",")):
        raise ConfigError(f"--columns must be <file>=<column>,<column>,...: found '{text}'")
    return file, [name.strip() for name in names.split(",")]


if __name__ == "__main__":
    sys.exit(main())
