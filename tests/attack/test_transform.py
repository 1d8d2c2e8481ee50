"""What malicious clients do to their sequences, against a literal reading of DV-FSR's Algorithm 2."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recbole_attack.attack import Attack, AttackContext, Profile
from recbole_attack.attack.objective import training_loss
from recbole_attack.attack.transform import FakeProfile, Substitute, _random_orders, keep
from recbole_attack.data import NonInteracted
from recbole_attack.data.sequences import from_pairs
from recbole_attack.experiment import prepare_training

N_ITEMS = 40
LENGTHS = (1, 2, 3, 5, 8, 12, 12, 4)


@pytest.fixture
def model(config: Callable[..., Any]) -> Any:
    """A SASRec in double precision whose weights are large enough for a sign step to leave items to choose from."""
    experiment = prepare_training(config())
    victim = experiment.trainer(config()).model.double()
    assert victim.n_items == N_ITEMS
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in victim.parameters():
            parameter.normal_(0.0, 0.7, generator=generator)
    return victim.eval()


def random_profile(seed: int, lengths: tuple[int, ...] = LENGTHS, padding: int = 0) -> Profile:
    """Rows of random items, repeats among them, padded on the right."""
    rng = np.random.default_rng(seed)
    items = np.zeros((len(lengths), max(lengths) + padding), dtype=np.int64)
    for row, length in enumerate(lengths):
        items[row, :length] = rng.integers(1, N_ITEMS, length)
    return Profile(torch.from_numpy(items), torch.tensor(lengths))


def context(targets: tuple[int, ...], seed: int = 1, epoch: int = 0, step: int = 0) -> AttackContext:
    nobody = NonInteracted(from_pairs(np.array([], int), np.array([], int), 100, N_ITEMS))
    return AttackContext(torch.tensor(targets), nobody, seed, epoch, step)


def substitute(
    model: Any, transform: Substitute, profile: Profile, targets: torch.Tensor, users: np.ndarray | None = None
) -> Profile:
    return transform(model, profile, np.arange(len(targets)) if users is None else users, targets, context((1,)))


def tie_order(user: int) -> list[int]:
    """The items in the order in which a user's ties are broken."""
    return [1 + column for column in _random_orders(np.array([user]), context((1,)))[0].tolist()]


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a * b).sum() / (a.pow(2).sum().sqrt() * b.pow(2).sum().sqrt()))


def target_score(model: Any, sequence: list[int], target: int) -> float:
    with torch.no_grad():
        state = model.forward(torch.tensor([sequence]), torch.tensor([len(sequence)]))[0]
        return float((state * model.item_embedding.weight[target]).sum())


def most_vulnerable(model: Any, sequence: list[int], target: int) -> tuple[int, torch.Tensor]:
    """Algorithm 2, lines 4-6: the position with the largest gradient of the cross entropy, and that gradient."""
    table = model.item_embedding.weight.detach()
    embedded = torch.stack([table[item] for item in sequence]).requires_grad_()
    state = model.encode(torch.tensor([sequence]), embedded[None])[0, -1]
    logits = torch.stack([(state * table[item]).sum() for item in range(1, len(table))])
    loss = logits.exp().sum().log() - logits[target - 1]
    (gradient,) = torch.autograd.grad(loss, embedded)
    norms = [float(row.pow(2).sum().sqrt()) for row in gradient]
    position = norms.index(max(norms))
    return position, gradient[position]


def algorithm_2(
    model: Any, sequence: list[int], target: int, tau: float, search_time: int, ties: list[int]
) -> list[int]:
    """DV-FSR, Algorithm 2, line by line; an item that fails the threshold is ranked by 0, ties as they stand."""
    table = model.item_embedding.weight.detach()
    position, gradient = most_vulnerable(model, sequence, target)
    original = table[sequence[position]]
    moved = original - gradient.sign()
    similarity = {}
    for item in range(1, len(table)):
        allowed = 1.0 if cosine(original, table[item]) >= tau else 0.0
        similarity[item] = cosine(moved, table[item]) * allowed
    ranking = sorted(similarity, key=lambda item: (-similarity[item], ties.index(item)))
    best_score, best = -np.inf, sequence
    for item in ranking[:search_time]:
        tried = [*sequence[:position], item, *sequence[position + 1 :]]
        score = target_score(model, tried, target)
        if score > best_score:
            best_score, best = score, tried
    return best


