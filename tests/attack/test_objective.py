"""What malicious clients optimise: loop implementations of DV-FSR's eq. 2-8, and how an attack applies them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recbole_attack.attack import Attack, AttackContext, Profile
from recbole_attack.attack.objective import Contrastive, Total, search_loss, target_bce, training_loss
from recbole_attack.attack.transform import FakeProfile, Substitute, keep
from recbole_attack.data import NonInteracted, TrainBatch, TrainData
from recbole_attack.data.sequences import from_pairs
from recbole_attack.experiment import prepare_training

N_ITEMS = 40
LENGTHS = (1, 2, 3, 7, 12, 5)
USERS = np.array([4, 9, 11, 23, 30, 31])


@pytest.fixture
def parts(config: Callable[..., Any]) -> tuple[Any, TrainData]:
    """A SASRec without dropout in double precision, all weights large and the padding item's too; training data."""
    settings = config(hidden_dropout_prob=0, attn_dropout_prob=0)
    experiment = prepare_training(settings)
    victim = experiment.trainer(settings).model.double()
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in victim.parameters():
            parameter.normal_(0.0, 0.7, generator=generator)
    return victim, experiment.train_data


@pytest.fixture
def model(parts: tuple[Any, TrainData]) -> Any:
    return parts[0]


@dataclass
class KnownOutside:
    """Stands in for the sampler: the items drawn for a user are the user's id and what follows it."""

    n_items: int = N_ITEMS
    asked: list[np.ndarray] = field(default_factory=list)

    def sample(self, rng: np.random.Generator, users: np.ndarray) -> np.ndarray:
        self.asked.append(users)
        return 1 + (users + np.arange(users.size).reshape(users.shape)) % (N_ITEMS - 1)


def profile_of(lengths: tuple[int, ...] = LENGTHS, seed: int = 0, padding: int = 0) -> Profile:
    rng = np.random.default_rng(seed)
    items = np.zeros((len(lengths), max(lengths) + padding), dtype=np.int64)
    for row, length in enumerate(lengths):
        items[row, :length] = rng.integers(1, N_ITEMS, length)
    return Profile(torch.from_numpy(items), torch.tensor(lengths))


def context_of(train_data: TrainData, targets: tuple[int, ...] = (7,), **changes: Any) -> AttackContext:
    return replace(AttackContext(torch.tensor(targets), train_data.outside, seed=1), **changes)


def last_state(model: Any, sequence: list[int]) -> torch.Tensor:
    return model.forward(torch.tensor([sequence]), torch.tensor([len(sequence)]))[0]


def sequences(profile: Profile) -> list[list[int]]:
    return [[item for item in row if item] for row in profile.item_seq.tolist()]


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a * b).sum() / (a.pow(2).sum().sqrt() * b.pow(2).sum().sqrt()))


def sigmoid(value: torch.Tensor) -> float:
    return 1 / (1 + math.exp(-float(value)))


def bce_by_loops(model: Any, sequence: list[int], targets: tuple[int, ...]) -> float:
    """Eq. 4, label 1."""
    state, table = last_state(model, sequence), model.item_embedding.weight
    return sum(-math.log(sigmoid((state * table[target]).sum())) for target in targets) / len(targets)


def contrast_by_loops(model: Any, sequence: list[int], negatives: list[int], targets: tuple[int, ...]) -> float:
    """Eq. 5-7."""
    table, total = model.item_embedding.weight, 0.0
    positive = sum(table[item] for item in sequence) / len(sequence)
    for target in targets:
        s_pos = cosine(table[target], positive)
        s_neg = [cosine(table[target], table[item]) for item in negatives]
        total -= math.log(math.exp(s_pos) / (math.exp(s_pos) + sum(math.exp(s) for s in s_neg)))
    return total / len(targets)


@pytest.mark.parametrize("targets", [(7,), (3, 12, 39)])
@pytest.mark.parametrize("padding", [0, 1])
def test_target_bce_is_eq_4(model: Any, targets: tuple[int, ...], padding: int) -> None:
    # One position of the model stays free where the profile is padded beyond its longest row.
    profile = profile_of((1, 2, 3, 7, 11, 5), padding=padding)
    context = AttackContext(torch.tensor(targets), KnownOutside(), seed=1)
    losses = target_bce(model, profile, profile_of(seed=9), USERS, 1, context)
    expected = [bce_by_loops(model, sequence, targets) for sequence in sequences(profile)]
    assert losses.tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("targets", [(7,), (3, 12, 39)])
