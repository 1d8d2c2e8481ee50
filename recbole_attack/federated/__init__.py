"""Clients, their updates, and the threat among them."""

from recbole_attack.federated.clients import ClientPool, client_pool
from recbole_attack.federated.rounds import BACKENDS, ClientGroup
from recbole_attack.federated.threat import Threat, resolve_threat

__all__ = ["BACKENDS", "ClientGroup", "ClientPool", "Threat", "client_pool", "resolve_threat"]
