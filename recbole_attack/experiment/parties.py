"""A pre-training experiment from its configuration: whose users are whose, and whether all stages can do their part."""

from __future__ import annotations

import numpy as np

from recbole_attack.config import AttackConfig
from recbole_attack.data import RaggedSequentialDataset, item_categories, similar_targets, split_users, user_group
from recbole_attack.defense import CUTOFFS
from recbole_attack.experiment.base import create_dataset, evaluation_loader, party_data
from recbole_attack.experiment.pretrain import PretrainExperiment
from recbole_attack.experiment.validation import check_valid_metric
from recbole_attack.model import user_attributes
from recbole_attack.stages import REPAIR, plans
from recbole_attack.threat import Threat, configured_targets
from recbole_attack.utils.errors import DataError
from recbole_attack.utils.rng import stream


def prepare_pretrain(config: AttackConfig, dataset: RaggedSequentialDataset | None = None) -> PretrainExperiment:
    """Split users between the parties, and fix targets and target users.

    Args:
        config: The configuration.
        dataset: A dataset that was created but not built; created from ``config`` if absent.

    Raises:
        DataError: A field or token is missing, a party has nothing to train on, the attack would change nothing, or
            there is too little to judge a model by that is to be repaired.
    """
    dataset = dataset or create_dataset(config)
    parties = split_users(config["platform_users"], dataset.sequences(), stream(config["seed"], "platform users"))
    train, valid, test = dataset.build(parties.sequences)
    provider = party_data(config, train, dataset.split.train, "provider", parties.provider)
    platform = party_data(config, train, dataset.split.train, "platform", parties.platform)
    targets = configured_targets(config, dataset, provider.sequences)
    field, n_items = config["category_field"], dataset.split.train.n_items
    categories = item_categories(dataset, field) if field else np.ones(n_items, dtype=np.int64)
    target_users = user_group(config["target_group"], dataset.user_fields, dataset.split.train.n_users)
    others = np.flatnonzero(~parties.platform)
    experiment = PretrainExperiment(
        config,
        dataset,
        Threat(targets, malicious_users=targets[:0], target_users=target_users),
        platform,
        evaluation_loader(config, valid, others),
        evaluation_loader(config, test, others),
        parties=parties,
        similar=similar_targets(categories, targets),
        provider_data=provider,
    )
    _check(experiment)
    return experiment


def _check(experiment: PretrainExperiment) -> None:
    """Find out before anything is trained what a later stage would fail at, or do in vain."""
    check_valid_metric(experiment.config, experiment.dataset.split, experiment.threat, experiment.valid_data)
    config, stages = experiment.config, [s for arm in plans(experiment.config.final_config_dict).values() for s in arm]
    if REPAIR.name in {stage.name for stage in stages} and not (experiment.test_data and experiment.cutoffs):
        raise DataError(
            f"repair '{config['repair']}' compares what test users are shown: expected test users of the platform and "
            f"more than {min(CUTOFFS)} items, found {experiment.describe_data()['test_users']} test users and "
            f"{experiment.dataset.item_num - 1} items"
        )
    if any(stage.prompted for stage in stages):
        user_attributes(experiment.dataset, config["prompt_fields"])
    if not any(stage.poisoned for stage in stages):
        return
    if not (experiment.target_users & experiment.parties.provider).any():
        raise DataError(f"target group '{config['target_group']}': expected users of the provider, found none")
    if not len(experiment.similar.targets):
        field = config["category_field"]
        raise DataError(f"attack '{config['attack']}' needs targets with a category: found none with a '{field}'")
