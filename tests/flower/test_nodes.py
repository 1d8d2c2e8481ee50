"""Nodes that fail, lie or do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recbole_attack import AttackConfig
from recbole_attack.data import TrainData
from recbole_attack.experiment import TrainingExperiment, prepare
from recbole_attack.federated import ClientPool
from recbole_attack.trainer.computed import Ask, Computed
from recbole_attack.trainer.federated import FederatedTrainer
from recbole_attack.utils.errors import ConfigError, DataError, TrainingError

pytest.importorskip("flwr", reason="needs Flower: pip install 'recbole_attack[flower]'")

from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict

from recbole_attack.flower.node import answer
from recbole_attack.flower.training import prepare_on_nodes

Settings = Callable[..., AttackConfig]

ATTACKED = {"attack": "dvfsr", "compare_clean": False, "clients_per_round": 24, "epochs": 1}
SECOND = 2
"""The round from which on a node fails, counted in questions to it."""


def from_the_second(what: Callable[[Message], Message | None], node: int = 101) -> Any:
    """Spoils the answers of a node, the first excepted."""
    count = 0

    def spoil(who: int, message: Message) -> Message | None:
        nonlocal count
        count += who == node
        return what(message) if who == node and count >= SECOND else message

    return spoil


def fails(message: Message) -> Message:
    broken = Message(RecordDict(), dst_node_id=1, message_type="train")
    broken.metadata.__dict__["_message_id"] = message.metadata.reply_to_message_id
    return Message(Error(8, "The ClientApp crashed"), reply_to=broken)


def silent(message: Message) -> None:
    return None


def replays() -> Any:
    """The first answer again and again."""
    first: list[RecordDict] = []

    def spoil(who: int, message: Message) -> Message:
        if who == 101:
            first.append(message.content)
            message.__dict__["_content"] = first[0]
        return message

    return spoil


FAILURES = {"crashed": lambda: from_the_second(fails), "silent": lambda: from_the_second(silent), "replayed": replays}


def run(experiment: Any, folder: Path) -> tuple[Any, pd.DataFrame]:
    result = experiment.arms()["attacked"](folder / "attacked", True, verbose=False)
    return result, pd.read_csv(folder / "attacked" / "rounds.csv")


class Fewer(FederatedTrainer):
    """From the second round on without the clients of shard 0 of 2: the slow reading of a node that is lost."""

    def _asking(self, train_data: TrainData, pool: ClientPool, epoch: int) -> Ask:
        ask = super()._asking(train_data, pool, epoch)

        def fewer(honest: Any, malicious: Any, index: int, measured: bool) -> Computed:
            left = [part[(pool.users[part] % 2 == 1) | (index == 0)] for part in (honest, malicious)]
            return ask(*left, index, measured)

        return fewer


class WithFewer(TrainingExperiment):
    def trainer(self, config: AttackConfig) -> FederatedTrainer:
        return Fewer(config, self.model(config), self.threat, self.dataset.split)


RULES = {"mean": {}, "mixed_rfa": {}, "median": {"per_item": True}}
CASES = [("mean", "crashed"), ("mean", "replayed"), ("mixed_rfa", "silent"), ("median", "crashed")]


@pytest.mark.parametrize(("rule", "failure"), CASES)
def test_a_round_is_repeated_by_those_that_are_left(
    settings: Settings, grid: Any, tmp_path: Path, rule: str, failure: str
) -> None:
    config = settings(**ATTACKED, aggregator=rule, **RULES[rule])
    here, expected = run(prepare(config), tmp_path / "here")
    nodes = grid(config, 2, "repeat", FAILURES[failure]())
    there, found = run(prepare_on_nodes(config, nodes, "repeat", 0.5), tmp_path / "there")
    assert there.test_result == pytest.approx(here.test_result, rel=1e-4, abs=1e-5)
    for column in ("honest", "malicious", "loss", "update_norm"):
        assert list(found[column]) == pytest.approx(list(expected[column]), rel=1e-4)
    assert list(found["lost"]) == [0] * len(found)
    assert list(found["nodes"]) == [2, *[1] * (len(found) - 1)]


@pytest.mark.parametrize(("rule", "failure"), CASES)
def test_or_goes_on_without_them(settings: Settings, grid: Any, tmp_path: Path, rule: str, failure: str) -> None:
    config = settings(**ATTACKED, aggregator=rule, **RULES[rule])
    base = prepare(config)
    here, expected = run(WithFewer(**vars(base)), tmp_path / "here")
    _, whole = run(base, tmp_path / "whole")
    nodes = grid(config, 2, "accept", FAILURES[failure]())
    there, found = run(prepare_on_nodes(config, nodes, "accept", 0.5), tmp_path / "there")
    assert there.test_result == pytest.approx(here.test_result, rel=1e-4, abs=1e-5)
    assert there.history[0]["train_loss"] == pytest.approx(here.history[0]["train_loss"], rel=1e-5)
    for column in ("honest", "malicious", "loss", "update_norm"):
        assert list(found[column]) == pytest.approx(list(expected[column]), rel=1e-4)
    lost = (whole["honest"] + whole["malicious"]) - (expected["honest"] + expected["malicious"])
    assert lost.sum() > 0
    assert list(found["lost"]) == list(lost)


def test_without_a_node_the_run_ends(settings: Settings, grid: Any, tmp_path: Path) -> None:
    config = settings(**ATTACKED)
    nodes = grid(config, 2, "repeat", lambda who, message: fails(message))
    with pytest.raises(TrainingError, match="no node is left: The ClientApp crashed"):
        run(prepare_on_nodes(config, nodes, "repeat", 0.5), tmp_path)


def with_nan(message: Message) -> Message:
    """A node one of whose clients sends NaN."""
    update = dict(message.content.array_records["update"])
    name = "dense" if "dense" in update else next(iter(update))
    values = update[name].numpy().copy()
    values[0] = np.nan
    update[name] = Array(values)
    message.content["update"] = ArrayRecord(update)
    return message


def test_what_is_not_finite_is_for_the_rule_to_judge(settings: Settings, grid: Any, tmp_path: Path) -> None:
    robust = settings(**ATTACKED, aggregator="median")
    nodes = grid(robust, 2, "repeat", from_the_second(with_nan))
    _, found = run(prepare_on_nodes(robust, nodes, "repeat", 5.0), tmp_path / "robust")
    assert list(found["rejected"]) == [0, *[1] * (len(found) - 1)]
    plain = settings(**ATTACKED, aggregator="mean")
    nodes = grid(plain, 2, "repeat", from_the_second(with_nan))
    with pytest.raises(TrainingError, match="not finite in epoch 0"):
        run(prepare_on_nodes(plain, nodes, "repeat", 5.0), tmp_path / "mean")


# Nodes that do not fit


def change(**values: Any) -> Any:
    return lambda grid: grid.contexts[102].node_config.update(values)


def other_data(tmp_path: Path) -> Any:
    def spoil(grid: Any) -> None:
        folder = tmp_path / "data" / "tiny"
        folder.mkdir(parents=True)
        config = AttackConfig(config_dict={"dataset": "tiny", **_parameters(grid)})
        for file in Path(config["data_path"]).iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        lines = (folder / "tiny.inter").read_text().splitlines()
        (folder / "tiny.inter").write_text("\n".join(lines[:-1]) + "\n")
        grid.contexts[102].node_config["data-path"] = str(folder.parent)

    return spoil


def _parameters(grid: Any) -> dict[str, Any]:
    import json

    return {"data_path": json.loads(grid.contexts[101].run_config["parameters"])["data_path"]}


MISFITS = {
    "two of one shard": (change(**{"partition-id": 0}), ConfigError, "found two of shard 0"),
    "another count": (change(**{"num-partitions": 3}), ConfigError, "expected num-partitions=2 .*, found 3"),
    "no shard": (change(**{"partition-id": "0"}), ConfigError, "node 102 cannot take part: .*needs --node-config"),
    "a shard too far": (change(**{"partition-id": 2}), ConfigError, "0 <= i < n: found partition-id 2"),
    "no files": (change(**{"data-path": "/nowhere"}), ConfigError, "node 102 cannot take part: .*"),
}


@pytest.mark.parametrize("what", MISFITS)
def test_nodes_have_to_fit(settings: Settings, grid: Any, what: str) -> None:
    spoil, error, words = MISFITS[what]
    nodes = grid(settings(), 2)
    spoil(nodes)
    with pytest.raises(error, match=words):
        prepare_on_nodes(settings(), nodes, "repeat", 1.0)


def test_nodes_have_the_servers_data(settings: Settings, grid: Any, tmp_path: Path) -> None:
    nodes = grid(settings(), 2)
    other_data(tmp_path)(nodes)
    with pytest.raises(DataError, match=r"node 102 has other data: .*tiny\.inter"):
        prepare_on_nodes(settings(), nodes, "repeat", 1.0)


def test_nodes_have_the_servers_version(settings: Settings, grid: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbole_attack.flower.node.__version__", "0.0.1")
    with pytest.raises(ConfigError, match=r"node 101: expected recbole_attack .*, found 0\.0\.1"):
        prepare_on_nodes(settings(), grid(settings(), 2), "repeat", 1.0)


SAID = {"partition": 0, "partitions": 1, "version": "1", "data": "{}", "plugins": "{}"}


@pytest.mark.parametrize(
    "changes",
    [
        {"partition": 7},
        {"partition": -1},
        {"partitions": "1"},
        {"data": "{"},
        {"data": "[]"},
        {"plugins": "x"},
        {"version": 1},
    ],
    ids=str,
)
def test_nodes_say_what_they_are(
    settings: Settings, grid: Any, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = RecordDict({"node": ConfigRecord({**SAID, **changes})})
    monkeypatch.setattr("recbole_attack.flower.client_app.describe", lambda *_: said)
    with pytest.raises(ConfigError, match="node 101 does not say what it is"):
        prepare_on_nodes(settings(), grid(settings(), 1), "repeat", 1.0)
    monkeypatch.setattr("recbole_attack.flower.client_app.describe", lambda *_: RecordDict())
    with pytest.raises(ConfigError, match="node 101 does not say what it is"):
        prepare_on_nodes(settings(), grid(settings(), 1), "repeat", 1.0)


def test_the_server_waits_for_every_shard_and_not_for_ever(settings: Settings, grid: Any) -> None:
    nodes = grid(settings(), 2)
    nodes.contexts.pop(102)
    with pytest.raises(ConfigError, match=r"expected nodes of 2 shards within 0\.5 s: found those of shards \[0\]"):
        prepare_on_nodes(settings(), nodes, "repeat", 0.5)
    nodes.contexts.pop(101)
    with pytest.raises(ConfigError, match=r"expected at least one node within 0\.5 s"):
        prepare_on_nodes(settings(), nodes, "repeat", 0.5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scenario": "central"}, "engine 'flower' needs scenario 'federated': found 'central'"),
        ({"backend": "loop"}, "engine 'flower' needs backend 'vectorised': found 'loop'"),
    ],
)
def test_other_runs_are_refused(settings: Settings, grid: Any, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        prepare_on_nodes(settings(**changes), grid(settings(), 1), "repeat", 1.0)


def asked_about(grid: Any, node: int, failure: str, honest: list[int], malicious: list[int]) -> None:
    """Ask a node what its neighbour was asked, about other users."""
    question = next(message.content for who, message in grid.asked if message.metadata.message_type == "train")
    clients = {"honest": np.array(honest, "i8"), "malicious": np.array(malicious, "i8")}
    clients["factors"] = np.ones(len(honest) + len(malicious), "f4")
    about = ConfigRecord({**question.config_records["about"], "measured": []})
    changed = {"about": about, "clients": ArrayRecord({name: Array(value) for name, value in clients.items()})}
    context = grid.contexts[node]
    answer(
        RecordDict({**dict(question.items()), **changed}),
        {**context.run_config, "node-failure": failure},
        context.node_config,
    )


def test_a_node_answers_for_its_own_users(settings: Settings, grid: Any, tmp_path: Path) -> None:
    config = settings(**ATTACKED)
    nodes = grid(config, 2)
    experiment = prepare_on_nodes(config, nodes, "repeat", 5.0)
    run(experiment, tmp_path)
    hostile, users = experiment.threat.malicious_users, experiment.train_data.trainable_users
    even = next(int(user) for user in users if user % 2 == 0)
    asked_about(nodes, 101, "accept", [even], [])
    asked_about(nodes, 102, "repeat", [even], [])
    with pytest.raises(DataError, match=f"user {even}, who is not in shard 1"):
        asked_about(nodes, 102, "accept", [even], [])
    harmless = next(int(user) for user in users if user not in hostile)
    with pytest.raises(DataError, match=f"user {harmless}, who is no malicious client"):
        asked_about(nodes, 101, "repeat", [], [harmless])
    with pytest.raises(DataError, match="user 100000, who is no honest client"):
        asked_about(nodes, 101, "repeat", [100000], [])
