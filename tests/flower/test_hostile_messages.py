"""A federation under fire: one of two nodes sends what it should not, and the run is what it would be without it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from recbole_attack import AttackConfig
from recbole_attack.data import TrainData
from recbole_attack.experiment import data_hashes, prepare
from recbole_attack.federated import ClientPool
from recbole_attack.trainer.computed import Ask, Computed
from recbole_attack.trainer.federated import FederatedTrainer
from recbole_attack.utils.errors import ConfigError, DataError, TrainingError

pytest.importorskip("flwr", reason="needs Flower: pip install 'recbole_attack[flower]'")

from flwr.app import Message
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from function_grid import FunctionGrid
from hostile_messages import ANSWERS, DESCRIPTIONS, LOST, MEASURED, REJECTED, SAME, SINGLE, SUMS, Case, Sent

from recbole_attack.flower.client_app import app
from recbole_attack.flower.nodes import Nodes, find_nodes
from recbole_attack.flower.training import FlowerExperiment

LIAR, OTHER = 101, 102
"""The liar hosts users with even ids, the other node those with odd ones."""
PATIENCE = 0.3
"""Seconds a node has to answer; those of functions have answered at once."""


class Remembering:
    """The ClientApp, and what it answered: one question has one answer, whoever asks how often."""

    def __init__(self) -> None:
        self.known: dict[Any, Any] = {}

    def __call__(self, message: Message, context: Any) -> Message:
        key = (str(context.node_config), str(context.run_config), message.content.object_id)
        if key not in self.known:
            self.known[key] = recorddict_to_proto(app(message, context).content)
        return Message(recorddict_from_proto(self.known[key]), reply_to=message)


class Lies:
    """Spoils the answers of one node from a certain one on."""

    def __init__(self, case: Case) -> None:
        self.case, self.answers = case, {LIAR: [], OTHER: []}

    def __call__(self, node: int, answer: Message) -> Any:
        kept = Message(recorddict_from_proto(recorddict_to_proto(answer.content)), reply_to=answer)
        kept.metadata.__dict__["_reply_to_message_id"] = answer.metadata.reply_to_message_id
        mine = self.answers[node]
        mine.append(kept)
        if node != LIAR or len(mine) < self.case.start:
            return answer
        others = self.answers[OTHER]
        return self.case.spoil(Sent(answer, mine[-2] if len(mine) > 1 else kept, others[-1] if others else kept))


@dataclass(frozen=True)
class Trained:
    """What one epoch makes of a model: its parameters, and what is said of the rounds."""

    parameters: dict[str, torch.Tensor]
    rounds: list[dict[str, Any]]


def trained(trainer: FederatedTrainer, train_data: TrainData) -> Trained:
    trainer._train_epoch(train_data, 0)
    parameters = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
    assert all(value.isfinite().all() for value in parameters.values())
    return Trained(parameters, trainer.rounds)


Left = Callable[[np.ndarray, int], np.ndarray]


class Without(FederatedTrainer):
    """Training in this process that leaves out clients: ``left(users, round) -> mask``, the slow reading."""

    left: Left

    def _asking(self, train_data: TrainData, pool: ClientPool, epoch: int) -> Ask:
        ask = super()._asking(train_data, pool, epoch)

        def fewer(honest: Any, malicious: Any, index: int, measured: bool) -> Computed:
            users = pool.users[np.concatenate([honest, malicious])]
            left = self.left(users, index)
            return ask(honest[left[: len(honest)]], malicious[left[len(honest) :]], index, measured)

        return fewer


def all_of_them(users: np.ndarray, index: int) -> np.ndarray:
    return np.ones(len(users), bool)


@cache
def without_the_liar(start: int) -> Left:
    return lambda users, index: (users % 2 == 1) | (index < start - 1)


def without_its_first(users: np.ndarray, index: int) -> np.ndarray:
    """All but the first client of the liar, from the second round on."""
    kept = np.ones(len(users), bool)
    kept[np.flatnonzero(users % 2 == 0)[:1]] = index == 0
    return kept


SMALL = {"attack": "dvfsr", "compare_clean": False, "clients_per_round": 24, "epochs": 1}
RULES = {"mean": {}, "median": {"per_item": True}}


class Federation:
    """Runs of one configuration, in this process and on two nodes."""

    def __init__(self, config: AttackConfig) -> None:
        self.config, self.app, self.experiment = config, Remembering(), prepare(config)
        self.without = cache(self._without)

    def _without(self, left: Left) -> Trained:
        made = self.experiment
        trainer = Without(self.config, made.model(self.config), made.threat, made.dataset.split)
        trainer.left = left
        return trained(trainer, made.train_data)

    def under_fire(self, case: Case, failure: str) -> Trained:
        grid = FunctionGrid(self.config, 2, failure, Lies(case))
        grid.app = self.app
        nodes = Nodes(grid, {0: LIAR, 1: OTHER}, failure == "repeat", PATIENCE)
        made = FlowerExperiment(**vars(self.experiment), nodes=nodes)
        return trained(made.trainer(self.config), made.train_data)


MADE: dict[str, Federation] = {}
"""Made once: what is computed honestly is the same for all."""


@pytest.fixture
def federation(settings: Callable[..., AttackConfig]) -> Callable[[str], Federation]:
    def make(rule: str) -> Federation:
        if rule not in MADE:
            MADE[rule] = Federation(settings(**SMALL, **RULES[rule], aggregator=rule))
        return MADE[rule]

    return make


def same(found: Trained, expected: Trained) -> None:
    assert list(found.parameters) == list(expected.parameters)
    for name, value in expected.parameters.items():
        assert torch.allclose(found.parameters[name], value, rtol=1e-4, atol=1e-6), name


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said of lost nodes and rejected updates; every line is one, and can be shown."""
    lines = [record.getMessage() for record in caplog.records if re.search("lost|rejected", record.getMessage())]
    assert all(line.isprintable() and len(line) < 600 for line in lines), lines
    return lines


