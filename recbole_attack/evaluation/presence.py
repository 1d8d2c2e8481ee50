"""Who is in the rounds of an evaluation: whether malicious clients are asked, and who else touches a target's row.

All of it follows from the data and the seed; nothing is trained.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recbole_attack.config import AttackConfig
from recbole_attack.data import TrainData
from recbole_attack.data.sequences import Int
from recbole_attack.defense import CLIENT_DEFENSES, Spreading
from recbole_attack.experiment import prepare_training
from recbole_attack.federated import ClientPool, client_pool
from recbole_attack.trainer.client_draws import honest_draws

EPOCHS = 5
"""Epochs whose rounds are looked at for who touches a row."""


class Presence(NamedTuple):
    """What the rounds of a run are like.

    Attributes:
        asked: How often a malicious client is asked in the whole run.
        outnumbered: Target -> share of the rounds with a malicious client in which fewer honest clients touch its row;
            empty without such rounds.
    """

    asked: int
    outnumbered: dict[str, float]


def presence(config: AttackConfig, per_item: bool) -> Presence:
    """Of one run, in which every malicious client touches the rows of all targets.

    Args:
        config: Of an attacked, federated run.
        per_item: Whether to look at who touches the rows, which takes seconds.
    """
    experiment = prepare_training(config)
    data, threat = experiment.train_data, experiment.threat
    pool = client_pool(data.trainable_users, threat.malicious_users, threat.clone)
    epochs = range(config["epochs"])
    asked = sum(int(pool.malicious[clients].sum()) for e in epochs for clients in _rounds(config, pool, e))
    looked_at = epochs[:EPOCHS] if per_item else ()
    minorities = [each for e in looked_at for each in _minorities(config, data, pool, threat.targets, e)]
    tokens = experiment.dataset.tokens(experiment.dataset.iid_field, threat.targets)
    found = np.mean(minorities, axis=0).tolist() if minorities else []
    return Presence(asked, dict(zip(tokens, found, strict=False)))


def _rounds(config: AttackConfig, pool: ClientPool, epoch: int) -> Iterable[Int]:
    seed, size, count = config["seed"], config["clients_per_round"], config["rounds_per_epoch"]
    return pool.rounds(seed, epoch, size) if count is None else pool.sampled_rounds(seed, epoch, size, count)


def _minorities(
    config: AttackConfig, data: TrainData, pool: ClientPool, targets: Int, epoch: int
) -> list[NDArray[np.bool_]]:
    """For each attacked round of an epoch ``[T]``, whether honest clients are the minority on each target's row."""
    found = []
    for index, clients in enumerate(_rounds(config, pool, epoch)):
        hostile = pool.malicious[clients]
        if hostile.any():
            period = epoch if config["rounds_per_epoch"] is None else epoch * config["rounds_per_epoch"] + index
            honest = _touching(config, data, pool.users[clients[~hostile]], targets, period)
            found.append(int(hostile.sum()) > honest)
    return found


def _touches_all(config: AttackConfig) -> bool:
    """Whether every client updates every row: by a softmax over all items, or by what clients do against attacks."""
    defense = CLIENT_DEFENSES[config["client_defense"]](config.final_config_dict)
    return config["loss_type"] == "CE" or (isinstance(defense, Spreading) and defense.touches_all)


def _touching(config: AttackConfig, data: TrainData, users: Int, targets: Int, period: int) -> Int:
    """``[T]`` how many honest clients update each target's row: it is in their history, or drawn as a negative."""
    if not len(users) or _touches_all(config):
        return np.full(len(targets), len(users))
    touched = np.zeros((len(users), len(targets)), dtype=bool)
    for step in honest_draws(data, period, config, False, False)(users):
        for items in data.aligned_batch(users, step.negatives)[:3]:
            touched |= (items.numpy()[:, :, None] == targets).any(axis=1)
    counts: Int = touched.sum(axis=0)
    return counts
