"""What decides how an arm ends: the parameters it can be trained with alone, and the files it is trained on.

Arms of different runs that agree in both are one and the same. A parameter is left out only where the arm does not read
it; where in doubt it stays, which costs time and never a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_attack.config import AttackConfig
from recbole_attack.config.defaults import RECIPES, load_defaults
from recbole_attack.config.options import WHO_IS_HONEST, WITHOUT_EFFECT
from recbole_attack.config.registered import defended_from_outside
from recbole_attack.data import located
from recbole_attack.stages import LOCAL_TRAIN, REPAIR, STAGES, Stage, plans
from recbole_attack.utils.files import sha256

Parameters = dict[str, Any]

PLACE = frozenset({"checkpoint_dir", "data_path", "gpu_id", "show_progress", "state", "verbose", "worker"})
"""Parameters that say where and how loudly an arm is trained."""

_ONLY_WRITTEN = frozenset({"log_wandb", "wandb_project", "tensorboard_dir", "save_client_weights"})
_OF_DETECTORS = frozenset(key for name in ("spectral", "margin", "groups") for key in load_defaults(f"detector/{name}"))
"""What is said of arms after they are trained depends on them; what is repaired, on those of one of them."""

LOCAL = {"attack": "none", "platform": "local", "repair": "none"}
"""What makes a platform's own model of a run of the scenario ``pretrain``."""

_OF_THE_ATTACKER = frozenset({"claimed_interactions", "gradient_scale", "malicious_ratio", "malicious_seed", "upload"})


def arm_parameters(config: AttackConfig) -> dict[str, Parameters]:
    """Arm -> the parameters that decide how it ends, in the order the arms run.

    ``AttackConfig(config_dict=...)`` of an arm's parameters has that arm and trains it as ``config`` does, bit by bit.
    They differ from those of ``config`` where the arm does not read them: those have their defaults. So a clean arm
    has no attack, and the attacker's strength matters to it only where malicious users are no longer evaluated. What
    is as the device has it by default is empty again: an arm may be trained on a machine with another device.
    """
    pretrained = config["scenario"] == "pretrain"
    return _pretrain_arms(config) if pretrained else _training_arms(config)


def data_hashes(config: AttackConfig) -> dict[str, str]:
    """File name -> SHA-256 of the atomic files of the configured dataset.

    Raises:
        DataError: The dataset is not there.
    """
    return atomic_hashes(located(config), config["additional_feat_suffix"] or ())


def atomic_hashes(folder: Path, more: Any = ()) -> dict[str, str]:
    """File name -> SHA-256 of a dataset's interactions, users and items, and of files with ``more`` suffixes."""
    files = [folder / f"{folder.name}.{suffix}" for suffix in ("inter", "user", "item", *more)]
    return {file.name: sha256(file) for file in files if file.is_file()}


def _training_arms(config: AttackConfig) -> dict[str, Parameters]:
    attack, clean = config["attack"], {}
    if attack == "none" or config["compare_clean"]:
        clean = {"clean": _without(config, _federation(config, "none"), attack="none")}
    attacked = {} if attack == "none" else {"attacked": _without(config, _federation(config, attack))}
    return {**clean, **attacked}


def _federation(config: AttackConfig, attack: str) -> frozenset[str]:
    """What of the federation and the attacker an arm with this attack does not read."""
    honest = attack == "none" and not defended_from_outside(config.final_config_dict)
    ignored = WITHOUT_EFFECT[config["scenario"]] | (_OF_THE_ATTACKER if honest else frozenset())
    return ignored - WHO_IS_HONEST if config["malicious_clients"] == "compromise" else ignored


def _pretrain_arms(config: AttackConfig) -> dict[str, Parameters]:
    plan = plans(config.final_config_dict)
    changes = {"local": LOCAL, "clean": {"attack": "none"}, "attacked": {}}
    arms = {name: _without(config, _other_stages(stages), **changes[name]) for name, stages in plan.items()}
    if "clean" in arms and plans({**config.final_config_dict, "attack": "none"})["clean"] != plan["clean"]:
        arms["clean"] = _twin(config, plan["clean"])
    return arms


def _twin(config: AttackConfig, stages: tuple[Stage, ...]) -> Parameters:
    """Those of a clean arm with stages only its attack has; nothing else of the attack matters."""
    own = load_defaults(f"attack/{config['attack']}").keys() - {"three_steps"}
    return {**_without(config, _other_stages(stages) | own), "compare_clean": True}


def _other_stages(stages: tuple[Stage, ...]) -> frozenset[str]:
    others = set(STAGES) - {stage.name for stage in stages}
    if REPAIR.name not in others:
        others -= {LOCAL_TRAIN.name}  # whoever repairs a model compares it with the platform's own
    return WITHOUT_EFFECT["pretrain"] | {f"{name}_{what}" for name in others for what in ("epochs", "learning_rate")}


def _without(config: AttackConfig, ignored: frozenset[str], **changes: Any) -> Parameters:
    """The parameters of one arm alone, but for ``ignored`` ones and those that decide nothing."""
    overall: Mapping[str, Any] = load_defaults("overall")
    plain = {key: overall[key] for key in RECIPES.keys() & ignored}  # takes their own parameters away, too
    values = config.replaced(compare_clean=False, **plain, **changes)
    of_device = load_defaults(f"device/{config['device'].type}")
    values |= {key: None for key, value in of_device.items() if values[key] == value}
    read = load_defaults(f"detector/{values.get('repair', 'none')}").keys()
    ignored |= PLACE | _ONLY_WRITTEN | (_OF_DETECTORS - read)
    return {key: value for key, value in values.items() if key not in ignored}
