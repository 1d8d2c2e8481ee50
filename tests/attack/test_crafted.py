"""Untargeted attacks made of honest updates: byzfl, literal readings on dense vectors, and rounds of either backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from peers import of_byzfl

from recbole_attack import AttackConfig
from recbole_attack.attack import ATTACKS, Attack, AttackContext, Clients, Uploading
from recbole_attack.attack.crafted import (
    CRAFTED_ATTACKS,
    PERTURBATIONS,
    Crafted,
    Fixed,
    Searched,
    Within,
    against,
    outwards,
)
from recbole_attack.attack.objective import training_loss
from recbole_attack.attack.transform import keep
from recbole_attack.experiment import prepare_training
from recbole_attack.federated.client_updates import ITEM_TABLE, ClientUpdates
from recbole_attack.utils.errors import ConfigError

PARAMETERS = {"ipm_scale": 0.7, "alie_deviations": 1.25, "perturbation": "std", "search_evaluations": 12}
N_ITEMS, HIDDEN = 9, 3


@pytest.fixture(scope="module")
def byzfl() -> tuple[Any, Any]:
    """byzfl's attacks and rules."""
    return of_byzfl("attacks.attacks"), of_byzfl("aggregators")


def some(n: int, share: float, seed: int) -> ClientUpdates:
    """Updates of clients that touched about ``share`` of the items; they lean to one side."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a": (2, 2), ITEM_TABLE: (N_ITEMS, HIDDEN), "b": (5,)}
    stacked = {name: torch.randn(n, *s, generator=generator, dtype=torch.float64) + 0.7 for name, s in shapes.items()}
    stacked[ITEM_TABLE] *= torch.rand(n, N_ITEMS, 1, generator=generator) < share
    return ClientUpdates.from_stacked(stacked)


def dense_update(like: ClientUpdates, vector: torch.Tensor) -> dict[str, torch.Tensor]:
    pieces = vector.split([shape.numel() for shape in like.shapes.values()])
    return {name: piece.view(shape) for (name, shape), piece in zip(like.shapes.items(), pieces, strict=True)}


def attacked(name: str, own: ClientUpdates, honest: ClientUpdates, rule: Any = None, **changes: Any) -> torch.Tensor:
    attack = ATTACKS[name]({**PARAMETERS, **changes})
    assert attack is not None and attack.upload is not None

    def served(others: Clients, mine: Clients) -> dict[str, torch.Tensor]:
        return dense_update(own, rule(torch.cat([others.updates.to_dense(), mine.updates.to_dense()])))

    clients = [Clients(part, torch.ones(len(part), dtype=torch.float64)) for part in (own, honest)]
    context: Any = AttackContext(torch.tensor([1]), None, 1)  # type: ignore[arg-type]
    untrained: Any = None
    return attack.upload(Uploading(None, *clients, context, (0, 0), untrained, served)).to_dense()


def support(own: ClientUpdates) -> torch.Tensor:
    """``[M, P]`` True for all but item rows an own update does not touch."""
    table = torch.zeros(len(own), N_ITEMS, HIDDEN, dtype=torch.bool)
    table[own.client, own.item] = True
    ones = {name: torch.ones(len(own), *shape, dtype=torch.bool) for name, shape in own.shapes.items()}
    return torch.cat([value.flatten(1) for value in {**ones, ITEM_TABLE: table}.values()], dim=1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [1.0, 0.4])
def test_fixed_ones_are_byzfls_where_a_client_touches_rows(byzfl: Any, seed: int, share: float) -> None:
    attacks, _ = byzfl
    own, honest = some(2, share, seed), some(6, share, seed + 10)
    vectors = honest.to_dense().numpy()  # of tensors, byzfl makes single precision
    theirs = {
        "sign_flip": attacks.SignFlipping()(vectors),
        "ipm": attacks.InnerProductManipulation(0.7)(vectors),
        "alie": attacks.ALittleIsEnough(1.25)(vectors),
    }
    for name, vector in theirs.items():
        expected = torch.where(support(own), torch.as_tensor(vector), 0.0)
        torch.testing.assert_close(attacked(name, own, honest), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rule", ["Average", "TrMean", "Median", "MultiKrum"])
@pytest.mark.parametrize("evaluations", [1, 12, 20])
def test_searched_ones_are_byzfls(byzfl: Any, seed: int, rule: str, evaluations: int) -> None:
    attacks, rules = byzfl
    own, honest = some(2, 1.0, seed), some(9, 1.0, seed + 10)
    agg = getattr(rules, rule)(**({} if rule in ("Average", "Median") else {"f": 2}))
    options = {"agg": agg, "pre_agg_list": [], "f": 2, "evals": evaluations}
    for name, theirs in (
        ("opt_ipm", attacks.Optimal_InnerProductManipulation),
        ("opt_alie", attacks.Optimal_ALittleIsEnough),
    ):
        expected = torch.as_tensor(theirs(**options)(honest.to_dense().numpy()))
        found = attacked(name, own, honest, lambda x: torch.as_tensor(agg(x.numpy())), search_evaluations=evaluations)
        torch.testing.assert_close(found, expected.repeat(2, 1), rtol=1e-6, atol=1e-9)


def halved(fits: Callable[[float], bool]) -> float:
    """The largest factor that fits, as the paper looks for it: from 10 on, by steps that are halved."""
    gamma, step, best = 10.0, 10.0, 0.0
    while step > 1e-9:
        step /= 2
        if fits(gamma):
            best, gamma = gamma, gamma + step
        else:
            gamma -= step
    return best


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [1.0, 0.4])
@pytest.mark.parametrize("perturbation", PERTURBATIONS)
@pytest.mark.parametrize("name", ["min_max", "min_sum"])
def test_min_max_and_min_sum_go_as_far_as_a_search_finds(seed: int, share: float, perturbation: str, name: str) -> None:
    own, honest = some(3, share, seed), some(7, share, seed + 10)
    vectors, allowed = honest.to_dense().numpy(), support(own).numpy()
    mean, std = vectors.mean(axis=0), vectors.std(axis=0, ddof=1)
    way = {"unit": -mean / np.linalg.norm(mean), "sign": -np.sign(mean), "std": -std}[perturbation]
    squares = ((vectors[:, None] - vectors[None]) ** 2).sum(axis=2)
    found = attacked(name, own, honest, perturbation=perturbation).numpy()
    for client in range(3):
        start, step = mean * allowed[client], way * allowed[client]

        def fits(gamma: float, start: Any = start, step: Any = step) -> bool:
            distances = ((start + gamma * step - vectors) ** 2).sum(axis=1)
            if name == "min_max":
                return bool(distances.max() <= squares.max())
            return bool(distances.sum() <= squares.sum(axis=1).max())

        gamma = halved(fits)
        assert gamma > 0
        np.testing.assert_allclose(found[client], start + gamma * step, rtol=1e-5, atol=1e-6)


def test_who_cannot_be_near_stays_at_the_start() -> None:
    """A client without the rows in which all honest ones agree is far from them wherever it goes."""
    honest = some(4, 1.0, 3).times(torch.full((4,), 1e-3))
    far = {name: torch.full((4, *shape), 50.0).double() for name, shape in honest.shapes.items()}
    honest = honest.plus(ClientUpdates.from_stacked(far))
    own = some(2, 0.0, 1)
    for name in ("min_max", "min_sum"):
        found = attacked(name, own, honest)
        expected = torch.where(support(own), honest.to_dense().mean(dim=0), 0.0)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("n", [1, 2, 6])
def test_moments_are_those_of_dense_updates(n: int) -> None:
    updates = some(n, 0.4, n)
    (mean, table), (deviation, spread) = updates.moments()
    whole = updates.to_dense()
    torch.testing.assert_close(torch.cat([mean[:4], table.flatten(), mean[4:]]), whole.mean(dim=0))
    expected = whole.std(dim=0) if n > 1 else torch.zeros_like(whole[0])
    torch.testing.assert_close(torch.cat([deviation[:4], spread.flatten(), deviation[4:]]), expected)


@pytest.mark.parametrize("name", CRAFTED_ATTACKS)
def test_with_nobody_to_look_at_uploads_are_as_computed(name: str) -> None:
    own = some(2, 0.5, 1)
    nobody = own.select(torch.zeros(2, dtype=torch.bool))
    assert torch.equal(attacked(name, own, nobody, lambda x: x.mean(dim=0)), own.to_dense())


WIRED = {
    "sign_flip": Crafted(0.0, against, Fixed(1.0)),
    "ipm": Crafted(0.0, against, Fixed(0.7)),
    "alie": Crafted(1.0, outwards, Fixed(1.25)),
    "opt_ipm": Crafted(0.0, against, Searched(12), ("the aggregation rule", "honest updates of the round")),
    "opt_alie": Crafted(1.0, outwards, Searched(12), ("the aggregation rule", "honest updates of the round")),
    "min_max": Crafted(1.0, PERTURBATIONS["std"], Within(summed=False)),
    "min_sum": Crafted(1.0, PERTURBATIONS["std"], Within(summed=True)),
}


def test_crafted_recipes_are_wired_from_their_parameters() -> None:
    assert set(WIRED) == set(CRAFTED_ATTACKS) <= set(ATTACKS)
    for name, upload in WIRED.items():
        assert ATTACKS[name](PARAMETERS) == Attack(keep, training_loss, knowledge=upload.knowledge, upload=upload)


def test_an_attack_that_says_what_is_uploaded_cannot_be_made_adaptive(config: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="'min_max' says itself what is uploaded: expected upload 'computed'"):
        config(attack="min_max", upload="adaptive")


def trained(config: Any) -> tuple[torch.Tensor, list[dict[str, Any]]]:
    experiment = prepare_training(config)
    trainer = experiment.trainer(config)
    trainer.fit(experiment.train_data, saved=False, verbose=False)
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()]), trainer.rounds


@pytest.mark.parametrize(
    "changes",
    [
        {"attack": "sign_flip", "aggregator": "mean"},
        {"attack": "alie", "aggregator": "median", "per_item": True},
        {"attack": "min_max", "aggregator": "multi_krum", "local_epochs": 2},
        {"attack": "opt_ipm", "aggregator": "trimmed_mean", "search_evaluations": 4, "norm_budget": 0.5},
        {"model": "BERT4Rec", "attack": "min_sum", "aggregator": "geometric_median"},
        {"model": "GRU4Rec", "attack": "alie", "aggregator": "norm_clipping"},
    ],
    ids=str,
)
def test_backends_craft_from_honest_updates_alike(
    small: Callable[..., dict[str, Any]], changes: dict[str, Any]
) -> None:
    own = {key: value for key, value in small().items() if key not in ("hidden_size", "inner_size")}
    sizes = {"hidden_size": 8, "inner_size": 16, "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
    if changes.get("model") == "GRU4Rec":
        sizes = {"hidden_size": 6, "embedding_size": 8, "dropout_prob": 0.0}
    common = {**own, **sizes, "epochs": 1, "clients_per_round": 24, "learner": "sgd", "learning_rate": 0.1, **changes}
    model = common.pop("model", "SASRec")
    runs = (trained(AttackConfig(model, config_dict={**common, "backend": b})) for b in ("vectorised", "loop"))
    (fast, rounds), (slow, others) = runs
    torch.testing.assert_close(fast, slow, rtol=1e-3, atol=2e-5)
    for key in ("malicious_norm", "honest_norm"):
        found, expected = ([r[key] for r in part if r[key] is not None] for part in (rounds, others))
        assert found == pytest.approx(expected, rel=1e-3) and found
