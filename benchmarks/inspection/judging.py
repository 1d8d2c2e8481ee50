"""The platform's side: what every detector says of a provider's model, and of clean ones."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from providers import Vendor

from recbole_attack import AttackConfig
from recbole_attack.defense import DETECTORS
from recbole_attack.experiment.detection import detected
from recbole_attack.inspection import inspect_model
from recbole_attack.inspection.calibration import clean_maxima, highest
from recbole_attack.inspection.catalogue import catalogue
from recbole_attack.inspection.given_model import GivenModel, restored
from recbole_attack.inspection.local_model import local_model
from recbole_attack.inspection.model_file import read_model_file
from recbole_attack.inspection.platform import Platform, prepare_platform
from recbole_attack.model import PromptSASRec
from recbole_attack.utils.files import read_text, write_json


@dataclass(frozen=True)
class Judged:
    """What is said of one model.

    Attributes:
        split: Seed of the division of users.
        kind: A name in ``KINDS``.
        number: Which one of its kind.
        exposure: As of :class:`~providers.Vendor`.
        outside: As of the same; ``None`` where there is nobody.
        promoted: ``[n]`` which items are targets.
        scores: Detector -> ``[n]`` scores.
        clean: Detector -> the highest score of the platform's clean models.
    """

    split: int
    kind: str
    number: int
    exposure: float
    outside: float | None
    promoted: list[bool]
    scores: Mapping[str, list[float]]
    clean: Mapping[str, float]


def kept(file: Path) -> Judged | None:
    """What was said before an interruption."""
    return Judged(**json.loads(read_text(file))) if file.is_file() else None


def keep(file: Path, judged: Judged) -> None:
    write_json(file, asdict(judged))


def judged(
    vendor: Vendor, name: tuple[int, str, int], folder: Path, given: Mapping[str, Any], clean_models: int
) -> Judged:
    """Ask all detectors: by the command, or by its parts where it refuses a model because of its prompts."""
    of = _with_prompts if vendor.file.stem == PromptSASRec.__name__ else _by_the_command
    scores, clean = of(vendor, folder, given, clean_models)
    tokens = sorted(scores[next(iter(DETECTORS))])
    return Judged(
        *name,
        vendor.exposure,
        None if math.isnan(vendor.outside) else vendor.outside,
        [token in vendor.targets for token in tokens],
        {detector: [scores[detector][token] for token in tokens] for detector in DETECTORS},
        {detector: float(max(clean[detector])) for detector in DETECTORS},
    )


def _by_the_command(vendor: Vendor, folder: Path, given: Mapping[str, Any], clean_models: int) -> tuple[Any, Any]:
    found = inspect_model(
        vendor.file,
        dataset="mine",
        config_dict=own(folder, given),
        items=str(folder / "tokens.txt"),
        clean_models=clean_models,
    )
    column = {name: found.header.index(f"{name}_score") for name in DETECTORS}
    scores = {name: {str(row[0]): float(row[column[name]]) for row in found.rows} for name in DETECTORS}
    return scores, found.record["clean_models"]


def _with_prompts(vendor: Vendor, folder: Path, given: Mapping[str, Any], clean_models: int) -> tuple[Any, Any]:
    """The same local and clean models, which have no prompts: the platform has none but the provider's."""
    platform = prepare_platform(own_dataset(folder, given))
    local = local_model(platform, None, platform.config)
    model = prompted(vendor, platform, folder / "tokens.txt")
    said = detected(platform.evidence(model, local, platform.users), platform.config.final_config_dict)
    items = np.arange(1, platform.dataset.item_num)
    tokens = platform.dataset.tokens(platform.dataset.iid_field, items)
    scores = {name: dict(zip(tokens, said[name].scores[items].tolist(), strict=True)) for name in DETECTORS}
    return scores, clean_maxima(platform, model, clean_models)


def prompted(vendor: Vendor, platform: Platform, tokens: Path) -> GivenModel:
    """A model with prompts, made for the platform's users.

    The file does not say which value of an attribute each of its embeddings is of; the provider's dataset does.
    """
    dataset, mine = vendor.experiment.dataset, platform.dataset
    items = catalogue(mine, dataset.item_num, tokens)
    config = vendor.experiment.config.replace(model=PromptSASRec)
    found = restored(config, dataset, read_model_file(vendor.file), items)
    ids = dataset.field2token_id[dataset.uid_field]
    users = [ids[token] for token in mine.tokens(mine.uid_field, np.arange(1, mine.user_num))]
    found.model.attribute_values = found.model.attribute_values[[0, *users]]
    return found


def own_dataset(folder: Path, given: Mapping[str, Any]) -> AttackConfig:
    """The configuration of the platform's own models."""
    return AttackConfig("SASRec", "mine", config_dict={"scenario": "central", "attack": "none", **own(folder, given)})


def own(folder: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of the platform's own models: its catalogue is that of the item file, and it knows its users."""
    columns = {
        "inter": ["user_id", "item_id", "timestamp"],
        "item": ["item_id"],
        "user": ["user_id", "age", "gender", "occupation"],
    }
    return {**given, "data_path": str(folder), "load_col": columns}


def same_users(folder: Path, given: Mapping[str, Any], count: int) -> dict[str, float]:
    """Detector -> highest score of clean models of other seeds, all of them and the local one on the same users."""
    file = folder / f"same-users-{count}.json"
    if not file.is_file():
        platform = prepare_platform(own_dataset(folder, given))
        seed, found = platform.config["seed"], []
        local = local_model(platform, None, platform.config)
        for number in range(count):
            clean = platform.trained(platform.users, seed + 1000 + number)
            found.append(highest(platform.evidence(clean, local, platform.users), clean, platform.config))
        write_json(file, {name: max(float(of[name]) for of in found) for name in DETECTORS})
    highest_of: dict[str, float] = json.loads(read_text(file))
    return highest_of
