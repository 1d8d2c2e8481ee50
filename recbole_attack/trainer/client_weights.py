"""Which client got how much weight, round by round."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from recbole_attack.data.sequences import Int
from recbole_attack.federated import ClientPool
from recbole_attack.federated.server import Aggregated
from recbole_attack.utils.files import write_csv

FOLDER = "client_weights"


class ClientWeight(NamedTuple):
    """One client in one round.

    Attributes:
        epoch: The epoch, from 0.
        round: The round in the epoch, from 0.
        user: Token of the user whose history the client holds; a clone has that of the user it copies.
        malicious: 1 if the attacker controls the client, else 0.
        kept: 0 if the server rejected the update, else 1.
        weight: The client's weight in the aggregate, empty for rules on coordinates
            (:class:`~recbole_attack.federated.server.Aggregated`).
    """

    epoch: int
    round: int
    user: str
    malicious: int
    kept: int
    weight: float | None


def client_weights(
    epoch: int, index: int, pool: ClientPool, clients: Int, result: Aggregated, tokens: Iterable[str]
) -> list[ClientWeight]:
    """The rows of one round.

    Args:
        epoch: The epoch.
        index: The round.
        pool: All clients.
        clients: ``[N]`` the round's clients in the order of ``result``.
        result: What the server made of them.
        tokens: Their users' tokens.
    """
    weights = [None] * len(clients) if result.client_weights is None else result.client_weights.tolist()
    columns = zip(tokens, pool.malicious[clients].tolist(), result.kept.tolist(), weights, strict=True)
    return [ClientWeight(epoch, index, user, int(bad), int(kept), weight) for user, bad, kept, weight in columns]


def write_client_weights(folder: Path, rows: list[ClientWeight]) -> None:
    """Write one epoch's rows to a file of its own, so that an epoch that is repeated replaces its own.

    ``pandas.concat(map(pandas.read_csv, sorted(folder.glob("client_weights/*.csv"))))`` reads all epochs.
    """
    write_csv(folder / FOLDER / f"epoch-{rows[0].epoch:04d}.csv", ClientWeight._fields, rows)
