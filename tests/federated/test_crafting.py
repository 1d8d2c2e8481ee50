"""Malicious clients that choose what they upload: a literal search, in rounds of either backend."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from recbole_attack import AttackConfig
from recbole_attack.attack import AttackContext, Profile
from recbole_attack.attack.objective import training_loss
from recbole_attack.data import histories
from recbole_attack.data.histories import sampled_histories
from recbole_attack.defense import configured_aggregator
from recbole_attack.experiment import prepare_training
from recbole_attack.federated.arrivals import aggregate_one_by_one
from recbole_attack.federated.budget import upload_factors
from recbole_attack.federated.memory import Memory
from recbole_attack.federated.rounds import single_updates
from recbole_attack.federated.updates import looped_updates
from recbole_attack.trainer.client_side import ClientSide
from recbole_attack.utils.rng import stream

SIZES = {
    "SASRec": {"hidden_size": 8, "inner_size": 16, "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0},
    "BERT4Rec": {"hidden_size": 8, "inner_size": 16, "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0},
    "GRU4Rec": {"hidden_size": 6, "embedding_size": 8, "dropout_prob": 0.0},
}
SEARCH = {"upload": "adaptive", "tried_lengths": [0.1, 1.0, 4.0], "tried_shares": [0.3, 1.0]}
CASES: dict[str, dict[str, Any]] = {
    "mean": {"attack": "margin"},
    "mean, held": {"attack": "eb", "norm_budget": 0.5, "gradient_scale": 3.0},
    "krum": {"attack": "margin", "aggregator": "krum"},
    "trimmed mean": {"attack": "margin", "aggregator": "trimmed_mean", "trim_ratio": 0.1, "simulated_clients": 6},
    "geometric median": {"attack": "dvfsr", "aggregator": "geometric_median"},
    "median, per item": {"attack": "margin", "aggregator": "median", "per_item": True},
    "examples": {"attack": "margin", "client_weighting": "examples", "claimed_interactions": "round"},
    "two steps": {"attack": "margin", "aggregator": "norm_clipping", "local_epochs": 2},
    "BERT4Rec": {"model": "BERT4Rec", "attack": "margin", "aggregator": "multi_krum"},
    "GRU4Rec": {"model": "GRU4Rec", "attack": "psmu", "aggregator": "mixed_rfa"},
}


@pytest.fixture
def settings(small: Callable[..., dict[str, Any]]) -> Callable[..., AttackConfig]:
    def build(model: str = "SASRec", **changes: Any) -> AttackConfig:
        common = {key: value for key, value in small().items() if key not in ("hidden_size", "inner_size")}
        few = {"malicious_ratio": 0.1, "target_items": "popular:2", "simulated_length": 5}
        return AttackConfig(model, config_dict={**common, **SIZES[model], **few, **SEARCH, **changes})

    return build


class Scene:
    """One round, its updates before anything is crafted; double precision."""

    def __init__(self, config: AttackConfig) -> None:
        self.config, experiment = config, prepare_training(config)
        self.data, self.model = experiment.train_data, experiment.model(config).double().train()
        with torch.no_grad():
            for p in self.model.parameters():
                p.normal_(0.0, 0.5, generator=torch.Generator().manual_seed(p.numel()))
        self.rule = configured_aggregator(config.final_config_dict)
        self.side = ClientSide(config, self.model, experiment.threat)
        self.attackers = experiment.threat.malicious_users
        self.malicious = self.attackers[:2]
        self.honest = np.setdiff1d(self.data.trainable_users, self.malicious)[:8]
        self.groups = self.side.grouping(self.data, 3)(self.honest, self.malicious)
        self.weights = torch.cat([group.weights for group in self.groups])
        self.hostile = torch.arange(10) >= 8
        self.updates, _ = single_updates(self.model, self.groups, config, Memory())

    def crafted(self) -> torch.Tensor:
        craft = self.side.crafting(self.data, self.rule, 3, 1)
        assert craft is not None
        return craft(self.model, self.updates, self.hostile, self.weights).to_dense()


Sent = Callable[[torch.Tensor], torch.Tensor]


def flat(update: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([value.flatten() for value in update.values()])


def searched(scene: Scene) -> tuple[Sent, torch.Tensor, list[float]]:
    """How uploads end in the simulated round, the best candidate's ``[2, all parameters]``, and all gains.

    Client by client, one whole vector after another.
    """
    model, config, targets = scene.model, scene.config, scene.side.targets
    shapes = {name: p.shape for name, p in model.named_parameters()}
    table = {n: torch.zeros(shape, dtype=torch.bool) for n, shape in shapes.items()}
    table["item_embedding.weight"][targets] = True
    at = flat(table)
    count = min(8, config["simulated_clients"])
    rng = stream(config["seed"], "simulated histories", 3, 1)
    users = sampled_histories(model, count + 2, 5, targets[:0], rng)
    context = AttackContext(targets, scene.data.outside, config["seed"], 3)

    def losses(local: Any, rows: torch.Tensor, step: int) -> torch.Tensor:
        return simulated_loss(local, users, rows, context, step)

    made = [flat(u) for u, _ in looped_updates(model, losses, count + 2, config["local_epochs"], 0.1)]
    others, covers = made[:count], made[count:]
    unit = sorted(float(u.norm()) for u in others)[(count - 1) // 2]
    own = list(scene.updates.to_dense()[8:])
    candidates = [own]
    for share in (None, *config["tried_shares"]):
        for length in config["tried_lengths"]:
            candidates.append([shaped(u, c, at, share, length * unit) for u, c in zip(own, covers, strict=True)])
    lengths = [min(len(scene.data.sequences[user]) - 1, scene.data.max_length) for user in scene.attackers]
    weight = sum(lengths) / len(lengths) if config["client_weighting"] == "examples" else 1.0
    weights = torch.cat([torch.full((count,), weight * 8 / count), scene.weights[8:]])

    def sent(uploads: torch.Tensor) -> torch.Tensor:
        norms = torch.stack([u.norm() for u in [*others, *uploads]])
        hostile = torch.arange(count + 2) >= count
        factors = upload_factors(norms, hostile, config["gradient_scale"], config["norm_budget"])
        return factors[count:, None] * uploads

    gains = []
    for candidate in candidates:
        named = [unflatten(u, shapes) for u in [*others, *sent(torch.stack(candidate))]]
        step = aggregate_one_by_one(named, weights, scene.rule, dict(model.named_parameters())).update
        gains.append(lift(model, users, targets, step))
    return sent, torch.stack(candidates[int(np.argmax(gains))]), gains


def simulated_loss(model: Any, users: Profile, rows: torch.Tensor, context: AttackContext, step: int) -> torch.Tensor:
    """One client's, with draws that only simulated clients of round 1 have."""

    def renamed(seed: int, purpose: str, epoch: int, *keys: int) -> np.random.Generator:
        return stream(seed, purpose.replace("fake", "simulated"), epoch, 1, *keys)

    one = Profile(users.item_seq[rows], users.item_seq_len[rows])
    with patch.object(histories, "stream", renamed):
        return training_loss(model, one, one, rows.numpy(), 1, replace(context, step=step))


