"""Who is malicious and what they promote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_attack.data import RaggedSequentialDataset, UserSequences, resolve_targets
from recbole_attack.data.sequences import Int
from recbole_attack.utils.rng import stream
from recbole_attack.utils.shares import part_of


@dataclass(frozen=True)
class Threat:
    """The attacker's side of an experiment, the same for a clean run and its attacked twin.

    Attributes:
        targets: ``[T]`` ids of the promoted items, ascending.
        malicious_users: ``[M]`` ids of the users whose histories malicious clients hold, ascending.
        clone: Whether malicious clients join as extra clients with copied histories (DV-FSR's released code), or the
            sampled users turn malicious themselves (the paper's text).
        target_users: ``[n_users]`` bool, whom the targets are promoted to; everybody if None.
    """

    targets: Int
    malicious_users: Int
    clone: bool = True
    target_users: NDArray[np.bool_] | None = None

    @property
    def dishonest_users(self) -> Int:
        """Users that are not honest, and so not evaluated: none when malicious clients are clones."""
        return self.malicious_users[:0] if self.clone else self.malicious_users


def configured_targets(config: Any, dataset: RaggedSequentialDataset, sequences: UserSequences) -> Int:
    """``[T]`` ids of the target items, ascending.

    Args:
        config: ``target_items``, and ``target_seed`` or else ``seed``, with which some selectors draw.
        dataset: A built dataset.
        sequences: The interactions the attacker sees, by which selectors rank items.

    Raises:
        DataError: A target item is not in the dataset.
    """
    tokens, rng = dataset.field2id_token[dataset.iid_field], stream(_seed(config, "target_seed"), "targets")
    return resolve_targets(config["target_items"], tokens, sequences.popularity(), rng)


def resolve_threat(config: Any, dataset: RaggedSequentialDataset) -> Threat:
    """Fix targets and malicious users from the configuration and a built dataset.

    As many users as :func:`malicious_count` says are drawn among those with something to train on; it counts all users
    with interactions, as those without are not part of a dataset. They are drawn with ``malicious_seed``, or else with
    the run's ``seed``.

    Raises:
        DataError: A target item is not in the dataset.
    """
    train = dataset.split.train
    targets = configured_targets(config, dataset, train)
    trainable = np.flatnonzero(train.lengths >= 2)
    count = min(malicious_count(train.n_users - 1, config["malicious_ratio"]), len(trainable))
    rng = stream(_seed(config, "malicious_seed"), "malicious users")
    drawn = rng.choice(trainable, size=count, replace=False)
    return Threat(targets, np.sort(drawn), config["malicious_clients"] == "clone")


def malicious_count(n_users: int, ratio: float) -> int:
    """``n_users * ratio`` rounded down, at least one when the ratio is above 0.

    >>> malicious_count(100, 0.29), 100 * 0.29 < 29, malicious_count(943, 0.0005)
    (29, True, 1)
    """
    return max(part_of(n_users, ratio), int(ratio > 0))


def _seed(config: Any, own: str) -> int:
    """The seed a draw has of its own, or the run's."""
    return config["seed"] if config[own] is None else config[own]
