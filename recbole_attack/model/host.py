"""RecBole's sequential models, imported without a side effect of theirs.

Importing any of them imports all, and one (SINE) switches autograd's anomaly detection on for the whole process:
every gradient is then searched for NaN, which costs about a third of a training step.
"""

import torch

_anomaly = torch.is_anomaly_enabled()
from recbole.model import sequential_recommender  # noqa: E402
from recbole.model.sequential_recommender import BERT4Rec, GRU4Rec, SASRec  # noqa: E402

torch.autograd.set_detect_anomaly(_anomaly)

__all__ = ["BERT4Rec", "GRU4Rec", "SASRec", "sequential_recommender"]
