"""A federation's numbers are those of one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_attack import AttackConfig
from recbole_attack.experiment import prepare
from recbole_attack.utils.errors import ConfigError

pytest.importorskip("flwr", reason="needs Flower: pip install 'recbole_attack[flower]'")

from recbole_attack.flower.training import prepare_on_nodes

Settings = Callable[..., AttackConfig]

RULES: dict[str, dict[str, Any]] = {
    "mean": {"aggregator": "mean"},
    "mixed_rfa": {"aggregator": "mixed_rfa"},
    "mean, few clients": {"aggregator": "mean", "rounds_per_epoch": 2, "clients_per_round": 24},
    "mean, clones": {"aggregator": "mean", "malicious_ratio": 0.5, "clients_per_round": 60},
    "mean, held": {"aggregator": "mean", "norm_budget": 0.5},
    "mean, liars": {"client_weighting": "examples", "claimed_interactions": "round", "malicious_ratio": 0.2},
    "mean, watched": {"aggregator": "mean", "client_detectors": {"top_row": 0.5, "norm": 2.0}},
    "median, per item": {"aggregator": "median", "per_item": True},
}
NUMBERS = ("loss", "malicious_loss", "update_norm", "honest_norm", "malicious_norm", "malicious_weight")


def arms(experiment: Any, folder: Path) -> dict[str, Any]:
    return {name: run(folder / name, True, verbose=False) for name, run in experiment.arms().items()}


def rounds(folder: Path, arm: str) -> Any:
    import pandas as pd

    return pd.read_csv(folder / arm / "rounds.csv")


def same(here: dict[str, Any], there: dict[str, Any]) -> None:
    assert list(here) == list(there)
    for name, arm in here.items():
        assert there[name].test_result == pytest.approx(arm.test_result, rel=1e-4, abs=1e-5, nan_ok=True), name
        for one, other in zip(arm.history, there[name].history, strict=True):
            assert other["train_loss"] == pytest.approx(one["train_loss"], rel=1e-5)
        for detector, values in arm.detection.items():
            seen = there[name].detection[detector]
            assert [seen[key] is None for key in values] == [value is None for value in values.values()]
            assert [seen[key] or 0.0 for key in values] == pytest.approx([v or 0.0 for v in values.values()], rel=1e-4)
        known = {key: value for key, value in (arm.uploads or {}).items() if value is not None}
        found = {key: value for key, value in (there[name].uploads or {}).items() if value is not None}
        assert found == pytest.approx(known, rel=1e-4)


@pytest.mark.parametrize(
    ("rule", "n_nodes"), [*((rule, 3) for rule in RULES), ("mean", 1), ("mixed_rfa", 1), ("median, per item", 2)]
)
def test_one_seed_gives_one_result(settings: Settings, grid: Any, tmp_path: Path, rule: str, n_nodes: int) -> None:
    config = settings(**{"epochs": 1, "attack": "dvfsr", "clients_per_round": 24, **RULES[rule]})
    nodes = grid(config, n_nodes)
    here = arms(prepare(config), tmp_path / "here")
    there = arms(prepare_on_nodes(config, nodes, "repeat", 60.0), tmp_path / "there")
    same(here, there)
    for arm in here:
        expected, found = rounds(tmp_path / "here", arm), rounds(tmp_path / "there", arm)
        for column in NUMBERS:
            assert list(found[column]) == pytest.approx(list(expected[column]), rel=1e-4, nan_ok=True), column
        assert list(found["lost"]) == [0] * len(expected)
        assert (found["sent"] > 0).all() and (found["received"] > 0).all()
    asked = {node for node, _ in nodes.asked}
    assert len(asked) == n_nodes


@pytest.mark.parametrize("rule", ["exposure_quota", "fl_trust", "hics", "union"])
def test_rules_ask_the_server_as_in_one_process(settings: Settings, grid: Any, tmp_path: Path, rule: str) -> None:
    config = settings(epochs=1, attack="dvfsr", compare_clean=False, clients_per_round=24, aggregator=rule)
    here = arms(prepare(config), tmp_path / "here")
    there = arms(prepare_on_nodes(config, grid(config, 2), "repeat", 60.0), tmp_path / "there")
    same(here, there)
    expected, found = (rounds(tmp_path / place, "attacked") for place in ("here", "there"))
    assert len(expected) > 1
    for column in ("update_norm", "malicious_weight"):
        assert list(found[column]) == pytest.approx(list(expected[column]), rel=1e-4, nan_ok=True), column


@pytest.mark.parametrize("rule", ["mean", "mixed_rfa"])
@pytest.mark.parametrize("attack", ["margin", "pieck_uea"])
def test_nodes_know_what_attackers_know(settings: Settings, grid: Any, tmp_path: Path, rule: str, attack: str) -> None:
    """The second epoch is the first in which there is anything to remember."""
    changes = {"attack": attack, "compare_clean": False, "malicious_ratio": 0.2, "clients_per_round": 60}
    config = settings(**changes, aggregator=rule)
    here = arms(prepare(config), tmp_path / "here")
    same(here, arms(prepare_on_nodes(config, grid(config, 2), "repeat", 60.0), tmp_path / "there"))
    expected, found = rounds(tmp_path / "here", "attacked"), rounds(tmp_path / "there", "attacked")
    assert list(found["malicious_loss"]) == pytest.approx(list(expected["malicious_loss"]), rel=1e-4, nan_ok=True)
    assert (expected["malicious_loss"][expected["epoch"] == 1] > 0).any()


@pytest.mark.parametrize("rule", ["mean", "mixed_rfa"])
def test_nodes_know_what_honest_clients_remember(settings: Settings, grid: Any, tmp_path: Path, rule: str) -> None:
    """As above; the weight is such that the clients' losses show it."""
    defence = {"client_defense": "popularity_regularization", "item_regularization": 10.0}
    config = settings(attack="none", clients_per_round=60, aggregator=rule, **defence)
    here = arms(prepare(config), tmp_path / "here")
    same(here, arms(prepare_on_nodes(config, grid(config, 2), "repeat", 60.0), tmp_path / "there"))
    expected, found = rounds(tmp_path / "here", "clean"), rounds(tmp_path / "there", "clean")
    assert list(found["loss"]) == pytest.approx(list(expected["loss"]), rel=1e-4)
    first, second = (expected["loss"][expected["epoch"] == epoch] for epoch in (0, 1))
    assert abs(second.mean() - first.mean()) > 0.05


