"""Clients, their updates, and rounds of them."""

from recbole_attack.federated.clients import ClientPool, client_pool
from recbole_attack.federated.rounds import BACKENDS, ClientGroup

__all__ = ["BACKENDS", "ClientGroup", "ClientPool", "client_pool"]