def test_the_search_loss_is_the_cross_entropy_over_all_items(model: Any, targets: tuple[int, ...]) -> None:
    profile, context = profile_of(), AttackContext(torch.tensor(targets), KnownOutside(), seed=1)
    losses = search_loss(model, profile_of(seed=9), profile, USERS, 1, context)
    table, expected = model.item_embedding.weight, []
    for sequence in sequences(profile):
        state = last_state(model, sequence)
        logits = {item: float((state * table[item]).sum()) for item in range(1, N_ITEMS)}
        total = math.log(sum(math.exp(logit) for logit in logits.values()))
        expected.append(sum(total - logits[target] for target in targets) / len(targets))
    assert losses.tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("targets", [(7,), (3, 12, 39)])
@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("padding", [0, 4])
def test_contrastive_is_eq_5_to_7_on_the_original_items(
    model: Any, targets: tuple[int, ...], repeats: int, padding: int
) -> None:
    original, transformed = profile_of(padding=padding), profile_of(seed=9, padding=padding)
    users, outside = np.repeat(USERS, repeats), KnownOutside()
    context = AttackContext(torch.tensor(targets), outside, seed=1)
    losses = Contrastive(5)(model, transformed.repeat(repeats), original.repeat(repeats), users, repeats, context)
    expected = []
    for user, sequence in zip(USERS, sequences(original), strict=True):
        for repetition in range(repeats):
            negatives = [1 + int(user + 5 * repetition + n) % (N_ITEMS - 1) for n in range(5)]
            expected.append(contrast_by_loops(model, sequence, negatives, targets))
    assert losses.tolist() == pytest.approx(expected, rel=1e-9)
    assert [set(asked.flatten()) for asked in outside.asked] == [{user} for user in USERS]


def test_contrastive_negatives_are_outside_the_history_and_drawn_anew(parts: tuple[Any, TrainData]) -> None:
    model, train_data = parts
    seen: list[tuple[int, np.ndarray]] = []

    class Spy:
        n_items = N_ITEMS

        def sample(self, rng: np.random.Generator, users: np.ndarray) -> np.ndarray:
            drawn = train_data.outside.sample(rng, users)
            seen.append((int(users.flat[0]), drawn))
            return drawn

    def draw(**changes: Any) -> list[np.ndarray]:
        seen.clear()
        context = replace(context_of(train_data, outside=Spy()), **changes)
        Contrastive(50)(model, profile_of().repeat(2), profile_of().repeat(2), np.repeat(USERS, 2), 2, context)
        for user, drawn in seen:
            assert not set(drawn.flatten()) & {0, *train_data.sequences[user].tolist()}
        return [drawn for _, drawn in seen]

    first = draw()
    assert all(drawn.shape == (2, 50) and (drawn[0] != drawn[1]).any() for drawn in first)
    assert all((a == b).all() for a, b in zip(first, draw(), strict=True))
    for changes in ({"epoch": 1}, {"step": 1}, {"seed": 2}):
        assert all((a != b).any() for a, b in zip(first, draw(**changes), strict=True)), changes


def test_contrastive_negatives_differ_between_users_of_the_same_history(model: Any) -> None:
    profile, nobody = profile_of((3, 3)), NonInteracted(from_pairs(np.array([], int), np.array([], int), 50, N_ITEMS))
    same = Profile(profile.item_seq[[0, 0]], profile.item_seq_len)
    context = AttackContext(torch.tensor([7]), nobody, seed=1)
    first, second = Contrastive(20)(model, same, same, np.array([1, 2]), 1, context)
    assert first != second


def test_training_loss_is_eq_2_on_the_profile(parts: tuple[Any, TrainData], monkeypatch: pytest.MonkeyPatch) -> None:
    model, train_data = parts
    profile, batches, plain = profile_of(), [], model.client_losses

    def spy(batch: TrainBatch) -> torch.Tensor:
        batches.append(batch)
        return plain(batch)

    monkeypatch.setattr(model, "client_losses", spy)
    losses = training_loss(model, profile, profile_of(seed=9), USERS, 1, context_of(train_data)).tolist()
    negatives = batches[0].neg_items
    table = model.item_embedding.weight
    for row, sequence in enumerate(sequences(profile)):
        terms = []
        for end in range(1, len(sequence)):
            state, negative = last_state(model, sequence[:end]), int(negatives[row, end - 1])
            assert negative not in {0, *sequence}
            terms.append(-math.log(sigmoid((state * table[sequence[end]]).sum())))
            terms.append(-math.log(1 - sigmoid((state * table[negative]).sum())))
        assert losses[row] == pytest.approx(sum(terms) / len(terms) if terms else 0.0, rel=1e-9)


