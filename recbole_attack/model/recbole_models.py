"""RecBole's own models: baselines beside the victims."""

from __future__ import annotations

import inspect
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import recbole.model
from recbole.data import dataset as datasets
from recbole.model import general_recommender
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.trainer import Trainer
from recbole.utils import ModelType, get_trainer

from recbole_attack.model.adapter import FOREIGN, side_inputs
from recbole_attack.model.host import sequential_recommender
from recbole_attack.model.repairs import REPAIRED
from recbole_attack.model.victim import Victim
from recbole_attack.utils.errors import ConfigError, DataError, TrainingError, did_you_mean, shown

_TYPES = (ModelType.GENERAL, ModelType.TRADITIONAL, ModelType.SEQUENTIAL)
_OTHERS = {
    "context_aware_recommender": "labelled rows with features of users and items",
    "exlib_recommender": "labelled rows with features of users and items",
    "knowledge_aware_recommender": "a knowledge graph",
}
"""Folders of RecBole's other models -> what those learn from."""

_FEATURES = ("DIN", "DIEN")
"""Models of the sequential type that RecBole itself trains on labels and features (``sequential_DIN.yaml``)."""


def _needs(model: type[Any]) -> str | None:
    """What a model needs besides interactions and one loop of training; ``None`` if nothing."""
    trainer = get_trainer(model.type, model.__name__)
    inputs = side_inputs(model)
    if issubclass(model, Victim):
        return "a trainer of this package"
    if model.type not in _TYPES:
        return f"data of its own type ({model.type.name.lower()})"
    if inputs:
        return f"side inputs ({', '.join(inputs)})"
    if model.__name__ in _FEATURES or hasattr(datasets, f"{model.__name__}Dataset"):
        return "labels, or features of users and items"
    if trainer.fit is not Trainer.fit:
        return f"a training loop of its own ({trainer.__name__})"
    return None


def _found(package: Any) -> Iterator[tuple[str, type[Any]]]:
    for name, model in sorted(vars(package).items()):
        if inspect.isclass(model) and getattr(model, "type", None) in _TYPES:
            yield name, model


_ALL = dict([*_found(general_recommender), *_found(sequential_recommender)])
NEEDS: dict[str, str] = {name: reason for name, model in _ALL.items() if (reason := _needs(model))}
"""RecBole's general and sequential models that need more than interactions -> what they need."""

RECBOLE_MODELS: dict[str, type[Any]] = {n: REPAIRED.get(n, model) for n, model in _ALL.items() if n not in NEEDS}
"""RecBole's general and sequential models that learn from interactions alone, by name."""


def find_recbole_model(model: Any) -> type[Any]:
    """A model of RecBole's, unchanged but for :data:`~recbole_attack.model.repairs.REPAIRED`.

    Args:
        model: A name in :data:`RECBOLE_MODELS`, or a class of RecBole's kind.

    Raises:
        ConfigError: There is no such model, or it needs more than interactions.
    """
    if isinstance(model, type) and issubclass(model, AbstractRecommender):
        name, needed = model.__name__, _needs(model)
        if needed is None:
            return RECBOLE_MODELS[name] if _ALL.get(name) is model else model
    elif isinstance(model, str):
        name = model
        if name in RECBOLE_MODELS:
            return RECBOLE_MODELS[name]
        needed = NEEDS.get(name) or _other_need(name)
    else:
        raise ConfigError(f"model must be a name or a class of RecBole's kind: found {shown(model)}")
    known = f"expected one of {', '.join(RECBOLE_MODELS)}{did_you_mean(name, RECBOLE_MODELS)}"
    if needed:
        raise ConfigError(f"model '{name}' needs {needed}, the scenario 'recbole' has interactions alone: {known}")
    raise ConfigError(f"unknown model {shown(name)} (scenario recbole): {known}")


def _other_need(name: str) -> str | None:
    """What RecBole's model of another type needs; ``None`` if there is no such model."""
    for root in recbole.model.__path__:
        for folder, needed in _OTHERS.items():
            if name.lower() in {module.name for module in pkgutil.iter_modules([str(Path(root) / folder)])}:
                return needed
    return None


@contextmanager
def refusing(model: type[Any], verb: str) -> Iterator[None]:
    """Errors of a model's own code, which was not made for every configuration and dataset, as a :class:`ConfigError`.

    What it prints goes to stderr.

    Args:
        model: The model's class.
        verb: What is done with it within the block: built or trained.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (ConfigError, DataError, TrainingError):
        raise
    except (*FOREIGN, ImportError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(
            f"model '{model.__name__}' cannot be {verb} with this configuration and dataset: {reason}"
        ) from error
