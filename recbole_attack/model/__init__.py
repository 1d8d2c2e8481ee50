"""Victim models."""

from recbole_attack.model.bert4rec import BERT4Rec
from recbole_attack.model.gru4rec import GRU4Rec
from recbole_attack.model.lookup import HOSTS, MODELS, base_name, find_model, victim_class
from recbole_attack.model.prompt import PromptSASRec, user_attributes
from recbole_attack.model.recbole_models import NEEDS, RECBOLE_MODELS, find_recbole_model
from recbole_attack.model.sasrec import SASRec
from recbole_attack.model.victim import PerClient, Victim

__all__ = [
    "HOSTS",
    "MODELS",
    "NEEDS",
    "RECBOLE_MODELS",
    "BERT4Rec",
    "GRU4Rec",
    "PerClient",
    "PromptSASRec",
    "SASRec",
    "Victim",
    "base_name",
    "find_model",
    "find_recbole_model",
    "user_attributes",
    "victim_class",
]
