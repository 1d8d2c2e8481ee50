"""A node: the clients of its shard of users, and what they compute.

A simulation, as all of this package: every node has the dataset's files and reads them itself, as the run's parameters
say, and computes for the users of its shard, which are those whose id leaves ``partition-id`` when it is divided by
``num-partitions``. A node with the files elsewhere says so by ``data-path`` in its own configuration.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from flwr.app import ConfigRecord, RecordDict

from recbole_attack import __version__
from recbole_attack.config import AttackConfig
from recbole_attack.data.sequences import Int
from recbole_attack.experiment import TrainingExperiment, data_hashes, prepare_training
from recbole_attack.federated.loudness import upload_norms
from recbole_attack.federated.memory import Memory
from recbole_attack.federated.rounds import single_updates, summed_updates
from recbole_attack.flower.codec import Answer, Question, read_question, write_answer
from recbole_attack.flower.own_plugins import load_own_plugins
from recbole_attack.trainer.client_side import ClientSide
from recbole_attack.utils.errors import ConfigError, DataError, shown
from recbole_attack.utils.rng import torch_stream


def shard(users: Int, n_shards: int) -> Int:
    """``[N]`` the shard of each user."""
    return users % n_shards


def place(node_config: Mapping[str, Any]) -> tuple[int, int]:
    """Which shard a node has, and of how many.

    Raises:
        ConfigError: Its configuration does not say so.
    """
    found: list[Any] = [node_config.get(key) for key in ("partition-id", "num-partitions")]
    if not all(type(value) is int for value in found) or not 0 <= found[0] < found[1]:
        raise ConfigError(
            "a node needs --node-config 'partition-id=<i> num-partitions=<n>' with 0 <= i < n: found "
            f"partition-id {shown(found[0])} and num-partitions {shown(found[1])}"
        )
    return found[0], found[1]


def node_parameters(run_config: Mapping[str, Any], node_config: Mapping[str, Any]) -> dict[str, Any]:
    """The run's parameters, with the files where this node has them."""
    own = {"data_path": node_config["data-path"]} if "data-path" in node_config else {}
    return {**json.loads(run_config["parameters"]), **own, "show_progress": False}


def describe(run_config: Mapping[str, Any], node_config: Mapping[str, Any]) -> RecordDict:
    """What the server has to know of a node: its shard, its version of this package, hashes of its data and plug-ins.

    Raises:
        ConfigError: The node does not know its shard, or lacks a plug-in.
        DataError: The files are missing.
    """
    partition, partitions = place(node_config)
    parameters = node_parameters(run_config, node_config)
    plugins = load_own_plugins(parameters.get("plugins"))
    data = data_hashes(AttackConfig(config_dict=parameters))
    hashes = {"data": json.dumps(data), "plugins": json.dumps(plugins)}
    values = {"partition": partition, "partitions": partitions, "version": __version__, **hashes}
    return RecordDict({"node": ConfigRecord(values)})


def answer(record: RecordDict, run_config: Mapping[str, Any], node_config: Mapping[str, Any]) -> RecordDict:
    """Compute what one question asks for.

    Raises:
        ConfigError: A parameter is not valid, the node does not know its shard, or it lacks a plug-in.
        DataError: The files are missing, or the question is none, or about users that are not this node's.
    """
    parameters = node_parameters(run_config, node_config)
    load_own_plugins(parameters.get("plugins"))
    attack = record.config_records["about"].get("attack") if "about" in record.config_records else None
    experiment = prepare_training(AttackConfig(config_dict=parameters))
    config = experiment.config.replace(attack=attack)
    model = experiment.model(config)
    own = dict(model.named_parameters())
    question = read_question(record, own)
    partition, partitions = place(node_config)
    hosted = None if run_config["node-failure"] == "repeat" else (partition, partitions)
    _check_users(question, experiment, hosted)
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(question.parameters[name])
    # Masks depend on which clients are computed side by side; alone, a node draws those of a run in one process.
    keys = (question.epoch, question.index, *((partition,) if partitions > 1 else ()))
    with torch_stream(config["device"], config["seed"], "dropout", *keys):
        return write_answer(_computed(question, experiment, model, config), question)


def _computed(question: Question, experiment: TrainingExperiment, model: Any, config: AttackConfig) -> Answer:
    model.train()
    side = ClientSide(config, model, experiment.threat)
    before = None if question.before is None else question.before.to(side.device)
    grouping = side.grouping(experiment.train_data, side.period(question.epoch, question.index), before)
    groups = grouping(question.honest, question.malicious)
    update: Any
    if question.single:
        update, losses = single_updates(model, groups, config, Memory())
    else:
        update, losses = summed_updates(model, groups, question.factors.to(config["device"]), config)
    places, first = torch.tensor(question.measured, dtype=torch.int64, device=side.device), len(question.honest)
    chosen = [places[places >= first] - first if group.malicious else places[places < first] for group in groups]
    norms = [upload_norms(model, group, which, config).cpu() for group, which in zip(groups, chosen, strict=True)]
    return Answer(losses, torch.cat(norms), update)


def _check_users(question: Question, experiment: TrainingExperiment, hosted: tuple[int, int] | None) -> None:
    """Refuse clients this run does not have, or this node does not host; ``None`` stands for any."""
    kinds = {
        "honest": (question.honest, experiment.train_data.trainable_users),
        "malicious": (question.malicious, experiment.threat.malicious_users),
    }
    for kind, (users, known) in kinds.items():
        strangers = users[~np.isin(users, known)]
        if len(strangers):
            raise DataError(f"question about user {strangers[0]}, who is no {kind} client of this run")
        others = users[shard(users, hosted[1]) != hosted[0]] if hosted else users[:0]
        if len(others):
            raise DataError(f"question about user {others[0]}, who is not in shard {hosted and hosted[0]}")