def test_training_loss_draws_its_negatives_by_user_epoch_step_and_seed(parts: tuple[Any, TrainData]) -> None:
    model, train_data = parts

    def losses(users: np.ndarray = USERS, **changes: Any) -> torch.Tensor:
        return training_loss(model, profile_of(), profile_of(), users, 1, context_of(train_data, **changes))[1:]

    first = losses()
    assert torch.equal(losses(), first)
    for other in (losses(USERS + 1), losses(epoch=1), losses(step=1), losses(seed=2)):
        assert (other != first).all()


def test_total_is_the_sum_of_its_parts(parts: tuple[Any, TrainData]) -> None:
    model, train_data = parts
    args = (model, profile_of(), profile_of(seed=9), USERS, 1, context_of(train_data, (7, 8)))
    both = Total((target_bce, Contrastive(20)))(*args)
    assert torch.allclose(both, target_bce(*args) + Contrastive(20)(*args), rtol=1e-12)
    assert both.shape == (len(USERS),)


@dataclass
class Recorder:
    """A transform that marks which target each row works for, and an objective that returns numbers it chose."""

    users: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    marks: list[list[int]] = field(default_factory=list)

    def transform(self, model: Any, profile: Profile, users: Any, targets: torch.Tensor, context: Any) -> Profile:
        self.users, self.targets = list(users), targets.tolist()
        assert not model.training
        return Profile(targets[:, None].expand_as(profile.item_seq), profile.item_seq_len)

    def objective(
        self, model: Any, profile: Profile, original: Profile, users: Any, repeats: int, context: Any
    ) -> torch.Tensor:
        assert model.training
        assert list(users) == np.repeat(users[::repeats], repeats).tolist()
        self.marks = profile.item_seq[:, 0].view(-1, repeats).tolist()
        return torch.arange(float(len(users))) ** 2

    def attack(self, **changes: Any) -> Attack:
        return Attack(self.transform, self.objective, **changes)


def test_losses_average_the_repetitions_of_each_client(parts: tuple[Any, TrainData]) -> None:
    model, train_data = parts
    model.train()
    losses = Recorder().attack(repeats=3, weight=2.0).losses(model, profile_of(), USERS, context_of(train_data))
    expected = [2.0 * sum((3 * client + slot) ** 2 for slot in range(3)) / 3 for client in range(len(USERS))]
    assert losses.tolist() == pytest.approx(expected)
    assert model.training


def test_an_objective_sees_the_transformed_and_the_original_sequences(parts: tuple[Any, TrainData]) -> None:
    model, train_data = parts
    seen = {}

    def objective(model: Any, profile: Profile, original: Profile, users: Any, repeats: int, context: Any) -> Any:
        seen.update(profile=profile, original=original, users=users)
        return torch.zeros(len(users))

    def reverse(model: Any, profile: Profile, users: Any, targets: torch.Tensor, context: Any) -> Profile:
        return Profile(profile.item_seq.flip(1), profile.item_seq_len)

    profile = profile_of()
    Attack(reverse, objective, repeats=2).losses(model, profile, USERS, context_of(train_data))
    for client in range(len(USERS)):
        for row in (2 * client, 2 * client + 1):
            assert seen["users"][row] == USERS[client]
            assert torch.equal(seen["original"].item_seq[row], profile.item_seq[client])
            assert torch.equal(seen["profile"].item_seq[row], profile.item_seq[client].flip(0))
            assert seen["profile"].item_seq_len[row] == profile.item_seq_len[client]


@pytest.mark.parametrize("repeats", [1, 2, 4, 10])
@pytest.mark.parametrize("targets", [(5,), (5, 6), (5, 6, 7)])
def test_targets_take_turns(parts: tuple[Any, TrainData], repeats: int, targets: tuple[int, ...]) -> None:
    model, train_data = parts
    model.train()
    used = dict.fromkeys(targets, 0)
    for epoch in range(len(targets)):
        recorder = Recorder()
        context = context_of(train_data, targets, epoch=epoch)
        recorder.attack(repeats=repeats).losses(model, profile_of(), USERS, context)
        assert all(marks == recorder.marks[0] for marks in recorder.marks), "every client works alike"
        counts = [recorder.marks[0].count(target) for target in targets]
        assert max(counts) - min(counts) <= 1
        # The search is made once for each distinct target, not once for each repetition.
        assert len(recorder.users) == len(USERS) * min(repeats, len(targets))
        for target, count in zip(targets, counts, strict=True):
            used[target] += count
    assert set(used.values()) == {repeats}, "over as many epochs as targets, each target has had as many turns"


