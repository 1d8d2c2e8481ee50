"""Make RecBole's atomic files of raw ones: of a dataset as it is published, or of a CSV file of your own.

  recbole_attack convert ml-1m downloads/ml-1m data
  recbole_attack convert csv ratings.csv data --user=userId --item=movieId --time=date --rating=stars

Rows need not be sorted. A file that is damaged or is not what it should be is one line that says where, and nothing is
written.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from recbole_attack.utils.errors import ConfigError
from recbole_attack.utils.words import counted

INTERRUPTED = "interrupted: nothing was written"

_CSV = ("user", "item", "time", "rating", "name", "separator")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("name_or_csv", metavar="name", help='"csv", or a dataset that "recbole_attack list" names')
    parser.add_argument("raw", type=Path, help="folder with the raw files, named as their publisher names them; a file")
    parser.add_argument("out", type=Path, help="folder in which to put the folder of the dataset")
    parser.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="FILE=A,B,...",
        help="columns of a published file in its own order, where it is not as published",
    )
    group = parser.add_argument_group("for csv, a file whose first line names its columns")
    for what in ("user", "item"):
        group.add_argument(f"--{what}", metavar="COLUMN", help=f"the column of {what}s; needed")
    group.add_argument("--time", metavar="COLUMN", help="the column of times, in ISO 8601 or as numbers; needed")
    group.add_argument("--rating", metavar="COLUMN", help="the column of ratings, if there are any")
    group.add_argument("--name", help="name of the dataset; that of the file if absent")
    group.add_argument("--separator", help="what stands between two fields; a tab in .tsv files, else a comma")


def run(arguments: argparse.Namespace) -> None:
    """Convert and print what was written."""
    given = {key: getattr(arguments, key) for key in _CSV if getattr(arguments, key) is not None}
    if arguments.name_or_csv == "csv":
        name, counts = _convert_csv(arguments, given)
    else:
        name, counts = arguments.name_or_csv, _convert(arguments, given)
    for file, (written, read, cut) in counts.items():
        print(f"{arguments.out / name / file}: {counted(written, 'row')} from {read}")
        if cut:
            print("  its raw file ends without a line end: if it should not, it is not complete")


def _convert(arguments: argparse.Namespace, given: dict[str, str]) -> Any:
    from recbole_attack.data.convert import convert

    if given:
        raise ConfigError(f"--{next(iter(given))} is for 'convert csv': found it with '{arguments.name_or_csv}'")
    columns: dict[str, list[str]] = {}
    for file, names in map(_read_columns, arguments.columns):
        if file in columns:
            raise ConfigError(f"--columns must name a file once: found '{file}' twice")
        columns[file] = names
    return convert(arguments.name_or_csv, arguments.raw, arguments.out, columns)


def _convert_csv(arguments: argparse.Namespace, given: dict[str, str]) -> tuple[str, Any]:
    from recbole_attack.data.convert import convert_csv

    missing = [f"--{key}=<column>" for key in ("user", "item", "time") if key not in given]
    if missing or arguments.columns:
        found = "--columns" if arguments.columns else "none"
        raise ConfigError(f"convert csv: expected {' '.join(missing) or 'the names of columns'}, found {found}")
    name = given.pop("name", arguments.raw.stem)
    return name, convert_csv(arguments.raw, arguments.out, name, **given)


def _read_columns(text: str) -> tuple[str, list[str]]:
    file, equals, names = text.partition("=")
    if not equals or not all(names.split(",")):
        raise ConfigError(f"--columns must be <file>=<column>,<column>,...: found '{text}'")
    return file, [name.strip() for name in names.split(",")]
