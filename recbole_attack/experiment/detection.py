"""Whether the platform can find out what was promoted, from what both models show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_attack.config.defaults import load_defaults
from recbole_attack.defense import DETECTORS, Evidence
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
    return {name: _found(arm, local["counts"], config) for name, arm in shown.items()}


def _found(arm: Mapping[str, Any], local: Any, config: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    evidence = Evidence(arm["counts"], local, arm["popularity"], int(arm["users"]))
    found = {}
    for name, detect in DETECTORS.items():
        own = {key: config[key] for key in load_defaults(f"detector/{name}")}
        detection = detect(evidence, config["seed"], **own)
        found[name] = detection_quality(detection.scores, detection.flagged, arm["targets"])
    return found
