"""Victim models."""

from recbole_attack.model.sasrec import SASRec

MODELS = {"SASRec": SASRec}
"""Models that can be attacked, by RecBole's name."""

__all__ = ["MODELS", "SASRec"]