@pytest.mark.parametrize("search_time", [1, 3, 10, N_ITEMS + 5])
@pytest.mark.parametrize("tau", [-1.0, 0.0, 0.5, 0.99])
def test_substitute_is_algorithm_2(model: Any, tau: float, search_time: int) -> None:
    profile = random_profile(seed=3)
    targets = torch.randint(1, N_ITEMS, (len(LENGTHS),), generator=torch.Generator().manual_seed(search_time))
    changed = substitute(model, Substitute(tau, search_time), profile, targets)
    for row, length in enumerate(LENGTHS):
        sequence = profile.item_seq[row, :length].tolist()
        expected = algorithm_2(model, sequence, int(targets[row]), tau, search_time, tie_order(row))
        assert changed.item_seq[row, :length].tolist() == expected, f"row {row}"
        assert not changed.item_seq[row, length:].any()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    target=st.integers(1, N_ITEMS - 1),
    tau=st.floats(-1.0, 0.95),
    search_time=st.integers(1, 12),
)
def test_substitute_is_algorithm_2_on_any_batch(
    model: Any, seed: int, lengths: list[int], target: int, tau: float, search_time: int
) -> None:
    profile = random_profile(seed, tuple(lengths))
    changed = substitute(model, Substitute(tau, search_time), profile, torch.full((len(lengths),), target))
    for row, length in enumerate(lengths):
        sequence = profile.item_seq[row, :length].tolist()
        expected = algorithm_2(model, sequence, target, tau, search_time, tie_order(row))
        assert changed.item_seq[row, :length].tolist() == expected


def test_substitute_changes_one_position_at_most_and_the_most_vulnerable_one(model: Any) -> None:
    profile, targets = random_profile(seed=4), torch.full((len(LENGTHS),), 7)
    changed = substitute(model, Substitute(0.0, 10), profile, targets)
    differs = changed.item_seq != profile.item_seq
    assert differs.sum(dim=1).max() == 1
    for row, length in enumerate(LENGTHS):
        position, _ = most_vulnerable(model, profile.item_seq[row, :length].tolist(), 7)
        assert differs[row].nonzero().flatten().tolist() in ([], [position])
    assert torch.equal(changed.item_seq_len, profile.item_seq_len)
    assert changed.item_seq[profile.item_seq != 0].min() >= 1


def test_substitute_leaves_its_inputs_and_the_model_alone(model: Any) -> None:
    profile, targets = random_profile(seed=4), torch.full((len(LENGTHS),), 7)
    items, lengths = profile.item_seq.clone(), profile.item_seq_len.clone()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    for training in (False, True):
        model.train(training)
        changed = substitute(model, Substitute(0.0, 10), profile, targets)
        assert all(module.training == training for module in model.modules())
    assert not torch.equal(changed.item_seq, items)
    assert torch.equal(profile.item_seq, items)
    assert torch.equal(profile.item_seq_len, lengths)
    assert torch.equal(targets, torch.full((len(LENGTHS),), 7))
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_substitute_does_not_depend_on_padding_or_on_the_other_rows(model: Any) -> None:
    lengths = (1, 2, 3, 5, 7, 7)
    transform, targets = Substitute(-1.0, 10), torch.arange(1, len(lengths) + 1)
    narrow, wide = random_profile(8, lengths), random_profile(8, lengths, padding=5)
    changed = substitute(model, transform, narrow, targets).item_seq
    padded = substitute(model, transform, wide, targets).item_seq
    assert torch.equal(padded[:, : changed.shape[1]], changed)
    assert not padded[:, changed.shape[1] :].any()
    for row in range(len(lengths)):
        one = Profile(*(f[row : row + 1] for f in narrow))
        alone = substitute(model, transform, one, targets[row : row + 1], np.array([row]))
        assert torch.equal(alone.item_seq[0], changed[row])