def check(found: Trained, case: Case, failure: str, federation: Federation, caplog: pytest.LogCaptureFixture) -> None:
    """The run is the one it should be, and what was lost is recorded."""
    everybody = federation.without(all_of_them)
    n_rounds, honest_rounds = len(everybody.rounds), case.start - 1
    lines, nodes = said(caplog), [row["nodes"] for row in found.rounds]
    lost = [row["lost"] for row in found.rounds]
    if case.outcome != LOST:
        assert (nodes, sum(lost)) == ([2] * n_rounds, 0)
        rejected = [0] + [int(case.outcome == REJECTED)] * (n_rounds - 1)
        assert [row["rejected"] for row in found.rounds] == rejected
        same(found, federation.without(all_of_them if case.outcome == SAME else without_its_first))
        assert len(lines) == sum(rejected)
        assert all(case.words in line for line in lines)
        return
    assert nodes == [2] * honest_rounds + [1] * (n_rounds - honest_rounds)
    (line,) = lines
    assert re.search(rf"round {honest_rounds}: 1 of 2 nodes lost, .*: node {LIAR}: .*({case.words})", line), line
    left = all_of_them if failure == "repeat" else without_the_liar(case.start)
    expected = federation.without(left)
    same(found, expected)
    clients = [row["honest"] + row["malicious"] for row in everybody.rounds]
    kept = [row["honest"] + row["malicious"] for row in expected.rounds]
    assert lost == [n - m for n, m in zip(clients, kept, strict=True)]
    assert failure == "repeat" or sum(lost) > 0


@pytest.mark.parametrize(("rule", "failure"), [("mean", "accept"), ("median", "repeat")])
@pytest.mark.parametrize("what", ANSWERS)
def test_an_answer(
    federation: Callable[[str], Federation], what: str, rule: str, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = federation(rule)
    check(made.under_fire(ANSWERS[what], failure), ANSWERS[what], failure, made, caplog)


@pytest.mark.parametrize("failure", ["repeat", "accept"])
@pytest.mark.parametrize(
    ("rule", "what"), [*(("median", what) for what in SINGLE), *(("mean", what) for what in MEASURED)]
)
def test_an_answer_that_one_kind_of_rule_asks_for(
    federation: Callable[[str], Federation], rule: str, what: str, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    made, case = federation(rule), {**SINGLE, **MEASURED}[what]
    check(made.under_fire(case, failure), case, failure, made, caplog)


@pytest.mark.parametrize("what", SUMS)
def test_a_sum_that_is_not_finite_ends_the_run(federation: Callable[[str], Federation], what: str) -> None:
    made = federation("mean")
    with pytest.raises(TrainingError, match="the aggregated update is not finite in epoch 0: training diverged"):
        made.under_fire(Case(SUMS[what], "", ""), "repeat")


ERRORS = {"ConfigError": ConfigError, "DataError": DataError}


@pytest.mark.parametrize("what", DESCRIPTIONS)
def test_what_a_node_says_of_itself(federation: Callable[[str], Federation], what: str) -> None:
    made, case = federation("mean"), DESCRIPTIONS[what]
    grid = FunctionGrid(made.config, 2)
    grid.app = made.app
    grid.said = lambda node, message: case.spoil(message) if node == LIAR else message
    data = data_hashes(made.config)
    if case.error is None:
        assert find_nodes(grid, data, {}, True, PATIENCE).hosts == {0: LIAR, 1: OTHER}
        return
    with pytest.raises(ERRORS[case.error], match=case.words) as raised:
        find_nodes(grid, data, {}, True, PATIENCE)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 1000
    assert not [message for _, message in grid.asked if message.metadata.message_type.startswith("train")]