def shaped(own: torch.Tensor, cover: torch.Tensor, at: torch.Tensor, share: float | None, length: float) -> Any:
    if share is None:
        return length * own / own.norm()
    inside, outside = own * at, own * ~at
    outside = outside if outside.any() else cover * ~at
    whole = share**0.5 * inside / inside.norm() + (1 - share) ** 0.5 * outside / outside.norm()
    return length * whole / whole.norm()


def unflatten(vector: torch.Tensor, shapes: dict[str, Any]) -> dict[str, torch.Tensor]:
    pieces = vector.split([shape.numel() for shape in shapes.values()])
    return {name: piece.view(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}


def lift(model: Any, users: Profile, targets: torch.Tensor, step: dict[str, torch.Tensor]) -> float:
    """How much the targets gain on the mean item when the server takes a tiny step, per unit of its length."""
    found = []
    for rate in (1e-5, -1e-5):
        moved = copy.deepcopy(model).eval()
        with torch.no_grad():
            for name, parameter in moved.named_parameters():
                parameter.sub_(rate * step[name])
            scores = moved.score_items(*users)[:, 1:]
        found.append(float((scores[:, targets - 1].mean(dim=1) - scores.mean(dim=1)).mean()))
    return (found[0] - found[1]) / 2e-5


@pytest.mark.parametrize("case", CASES)
def test_the_upload_is_that_of_a_literal_search(settings: Callable[..., AttackConfig], case: str) -> None:
    scene = Scene(settings(**CASES[case]))
    sent, expected, gains = searched(scene)
    found = scene.crafted()
    assert torch.equal(found[:8], scene.updates.to_dense()[:8]), "honest updates are what they were"
    held = "norm_budget" in CASES[case]  # several lengths come to the same then
    ours, theirs = (sent(uploads) if held else uploads for uploads in (found[8:], expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)
    assert len(gains) == 10 and max(gains) > min(gains)


def test_what_is_loudest_under_a_mean_is_not_under_krum(settings: Callable[..., AttackConfig]) -> None:
    def lengths(**changes: Any) -> torch.Tensor:
        changes |= {"seed": 1, "tried_lengths": [0.05, 20.0], "tried_shares": [], "target_items": "least_popular:1"}
        scene = Scene(settings(attack="quiet", **changes))
        return scene.crafted()[8:].norm(dim=1)

    loud, soft = lengths(), lengths(aggregator="krum")
    assert (loud > 100 * soft).all() and (soft > 0).all()


def test_a_round_of_attackers_alone_uploads_what_they_computed(settings: Callable[..., AttackConfig]) -> None:
    scene = Scene(settings(attack="margin"))
    craft = scene.side.crafting(scene.data, scene.rule, 3, 1)
    assert craft is not None
    own = scene.updates.select(scene.hostile)
    assert torch.equal(
        craft(scene.model, own, torch.ones(2, dtype=torch.bool), scene.weights[8:]).to_dense(), own.to_dense()
    )
    honest = scene.updates.select(~scene.hostile)
    assert craft(scene.model, honest, torch.zeros(8, dtype=torch.bool), scene.weights[:8]) is honest


def trained(config: AttackConfig) -> tuple[torch.Tensor, list[dict[str, Any]]]:
    experiment = prepare_training(config)
    trainer = experiment.trainer(config)
    trainer.fit(experiment.train_data, saved=False, verbose=False)
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()]), trainer.rounds


