"""Whether the validation metric can have a value, asked before anything is trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.register import metrics_dict

from recbole_attack.data import Split
from recbole_attack.threat import Threat
from recbole_attack.utils.errors import DataError


def check_valid_metric(config: Any, split: Split, threat: Threat, excluded: Any) -> None:
    """Measure ``valid_metric`` on lists that show everything to every validation user.

    Args:
        config: The run's configuration.
        split: The dataset's split.
        threat: Target items, and whom they are promoted to.
        excluded: Ids of users that are not evaluated.

    Raises:
        DataError: Even then it has no value: too few users never interacted with a target.
    """
    users = np.setdiff1d(split.valid.users, excluded)
    metric = metrics_dict[config["valid_metric"].split("@")[0].lower()]
    inside = np.ones(split.valid.users.max(initial=0) + 1, bool) if threat.target_users is None else threat.target_users
    known = {
        "rec.target_user": inside[users],
        "rec.target_eligible": ~split.full.owners(threat.targets)[users],
        "rec.target_rank": np.ones((len(users), len(threat.targets)), dtype=np.int64),
        "rec.topk": np.ones((len(users), max(config["topk"]) + 1), dtype=np.int64),
    }
    if not len(users) or not set(metric.metric_need) <= known.keys():
        return
    collected = DataStruct()
    for key, values in known.items():
        collected.set(key, torch.from_numpy(values))
    result = metric(config).calculate_metric(collected)
    if np.isnan(result.get(config["valid_metric"].lower(), 0.0)):
        raise DataError(
            f"valid_metric '{config['valid_metric']}' cannot be measured: expected validation users it counts who "
            f"never interacted with a target item, found none among {len(users)}; choose other target_items, or an "
            "accuracy such as NDCG@10"
        )
