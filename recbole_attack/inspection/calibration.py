"""How suspicious clean models look: what a score is worth.

A provider's honest model learned from other users than the platform's. So a clean model is one of a random half of the
platform's users, judged as the real one is: against a model of the other half, by what both show that half. The most
suspicious item of each clean model makes the reference of every item's p-value (Westfall and Young 1993, maxT),

    ``p = (1 + #{clean models whose highest score is >= the item's}) / (1 + clean models)``,

which holds for all items together: if the given model is one more clean model, the probability that any of its items
has ``p <= a`` is at most ``a``, whatever their number and however their scores hang together.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from recbole_attack import __version__
from recbole_attack.config import AttackConfig
from recbole_attack.config.defaults import load_defaults
from recbole_attack.config.own_code import code_of_class, code_of_function
from recbole_attack.config.plugins import plugin_hashes
from recbole_attack.defense import DETECTORS, Evidence
from recbole_attack.evaluator.version import EVALUATOR_VERSION
from recbole_attack.experiment import arm_parameters, data_hashes
from recbole_attack.experiment.detection import detected
from recbole_attack.inspection.given_model import GivenModel
from recbole_attack.inspection.platform import Platform
from recbole_attack.utils.errors import DataError
from recbole_attack.utils.files import digest_of, read_text, write_json
from recbole_attack.utils.rng import stream

Floats = NDArray[np.float64]

_SEEDS = 2**32

_SCORES = 5
"""Of what detectors call a score, of whom they ask, and of how the platform's own model is trained; what is kept of
another kind is not read."""

LEFT_OUT = "left out"
"""What is kept of a detector that found nothing to read."""


def p_values(scores: Floats, clean: Floats) -> Floats:
    """``[n]`` p-values of ``[n]`` scores, corrected for the number of items.

    Args:
        scores: Of the given model's items.
        clean: ``[m]`` highest score of each clean model.
    """
    below = np.searchsorted(np.sort(clean), scores, side="left")
    return (1 + len(clean) - below) / (1 + len(clean))


def is_flagged(p: Floats, rate: Fraction) -> NDArray[np.bool_]:
    """``[n]`` which p-values are at most the rate, as fractions: a p-value that equals it may be rounded above it."""
    return p <= float(rate) + _EXACT


_EXACT = 1e-12
"""Far below the difference between two p-values."""


def cache_folder(config: AttackConfig) -> Path:
    """Where what follows from data and parameters alone is kept, below ``checkpoint_dir``."""
    key = {
        "version": __version__,
        "evaluator": EVALUATOR_VERSION,
        "scores": _SCORES,
        "data": data_hashes(config),
        "parameters": arm_parameters(config)["clean"],
        "detectors": {name: load_defaults(f"detector/{name}") for name in DETECTORS},
        "plugins": plugin_hashes(config["plugins"] or ()),
        "code": code_of_class(config.model_class),
        "code of detectors": {name: code_of_function(detector) for name, detector in DETECTORS.items()},
    }
    name = digest_of(key)[:16]
    return Path(config["checkpoint_dir"]) / "inspection" / name


def clean_maxima(platform: Platform, given: GivenModel, count: int) -> dict[str, Floats]:
    """Detector -> ``[count]`` the highest score each clean model has for an item the given model has.

    A detector that could not read one of them is left out.

    Each is kept as it is found, so an interruption costs one model at most, and whoever asks again is answered at once.

    Args:
        platform: The platform.
        given: The model that is judged; only its catalogue matters.
        count: Number of clean models.

    Raises:
        DataError: Half of the users are too few to train on, or a kept file is damaged.
        TrainingError: A clean model diverged.
    """
    folder, among = cache_folder(platform.config), _catalogue_name(given)
    files = [folder / f"clean-{number}{among}.json" for number in range(count)]
    found, missing = [], sum(not file.is_file() for file in files)
    with tqdm(
        desc="clean models", total=count, initial=count - missing, unit="model", disable=not missing or None
    ) as bar:
        for number, file in enumerate(files):
            if not file.is_file():
                write_json(file, clean_scores(platform, given, number))
                bar.update()
            found.append(_kept(file))
    able = [name for name in DETECTORS if all(of[name] != LEFT_OUT for of in found)]
    return {name: np.array([of[name] for of in found]) for name in able}


def clean_scores(platform: Platform, given: GivenModel, number: int) -> dict[str, float | str]:
    """Detector -> the highest score of clean model ``number`` for an item the given model has, or :data:`LEFT_OUT`."""
    seed, known = platform.config["seed"], given.known.cpu().numpy()
    users = stream(seed, "clean models", number).permutation(np.flatnonzero(platform.users))
    provider = np.isin(np.arange(len(platform.users)), users[: len(users) // 2])
    clean = platform.trained(provider, (seed + 2 * number + 1) % _SEEDS, known=known if not known[1:].all() else None)
    local = platform.trained(platform.users & ~provider, (seed + 2 * number + 2) % _SEEDS)
    return highest(platform.evidence(clean, local, platform.users & ~provider), given, platform.config)


def highest(evidence: Evidence, given: GivenModel, config: AttackConfig) -> dict[str, float | str]:
    """Detector -> the highest score of an item the given model has; :data:`LEFT_OUT` if it lacks what it reads."""
    known, found = given.known.cpu().numpy(), detected(evidence, config.final_config_dict)
    return {name: float(found[name].scores[known].max()) if name in found else LEFT_OUT for name in DETECTORS}


def _catalogue_name(given: GivenModel) -> str:
    """What tells the files of a model that lacks items from those of one that has them all."""
    lacking = np.flatnonzero(~given.known[1:].cpu().numpy())
    return f"-{hashlib.sha256(lacking.tobytes()).hexdigest()[:8]}" if len(lacking) else ""


def _kept(file: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(read_text(file))
    except ValueError:
        values = None
    if not isinstance(values, dict) or not all(_is_told(values.get(name)) for name in DETECTORS):
        raise DataError(f"{file} is damaged: expected a number for each detector; remove it to have it computed anew")
    return values


def _is_told(value: Any) -> bool:
    return value == LEFT_OUT or (type(value) in (int, float) and math.isfinite(value))
