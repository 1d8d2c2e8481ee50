"""Whether there is anybody to evaluate, and the validation metric can have a value: asked before training."""

from __future__ import annotations

from math import floor
from typing import Any

import numpy as np
import torch
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.register import metrics_dict

from recbole_attack.data import Split
from recbole_attack.threat import Threat
from recbole_attack.utils.errors import ConfigError, DataError


def check_someone_is_honest(config: Any, split: Split, threat: Threat) -> None:
    """Leave a user to evaluate.

    Args:
        config: The run's configuration.
        split: The dataset's split.
        threat: Whose users turned malicious.

    Raises:
        ConfigError: All that could be evaluated are malicious.
    """
    users = np.union1d(split.valid.users, split.test.users)
    if not len(users) or len(np.setdiff1d(users, threat.dishonest_users)):
        return
    n_users, turned = split.train.n_users - 1, len(threat.dishonest_users)
    most = max(turned - 1, 0)
    raise ConfigError(
        f"malicious_ratio {config['malicious_ratio']:g} with malicious_clients 'compromise' leaves nobody to evaluate: "
        f"expected at most {floor(1e6 * most / n_users) / 1e6:g} ({most} of {n_users} users), found {turned} users "
        "turned malicious, all that could be evaluated; or malicious_clients 'clone', whose users stay honest"
    )


def check_valid_metric(config: Any, split: Split, threat: Threat, valid_data: Any) -> None:
    """Measure ``valid_metric`` on lists that show everything to every validation user.

    Args:
        config: The run's configuration.
        split: The dataset's split.
        threat: Target items, and whom they are promoted to.
        valid_data: Loader over the users that are evaluated, those drawn where ``eval_users`` draws some; ``None``
            without any.

    Raises:
        DataError: Even then it has no value: too few users never interacted with a target.
    """
    if valid_data is None:
        return
    users = valid_data.dataset.inter_feat[config["USER_ID_FIELD"]].numpy()
    metric = metrics_dict[config["valid_metric"].split("@")[0].lower()]
    inside = np.ones(split.train.n_users, bool) if threat.target_users is None else threat.target_users
    known = {
        "rec.target_user": inside[users],
        "rec.target_eligible": ~split.full.owners(threat.targets)[users],
        "rec.target_rank": np.ones((len(users), len(threat.targets)), dtype=np.int64),
        "rec.topk": np.ones((len(users), max(config["topk"]) + 1), dtype=np.int64),
    }
    if not set(metric.metric_need) <= known.keys():
        return
    collected = DataStruct()
    for key, values in known.items():
        collected.set(key, torch.from_numpy(values))
    result = metric(config).calculate_metric(collected)
    if np.isnan(result.get(config["valid_metric"].lower(), 0.0)):
        drawn, more = ("", "") if config["eval_users"] is None else (" that eval_users draws", ", more eval_users")
        raise DataError(
            f"valid_metric '{config['valid_metric']}' cannot be measured: expected validation users it counts who "
            f"never interacted with a target item, found none among {len(users)}{drawn}; choose other "
            f"target_items{more}, or an accuracy such as NDCG@10"
        )
