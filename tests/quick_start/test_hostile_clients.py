"""Runs whose malicious clients upload anything: they end, their models are finite, and the rejected are counted."""

from __future__ import annotations

import pytest
from hostile.uploads import LINEAR, REJECTED, TAKEN, is_finite, near, train_among

from recbole_attack.config import AttackConfig
from recbole_attack.defense import AGGREGATORS
from recbole_attack.experiment import prepare_training
from recbole_attack.utils.errors import TrainingError

WHOLE_ONLY = ("flame", "fl_trust", "union")
WAYS = [(rule, bool(number % 2) and rule not in WHOLE_ONLY) for number, rule in enumerate(AGGREGATORS)]
"""Every rule, every other one item by item if it can be; ``benchmarks/robustness`` has both, with all uploads."""


@pytest.fixture(scope="module")
def known():
    return {}


@pytest.fixture
def among(small, known):
    """``among(rule, per_item, spoil)``: what a training leaves a fifth of whose clients upload that; trained once."""

    def run(rule, per_item, spoil, **settings):
        config = AttackConfig(
            config_dict=small(
                aggregator=rule,
                per_item=per_item,
                attack="ra",
                malicious_ratio=0.2,
                clients_per_round=32,
                rounds_per_epoch=1,
                epochs=1,
                checkpoint_dir=str(len(known)),
            )
        )
        if not known:
            known["experiment"] = prepare_training(config)
        key = rule, per_item, spoil, *settings
        if key not in known:
            known[key] = train_among(spoil, known["experiment"], config, **settings)
        return known[key]

    return run


@pytest.mark.parametrize(("rule", "per_item"), WAYS)
def test_whatever_is_rejected_the_model_is_that_of_the_others_alone(among, rule, per_item):
    """That of a run in which these clients send nothing at all: bit by bit, where they are left out unread."""
    expected = among(rule, per_item, REJECTED["none"][0])
    assert expected.malicious >= 3 and expected.rejected and is_finite(expected.weights)
    unread = among(rule, per_item, REJECTED["transposed"][0])
    assert unread.rejected and near(unread.weights, expected.weights, 0.0)
    if rule not in LINEAR:
        found = among(rule, per_item, REJECTED["nan"][0])
        assert found.rejected and near(found.weights, expected.weights)
    else:
        found = among(rule, per_item, TAKEN["half of the bits"])
        assert not found.rejected and not near(found.weights, expected.weights), "they matter"


@pytest.mark.parametrize("name", ["inf in an item", "1e38", "array", "unknown", "a list"])
def test_every_kind_of_upload_is_rejected_and_counted(among, name):
    found = among("mixed_rfa", True, REJECTED[name][0])
    assert found.malicious >= 3 and found.rejected and is_finite(found.weights)


@pytest.mark.parametrize(("rule", "per_item"), [(rule, way) for rule, way in WAYS if rule not in LINEAR])
def test_side_by_side_values_are_rejected_too(among, rule, per_item):
    expected = among(rule, per_item, REJECTED["nan"][0])
    found = among(rule, per_item, REJECTED["nan"][0], side_by_side=True)
    assert found.rejected and near(found.weights, expected.weights)


@pytest.mark.parametrize("name", TAKEN)
def test_whatever_is_taken_the_model_is_finite(among, name):
    found = among("mean", False, TAKEN[name])
    assert found.malicious >= 3 and not found.rejected and is_finite(found.weights)


@pytest.mark.parametrize("rule", LINEAR)
def test_a_rule_that_takes_any_value_ends_with_the_reason_and_without_a_model(among, rule, tmp_path):
    with pytest.raises(TrainingError, match="the aggregated update is not finite in epoch 0: training diverged"):
        among(rule, False, REJECTED["nan"][0])
    assert not list(tmp_path.rglob("*.pth"))
