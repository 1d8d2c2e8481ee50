"""Whether the platform can find out what was promoted, from what both models show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_attack.config.defaults import load_defaults
from recbole_attack.defense import DETECTORS, Detection, Evidence
from recbole_attack.evaluator import detection_quality
from recbole_attack.utils.errors import ConfigError

Judged = tuple[Evidence, dict[str, Detection]]
"""What detectors read of a model, and what each of them says."""


def detections(
    arms: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any]
) -> dict[str, dict[str, dict[str, float]]]:
    """Arm -> detector -> how well it finds the targets; nothing without the platform's own model.

    Args:
        arms: Arm -> its :meth:`~recbole_attack.experiment.PretrainExperiment.evidence`.
        config: The run's parameters, with those of the detectors.
    """
    return qualities(arms, judged(arms, config))


def judged(arms: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any]) -> dict[str, Judged]:
    """Arm -> what detectors read of it and what they say; nothing without the platform's own model.

    Args:
        arms: As for :func:`detections`.
        config: As for :func:`detected`.
    """
    local = arms.get("local")
    if not local:
        return {}
    seen = {name: _evidence(arm, local) for name, arm in arms.items() if name != "local" and arm}
    return {name: (evidence, detected(evidence, config)) for name, evidence in seen.items()}


def _evidence(arm: Mapping[str, Any], local: Mapping[str, Any]) -> Evidence:
    """What detectors read; old arms lack what came later."""
    counted = (arm["counts"], local["counts"], arm["popularity"], int(arm["users"]))
    return Evidence(*counted, **side_by_side(arm, local))


def side_by_side(given: Mapping[str, Any], local: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of :class:`~recbole_attack.defense.Evidence` that both models' views have.

    Args:
        given: :meth:`~recbole_attack.evaluator.ModelView.arrays` of the model.
        local: The same of the platform's own model, whose clusters of users count.
    """
    pairs = {key: (given[key], local[key]) for key in ("rows", "pushes", "lists") if key in given and key in local}
    return {**pairs, "groups": local.get("groups")}


def qualities(
    arms: Mapping[str, Mapping[str, Any]], said: Mapping[str, Judged]
) -> dict[str, dict[str, dict[str, float]]]:
    """Arm -> detector -> how well what it said of the arm finds the targets."""
    return {
        arm: {name: detection_quality(of.scores, of.flagged, arms[arm]["targets"]) for name, of in found.items()}
        for arm, (_, found) in said.items()
    }


def detected(evidence: Evidence, config: Mapping[str, Any]) -> dict[str, Detection]:
    """What every detector says that finds what it reads.

    Args:
        evidence: What the platform sees.
        config: The seed, and the parameters of detectors; those that are not in it have their defaults.
    """
    said = {name: detected_by(name, evidence, config) for name in DETECTORS}
    return {name: detection for name, detection in said.items() if detection is not None}


def detected_by(name: str, evidence: Evidence, config: Mapping[str, Any]) -> Detection | None:
    """What one detector says; ``None`` where it does not find what it reads.

    Args:
        name: A name in :data:`~recbole_attack.defense.DETECTORS`.
        evidence: What the platform sees.
        config: As for :func:`detected`.
    """
    own = {key: config.get(key, value) for key, value in load_defaults(f"detector/{name}").items()}
    return DETECTORS[name](evidence, config["seed"], **own)


def flagged_items(
    name: str, given: Mapping[str, Any], local: Mapping[str, Any], config: Mapping[str, Any]
) -> NDArray[np.bool_]:
    """``[n_items]`` whether one detector flags an item of a model, held against the platform's own.

    Args:
        name: As for :func:`detected_by`.
        given: The model's :meth:`~recbole_attack.experiment.PretrainExperiment.evidence`.
        local: The same of the platform's own model.
        config: As for :func:`detected`.

    Raises:
        ConfigError: The models do not show what the detector reads.
    """
    said = detected_by(name, _evidence(given, local), config)
    if said is None:
        raise ConfigError(
            f"repair '{name}' reads what model '{config['model']}' does not show: expected a detector that reads less, "
            "such as excess_tail"
        )
    return said.flagged
