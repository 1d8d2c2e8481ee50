"""Published attacks: what they are wired from, and that a step along them helps the target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from recbole_attack.attack import ATTACKS, Attack, AttackContext, Profile
from recbole_attack.attack.objective import Contrastive, Total, search_loss, target_bce, training_loss
from recbole_attack.attack.transform import FakeProfile, Substitute, keep
from recbole_attack.data import TrainData
from recbole_attack.experiment import prepare_training

PARAMETERS = {
    "attack_weight": 2.5,
    "attack_repeats": 3,
    "min_cosine": 0.25,
    "substitution_candidates": 7,
    "contrastive_negatives": 11,
    "upload_search_gradient": False,
    "popular_share": 0.3,
    "popular_items": 0.2,
}
KNOWN = ("popularity of the items",)


@dataclass
class Scene:
    """A victim without dropout, its malicious clients and everybody's histories."""

    attack: Attack
    model: Any
    train_data: TrainData
    malicious: np.ndarray
    targets: torch.Tensor

    def profile(self, users: np.ndarray) -> Profile:
        items, lengths = self.train_data.sequences.last(users, self.train_data.max_length)
        return Profile(torch.from_numpy(items), torch.from_numpy(lengths))

    def losses(self) -> torch.Tensor:
        context = AttackContext(self.targets, self.train_data.outside, seed=1)
        return self.attack.losses(self.model, self.profile(self.malicious), self.malicious, context)

    def step(self, rate: float) -> None:
        parameters = list(self.model.parameters())
        gradients = torch.autograd.grad(self.losses().mean(), parameters, materialize_grads=True)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= rate * gradient

    @torch.no_grad()
    def target_scores(self) -> torch.Tensor:
        """``[U, T]`` scores of the targets for the honest users."""
        honest = np.setdiff1d(self.train_data.trainable_users, self.malicious)
        return self.model.score_items(*self.profile(honest))[:, self.targets]

    @torch.no_grad()
    def cosines(self) -> torch.Tensor:
        """``[M, T]`` cosine similarity of each client's mean item and the targets."""
        means = [
            self.model.item_embedding.weight[torch.from_numpy(self.train_data.sequences[user].astype(np.int64))].mean(0)
            for user in self.malicious
        ]
        targets = self.model.item_embedding.weight[self.targets]
        return F.normalize(torch.stack(means), dim=1) @ F.normalize(targets, dim=1).T


@pytest.fixture
def scene(config: Callable[..., Any]) -> Callable[..., Scene]:
    def build(attack: str, targets: str = "least_popular:1", scale: float = 1.0) -> Scene:
        settings = config(
            attack=attack,
            target_items=targets,
            malicious_ratio=0.1,
            MAX_ITEM_LIST_LENGTH=30,
            hidden_dropout_prob=0,
            attn_dropout_prob=0,
        )
        experiment = prepare_training(settings)
        model = experiment.trainer(settings).model
        with torch.no_grad():
            model.item_embedding.weight *= scale
        recipe = ATTACKS[attack](settings.final_config_dict)
        assert recipe is not None
        threat = experiment.threat
        return Scene(recipe, model, experiment.train_data, threat.malicious_users, torch.from_numpy(threat.targets))

    return build


def test_no_attack_is_none() -> None:
    assert ATTACKS["none"]({}) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ra", Attack(FakeProfile(), training_loss, repeats=1, weight=2.5)),
        ("bandwagon", Attack(FakeProfile(0.3, 0.2), training_loss, repeats=1, weight=2.5, knowledge=KNOWN)),
        ("popular", Attack(FakeProfile(1.0), training_loss, repeats=1, weight=2.5, knowledge=KNOWN)),
        ("eb", Attack(keep, target_bce, repeats=1, weight=2.5)),
        ("a_ra", Attack(keep, target_bce, repeats=3, weight=2.5)),
        ("dvfsr", Attack(Substitute(0.25, 7), Total((target_bce, Contrastive(11))), repeats=3, tried=7, weight=2.5)),
        ("s_fsr", Attack(Substitute(0.25, 7), target_bce, repeats=3, tried=7, weight=2.5)),
        ("c_fsr", Attack(keep, Contrastive(11), repeats=3, weight=2.5)),
    ],
)
def test_recipes_are_wired_from_their_parameters(name: str, expected: Attack) -> None:
    assert ATTACKS[name](PARAMETERS) == expected


def test_ablations_share_everything_but_the_part_left_out() -> None:
    dual, explicit, implicit = (ATTACKS[name](PARAMETERS) for name in ("dvfsr", "s_fsr", "c_fsr"))
    assert explicit.transform == dual.transform
    assert dual.objective.parts == (explicit.objective, implicit.objective)
    assert {(a.repeats, a.weight) for a in (dual, explicit, implicit)} == {(3, 2.5)}


@pytest.mark.parametrize("name", ["dvfsr", "s_fsr", "c_fsr"])
def test_ablations_have_the_same_defaults(config: Callable[..., Any], name: str) -> None:
    full, part = config(attack="dvfsr"), config(attack=name)
    shared = [key for key in PARAMETERS if key in part]
    assert {"attack_weight", "attack_repeats"} < set(shared)
    assert {key: part[key] for key in shared} == {key: full[key] for key in shared}


