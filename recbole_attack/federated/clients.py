"""Clients and the order in which the server asks them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recbole_attack.data.sequences import Int
from recbole_attack.utils.rng import stream


@dataclass(frozen=True)
class ClientPool:
    """All clients of a federation; a client holds one user's history.

    Attributes:
        users: ``[N]`` the user behind each client; clones follow after the real users.
        malicious: ``[N]`` whether a client is under the attacker's control.
        n_clones: How many of the last clients are clones.
    """

    users: Int
    malicious: NDArray[np.bool_]
    n_clones: int = 0

    def rounds(self, seed: int, epoch: int, clients_per_round: int) -> list[Int]:
        """One epoch: every client once, in random order, ``clients_per_round`` a round.

        Clones join rounds drawn at random, on top of the clients these have anyway. So a clean run and its attacked
        twin take the same steps with the same honest clients, and differ by the attack alone.

        There is one exception, by dropout. Under a rule that sums, an attack that crafts its uploads has single updates
        computed, which its clean twin has not; so have a norm budget and client detectors, if the clean run is one
        without (a run's own twin has them as well). SASRec and GRU4Rec with sampled losses and without a client defence
        draw the same masks either way; twins of other models, and of any model with a client defence, whose clients
        are then computed one after the other, differ by the masks of honest clients, too.

        Returns:
            Indices into :attr:`users`, one array per round; the last may be shorter.
        """
        regular = len(self.users) - self.n_clones
        order = stream(seed, "client order", epoch).permutation(regular)
        rounds = np.split(order, np.arange(clients_per_round, regular, clients_per_round))
        joined = stream(seed, "clone rounds", epoch).integers(0, len(rounds), self.n_clones)
        return [np.concatenate([clients, regular + np.flatnonzero(joined == i)]) for i, clients in enumerate(rounds)]

    def sampled_rounds(self, seed: int, epoch: int, clients_per_round: int, rounds: int) -> Iterator[Int]:
        """``rounds`` rounds of clients drawn at random, each from all of them: most may not take part at all.

        A clone joins a round as often as any other client, on top of the clients it has anyway, as above.

        Yields:
            Indices into :attr:`users`, one array per round, none twice in a round.
        """
        regular = len(self.users) - self.n_clones
        size = min(clients_per_round, regular)
        for index in range(rounds):
            clients = stream(seed, "sampled clients", epoch, index).choice(regular, size, replace=False)
            joined = stream(seed, "sampled clones", epoch, index).random(self.n_clones) < size / regular
            yield np.concatenate([clients, regular + np.flatnonzero(joined)])


def client_pool(users: Int, malicious_users: Int, clone: bool) -> ClientPool:
    """The clients of one run.

    Args:
        users: ``[N]`` users with something to train on, ascending.
        malicious_users: ``[M]`` users whose histories the attacker holds; empty for a clean run.
        clone: Add clients with these histories instead of turning the users themselves.
    """
    if clone:
        everyone = np.concatenate([users, malicious_users])
        return ClientPool(everyone, np.arange(len(everyone)) >= len(users), len(malicious_users))
    return ClientPool(users, np.isin(users, malicious_users))
