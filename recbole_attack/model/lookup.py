"""Victims by name: this package's own, and RecBole's through the adapter."""

from __future__ import annotations

import inspect
from typing import Any

from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import ModelType

from recbole_attack.model.adapter import adapt, obstacle
from recbole_attack.model.bert4rec import BERT4Rec
from recbole_attack.model.gru4rec import GRU4Rec
from recbole_attack.model.host import sequential_recommender
from recbole_attack.model.prompt import PromptSASRec
from recbole_attack.model.recbole_models import RECBOLE_MODELS, find_recbole_model
from recbole_attack.model.sasrec import SASRec
from recbole_attack.model.victim import Victim
from recbole_attack.utils.errors import ConfigError, did_you_mean

HOSTS: dict[str, type[Any]] = {
    name: model
    for name, model in sorted(vars(sequential_recommender).items())
    if inspect.isclass(model) and getattr(model, "type", None) == ModelType.SEQUENTIAL
}
"""RecBole's sequential models."""

MODELS: dict[str, type[Any]] = {
    **{model.__name__: model for model in (SASRec, BERT4Rec, GRU4Rec)},
    **{name: adapt(HOSTS[name]) for name in ("LightSANs", "NARM", "SINE", "STAMP")},
}
"""Victims by the name ``--model`` takes."""
"""Models that can be attacked, by RecBole's name: our own, and all of RecBole's that pass the adapter's check."""


def victim_class(model: Any, scenario: str | None) -> type[Any]:
    """The class of a run's model; see :func:`find_model`, and ``find_recbole_model`` for the scenario ``recbole``.

    Raises:
        ConfigError: There is no such model; or a class has the name of another one, which a resumed run, a checkpoint
            or a store would take for it.
    """
    table, find = (RECBOLE_MODELS, find_recbole_model) if scenario == "recbole" else (MODELS, find_model)
    name = getattr(model, "__name__", None)
    if isinstance(model, type) and name in table and model not in table[name].__mro__:
        raise ConfigError(f"model {model.__module__}.{name}: expected another name, as '{name}' is a model of its own")
    return find(model)


def find_model(model: Any) -> type[Any]:
    """The class of a victim.

    Args:
        model: A name in :data:`MODELS`, or PromptSASRec, which checkpoints of models with prompts say; a class derived
            from :class:`Victim`, or a class of RecBole's kind that the adapter takes.

    Raises:
        ConfigError: There is no such victim; why not, if it is a model of RecBole's.
    """
    if isinstance(model, type) and issubclass(model, SequentialRecommender):
        reason = None if issubclass(model, Victim) else obstacle(model)
        if reason:
            raise ConfigError(f"model '{model.__name__}' cannot be attacked: {reason}")
        return model if issubclass(model, Victim) else adapt(model)
    if not isinstance(model, str):
        raise ConfigError(f"model must be a name or a sequential recommender of RecBole's kind: found {model!r}")
    if model == PromptSASRec.__name__:
        return PromptSASRec
    if model in HOSTS and model not in MODELS:
        reason = obstacle(HOSTS[model]) or "it does not pass the adapter's check, see docs/capabilities.md"
        raise ConfigError(f"model '{model}' cannot be attacked: {reason}")
    if model not in MODELS:
        hint = did_you_mean(model, MODELS)
        raise ConfigError(f"unknown model '{model}': expected one of {', '.join(MODELS)}, or register_model's{hint}")
    return MODELS[model]


def base_name(model_class: type[Any]) -> str:
    """The name of the RecBole model a class is derived from, whose default parameters it has; else its own."""
    hosts = {*HOSTS.values(), *RECBOLE_MODELS.values()}
    return next((cls.__name__ for cls in model_class.__mro__ if cls in hosts), model_class.__name__)
