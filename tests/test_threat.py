"""Which users are malicious and which items they promote."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_attack import AttackConfig
from recbole_attack.experiment import TrainingExperiment, prepare_training
from recbole_attack.threat import Threat, malicious_count, resolve_threat
from recbole_attack.utils.errors import ConfigError
from recbole_attack.utils.rng import stream

USERS = 60


def trainable(experiment: TrainingExperiment) -> np.ndarray:
    lengths = [len(experiment.dataset.split.train[user]) for user in range(USERS + 1)]
    return np.array([user for user, length in enumerate(lengths) if length >= 2])


@pytest.mark.parametrize(
    ("ratio", "count"),
    [(0.0, 0), (0.0001, 1), (0.016, 1), (0.034, 2), (0.0495, 2), (0.05, 3), (0.1, 6), (0.5, 30), (0.99, 59)],
)
def test_the_count_is_a_share_of_all_users_rounded_down_but_not_to_nobody(
    config: Callable[..., Any], ratio: float, count: int
) -> None:
    experiment = prepare_training(config(malicious_ratio=ratio, attack="none" if ratio == 0 else "dvfsr"))
    assert experiment.dataset.user_num - 1 == USERS
    malicious = experiment.threat.malicious_users
    assert len(malicious) == min(count, len(trainable(experiment)))
    assert (np.diff(malicious) > 0).all()


def test_a_share_is_rounded_down_as_a_fraction_is() -> None:
    """0.29 of 100 users are 29, though the product of floats is below it."""
    assert malicious_count(100, 0.29) == 29
    for percent in range(1, 101):
        for users in (1, 3, 100, 700, 943):
            assert malicious_count(users, percent / 100) == max(percent * users // 100, 1), (percent, users)


@pytest.mark.parametrize("ratio", ["0.0005", "0.001", "0.002", "0.005", "0.01", "0.05"])
def test_published_shares_are_as_many_users_as_they_were(ratio: str) -> None:
    """Those of the papers and their datasets: what stored runs were trained with."""
    for users in (943, 1000, 2000, 3753, 6000, 6040):
        before = max(int(users * float(ratio)), 1)
        assert malicious_count(users, float(ratio)) == before == max(users * Fraction(ratio) // 1, 1)


def test_people_without_interactions_are_counted_nowhere(small: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    """The ``.user`` file lists sixty people, of whom twenty have interactions."""
    folder = tmp_path / "made"
    folder.mkdir()
    rows = [f"u{n % 20}\ti{n * 5 % 13}\t{n}" for n in range(120)]
    people = [f"u{n}\t{n}" for n in range(60)]
    for name, lines in (
        ("made.inter", ["user_id:token\titem_id:token\ttimestamp:float", *rows]),
        ("made.user", ["user_id:token\tage:float", *people]),
    ):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    loaded = {"inter": ["user_id", "item_id", "timestamp"], "user": ["user_id", "age"]}
    values = small(data_path=str(tmp_path), dataset="made", load_col=loaded, target_items=["i3"], attack="ra")
    for mode in ("clone", "compromise"):
        changes = {"malicious_ratio": 0.25, "malicious_clients": mode}
        experiment = prepare_training(AttackConfig(config_dict={**values, **changes}))
        threat, data = experiment.describe_threat(), experiment.describe_data()
        assert (threat["malicious_clients"], threat["malicious_share"]) == (5, 0.25)
        assert (data["users"], data["items"], data["test_users"]) == (20, 13, 20)
        assert experiment.test_data is not None
        assert len(experiment.test_data.dataset.inter_feat) == (20 if mode == "clone" else 15)


def test_malicious_users_have_something_to_train_on(config: Callable[..., Any]) -> None:
    experiment = prepare_training(config(malicious_ratio=1.0))
    able = trainable(experiment)
    assert 0 < len(able) < USERS
    assert experiment.threat.malicious_users.tolist() == able.tolist()
    for seed in range(20):
        drawn = resolve_threat(config(malicious_ratio=0.3, seed=seed), experiment.dataset).malicious_users
        assert set(drawn) <= set(able)


def test_a_user_is_left_to_evaluate_or_it_is_said_before_training(config: Callable[..., Any]) -> None:
    """Here all users can be malicious; the share that is named is the largest that leaves one of them."""
    active: dict[str, Any] = {"user_inter_num_interval": "[5,inf)"}
    everybody = {**active, "malicious_clients": "compromise"}
    dataset = prepare_training(config(**everybody)).dataset
    n = dataset.user_num - 1
    words = (
        rf"malicious_ratio 1 .* leaves nobody to evaluate: expected at most (.+) \({n - 1} of {n} users\), found {n}"
    )
    with pytest.raises(ConfigError, match=words) as raised:
        prepare_training(config(malicious_ratio=1.0, **everybody))
    most = re.search(words, str(raised.value))
    assert most is not None
    left = prepare_training(config(malicious_ratio=float(most[1]), **everybody))
    assert left.test_data is not None and len(left.test_data.dataset.inter_feat) in (1, 2)
    prepare_training(config(malicious_ratio=1.0, **active))


def test_the_draw_depends_on_the_seed_alone(config: Callable[..., Any]) -> None:
    dataset = prepare_training(config()).dataset

    def drawn(**changes: Any) -> tuple[int, ...]:
        return tuple(resolve_threat(config(malicious_ratio=0.1, **changes), dataset).malicious_users)

    first = drawn(seed=5)
    for changes in ({}, {"attack": "none"}, {"attack": "ra"}, {"malicious_clients": "compromise"}, {"epochs": 9}):
        assert drawn(seed=5, **changes) == first, changes
    assert len({drawn(seed=seed) for seed in range(10)}) > 5


def test_who_is_malicious_and_what_is_promoted_can_be_drawn_apart_from_the_training(config: Callable[..., Any]) -> None:
    """With a seed of its own each draw is what a run with that seed draws, whatever the run's seed is."""
    dataset = prepare_training(config()).dataset

    def threat(**changes: Any) -> Threat:
        return resolve_threat(config(malicious_ratio=0.1, target_items="random:3", **changes), dataset)

    for seed in range(4):
        own, whole = threat(seed=9, malicious_seed=seed), threat(seed=seed)
        assert own.malicious_users.tolist() == whole.malicious_users.tolist()
        assert own.targets.tolist() == threat(seed=9).targets.tolist()
        own = threat(seed=9, target_seed=seed)
        assert own.targets.tolist() == whole.targets.tolist()
        assert own.malicious_users.tolist() == threat(seed=9).malicious_users.tolist()


