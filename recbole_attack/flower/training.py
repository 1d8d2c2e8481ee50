"""Training whose clients are on nodes: the server's side of a round, all else being that of one process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from flwr.app import RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from recbole_attack.config import AttackConfig
from recbole_attack.config.plugins import plugin_hashes
from recbole_attack.data import Split, TrainData
from recbole_attack.data.sequences import Int
from recbole_attack.experiment import TrainingExperiment, data_hashes, prepare_training
from recbole_attack.federated import ClientPool
from recbole_attack.federated.client_updates import concatenate
from recbole_attack.federated.loudness import Loudness, loudness, medians, sample
from recbole_attack.federated.rounds import Craft, RoundUpdate, looks_at_updates, round_path, uploaded
from recbole_attack.federated.server import Aggregated, aggregate
from recbole_attack.federated.suspicion import client_scores
from recbole_attack.flower.codec import Answer, Question, read_answer, write_question
from recbole_attack.flower.nodes import Nodes, find_nodes
from recbole_attack.threat import Threat
from recbole_attack.trainer.computed import Ask, Computed
from recbole_attack.trainer.federated import FederatedTrainer
from recbole_attack.utils.errors import ConfigError

Came = tuple[Int, Answer]
"""Clients of a round, as ascending places in it, and what came of them."""


@dataclass(frozen=True)
class Round:
    """The clients of one round, honest ones first.

    Attributes:
        epoch: From 0.
        index: Number of the round in the epoch.
        users: ``[N]`` the user behind each client.
        hostile: ``[N]`` whether it is malicious.
        weights: ``[N]`` float32, positive.
        measured: ``[N]`` whether its update is measured, see :func:`~recbole_attack.federated.loudness.sample`.
    """

    epoch: int
    index: int
    users: Int
    hostile: NDArray[np.bool_]
    weights: torch.Tensor
    measured: NDArray[np.bool_]


class FlowerTrainer(FederatedTrainer):
    """A federated trainer that asks nodes for what its clients send.

    ``rounds.csv`` says besides how many clients of a round were ``lost`` with their nodes, how many ``nodes`` there
    were at its end, and the bytes of arrays ``sent`` to nodes and ``received`` from them.
    """

    def __init__(self, config: Any, model: Any, threat: Threat, split: Split, nodes: Nodes) -> None:
        super().__init__(config, model, threat, split)
        self.nodes = nodes

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        if self.rounds and "nodes" not in self.rounds[0]:
            raise ConfigError(
                f"{self.resume_file} was left by a run in one process: expected --engine=in_process to continue it"
            )

    def _asking(self, train_data: TrainData, pool: ClientPool, epoch: int) -> Ask:
        def ask(honest: Int, malicious: Int, index: int, measured: bool) -> Computed:
            clients = np.concatenate([honest, malicious])
            users = pool.users[clients]
            loud = np.zeros(len(clients), dtype=bool)
            if measured and not self._single:
                key = (self.seed, epoch, index)
                loud[sample(len(honest), False, key)] = loud[len(honest) + sample(len(malicious), True, key)] = True
            weights = torch.from_numpy(self.client_side.weights(train_data, pool.users[honest], pool.users[malicious]))
            asked = Round(epoch, index, users, pool.malicious[clients], weights, loud)
            before = (self.nodes.sent, self.nodes.received)
            came = self._answers(asked)
            kept = np.sort(np.concatenate([places for places, _ in came])) if came else np.arange(0)
            notes = {
                "lost": len(clients) - len(kept),
                "nodes": len(self.nodes),
                "sent": self.nodes.sent - before[0],
                "received": self.nodes.received - before[1],
            }
            losses = torch.zeros(len(clients))
            for places, answer in came:
                losses[places] = answer.losses
            of = clients[kept]
            known = replace(self.aggregator, saved=self.saved)
            craft = self.client_side.crafting(train_data, known, epoch, index, self.before)
            _, result, norms, scores = self._aggregated(asked, kept, came, losses[kept], craft)
            loud_ones = self._loudness(asked, came)
            if norms is not None:
                loud_ones = medians(norms(), torch.from_numpy(asked.hostile[kept])) if measured else loud_ones
            hostile = pool.malicious[of]
            return Computed(of[~hostile], of[hostile], losses[kept], result, loud_ones, scores, notes)

        return ask

    @property
    def _single(self) -> bool:
        seen = looks_at_updates(self.config, self.attack is not None and self.attack.upload is not None)
        return round_path(self.model, self.aggregator, self.config["local_epochs"], seen) != "summed"

    def _answers(self, asked: Round) -> list[Came]:
        """What came of a round's clients.

        Clients of a node that fails are computed by another, or lost. Sums without them are asked for anew, since what
        each client counts for depends on who else is there.
        """
        came: list[Came] = []
        todo = np.arange(len(asked.users))
        while len(todo):
            shares = {node: todo[places] for node, places in self.nodes.shares(asked.users[todo]).items()}
            present = np.sort(np.concatenate([*(places for places, _ in came), *shares.values(), todo[:0]]))
            questions = {node: self._question(asked, places, present) for node, places in shares.items()}
            records = {node: write_question(question) for node, question in questions.items()}
            found, failures = self.nodes.ask(records, partial(_read, questions))
            came += [(shares[node], answer) for node, answer in found.items()]
            if not failures:
                break
            self._lose(asked, failures)
            if self.nodes.take_over:
                todo = np.sort(np.concatenate([shares[node] for node in failures]))
            elif self._single:
                break
            else:
                came, todo = [], np.arange(len(asked.users))
        return came

    def _question(self, asked: Round, places: Int, present: Int) -> Question:
        """What a node is asked that computes the clients in ``places``, those in ``present`` being all there are."""
        users, hostile = asked.users[places], asked.hostile[places]
        measured = tuple(np.flatnonzero(asked.measured[places]).tolist())
        factors = torch.ones(len(places))
        if not self._single:
            factors = self.aggregator.factors(asked.weights[present])[np.searchsorted(present, places)]
        about = (self.config["attack"], asked.epoch, asked.index, self._single)
        parameters = {name: value.detach() for name, value in self.model.named_parameters()}
        return Question(*about, users[~hostile], users[hostile], factors, measured, parameters, self.before)

    def _lose(self, asked: Round, failures: Mapping[int, str]) -> None:
        what = "others compute their clients" if self.nodes.take_over else "their clients are left out from now on"
        reasons = "; ".join(f"node {node}: {reason}" for node, reason in failures.items())
        where = f"epoch {asked.epoch}, round {asked.index}"
        self.logger.warning(f"{where}: {len(failures)} of {len(self.nodes)} nodes lost, {what}: {reasons}")
        self.nodes.drop(failures)

    def _aggregated(
        self, asked: Round, kept: Int, came: list[Came], losses: torch.Tensor, craft: Craft | None
    ) -> RoundUpdate:
        """What the server makes of the clients that came, and what it sees of them."""
        if not came:
            nothing = {name: torch.zeros_like(value) for name, value in self.model.named_parameters()}
            return RoundUpdate(losses, Aggregated(nothing, torch.zeros(0, dtype=torch.bool), {}, None, 0, 0.0))
        weights = asked.weights[kept].to(self.device)
        if self._single:
            places = torch.from_numpy(np.searchsorted(kept, np.concatenate([places for places, _ in came])))
            updates = concatenate([answer.update for _, answer in came]).reordered(places)  # type: ignore[misc]
            rule = self.rule(asked.epoch, asked.index)
            updates, hostile = updates.to(self.device), torch.from_numpy(asked.hostile[kept])
            if craft is not None:
                updates = craft(self.model, updates, hostile, weights)
            sent = uploaded(updates, hostile, self.config)
            scores = client_scores(sent, self.config["client_detectors"])
            return RoundUpdate(losses, aggregate(sent, weights, rule), sent.norms, scores)
        sums = [answer.update for _, answer in came]
        update = {
            name: torch.stack([part[name] for part in sums]).sum(dim=0).to(self.device)  # type: ignore[index]
            for name, _ in self.model.named_parameters()
        }
        everyone = torch.ones(len(kept), dtype=torch.bool)
        factors = self.aggregator.factors(weights).double()
        return RoundUpdate(losses, Aggregated(update, everyone, {}, factors, 0, 0.0))

    def _loudness(self, asked: Round, came: list[Came]) -> Loudness:
        norms = [answer.norms for _, answer in came]
        hostile = [asked.hostile[places][asked.measured[places]] for places, _ in came]
        if not sum(map(len, norms)):
            return Loudness(None, None)
        return loudness(torch.cat(norms), torch.from_numpy(np.concatenate(hostile)), self.config["gradient_scale"])


def _read(questions: Mapping[int, Question], node: int, record: RecordDict) -> Answer:
    return read_answer(record, questions[node])


@dataclass(frozen=True)
class FlowerExperiment(TrainingExperiment):
    """A federated experiment whose clients are on nodes.

    Attributes:
        nodes: Where.
    """

    nodes: Nodes

    def trainer(self, config: AttackConfig) -> FederatedTrainer:
        """A new victim in a trainer that asks the nodes."""
        return FlowerTrainer(config, self.model(config), self.threat, self.dataset.split, self.nodes)


def check_runs_on_nodes(config: AttackConfig) -> None:
    """Refuse what this engine does not do.

    Raises:
        ConfigError: The scenario has no clients, or they are to be computed otherwise than nodes do.
    """
    for key, expected in (("scenario", "federated"), ("backend", "vectorised")):
        if config[key] != expected:
            raise ConfigError(f"engine 'flower' needs {key} '{expected}': found '{config[key]}'")


def prepare_on_nodes(config: AttackConfig, grid: Grid, node_failure: str, node_timeout: float) -> FlowerExperiment:
    """Split the data, fix the threat and find the nodes.

    Args:
        config: The configuration.
        grid: Flower's connection to the nodes.
        node_failure: ``repeat`` or ``accept``, see ``properties/engine/flower.yaml``.
        node_timeout: Seconds to wait for a node.

    Raises:
        ConfigError: This engine does not do that, or nodes are missing or do not fit.
        DataError: A file, field or token is missing here, or a node has others.
    """
    check_runs_on_nodes(config)
    experiment = prepare_training(config)
    code = plugin_hashes(config["plugins"] or ())
    nodes = find_nodes(grid, data_hashes(config), code, node_failure == "repeat", node_timeout)
    shared = {field.name: getattr(experiment, field.name) for field in fields(experiment)}
    return FlowerExperiment(**shared, nodes=nodes)
