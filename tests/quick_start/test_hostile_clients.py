"""Runs whose malicious clients upload anything: they end, their models are finite, and the rejected are counted."""

from __future__ import annotations

import pytest
from hostile.uploads import LINEAR, REJECTED, TAKEN, is_finite, near, train_among

from recbole_attack.config import AttackConfig
from recbole_attack.defense import AGGREGATORS
from recbole_attack.experiment import prepare_training
from recbole_attack.utils.errors import TrainingError

WAYS = [(rule, bool(number % 2)) for number, rule in enumerate(AGGREGATORS)]
"""Every rule, every other one item by item; ``benchmarks/robustness.py`` has both of each, with all uploads."""


@pytest.fixture(scope="module")
def experiments():
    return []


@pytest.fixture
def among(small, experiments):
    """``among(rule, per_item, name, spoil)``: what a training leaves a fifth of whose clients upload that."""

    def run(rule, per_item, name, spoil, **settings):
        changes = {"aggregator": rule, "per_item": per_item, "checkpoint_dir": name, "epochs": 1}
        config = AttackConfig(config_dict=small(attack="ra", malicious_ratio=0.2, clients_per_round=32, **changes))
        if not experiments:
            experiments.append(prepare_training(config))
        return train_among(spoil, experiments[0], config, **settings)

    return run


@pytest.mark.parametrize(("rule", "per_item"), WAYS)
def test_whatever_is_rejected_the_model_is_that_of_the_others_alone(among, rule, per_item):
    """That of a run in which these clients send nothing at all: bit by bit, where they are left out unread."""
    expected = among(rule, per_item, "nothing", REJECTED["none"][0])
    assert expected.malicious == 12 and expected.rejected and is_finite(expected.weights)
    unread = among(rule, per_item, "transposed", REJECTED["transposed"][0])
    assert unread.rejected and near(unread.weights, expected.weights, 0.0)
    if rule not in LINEAR:
        found = among(rule, per_item, "nan", REJECTED["nan"][0])
        assert found.rejected and near(found.weights, expected.weights)
    else:
        found = among(rule, per_item, "taken", TAKEN["half of the bits"])
        assert not found.rejected and not near(found.weights, expected.weights), "they matter"


@pytest.mark.parametrize("name", ["inf", "-inf in an item", "1e38", "no rows", "array", "missing", "unknown", "a list"])
def test_every_kind_of_upload_is_rejected_and_counted(among, name):
    found = among("mixed_rfa", True, name, REJECTED[name][0])
    assert found.malicious == 12 and found.rejected and is_finite(found.weights)


@pytest.mark.parametrize(("rule", "per_item"), [(rule, way) for rule, way in WAYS if rule not in LINEAR])
def test_side_by_side_values_are_rejected_too(among, rule, per_item):
    expected = among(rule, per_item, "one by one", REJECTED["nan"][0])
    found = among(rule, per_item, "side by side", REJECTED["nan"][0], side_by_side=True)
    assert found.rejected and near(found.weights, expected.weights)


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.parametrize("rule", ["mean", "median"])
def test_whatever_is_taken_the_model_is_finite(among, rule, name):
    found = among(rule, False, name, TAKEN[name])
    assert found.malicious == 12 and not found.rejected and is_finite(found.weights)


@pytest.mark.parametrize("rule", LINEAR)
def test_a_rule_that_takes_any_value_ends_with_the_reason_and_without_a_model(among, rule, tmp_path):
    with pytest.raises(TrainingError, match="the aggregated update is not finite in epoch 0: training diverged"):
        among(rule, False, "nan", REJECTED["nan"][0])
    assert not list(tmp_path.rglob("*.pth"))