def test_the_draws_of_a_run_are_those_they_always_were(config: Callable[..., Any]) -> None:
    """Written out from the streams they come from, so that none of them moves."""
    experiment = prepare_training(config(malicious_ratio=0.1, target_items="random:3"))
    drawn = stream(2020, "malicious users").choice(trainable(experiment), size=6, replace=False)
    assert experiment.threat.malicious_users.tolist() == sorted(drawn)
    tokens, counts = experiment.dataset.field2id_token["item_id"], experiment.dataset.split.train.popularity()
    ranking = sorted(range(1, len(tokens)), key=lambda item: (counts[item], tokens[item]))
    chosen = stream(2020, "targets").choice(ranking, size=3, replace=False)
    assert experiment.threat.targets.tolist() == sorted(chosen)


def test_every_user_with_something_to_train_on_can_be_drawn(config: Callable[..., Any]) -> None:
    experiment = prepare_training(config())
    drawn = [
        resolve_threat(config(malicious_ratio=0.5, seed=seed), experiment.dataset).malicious_users for seed in range(15)
    ]
    assert set(np.concatenate(drawn)) == set(trainable(experiment))


def test_targets_come_from_the_training_data(config: Callable[..., Any]) -> None:
    experiment = prepare_training(config(target_items="least_popular:3"))
    counts = np.bincount(experiment.dataset.split.train.items, minlength=experiment.dataset.item_num)[1:]
    targets = experiment.threat.targets
    assert (np.diff(targets) > 0).all()
    assert sorted(counts[targets - 1]) == sorted(counts)[:3]


def test_only_turned_users_are_dishonest(config: Callable[..., Any]) -> None:
    for mode, clone in (("clone", True), ("compromise", False)):
        threat = prepare_training(config(malicious_clients=mode)).threat
        assert threat.clone is clone
    users = np.array([3, 9])
    assert Threat(np.array([1]), users, clone=False).dishonest_users.tolist() == [3, 9]
    assert Threat(np.array([1]), users, clone=True).dishonest_users.tolist() == []


def test_dishonest_users_are_not_evaluated(config: Callable[..., Any]) -> None:
    clones, turned = (
        prepare_training(config(malicious_clients=mode, malicious_ratio=0.2)) for mode in ("clone", "compromise")
    )
    for part in ("valid_data", "test_data"):
        everyone, honest = (getattr(e, part).dataset.inter_feat["user_id"].tolist() for e in (clones, turned))
        assert set(honest) == set(everyone) - set(turned.threat.malicious_users)
        assert len(honest) < len(everyone)
