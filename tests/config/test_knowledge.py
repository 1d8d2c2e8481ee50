"""What attacks have to know: the level of each, where it is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from recbole_attack import AttackConfig
from recbole_attack.attack import ATTACKS, LEVELS, Attack
from recbole_attack.attack.crafted import CRAFTED_ATTACKS
from recbole_attack.attack.objective import training_loss
from recbole_attack.attack.transform import keep
from recbole_attack.commands.main import main
from recbole_attack.config.knowledge import knowledge_levels
from recbole_attack.experiment import prepare_training
from recbole_attack.report.record import check_record


def test_fake_profiles_of_popular_items_need_popularity_and_all_others_the_model_alone() -> None:
    levels = knowledge_levels()
    assert list(levels) == list(ATTACKS)
    assert {name for name, level in levels.items() if level == "K1"} == {"bandwagon", "popular", "pip_attack"}
    assert {name for name, level in levels.items() if level == "K2"} == {"fed_rec_attack"}
    assert {name for name, level in levels.items() if level == "K4"} == set(CRAFTED_ATTACKS)
    assert {name for name, level in levels.items() if level is None} == {"none"}
    assert set(levels.values()) - {None} <= set(LEVELS)


@pytest.mark.parametrize(("attack", "level"), [("popular", "K1"), ("margin", "K0"), ("none", None)])
def test_a_run_records_the_level_beside_what_is_known(
    config: Callable[..., AttackConfig], attack: str, level: str | None
) -> None:
    threat = prepare_training(config(attack=attack)).describe_threat()
    assert threat["knowledge_level"] == level
    assert threat["knowledge"][:3] == [
        "model and training code",
        "global model of every round",
        "histories of its own clients",
    ]


@pytest.mark.parametrize("level", ["K2", None])
def test_records_with_and_without_a_level_are_records(level: str | None) -> None:
    config = {
        **{"scenario": "central", "model": "SASRec", "attack": "none", "exposure_candidates": "full", "epochs": 1},
        **{"mask_history": True, "learner": "adam", "learning_rate": 0.1, "target_items": "popular:1"},
        **{"topk": [5], "seed": 1},
    }
    record = {
        **{"config": config, "seed": 1, "history": {}, "budget": {"target_items": ["a"]}},
        "dataset": {"name": "tiny", "users": 1, "items": 1, "interactions": 1},
    }
    check_record(record, "old")
    record["budget"]["knowledge_level"] = level
    check_record(record, "new")


def test_list_shows_levels_and_none_where_an_attack_from_outside_has_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(config: object) -> Attack:
        """Odd attack."""
        return Attack(keep, training_loss, knowledge=("the weather",))

    monkeypatch.setitem(ATTACKS, "odd", odd)
    assert main(["list"]) == 0
    attacks = capsys.readouterr().out.split("\nattacks\n")[1].split("\n\n")[0]
    lines = {line.split()[0]: line for line in attacks.splitlines()}
    assert lines["margin"].endswith(" (K0)") and lines["bandwagon"].endswith(" (K1)")
    assert lines["odd"].endswith("Odd attack.")