KNOWING: dict[str, dict[str, Any]] = {
    "mean": {"attack": "margin", "upload": "adaptive", "simulated_clients": 8},
    "multi_krum": {"attack": "margin", "upload": "adaptive", "simulated_clients": 8},
    "median": {"attack": "min_max"},
    "sum": {"attack": "fed_rec_attack", "known_share": 0.1},
}


@pytest.mark.parametrize("rule", KNOWING)
def test_attackers_know_more_behind_nodes(settings: Settings, grid: Any, tmp_path: Path, rule: str) -> None:
    changes = {"epochs": 1, "malicious_ratio": 0.1, **KNOWING[rule]}
    config = settings(**changes, compare_clean=False, aggregator=rule, clients_per_round=40)
    here = arms(prepare(config), tmp_path / "here")
    same(here, arms(prepare_on_nodes(config, grid(config, 2), "repeat", 60.0), tmp_path / "there"))
    expected, found = rounds(tmp_path / "here", "attacked"), rounds(tmp_path / "there", "attacked")
    for column in ("update_norm", "honest_norm", "malicious_norm"):
        assert list(found[column]) == pytest.approx(list(expected[column]), rel=1e-4, nan_ok=True), column


def test_a_run_goes_on_where_it_stopped(settings: Settings, grid: Any, tmp_path: Path) -> None:
    config = settings(attack="dvfsr", compare_clean=False, aggregator="mixed_rfa", clients_per_round=100)
    here = arms(prepare(config), tmp_path / "here")
    seen = 0

    def stops(node: int, answer: Any) -> Any:
        nonlocal seen
        seen += answer.content.config_records["about"]["epoch"] == 1
        if seen > 1:
            raise KeyboardInterrupt
        return answer

    with pytest.raises(KeyboardInterrupt):
        arms(prepare_on_nodes(config, grid(config, 2, "repeat", stops), "repeat", 60.0), tmp_path / "there")
    there = arms(prepare_on_nodes(config, grid(config, 3), "repeat", 60.0), tmp_path / "there")
    same(here, there)
    assert list(rounds(tmp_path / "there", "attacked")["nodes"].unique()) == [2, 3]


def test_a_run_of_one_process_is_not_continued_on_nodes(settings: Settings, grid: Any, tmp_path: Path) -> None:
    config = settings(epochs=1, attack="none")
    arms(prepare(config), tmp_path)
    (tmp_path / "clean" / "SASRec.pth").unlink()
    with pytest.raises(ConfigError, match="a run in one process: expected --engine=in_process"):
        arms(prepare_on_nodes(config, grid(config, 2), "repeat", 60.0), tmp_path)


def test_a_run_on_nodes_is_continued_in_one_process(settings: Settings, grid: Any, tmp_path: Path) -> None:
    config = settings(epochs=1, attack="none")
    there = arms(prepare_on_nodes(config, grid(config, 2), "repeat", 60.0), tmp_path)
    assert arms(prepare(config), tmp_path)["clean"].test_result == there["clean"].test_result
