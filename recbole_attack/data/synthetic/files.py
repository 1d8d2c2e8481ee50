"""Synthetic datasets as RecBole's atomic files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from recbole_attack.data.names import check_free
from recbole_attack.data.sequences import UserSequences
from recbole_attack.data.synthetic.generate import AGES, GENDERS, OCCUPATIONS, PRESETS, Synthetic, generate
from recbole_attack.utils.errors import ConfigError, DataError, lookup
from recbole_attack.utils.files import digest_of, write_folder
from recbole_attack.utils.rng import stream

_START, _HOUR = 1_494_000_000, 3600
_ROWS_AT_ONCE = 500_000

Rows = Iterable[tuple[object, ...]]


def write_synthetic(size: Synthetic, out: Path, name: str) -> dict[str, int]:
    """Write ``<out>/<name>/<name>.inter``, ``.user`` and ``.item``, all of them or none.

    Returns:
        Number of users, items and interactions.

    Raises:
        ConfigError: A folder of this name would not be read.
        DataError: The folder exists already.
    """
    check_free(name)

    def fill(folder: Path) -> dict[str, int]:
        data = generate(size)
        sequences = data.sequences
        users = (
            (f"u{user}", AGES[age], GENDERS[gender], OCCUPATIONS[occupation])
            for user, (gender, age, occupation) in enumerate(data.attributes[1:].tolist(), start=1)
        )
        items = ((f"i{item}", f"c{category}") for item, category in enumerate(data.categories[1:].tolist(), start=1))
        begins = range(0, len(sequences.items), _ROWS_AT_ONCE)
        rows = (_interactions(sequences, size.seed, begin) for begin in begins)
        _write(folder / f"{name}.user", "user_id:token\tage:token\tgender:token\toccupation:token", [users])
        _write(folder / f"{name}.item", "item_id:token\tcategory:token", [items])
        _write(folder / f"{name}.inter", "user_id:token\titem_id:token\ttimestamp:float", rows)
        return {"users": sequences.n_users - 1, "items": sequences.n_items - 1, "interactions": len(sequences.items)}

    return write_folder(out / name, fill)


def _interactions(sequences: UserSequences, seed: int, begin: int) -> Rows:
    """The rows from ``begin`` on that are written at once; each of a user's interactions in an hour of its own."""
    index = np.arange(begin, min(begin + _ROWS_AT_ONCE, len(sequences.items)))
    users = np.searchsorted(sequences.offsets, index, side="right") - 1
    within = stream(seed, "synthetic times", begin).integers(0, _HOUR, len(index))
    times = _START + (index - sequences.offsets[users]) * _HOUR + within
    tokens = (map("u{}".format, users.tolist()), map("i{}".format, sequences.items[index].tolist()))
    return zip(*tokens, times.tolist(), strict=True)


def _write(path: Path, header: str, blocks: Iterable[Rows]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(header + "\n")
        for block in blocks:
            file.writelines("\t".join(map(str, row)) + "\n" for row in block)


def synthetic_size(value: Any) -> Synthetic:
    """The size that a value of ``synthetic_size`` stands for: a preset's, or a mapping of :class:`Synthetic`'s fields.

    Raises:
        ConfigError: There is no such preset or field, or a size is not valid.
    """
    if not isinstance(value, Mapping):
        return lookup(PRESETS, value, "synthetic_size")
    fields = asdict(Synthetic())
    for name, given in value.items():
        lookup(fields, name, "field of synthetic_size")
        if isinstance(given, bool) or not isinstance(given, (int, type(fields[name]))):
            raise ConfigError(f"synthetic_size {name} must be a number like {fields[name]}: found {given!r}")
    return Synthetic(**{name: type(fields[name])(given) for name, given in value.items()})


def ensure_synthetic(size: Synthetic, data_path: Path) -> str:
    """The name of the dataset of this size below ``data_path``, which is written on first use.

    The name holds a hash of the size and the seed, so that another size never meets this one's files.
    """
    name = f"synthetic-{digest_of(asdict(size))[:10]}"
    if not (data_path / name).is_dir():
        try:
            write_synthetic(size, data_path, name)
        except (DataError, OSError):
            if not (data_path / name).is_dir():  # it is, if another process wrote it meanwhile
                raise
    return name
