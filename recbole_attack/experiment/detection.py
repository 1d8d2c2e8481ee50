"""Whether the platform can find out what was promoted, from what both models show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_attack.config.defaults import load_defaults
from recbole_attack.defense import DETECTORS, Detection, Evidence
from recbole_attack.evaluator import detection_quality


def detections(
    arms: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any]
) -> dict[str, dict[str, dict[str, float]]]:
    """Arm -> detector -> how well it finds the targets; nothing without the platform's own model.

    Args:
        arms: Arm -> its :meth:`~recbole_attack.experiment.PretrainExperiment.evidence`.
        config: The run's parameters, with those of the detectors.
    """
    local = arms.get("local")
    if not local:
        return {}
    shown = {name: arm for name, arm in arms.items() if name != "local" and arm}
    return {name: _quality(arm, local, config) for name, arm in shown.items()}


def evidence_of(arm: Mapping[str, Any], local: Mapping[str, Any]) -> Evidence:
    """What detectors read of an arm; see :meth:`~recbole_attack.experiment.PretrainExperiment.evidence`."""
    return Evidence(arm["counts"], local["counts"], arm["popularity"], int(arm["users"]))


def detected(evidence: Evidence, config: Mapping[str, Any]) -> dict[str, Detection]:
    """What every detector says.

    Args:
        evidence: What the platform sees.
        config: The seed, and the parameters of detectors; those that are not in it have their defaults.
    """
    found = {}
    for name, detect in DETECTORS.items():
        own = {key: config.get(key, value) for key, value in load_defaults(f"detector/{name}").items()}
        found[name] = detect(evidence, config["seed"], **own)
    return found


def _quality(
    arm: Mapping[str, Any], local: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, dict[str, float]]:
    found = detected(evidence_of(arm, local), config)
    return {name: detection_quality(of.scores, of.flagged, arm["targets"]) for name, of in found.items()}
