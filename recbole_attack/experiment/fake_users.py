"""Fake users in the training log: who they are, the log with them, and the file that says so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbole_attack.attack import PROFILES, FakeUsers, Log
from recbole_attack.config import AttackConfig
from recbole_attack.data import RaggedSequentialDataset, UserSequences, item_categories
from recbole_attack.data.more_users import new_tokens, with_more_users
from recbole_attack.data.sequences import Int
from recbole_attack.threat import Threat
from recbole_attack.utils.errors import DataError
from recbole_attack.utils.files import write_text

FAKE_USERS = "fake_users.inter"
"""Name of the file with their interactions, in the folder of the arm."""


@dataclass(frozen=True)
class Poison:
    """What an attacker writes into the log.

    Attributes:
        users: How the profiles come about.
        tokens: ``[M]`` tokens of the fake users, in the order of their ids, which follow the real ones'.
        sequences: Their interactions; user 1 is the first of them.
    """

    users: FakeUsers
    tokens: list[str]
    sequences: UserSequences

    def added_to(self, dataset: RaggedSequentialDataset) -> tuple[RaggedSequentialDataset, RaggedSequentialDataset]:
        """All interactions, and those a model is trained on, with the fake users in both."""
        grown = with_more_users(dataset, self.tokens, self.sequences)
        return grown, grown.copy(grown.training_rows(dataset.split.train.followed_by(self.sequences)))

    def write(self, file: Path, dataset: RaggedSequentialDataset) -> None:
        """Write an atomic file of the fake interactions, with the place of each in its profile for its time."""
        tokens = dataset.field2id_token[dataset.iid_field]
        fields = ((dataset.uid_field, "token"), (dataset.iid_field, "token"), (dataset.time_field, "float"))
        lines = [[f"{field}:{kind}" for field, kind in fields]]
        for user, name in enumerate(self.tokens, start=1):
            lines += [[name, str(tokens[item]), str(time)] for time, item in enumerate(self.sequences[user])]
        separator = dataset.config["field_separator"]
        write_text(file, "".join(f"{separator.join(line)}\n" for line in lines))


def configured_poison(config: AttackConfig, dataset: RaggedSequentialDataset, threat: Threat) -> Poison:
    """The fake users of an attack: one for each malicious user of the threat, whose history is as long.

    Args:
        config: The configuration of an attack.
        dataset: A built dataset.
        threat: What is promoted, and the real users whose lengths the fake ones have unless ``profile_size`` is set.

    Raises:
        DataError: Profiles leave no item out, all items are targets, or the attack finds no items.
    """
    train, field = dataset.split.train, config.final_config_dict.get("category_field")
    if len(threat.targets) >= train.n_items - 1:
        raise DataError(
            f"attack '{config['attack']}' needs other items than its targets: expected fewer targets than the "
            f"{train.n_items - 1} items there are, found {len(threat.targets)}"
        )
    log = Log(train, threat.targets, item_categories(dataset, field) if field else None)
    users = PROFILES[config["attack"]](config.final_config_dict, log)
    lengths = _lengths(config["profile_size"], train, threat.malicious_users)
    tokens = new_tokens("fake_", len(lengths), dataset.field2id_token[dataset.uid_field])
    return Poison(users, tokens, users.sequences(lengths, log, config["seed"]))


def _lengths(size: int | None, train: UserSequences, like: Int) -> Int:
    """Length of each profile: a number, or that of a history without the items that are there again."""
    most = train.n_items - 2
    if size is not None and size > most:
        raise DataError(
            f"profile_size leaves no item that a fake user does not have: expected at most {most}, found {size}"
        )
    return np.maximum(train.as_sets().lengths[like], 2) if size is None else np.full(len(like), size)


def described(poison: Poison, config: AttackConfig, dataset: RaggedSequentialDataset, threat: Threat) -> dict[str, Any]:
    """What the attacker promotes, knows and controls, for the record of a run."""
    lengths = ["lengths of real histories"] if config["profile_size"] is None else []
    return {
        "attack": config["attack"],
        "knowledge": ["catalogue", *lengths, *poison.users.knowledge],
        "knowledge_level": poison.users.level,
        "target_items": dataset.tokens(dataset.iid_field, threat.targets),
        "fake_users": len(poison.tokens),
        "malicious_share": len(poison.tokens) / (dataset.user_num - 1),
        "fake_interactions": len(poison.sequences.items),
        "fake_user_tokens": poison.tokens,
    }