ATTACKS = {
    "substitute": Attack(Substitute(0.0, 5), target_bce, repeats=2),
    "contrast": Attack(keep, Contrastive(20), repeats=3),
    "dual": Attack(Substitute(-1.0, 10), Total((target_bce, Contrastive(20))), repeats=4),
    "profile": Attack(FakeProfile(), training_loss, repeats=2),
    "training": Attack(keep, training_loss),
}


def gradient(model: Any, loss: torch.Tensor) -> torch.Tensor:
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in gradients])


@pytest.mark.parametrize("name", ATTACKS)
def test_the_weight_scales_loss_and_gradient(parts: tuple[Any, TrainData], name: str) -> None:
    model, train_data = parts
    context = context_of(train_data, (7, 8))
    one, three = (
        replace(ATTACKS[name], weight=weight).losses(model, profile_of(), USERS, context) for weight in (1.0, 3.0)
    )
    assert torch.allclose(three, 3 * one)
    expected = gradient(model, one.sum())
    assert expected.norm() > 1e-3
    assert torch.allclose(gradient(model, three.sum()), 3 * expected)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(ATTACKS)), cuts=st.sets(st.integers(1, 5)), epoch=st.integers(0, 3))
def test_a_client_does_not_depend_on_who_shares_its_chunk(
    parts: tuple[Any, TrainData], name: str, cuts: set[int], epoch: int
) -> None:
    """Dropout is off; chunks are cut to their longest client, as the trainer cuts them."""
    model, train_data = parts
    model.train()
    context, whole = context_of(train_data, (7, 8, 9), epoch=epoch), profile_of()
    together = ATTACKS[name].losses(model, whole, USERS, context)
    for rows in np.split(np.arange(len(USERS)), sorted(cuts)):
        width = int(whole.item_seq_len[rows].max())
        part = Profile(whole.item_seq[rows, :width], whole.item_seq_len[rows])
        losses = ATTACKS[name].losses(model, part, USERS[rows], context)
        assert torch.allclose(losses, together[rows], rtol=1e-9)
        assert torch.allclose(gradient(model, losses[0]), gradient(model, together[rows[0]]), atol=1e-9)


@pytest.mark.parametrize("name", ["contrast", "dual", "profile", "training"])
def test_losses_are_reproducible_and_change_with_the_seed(parts: tuple[Any, TrainData], name: str) -> None:
    model, train_data = parts
    losses = [
        ATTACKS[name].losses(model, profile_of(), USERS, context_of(train_data, seed=seed))[1:] for seed in (1, 1, 2)
    ]
    assert torch.equal(losses[0], losses[1])
    assert (losses[0] != losses[2]).all()


@pytest.mark.parametrize("name", ATTACKS)
def test_losses_leave_everything_but_the_graph_alone(parts: tuple[Any, TrainData], name: str) -> None:
    model, train_data = parts
    profile, users = profile_of(), USERS.copy()
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    history = train_data.sequences.items.copy()
    for training in (False, True):
        model.train(training)
        torch.manual_seed(3)
        state = torch.get_rng_state()
        ATTACKS[name].losses(model, profile, users, context_of(train_data, (7, 8)))
        assert torch.equal(torch.get_rng_state(), state), "no draw from the global generator"
        assert all(module.training == training for module in model.modules())
    assert torch.equal(profile.item_seq, profile_of().item_seq)
    assert torch.equal(profile.item_seq_len, torch.tensor(LENGTHS))
    assert (users == USERS).all()
    assert (train_data.sequences.items == history).all()
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_substitution_is_searched_without_dropout_but_the_objective_sees_it(config: Callable[..., Any]) -> None:
    settings = config(hidden_dropout_prob=0.5, attn_dropout_prob=0.5)
    experiment = prepare_training(settings)
    model = experiment.trainer(settings).model.train()
    profile, context, searched = profile_of(), context_of(experiment.train_data), []

    def search(*args: Any) -> Profile:
        searched.append(Substitute(0.0, 10)(*args))
        return searched[-1]

    losses = [Attack(search, target_bce).losses(model, profile, USERS, context) for _ in range(2)]
    assert torch.equal(searched[0].item_seq, searched[1].item_seq)
    assert (losses[0] != losses[1]).any()
    model.eval()
    assert torch.equal(
        Substitute(0.0, 10)(model, profile, USERS, torch.full((len(USERS),), 7), context).item_seq,
        searched[0].item_seq,
    )