@pytest.mark.parametrize("case", ["mean, held", "trimmed mean", "two steps", "BERT4Rec", "GRU4Rec"])
def test_backends_craft_alike(settings: Callable[..., AttackConfig], case: str) -> None:
    common = {**CASES[case], "epochs": 1, "learner": "sgd", "learning_rate": 0.1, "simulated_clients": 6}
    (fast, rounds), (slow, others) = (trained(settings(**common, backend=b)) for b in ("vectorised", "loop"))
    torch.testing.assert_close(fast, slow, rtol=1e-3, atol=2e-5)
    for key in ("malicious_norm", "honest_norm"):
        found, expected = ([r[key] for r in part if r[key] is not None] for part in (rounds, others))
        assert found == pytest.approx(expected, rel=1e-3) and found


def test_the_norms_that_are_recorded_are_those_of_what_was_sent(settings: Callable[..., AttackConfig]) -> None:
    common = {"attack": "margin", "epochs": 1, "tried_lengths": [7.0], "tried_shares": [1.0]}
    _, free = trained(settings(**common))
    _, held = trained(settings(**common, norm_budget=0.5))
    (loud,), (soft,) = ([r for r in part if r["malicious_norm"] is not None] for part in (free, held))
    assert loud["malicious_norm"] > 2 * loud["honest_norm"], "seven times the median of shorter histories"
    assert soft["malicious_norm"] <= 1.05 * soft["honest_norm"], "medians of even counts differ a little"


def seen(monkeypatch: pytest.MonkeyPatch, config: AttackConfig) -> list[Any]:
    """The craftings of a whole training."""
    made: list[Any] = []

    def kept(self: ClientSide, *given: Any) -> Any:
        made.append(original(self, *given))
        return made[-1]

    original = ClientSide.crafting
    monkeypatch.setattr(ClientSide, "crafting", kept)
    trained(config)
    return made


def test_the_attacker_knows_what_the_rule_remembers(
    settings: Callable[..., AttackConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    common = {"attack": "margin", "epochs": 2, "clients_per_round": 30, "aggregator": "exposure_quota"}
    memories = [craft.aggregator.saved for craft in seen(monkeypatch, settings(**common, quota_histories=4))]
    votes = [float(memory[0].sum()) for memory in memories]
    assert votes[0] == 0 and votes == sorted(set(votes))


def test_an_upload_is_told_the_model_of_before(
    settings: Callable[..., AttackConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    common = {"epochs": 3, "clients_per_round": 100, "client_defense": "popularity_regularization"}
    first, second, _ = (c.context.before for c in seen(monkeypatch, settings(attack="margin", **common)))
    assert first is None and second is not None


def test_simulated_clients_have_the_weight_of_all_honest_ones(settings: Callable[..., AttackConfig]) -> None:
    """With few of them, and lists of one length where real ones have others."""
    config = settings(attack="margin", client_weighting="examples", simulated_clients=3, malicious_ratio=0.3)
    scene, told = Scene(config), []
    craft = scene.side.crafting(scene.data, scene.rule, 3, 1)
    assert craft is not None

    def upload(at: Any) -> Any:
        def served(honest: Any, own: Any) -> Any:
            told.append(float(honest.weights.sum()))
            return at.served(honest, own)

        return craft.upload(replace(at, served=served))

    watched: Any = replace(craft, upload=upload)  # type: ignore[arg-type]
    watched(scene.model, scene.updates, scene.hostile, scene.weights)
    lengths = [min(len(scene.data.sequences[user]) - 1, scene.data.max_length) for user in scene.attackers]
    assert told == pytest.approx([8 * sum(lengths) / len(lengths)] * len(told)) and told


def test_simulated_clients_draw_anew_in_every_round(settings: Callable[..., AttackConfig]) -> None:
    scene = Scene(settings(attack="margin", malicious_ratio=0.3))
    profile = Profile(torch.tensor([[3, 1, 4, 15, 9]]), torch.tensor([5]))

    def touched(number: int) -> set[int]:
        rows: list[torch.Tensor] = []
        craft = scene.side.crafting(scene.data, scene.rule, 3, number)
        assert craft is not None

        def upload(at: Any) -> Any:
            rows.append(at.trained(profile).updates.separate()[0]["item_embedding.weight"])
            return craft.upload(at)

        watched: Any = replace(craft, upload=upload)  # type: ignore[arg-type]
        watched(scene.model, scene.updates, scene.hostile, scene.weights)
        return set(rows[0].any(dim=1).nonzero().flatten().tolist())

    first, again, second = touched(1), touched(1), touched(2)
    assert first == again != second and {3, 1, 4, 15, 9} <= first & second
