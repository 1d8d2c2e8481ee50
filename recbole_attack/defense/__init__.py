"""Defences of the server."""

from recbole_attack.defense.aggregators import AGGREGATORS, Aggregator

__all__ = ["AGGREGATORS", "Aggregator"]