def test_substitute_with_more_candidates_never_scores_the_target_lower(model: Any) -> None:
    profile, target = random_profile(seed=6), 9
    targets = torch.full((len(LENGTHS),), target)
    scores = [
        model.score_items(*substitute(model, Substitute(-1.0, count), profile, targets))[:, target].detach()
        for count in (1, 3, 10, N_ITEMS)
    ]
    original = model.score_items(*profile)[:, target].detach()
    for fewer, more in pairwise(scores):
        assert (more >= fewer - 1e-9).all()
    # All items are tried in the end, the one that stood there among them.
    assert (scores[-1] >= original - 1e-9).all()
    assert (scores[-1] > original + 1e-3).any()


@pytest.mark.parametrize("tau", [-1.0, 0.0, 0.5, 1.0 - 1e-9])
def test_valid_candidates_are_counted(model: Any, tau: float) -> None:
    profile, targets = random_profile(seed=3), torch.full((len(LENGTHS),), 7)
    counts = Substitute(tau, 10).valid_candidates(model, profile, targets, context((7,)))
    table = model.item_embedding.weight.detach()
    for row, length in enumerate(LENGTHS):
        sequence = profile.item_seq[row, :length].tolist()
        position, _ = most_vulnerable(model, sequence, 7)
        original = table[sequence[position]]
        assert counts[row] == sum(cosine(original, table[item]) >= tau for item in range(1, N_ITEMS))
    assert (counts >= 1).all()  # the replaced item itself passes any threshold


@pytest.mark.parametrize("counts", [(1, 35), (7,), (1, 2, 35), (35, 1, 9, 2)])
def test_the_median_of_candidates_is_between_the_middle_two(model: Any, counts: tuple[int, ...]) -> None:
    class Searching:
        def __call__(self, model: Any, profile: Profile, *_: Any) -> Profile:
            return profile

        def valid_candidates(self, model: Any, profile: Profile, *_: Any) -> torch.Tensor:
            return torch.tensor(counts)

    users = np.arange(len(counts))
    found = Attack(Searching(), training_loss).candidates(
        model, random_profile(1, (3,) * len(users)), users, context((7,))
    )
    assert found == median(counts)


def test_ties_are_broken_by_nothing_that_an_id_tells() -> None:
    users, where = np.arange(400), context((1,))
    first = _random_orders(users, where)[:, :10].flatten()
    counts = torch.bincount(first, minlength=N_ITEMS - 1)
    expected = len(first) / (N_ITEMS - 1)
    assert len(counts) == N_ITEMS - 1
    assert ((counts - expected) ** 2 / expected).sum() < 90  # chi-squared, 38 degrees of freedom: p > 1e-5
    assert torch.equal(_random_orders(users[7:9], where), _random_orders(users, where)[7:9])
    assert not torch.equal(_random_orders(users, context((1,), epoch=1)), _random_orders(users, where))


def test_keep_returns_the_sequence_as_it_is(model: Any) -> None:
    profile = random_profile(seed=2)
    kept = keep(model, profile, np.arange(len(LENGTHS)), torch.ones(len(LENGTHS), dtype=torch.int64), context((1,)))
    assert torch.equal(kept.item_seq, profile.item_seq)
    assert torch.equal(kept.item_seq_len, profile.item_seq_len)


def fake(profile: Profile, users: np.ndarray, where: AttackContext) -> Profile:
    return FakeProfile()(None, profile, users, where.targets[:1].repeat(len(users)), where)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    targets=st.lists(st.integers(1, N_ITEMS - 1), min_size=1, max_size=5, unique=True),
)
def test_random_profiles_hold_as_many_targets_as_fit_after_the_first_item(
    seed: int, lengths: list[int], targets: list[int]
) -> None:
    profile = random_profile(seed, tuple(lengths))
    changed = fake(profile, np.arange(len(lengths)), context(tuple(targets), seed=seed))
    assert torch.equal(changed.item_seq_len, profile.item_seq_len)
    for row, length in enumerate(lengths):
        items = changed.item_seq[row].tolist()
        assert all(1 <= item < N_ITEMS for item in items[:length])
        assert not any(items[length:])
        found = set(items[1:length]) & set(targets)
        assert len(found) >= min(len(targets), length - 1)
        if length > len(targets):
            assert found == set(targets)


