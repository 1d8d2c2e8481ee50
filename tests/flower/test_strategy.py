"""Our rules in Flower's own apps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from recbole_attack.config.defaults import load_defaults
from recbole_attack.defense import AGGREGATORS, Aggregator, configured_aggregator
from recbole_attack.federated.client_updates import ITEM_TABLE, ClientUpdates
from recbole_attack.federated.server import aggregate
from recbole_attack.utils.errors import ConfigError, TrainingError

pytest.importorskip("flwr", reason="needs Flower: pip install 'recbole_attack[flower]'")

from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.task_identity import TaskIdentity

from recbole_attack.flower.strategy import RobustStrategy

TABLE = np.arange(6, dtype=np.float32).reshape(2, 3)
START = {ITEM_TABLE: TABLE, "bias": np.ones(2, "f4"), "steps": np.array([3])}
N = 7


def moved(node: int) -> dict[str, np.ndarray]:
    """What a client makes of the parameters: its own, at random."""
    rng = np.random.default_rng(node)
    return {name: value + rng.normal(size=value.shape).astype(value.dtype) for name, value in START.items()}


def record(arrays: dict[str, Any]) -> ArrayRecord:
    return ArrayRecord({name: Array(np.ascontiguousarray(value)) for name, value in arrays.items()})


def federation(app_grid: Any, hostile: dict[int, RecordDict] | None = None) -> Any:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        node = context.node_id
        metrics = MetricRecord({"num-examples": node - 100, "loss": 1.0 / node})
        content = RecordDict({"arrays": record(moved(node)), "metrics": metrics})
        return Message((hostile or {}).get(node, content), reply_to=message)

    return app_grid(app, {}, N)


def trained(strategy: Any, grid: Any, rounds: int = 1) -> Any:
    return strategy.start(grid, record(START), num_rounds=rounds)


def arrays(result: Any) -> dict[str, np.ndarray]:
    return {name: array.numpy() for name, array in result.arrays.items()}


RULES = [name for name in AGGREGATORS if name not in ("exposure_quota", "hics", "fl_trust", "union", "bulyan")]
"""All but those for a server of ours, and one whose choice among seven clients is a tie: replies come in any order."""


def configured(rule: str, seed: int) -> Aggregator:
    whole = {"per_item": False, "pre_aggregator": "none", "seed": seed}
    return configured_aggregator({**load_defaults(f"defense/{rule}"), "aggregator": rule, **whole})


@pytest.mark.parametrize("rule", RULES)
def test_the_step_is_the_rule_on_updates(app_grid: Any, rule: str) -> None:
    found = trained(RobustStrategy(rule, seed=3, fraction_evaluate=0.0), federation(app_grid))
    names = (ITEM_TABLE, "bias")
    stacked = {k: torch.from_numpy(np.stack([START[k] - moved(101 + i)[k] for i in range(N)])) for k in names}
    made = configured(rule, 3).in_round(0, 1)
    if made.by_item:
        update = aggregate(ClientUpdates.from_stacked(stacked), torch.ones(N), made).update
        step = torch.cat([update[k].flatten() for k in names])
    else:
        step = made.apply(torch.cat([stacked[k].flatten(1) for k in names], dim=1), torch.ones(N)).update
    expected = torch.cat([torch.from_numpy(START[k]).flatten() for k in names]) - step
    sent = np.concatenate([arrays(found)[k].flatten() for k in names])
    assert sent == pytest.approx(expected.numpy(), rel=1e-5)
    assert arrays(found)["steps"] == START["steps"]


def stepped(strategy: RobustStrategy, server_round: int, start: dict[str, Any], sent: list[dict[str, Any]]) -> Any:
    """The parameters after a round of clients that send these."""
    TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
    strategy.sent = record(start)
    metrics = MetricRecord({"num-examples": 1})
    contents = [RecordDict({"arrays": record(one), "metrics": metrics}) for one in sent]
    replies = [Message(content, dst_node_id=1, message_type="train") for content in contents]
    found, _ = strategy.aggregate_train(server_round, replies)
    return {name: array.numpy() for name, array in found.items()}


def test_a_row_that_all_move_alike_moves_as_far() -> None:
    """Rows of items are shrunk by the clients that are not there, and none is missing."""
    start = {ITEM_TABLE: np.zeros((2, 3), "f4"), "bias": np.zeros(1, "f4")}
    sent = {**start, ITEM_TABLE: np.array([[0, 0, 0], [0, 1, 0]], "f4")}
    assert stepped(RobustStrategy("support_shrunk"), 1, start, [sent] * 8)[ITEM_TABLE][1] == pytest.approx([0, 1, 0])


def test_ties_are_drawn_anew_in_each_round() -> None:
    start, sent = {"bias": np.zeros(1, "f4")}, [{"bias": np.array([value], "f4")} for value in (-1, 1)]

    def taken(**options: Any) -> list[float]:
        strategy = RobustStrategy("krum", **options)
        return [float(stepped(strategy, round, start, sent)["bias"][0]) for round in range(1, 21)]

    assert set(taken()) == {-1.0, 1.0}
    assert taken(seed=7) == taken(seed=7) != taken(seed=8)
    assert taken() == taken(seed=0)


def test_parameters_keep_their_types() -> None:
    start = {"a": np.zeros(2, "f4"), "b": np.zeros(2, "f8"), "c": np.zeros(2, "f2")}
    sent = [{name: np.full_like(value, k) for name, value in start.items()} for k in (1, 2, 6)]
    for rule in ("mean", "median"):
        found = stepped(RobustStrategy(rule), 1, start, sent)
        assert {name: value.dtype for name, value in found.items()} == {n: v.dtype for n, v in start.items()}
        assert all(value == pytest.approx([3, 3] if rule == "mean" else [2, 2]) for value in found.values())


def test_the_mean_weighted_by_examples_is_fedavg(app_grid: Any) -> None:
    ours = trained(RobustStrategy("mean", "examples", fraction_evaluate=0.0), federation(app_grid))
    theirs = trained(FedAvg(fraction_evaluate=0.0), federation(app_grid))
    for name in (ITEM_TABLE, "bias"):
        assert arrays(ours)[name] == pytest.approx(arrays(theirs)[name], rel=1e-5)
    assert dict(ours.train_metrics_clientapp[1]) == pytest.approx(dict(theirs.train_metrics_clientapp[1]))


def content(arrays: Any = None, metrics: Any = None) -> RecordDict:
    values = {"num-examples": 1, "loss": 0.1} if metrics is None else metrics
    return RecordDict({"arrays": record(arrays or moved(101)), "metrics": MetricRecord(values)})


REFUSED = {
    "NaN": content({**moved(101), "bias": np.full(2, np.nan, "f4")}),
    "huge": content({**moved(101), "bias": np.full(2, 1e30, "f4")}),
    "wrong shape": content({**moved(101), "bias": np.ones(3, "f4")}),
    "wrong type": content({**moved(101), "bias": np.ones(2, "i8")}),
    "one too few": content({ITEM_TABLE: TABLE, "steps": START["steps"]}),
    "one too many": content({**moved(101), "more": np.ones(2, "f4")}),
    "no arrays": RecordDict({"metrics": MetricRecord({"num-examples": 1})}),
    "nothing": RecordDict(),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_read_is_left_out(app_grid: Any, what: str) -> None:
    strategy = RobustStrategy("median", fraction_evaluate=0.0)
    found = arrays(trained(strategy, federation(app_grid, {101: REFUSED[what]})))
    for name in (ITEM_TABLE, "bias"):
        others = [moved(102 + i)[name] for i in range(N - 1)]
        assert found[name] == pytest.approx(np.median(others, axis=0), abs=1e-5)


@pytest.mark.parametrize("weight", [0, -1, float("inf"), float("nan"), [1.0, 2.0]])
def test_a_weight_that_is_none_is_left_out(app_grid: Any, weight: Any) -> None:
    hostile = {101: content(metrics={"num-examples": weight, "loss": 0.1})}
    found = trained(RobustStrategy("mean", "examples", fraction_evaluate=0.0), federation(app_grid, hostile))
    weights = np.arange(2, N + 1) / np.arange(2, N + 1).sum()
    expected = sum(w * moved(102 + i)["bias"] for i, w in enumerate(weights))
    assert arrays(found)["bias"] == pytest.approx(expected, rel=1e-5)
    assert found.train_metrics_clientapp[1]["loss"] == pytest.approx(sum(weights / (101 + np.arange(1, N))), rel=1e-6)


def test_a_mean_of_what_is_not_finite_ends_the_run(app_grid: Any) -> None:
    with pytest.raises(TrainingError, match="not finite in round 1"):
        trained(RobustStrategy("mean", fraction_evaluate=0.0), federation(app_grid, {101: REFUSED["NaN"]}))


def test_without_a_usable_reply_the_parameters_stay(app_grid: Any) -> None:
    hostile = {101 + i: REFUSED["wrong shape"] for i in range(N)}
    assert not trained(RobustStrategy("krum", fraction_evaluate=0.0), federation(app_grid, hostile)).arrays


@pytest.mark.parametrize(
    ("rule", "options", "words"),
    [
        ("kurm", {}, "did you mean 'krum'"),
        ("krum", {"byzantine_ration": 0.1}, "did you mean 'byzantine_ratio'"),
        ("krum", {"byzantine_ratio": 2.0}, "byzantine_ratio must be"),
        ("krum", {"client_weighting": "exampels"}, "did you mean 'examples'"),
        ("krum", {"seed": -1}, "seed must be"),
        ("fl_trust", {}, "'fl_trust' needs a server of ours"),
        ("hics", {}, "'hics' needs a server of ours"),
        ("exposure_quota", {}, "'exposure_quota' needs a server of ours"),
        ("mean", {"byzantine_ratio": 0.1}, "unknown option 'byzantine_ratio' of rule 'mean'"),
    ],
)
def test_what_there_is_not_is_refused(rule: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RobustStrategy(rule, **options)
