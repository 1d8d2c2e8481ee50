"""Clients of Flower's own apps that send a strategy of ours what they should not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recbole_attack.utils.errors import TrainingError

pytest.importorskip("flwr", reason="needs Flower: pip install 'recbole_attack[flower]'")

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from hostile_messages import archive, bytes_of, form, header, of_kind, pickled

from recbole_attack.flower.strategy import RobustStrategy

N, LIAR = 7, 101
START = {"layer": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.ones(2, "f4"), "steps": np.array([3])}
HUGE = float(np.finfo("f4").max)


def trained_by(client: int) -> dict[str, np.ndarray]:
    """What an honest client makes of the parameters: its own, at random."""
    rng = np.random.default_rng(client)
    return {name: value + rng.normal(size=value.shape).astype(value.dtype) for name, value in START.items()}


def record(arrays: dict[str, Any]) -> ArrayRecord:
    made = {name: value if isinstance(value, Array) else Array(np.asarray(value)) for name, value in arrays.items()}
    return ArrayRecord(made)


def reply(arrays: dict[str, Any] | None = None, **metrics: Any) -> RecordDict:
    """An honest reply, of a client that trained; ``None`` stands for a metric that is left out."""
    said = {"num_examples": 5, "loss": 0.5, **metrics}
    kept = MetricRecord({name.replace("_", "-"): value for name, value in said.items() if value is not None})
    return RecordDict({"arrays": record({**trained_by(LIAR), **(arrays or {})}), "metrics": kept})


def without(name: str) -> RecordDict:
    found = reply()
    found["arrays"] = ArrayRecord({key: value for key, value in found.array_records["arrays"].items() if key != name})
    return found


def bias(change: Callable[[bytes], bytes]) -> RecordDict:
    return reply({"bias": bytes_of(change)(np.ones(2, "f4"))})


UNREADABLE: dict[str, RecordDict | Error] = {
    "NaN": reply({"bias": np.full(2, np.nan, "f4")}),
    "one NaN": reply({"bias": np.array([1, np.nan], "f4")}),
    "inf": reply({"bias": np.full(2, np.inf, "f4")}),
    "minus inf": reply({"bias": np.full(2, -np.inf, "f4")}),
    "1e38": reply({"bias": np.full(2, 1e38, "f4")}),
    "1e30": reply({"bias": np.full(2, 1e30, "f4")}),
    "1e300 in float64": reply({"bias": np.full(2, 1e300, "f8")}),
    "a longer array": reply({"bias": np.ones(3, "f4")}),
    "a shorter array": reply({"bias": np.ones(1, "f4")}),
    "an array that would be stretched": reply({"layer": np.ones((1, 3), "f4")}),
    "an array on its side": reply({"layer": START["layer"].T}),
    "a single number": reply({"bias": np.float32(1)}),
    "no numbers": reply({"bias": np.ones(0, "f4")}),
    "integers": reply({"bias": np.ones(2, "i8")}),
    "truth values": reply({"bias": np.ones(2, "?")}),
    "complex numbers": reply({"bias": np.ones(2, "c8")}),
    "text": reply({"bias": np.array(["a", "b"])}),
    "dates": reply({"bias": np.zeros(2, "M8[s]")}),
    "bytes in another order": reply({"bias": np.ones(2, ">f4")}),
    "an array less": without("bias"),
    "an array more": reply({"more": np.ones(2, "f4")}),
    "an array by another name": RecordDict({**without("bias"), "arrays": record({**START, "Bias": START["bias"]})}),
    "no arrays": RecordDict({"arrays": ArrayRecord(), "metrics": MetricRecord({"num-examples": 5})}),
    "no record of arrays": RecordDict({"metrics": MetricRecord({"num-examples": 5})}),
    "two records of arrays": RecordDict({**reply(), "again": record(START)}),
    "words": RecordDict({"arrays": ConfigRecord({"bias": 1.0})}),
    "nothing": RecordDict(),
    "no bytes": bias(lambda b: b""),
    "half an array": bias(lambda b: b[: len(b) // 2]),
    "bytes that are no array": bias(lambda b: b"\0" * 99),
    "a petabyte": bias(lambda b: form(f"({1 << 48},)")),
    "a form without end": bias(lambda b: header("(" * 9000)),
    "an archive": bias(lambda b: archive()),
    "a pickle": bias(lambda b: pickled()),
    "read as something else": reply({"bias": of_kind(np.ones(2, "f4"), "torch\x1b[31m")}),
    "an error": Error(1, "ValueError: \x1b[2J wrong"),
    "an error without words": Error(0, ""),
}
"""What a rule that looks at values is not shown."""

UNWEIGHED: dict[str, RecordDict] = {
    "no weight": reply(num_examples=None),
    "no metrics": RecordDict({"arrays": record(trained_by(LIAR))}),
    "two records of metrics": RecordDict({**reply(), "again": MetricRecord({"num-examples": 5})}),
    "a weight in words": RecordDict(
        {"arrays": record(trained_by(LIAR)), "metrics": ConfigRecord({"num-examples": "5"})}
    ),
    "nothing": reply(num_examples=0),
    "minus one": reply(num_examples=-1),
    "minus a great many": reply(num_examples=-(2**62)),
    "NaN": reply(num_examples=float("nan")),
    "inf": reply(num_examples=float("inf")),
    "minus inf": reply(num_examples=-float("inf")),
    "more than float32 has": reply(num_examples=1e39),
    "more than there are numbers": reply(num_examples=1.7e308),
    "more than can be counted": reply(num_examples=2**62),
    "less than float32 has": reply(num_examples=1e-50),
    "two weights": reply(num_examples=[1.0, 2.0]),
}
"""What a rule that weights clients by what they say leaves out."""


def app(lies: dict[int, RecordDict | Error], evaluation: dict[int, RecordDict | Error]) -> ClientApp:
    made = ClientApp()

    def answer(message: Message, context: Context, said: dict[int, RecordDict | Error]) -> Message:
        client = context.node_id
        metrics = MetricRecord({"num-examples": client - 100, "loss": 1.0 / client})
        honest = RecordDict({"arrays": record(trained_by(client)), "metrics": metrics})
        return Message(said.get(client, honest), reply_to=message)

    made.train()(lambda message, context: answer(message, context, lies))
    made.evaluate()(lambda message, context: answer(message, context, evaluation))
    return made


def ran(app_grid: Any, strategy: RobustStrategy, train: Any = None, evaluation: Any = None) -> Any:
    """One round whose replies of certain clients are others."""
    return strategy.start(app_grid(app(train or {}, evaluation or {}), {}, N), record(START), num_rounds=1)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line.getMessage() for line in caplog.records if "refused" in line.getMessage()]


HONEST = range(LIAR + 1, LIAR + N)


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_cannot_be_read_is_left_out(app_grid: Any, what: str, caplog: pytest.LogCaptureFixture) -> None:
    found = ran(app_grid, RobustStrategy("median", fraction_evaluate=0.0), {LIAR: UNREADABLE[what]})
    for name in ("layer", "bias"):
        expected = np.median([trained_by(client)[name] for client in HONEST], axis=0)
        assert found.arrays[name].numpy() == pytest.approx(expected, abs=1e-5)
    assert found.arrays["steps"].numpy() == START["steps"]
    (line,) = said(caplog)
    assert "round 1: replies refused: 1 " in line


@pytest.mark.parametrize("what", UNREADABLE)
def test_if_none_can_be_read_the_parameters_stay(app_grid: Any, what: str, caplog: pytest.LogCaptureFixture) -> None:
    lies = dict.fromkeys(range(LIAR, LIAR + N), UNREADABLE[what])
    found = ran(app_grid, RobustStrategy("krum", fraction_evaluate=0.0), lies)
    assert not found.arrays
    assert not found.train_metrics_clientapp
    (line,) = said(caplog)
    assert f"round 1: replies refused: {N} " in line


@pytest.mark.parametrize("what", UNWEIGHED)
def test_a_weight_that_is_none_is_left_out(app_grid: Any, what: str, caplog: pytest.LogCaptureFixture) -> None:
    found = ran(app_grid, RobustStrategy("mean", "examples", fraction_evaluate=0.0), {LIAR: UNWEIGHED[what]})
    weights = np.array([client - 100 for client in HONEST], dtype=float)
    for name in ("layer", "bias"):
        expected = np.average([trained_by(client)[name] for client in HONEST], axis=0, weights=weights)
        assert found.arrays[name].numpy() == pytest.approx(expected, rel=1e-5, abs=1e-5)
    expected = np.average([1.0 / client for client in HONEST], weights=weights)
    assert dict(found.train_metrics_clientapp[1]) == pytest.approx({"loss": expected})
    assert said(caplog) == ["aggregate_train: round 1: replies refused: 1 without a weight"]


@pytest.mark.parametrize("what", UNWEIGHED)
def test_nor_is_it_evaluated(app_grid: Any, what: str) -> None:
    """FedAvg ends a run whose clients do not all report the same."""
    found = ran(app_grid, RobustStrategy("median"), evaluation={LIAR: UNWEIGHED[what]})
    weights = np.array([client - 100 for client in HONEST], dtype=float)
    expected = np.average([1.0 / client for client in HONEST], weights=weights)
    assert dict(found.evaluate_metrics_clientapp[1]) == pytest.approx({"loss": expected})


REPORTS = {
    "a metric less": reply(loss=None),
    "a metric more": reply(accuracy=1.0),
    "several losses": reply(loss=[0.1, 0.2]),
    "an error": Error(1, "wrong"),
}


@pytest.mark.parametrize("what", REPORTS)
def test_what_others_do_not_report_is_left_out(app_grid: Any, what: str) -> None:
    found = ran(app_grid, RobustStrategy("median"), {LIAR: REPORTS[what]}, {LIAR: REPORTS[what]})
    weights = np.array([client - 100 for client in HONEST], dtype=float)
    expected = pytest.approx({"loss": np.average([1.0 / client for client in HONEST], weights=weights)})
    assert dict(found.train_metrics_clientapp[1]) == expected
    assert dict(found.evaluate_metrics_clientapp[1]) == expected


@pytest.mark.parametrize("what", ["NaN", "inf", "minus inf", "1e300 in float64"])
def test_a_mean_of_what_is_not_finite_ends_the_run(app_grid: Any, what: str) -> None:
    with pytest.raises(TrainingError, match="not finite in round 1"):
        ran(app_grid, RobustStrategy("mean", fraction_evaluate=0.0), {LIAR: UNREADABLE[what]})


def test_nor_are_parameters_that_overflow_kept(app_grid: Any) -> None:
    """An update, here five steps of a tenth of what float32 holds, can be finite where what it leads to is not."""
    client = ClientApp()

    @client.train()
    def train(message: Message, context: Context) -> Message:
        arrays, metrics = record({"bias": np.full(2, -HUGE, "f4")}), MetricRecord({"num-examples": 1})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    strategy, start = RobustStrategy("sum", fraction_evaluate=0.0), record({"bias": np.full(2, -0.9 * HUGE, "f4")})
    with pytest.raises(TrainingError, match="parameters are not finite in round 1"):
        strategy.start(app_grid(client, {}, 5), start, num_rounds=1)
