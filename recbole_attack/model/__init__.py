"""Victim models."""

from recbole_attack.model.bert4rec import BERT4Rec
from recbole_attack.model.sasrec import SASRec
from recbole_attack.model.victim import Victim

MODELS = {"SASRec": SASRec, "BERT4Rec": BERT4Rec}
"""Models that can be attacked, by RecBole's name."""

__all__ = ["MODELS", "BERT4Rec", "SASRec", "Victim"]