def test_the_dual_view_loss_is_the_sum_of_the_two_views(scene: Callable[..., Scene]) -> None:
    both, explicit, implicit = (scene(name).losses() for name in ("dvfsr", "s_fsr", "c_fsr"))
    assert torch.allclose(both, explicit + implicit, atol=1e-5)


@pytest.mark.parametrize("name", ["dvfsr", "s_fsr"])
def test_the_search_gradient_is_added_once_and_unweighted(name: str) -> None:
    paper, released = (ATTACKS[name]({**PARAMETERS, "upload_search_gradient": upload}) for upload in (False, True))
    assert released == replace(paper, besides=search_loss)


@pytest.mark.parametrize("model_name", ["SASRec", "BERT4Rec"])
@pytest.mark.parametrize("name", ["dvfsr", "s_fsr"])
def test_upload_search_gradient_is_backward_twice_with_nothing_cleared(
    config: Callable[..., Any], name: str, model_name: str
) -> None:
    """The released client, literally: what the last of the ``s`` searches left in ``.grad`` is uploaded, too."""
    chosen = config(attack=name, model=model_name, upload_search_gradient=True)
    experiment = prepare_training(chosen)
    model, threat, data = experiment.model(chosen).double().eval(), experiment.threat, experiment.train_data
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5.0)
    attack = ATTACKS[name](chosen.final_config_dict)
    context = AttackContext(torch.from_numpy(threat.targets), data.outside, seed=1)
    user = threat.malicious_users[:1]
    items, lengths = data.sequences.last(user, data.max_length)
    profile = Profile(torch.from_numpy(items), torch.from_numpy(lengths))
    uploaded = torch.autograd.grad(
        attack.losses(model, profile, user, context).sum(), list(model.parameters()), materialize_grads=True
    )

    changed = attack.transform(model, profile, user, context.targets, context)
    for _ in range(attack.repeats):
        model.zero_grad()
        scores = model.score_items(*profile)[:, 1:]
        F.cross_entropy(scores, context.targets - 1).backward()
    rows = (np.repeat(user, attack.repeats), attack.repeats, context)
    total = attack.objective(model, changed.repeat(attack.repeats), profile.repeat(attack.repeats), *rows)
    total.mean().backward()

    for (parameter_name, parameter), upload in zip(model.named_parameters(), uploaded, strict=True):
        left = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        assert torch.allclose(upload, left, rtol=1e-9, atol=1e-12), parameter_name


def with_the_first_search(scene: Scene) -> Scene:
    """The same, its clients keeping the sequences that were found first."""
    found: list[Profile] = []

    def transform(*arguments: Any) -> Profile:
        if not found:
            found.append(scene.attack.transform(*arguments))
        return found[0]

    return replace(scene, attack=replace(scene.attack, transform=transform))


@pytest.mark.parametrize("targets", ["least_popular:1", "popular:1", "random:3"])
@pytest.mark.parametrize("name", ["dvfsr", "s_fsr", "eb", "a_ra"])
def test_one_step_raises_the_targets_mean_score(scene: Callable[..., Scene], name: str, targets: str) -> None:
    # Embeddings of a trained model's size: at RecBole's initial one, a step along a cosine overshoots.
    # A second search may find another sequence, for which the step was not made.
    attacked = with_the_first_search(scene(name, targets, scale=10.0))
    before, loss = attacked.target_scores().mean(dim=0), attacked.losses().mean()
    attacked.step(rate=0.1)
    assert (attacked.target_scores().mean(dim=0) > before).all()
    assert attacked.losses().mean() < loss


@pytest.mark.parametrize("targets", ["least_popular:1", "popular:1", "random:3"])
@pytest.mark.parametrize("name", ["dvfsr", "c_fsr"])
def test_one_step_draws_the_targets_to_the_clients_items(scene: Callable[..., Scene], name: str, targets: str) -> None:
    attacked = scene(name, targets)
    before = attacked.cosines().mean(dim=0)
    attacked.step(rate=0.01)
    assert (attacked.cosines().mean(dim=0) > before).all()


def test_the_random_attack_trains_honestly_on_profiles_with_the_target(scene: Callable[..., Scene]) -> None:
    attacked = scene("ra")
    losses = attacked.losses()
    assert losses.isfinite().all()
    assert (losses > 0).all()
    context = AttackContext(attacked.targets, attacked.train_data.outside, seed=1)
    profile = attacked.profile(attacked.malicious)
    changed = attacked.attack.transform(None, profile, attacked.malicious, attacked.targets, context)
    assert (changed.item_seq[:, 1:] == attacked.targets).any(dim=1).all()
    before = losses.mean()
    attacked.step(rate=0.1)
    assert attacked.losses().mean() < before


def test_the_random_attack_raises_the_target_over_a_few_steps(scene: Callable[..., Scene]) -> None:
    attacked = scene("ra", scale=10.0)
    before = attacked.target_scores().mean()
    for _ in range(5):
        attacked.step(rate=0.5)
    assert attacked.target_scores().mean() > before
