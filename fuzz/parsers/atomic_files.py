"""One atomic file, ``.inter``: rows, numbers and the order of times, against a plain reading."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from contract import outcome, promise, scratch
from recbole.utils.enum_type import FeatureType

from recbole_attack.data.atomic_file import AtomicFile
from recbole_attack.data.key_fields import check_times, check_types, rows_with_ids

KEYS = {"user_id": FeatureType.TOKEN, "item_id": FeatureType.TOKEN, "timestamp": FeatureType.FLOAT}


def run(data: bytes) -> str:
    """Read ``data`` as ``made.inter``."""
    path = scratch("atomic_files") / "made.inter"
    path.write_bytes(data)
    return outcome(lambda: _read(AtomicFile(path, "\t", " ", "utf-8"), data))


def _read(file: AtomicFile, data: bytes) -> None:
    check_types(file, KEYS)
    texts = rows_with_ids(file, file.read(list(file.fields)), ["user_id", "item_id"])
    numbers = {field: file.parse(texts[field], kind) for field, kind in file.fields.items()}
    check_times(file, texts["timestamp"])
    ranks = file.ranks(texts["timestamp"])
    plain = plain_rows(data)
    promise(texts.fillna("").to_dict("records") == plain, "rows are not those of a plain reading")
    order = sorted(range(len(plain)), key=lambda row: Decimal(plain[row]["timestamp"]))
    promise([order.index(row) for row in range(len(order))] == ranks.tolist(), "times are in another order")
    times = [float(row["timestamp"]) for row in plain]
    promise(numbers["timestamp"].tolist() == times, "times are not the numbers they are written as")


def plain_rows(data: bytes) -> list[dict[str, Any]]:
    """Every row with both ids, in file order."""
    header, *lines = re.split("\r\n|\r|\n", data.decode().removeprefix("\ufeff"))
    names = [column.partition(":")[0] for column in header.split("\t") if column]
    whole = [line.split("\t") for line in lines if line.strip() or line.count("\t") + 1 == len(names)]
    rows = [dict(zip(names, line, strict=False)) for line in whole]
    return [row for row in rows if row["user_id"] and row["item_id"]]
