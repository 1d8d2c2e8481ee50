"""A whole dataset, ``.inter``, ``.user`` and ``.item``, as a run loads it, with a target group and targets."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

from contract import outcome, parts, promise, scratch

from parsers.atomic_files import plain_rows
from recbole_attack import AttackConfig
from recbole_attack.data import resolve_targets, user_group
from recbole_attack.experiment import create_dataset
from recbole_attack.utils import rng

SUFFIXES = ("inter", "user", "item")


@cache
def _config(columns: bool) -> Any:
    place = {"data_path": str(scratch("datasets")), "dataset": "made", "filter_inter_by_user_or_item": False}
    return AttackConfig(config_dict={**place, **({} if columns else {"load_col": None})})


def run(data: bytes) -> str:
    """Read up to three files; all their fields if there are several, those of an ordinary run otherwise."""
    folder = scratch("datasets") / "made"
    folder.mkdir(exist_ok=True)
    files = parts(data, 3)
    for suffix, content in zip(SUFFIXES, files, strict=True):
        path = folder / f"made.{suffix}"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
    config = _config(files[1] is None)
    return outcome(lambda: _load(config, files[0] or b""))


def _load(config: Any, inter: bytes) -> None:
    dataset = create_dataset(config)
    dataset.build()
    full, names = dataset.split.full, [str(name) for name in dataset.field2id_token["user_id"]]
    expected = sorted(Counter(row["user_id"] for row in plain_rows(inter)).items())
    found = sorted((names[user], len(full[user])) for user in range(1, full.n_users))
    promise(found == expected, "users have other histories than a plain reading finds")
    tokens, popularity = dataset.field2id_token["item_id"], dataset.split.train.popularity()
    resolve_targets("popular:1", tokens, popularity, rng.stream(0, "fuzz"))
    user_group("age=20..30 & gender=M", dataset.user_fields, dataset.user_num)
