"""The platform's own model, which a given one is held against: trained and kept, or read from a file."""

from __future__ import annotations

from recbole_attack.config import AttackConfig
from recbole_attack.experiment.pretrain import platform_seed
from recbole_attack.inspection.calibration import cache_folder
from recbole_attack.inspection.catalogue import catalogue
from recbole_attack.inspection.given_model import LOG, GivenModel, fitted_to, item_rows, restored
from recbole_attack.inspection.model_file import ModelFile
from recbole_attack.inspection.platform import Platform
from recbole_attack.utils.errors import DataError


def local_model(platform: Platform, file: ModelFile | None, config: AttackConfig) -> GivenModel:
    """The platform's own model.

    Args:
        platform: The platform.
        file: What was read of it; without, it is trained, from first weights of its own, and kept.
        config: What the platform says of its models, without what the given model's file says of that one.

    Raises:
        DataError: The file is not that of such a model with the dataset's items.
        TrainingError: Training diverged.
    """
    if file is None:
        kept = cache_folder(platform.config) / "local.pth"
        return platform.trained(platform.users, platform_seed(platform.config["seed"]), kept)
    dataset, name = platform.dataset, platform.config["dataset"]
    config = fitted_to(file, config)
    size = item_rows(config, dataset, file)
    if size != dataset.item_num:
        raise DataError(
            f"{file.path} has {size - 1} items and dataset '{name}' {dataset.item_num - 1}: expected a model of your "
            "own that was trained on this very dataset, whose ids are its rows"
        )
    LOG.warning(
        f"{file.path} does not say which items its rows are: the order of dataset '{name}' is assumed; a wrong one "
        "makes any verdict void (a model that was trained on this very dataset has it)"
    )
    return restored(config, dataset, file, catalogue(dataset, size, None))
