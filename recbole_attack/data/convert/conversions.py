"""The datasets there are converters for, and the one function that runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from recbole_attack.data.convert.aliec import ALIEC, ALIEC_BEHAVIOR
from recbole_attack.data.convert.cikm import CIKM, CIKM_UBP
from recbole_attack.data.convert.movielens import ML_1M, ML_20M, ML_100K
from recbole_attack.data.convert.steam import STEAM_200K
from recbole_attack.data.convert.table import Counts, Table, write_table
from recbole_attack.utils.errors import ConfigError, DataError, did_you_mean, lookup
from recbole_attack.utils.files import write_folder

CONVERSIONS: dict[str, tuple[Table, ...]] = {
    "aliec": ALIEC,
    "aliec-behavior": ALIEC_BEHAVIOR,
    "cikm": CIKM,
    "cikm-ubp": CIKM_UBP,
    "ml-100k": ML_100K,
    "ml-1m": ML_1M,
    "ml-20m": ML_20M,
    "ml-25m": ML_20M,
    "steam-200k": STEAM_200K,
}
"""Dataset name -> the files to read and to write."""


def convert(name: str, raw: Path, out: Path, columns: Mapping[str, Sequence[str]] | None = None) -> dict[str, Counts]:
    """Write ``<out>/<name>/<name>.inter`` and its ``.user`` and ``.item`` files, all of them or none.

    Args:
        name: A key of :data:`CONVERSIONS`.
        raw: The folder with the raw files.
        out: The folder to put the dataset's folder in.
        columns: Raw file name -> its columns in its own order, where they are not as published.

    Returns:
        Atomic file name -> rows written and read.

    Raises:
        ConfigError: The name is unknown, or ``columns`` names a file that is not read.
        DataError: A raw file is missing or damaged, or the dataset's folder exists already.
    """
    tables = lookup(CONVERSIONS, name, "dataset")
    columns = columns or {}
    wanted = {table.raw for table in tables}
    for file in columns:
        if file not in wanted:
            raise ConfigError(
                f"columns are given for '{file}': expected one of {', '.join(sorted(wanted))}"
                f"{did_you_mean(file, wanted)}"
            )
    for file in sorted(wanted):
        if not (raw / file).is_file():
            found = sorted(path.name for path in raw.glob("*"))
            raise DataError(
                f"raw file {raw / file} not found: {raw} holds {', '.join(found[:20]) or 'nothing'}"
                f"{did_you_mean(file, found)}"
            )

    def fill(folder: Path) -> dict[str, Counts]:
        targets = {f"{name}.{table.suffix}": table for table in tables}
        return {
            file: write_table(table, raw / table.raw, folder / file, columns.get(table.raw))
            for file, table in targets.items()
        }

    return write_folder(out / name, fill)