def test_random_profiles_stay_the_same_over_rounds_epochs_and_batches() -> None:
    profile, users = random_profile(seed=1), np.arange(10, 10 + len(LENGTHS))
    first = fake(profile, users, context((3, 4)))
    for epoch, step in ((0, 1), (1, 0), (7, 2)):
        assert torch.equal(fake(profile, users, context((3, 4), epoch=epoch, step=step)).item_seq, first.item_seq)
    backwards = fake(Profile(*(field.flip(0) for field in profile)), users[::-1], context((3, 4)))
    assert torch.equal(backwards.item_seq.flip(0), first.item_seq)


def test_random_profiles_differ_between_users_and_seeds() -> None:
    profile, users = random_profile(seed=1, lengths=(12,) * 6), np.arange(6)
    first = fake(profile, users, context((3,))).item_seq
    assert len({tuple(row) for row in first.tolist()}) == len(users)
    other = fake(profile, users, context((3,), seed=2)).item_seq
    assert not (first == other).all(dim=1).any()


def test_targets_of_random_profiles_stand_at_any_position_but_the_first() -> None:
    lengths = (4,) * 400
    items = fake(random_profile(seed=1, lengths=lengths), np.arange(400), context((3,))).item_seq
    share = (items == 3).double().mean(dim=0)
    assert share[0] < 0.1
    assert torch.allclose(share[1:], torch.full((3,), 1 / 3 + 2 / 3 / 39, dtype=torch.float64), atol=0.08)


def test_random_profiles_do_not_touch_the_original() -> None:
    profile = random_profile(seed=1)
    before = profile.item_seq.clone()
    fake(profile, np.arange(len(LENGTHS)), context((3,)))
    assert torch.equal(profile.item_seq, before)


RANKED = from_pairs(np.repeat(np.arange(30), 8), np.tile([5, 6, 7, 8, 9, 5, 6, 7], 30), 30, 21)
"""30 users who own items 5 to 9, repeats included; nobody owns another of the 20 items."""


def ranked_context(targets: tuple[int, ...] = (3,), seed: int = 1) -> AttackContext:
    return AttackContext(torch.tensor(targets), NonInteracted(RANKED), seed)


def fillers(transform: FakeProfile, lengths: tuple[int, ...], targets: tuple[int, ...] = (3,)) -> list[list[int]]:
    """What fake profiles hold before targets are put in."""
    where = ranked_context(targets)
    return [list(transform._filler(np.random.default_rng(row), length, where)) for row, length in enumerate(lengths)]


@settings(max_examples=60)
@given(
    share=st.floats(0.0, 1.0),
    popular=st.floats(0.01, 1.0),
    length=st.integers(1, 45),
    seed=st.integers(0, 10**6),
)
def test_fillers_are_popular_items_by_the_share_and_others_without_repeats(
    share: float, popular: float, length: int, seed: int
) -> None:
    items = FakeProfile(share, popular)._filler(np.random.default_rng(seed), length, ranked_context())
    assert len(items) == length
    assert set(items) <= set(range(1, 21))
    count = min(max(int(np.ceil(share * length - 1e-9)), int(share > 0)), 20)
    ranking = [5, 6, 7, 8, 9, 1, 2, 3, 4, *range(10, 21)]
    assert len(set(items) & set(ranking[: max(int(popular * 20), count)])) >= count
    if length <= 20:
        assert len(set(items)) == length


def test_popularity_counts_users_not_interactions() -> None:
    assert NonInteracted(RANKED).popularity.tolist() == [0, 0, 0, 0, 0, 30, 30, 30, 30, 30, *[0] * 11]


def test_the_popular_profile_is_the_most_popular_items_in_any_order() -> None:
    rows = fillers(FakeProfile(1.0), (3,) * 50)
    assert {tuple(sorted(row)) for row in rows} == {(5, 6, 7)}
    assert len({tuple(row) for row in rows}) > 3


def test_popular_items_stand_anywhere_in_a_bandwagon_profile() -> None:
    rows = np.array(fillers(FakeProfile(0.25, 0.25), (4,) * 400))
    popular = np.isin(rows, [5, 6, 7, 8, 9])
    assert (popular.sum(axis=1) >= 1).all()
    assert popular.mean(axis=0) == pytest.approx(np.full(4, 0.25 + 0.75 * 4 / 19), abs=0.08)
