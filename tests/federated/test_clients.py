"""Who the clients are and the order in which the server asks them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack.federated import ClientPool, client_pool

SEEDS = st.integers(0, 2**31)
PER_ROUND = st.integers(1, 70)


@st.composite
def histories(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Users with something to train on and those whose histories the attacker holds."""
    users = np.array(sorted(draw(st.sets(st.integers(1, 200), min_size=1, max_size=50))))
    malicious = np.array(sorted(draw(st.sets(st.sampled_from(users.tolist()), max_size=10))), dtype=users.dtype)
    return users, malicious


def order(pool: ClientPool, seed: int = 1, epoch: int = 0, clients_per_round: int = 7) -> list[int]:
    return np.concatenate(pool.rounds(seed, epoch, clients_per_round)).tolist()


@given(histories(), st.booleans(), SEEDS, st.integers(0, 100), PER_ROUND)
def test_every_client_takes_part_once_per_epoch(
    data: tuple[np.ndarray, np.ndarray], clone: bool, seed: int, epoch: int, clients_per_round: int
) -> None:
    pool = client_pool(*data, clone)
    rounds = pool.rounds(seed, epoch, clients_per_round)
    assert sorted(np.concatenate(rounds)) == list(range(len(pool.users)))
    sizes = [int((clients < len(data[0])).sum()) for clients in rounds]
    assert sizes[:-1] == [clients_per_round] * (len(sizes) - 1)
    assert 1 <= sizes[-1] <= clients_per_round


@given(histories(), st.booleans(), SEEDS, st.integers(0, 100), PER_ROUND)
def test_every_round_keeps_its_honest_clients_when_clones_join(
    data: tuple[np.ndarray, np.ndarray], clone: bool, seed: int, epoch: int, clients_per_round: int
) -> None:
    users, malicious = data
    clean = client_pool(users, malicious[:0], clone).rounds(seed, epoch, clients_per_round)
    attacked = client_pool(users, malicious, clone).rounds(seed, epoch, clients_per_round)
    assert [[client for client in clients if client < len(users)] for clients in attacked] == [
        clients.tolist() for clients in clean
    ]


@given(histories(), SEEDS, PER_ROUND)
def test_the_order_is_reproducible_and_does_not_depend_on_the_size_of_rounds(
    data: tuple[np.ndarray, np.ndarray], seed: int, clients_per_round: int
) -> None:
    pool = client_pool(*data, clone=False)
    assert order(pool, seed, 3, clients_per_round) == order(pool, seed, 3, 1)
    cloned = client_pool(*data, clone=True)
    assert order(cloned, seed, 3, clients_per_round) == order(cloned, seed, 3, clients_per_round)


def test_epochs_and_seeds_give_different_orders() -> None:
    pool = client_pool(np.arange(1, 51), np.array([3, 4, 5]), clone=True)
    orders = [tuple(order(pool, seed, epoch)) for seed in (1, 2) for epoch in range(5)]
    assert len(set(orders)) == len(orders)
    assert tuple(range(53)) not in orders


@pytest.mark.parametrize("clone", [True, False])
def test_malicious_clients_take_part_in_any_round(clone: bool) -> None:
    pool = client_pool(np.arange(1, 41), np.array([7, 30, 31, 39]), clone)
    places = [
        index
        for epoch in range(400)
        for index, clients in enumerate(pool.rounds(1, epoch, 8))
        for _ in range(int(pool.malicious[clients].sum()))
    ]
    counts = np.bincount(places, minlength=5)
    assert counts.sum() == 4 * 400
    assert counts == pytest.approx(np.full(5, 320), abs=80)


@given(histories())
def test_clones_are_extra_clients_and_their_users_stay_honest(data: tuple[np.ndarray, np.ndarray]) -> None:
    users, malicious = data
    pool = client_pool(users, malicious, clone=True)
    assert pool.users.tolist() == [*users, *malicious]
    assert pool.malicious.tolist() == [False] * len(users) + [True] * len(malicious)
    assert pool.n_clones == len(malicious)


@given(histories())
def test_compromised_users_turn_themselves(data: tuple[np.ndarray, np.ndarray]) -> None:
    users, malicious = data
    pool = client_pool(users, malicious, clone=False)
    assert pool.users.tolist() == users.tolist()
    assert pool.users[pool.malicious].tolist() == malicious.tolist()
    assert pool.n_clones == 0


@given(histories(), st.booleans(), SEEDS, st.integers(0, 100), PER_ROUND, st.integers(1, 5))
def test_sampled_rounds_ask_as_many_different_clients_and_clones_on_top(
    data: tuple[np.ndarray, np.ndarray], clone: bool, seed: int, epoch: int, clients_per_round: int, rounds: int
) -> None:
    users, malicious = data
    attacked = [*client_pool(users, malicious, clone).sampled_rounds(seed, epoch, clients_per_round, rounds)]
    clean = client_pool(users, malicious[:0], clone).sampled_rounds(seed, epoch, clients_per_round, rounds)
    assert len(attacked) == rounds
    for clients, without in zip(attacked, clean, strict=True):
        assert len(set(clients.tolist())) == len(clients)
        regular = clients[clients < len(users)]
        assert len(regular) == min(clients_per_round, len(users))
        assert regular.tolist() == without.tolist()
        assert max(clients) < len(users) + clone * len(malicious)


def test_sampled_rounds_ask_everyone_alike_a_clone_included() -> None:
    users = np.arange(1, 41)
    pool = client_pool(users, users[:5], clone=True)
    rounds = [*pool.sampled_rounds(1, 0, 10, 4000)]
    asked = np.bincount(np.concatenate(rounds), minlength=45)
    assert abs(asked / 4000 - 10 / 40).max() < 5 * np.sqrt(0.25 * 0.75 / 4000)
    assert [c.tolist() for c in rounds[:3]] == [c.tolist() for c in pool.sampled_rounds(1, 0, 10, 3)]
    assert [c.tolist() for c in rounds[:3]] != [c.tolist() for c in pool.sampled_rounds(1, 1, 10, 3)]
