"""Which row of a model's item table is which item of the platform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbole_attack.data import RaggedSequentialDataset
from recbole_attack.data.sequences import Int
from recbole_attack.utils.errors import DataError, did_you_mean, shown
from recbole_attack.utils.files import read_text


@dataclass(frozen=True)
class Catalogue:
    """The items of a model and those of a platform.

    Attributes:
        rows: ``[n_items]`` row of each of the platform's items in the model's table, 0 where the model lacks it.
        size: Rows of the model's table, the padding row 0 included.
        foreign: Tokens of the model's items that the platform lacks.
        assumed: Whether the order was taken to be the dataset's, because nobody said which it is.
    """

    rows: Int
    size: int
    foreign: tuple[str, ...]
    assumed: bool


def catalogue(dataset: RaggedSequentialDataset, size: int, file: Path | None) -> Catalogue:
    """Find the row of every item.

    Args:
        dataset: The platform's.
        size: Rows of the model's item table, the padding row 0 included.
        file: Tokens of rows 1 to ``size - 1``, one a line; without it the dataset's ids are the rows.

    Raises:
        DataError: The file is missing, or its lines are not one token for each row; without it, the counts differ.
    """
    n_items = dataset.item_num
    if file is None:
        if size != n_items:
            raise DataError(
                f"the model has {size - 1} items and dataset '{dataset.dataset_name}' {n_items - 1}: expected "
                "--items=<file>, which says in row order which token each row of the model's item table is, one a line"
            )
        return Catalogue(np.arange(n_items), size, (), assumed=True)
    ids = dataset.field2token_id[dataset.iid_field]
    rows, foreign = np.zeros(n_items, dtype=np.int64), []
    for row, token in enumerate(_tokens(file, size, *dataset.tokens(dataset.iid_field, [0])), start=1):
        if token in ids:
            rows[ids[token]] = row
        else:
            foreign.append(token)
    if not rows.any():
        some = shown(foreign[:3])
        raise DataError(f"{file}: expected tokens of dataset '{dataset.dataset_name}', found none of its items: {some}")
    return Catalogue(rows, size, tuple(foreign), assumed=False)


def _tokens(file: Path, size: int, padding: str) -> Sequence[str]:
    if not file.is_file():
        near = [str(other) for other in file.parent.glob("*") if other.is_file()] if file.parent.is_dir() else []
        found = "is no file" if file.exists() else f"not found{did_you_mean(str(file), near)}"
        raise DataError(f"items file {file} {found}")
    text = read_text(file).removeprefix("\ufeff").removesuffix("\n")
    tokens = text.split("\n") if text else []
    if padding in tokens:
        line = tokens.index(padding) + 1
        raise DataError(f"{file}:{line}: expected the token of row 1 and up, found {shown(padding)}, which is row 0")
    if len(tokens) != size - 1:
        raise DataError(
            f"{file} must hold one token for each row of the model's item table but row 0, which is padding: expected "
            f"{size - 1} lines, found {len(tokens)}"
        )
    first: dict[str, Any] = {}
    for line, token in enumerate(tokens, start=1):
        if not token:
            raise DataError(f"{file}:{line}: expected a token, found an empty line")
        if first.setdefault(token, line) != line:
            raise DataError(
                f"{file}:{line}: expected every token once, found {shown(token)} in line {first[token]}, too"
            )
    return tokens
